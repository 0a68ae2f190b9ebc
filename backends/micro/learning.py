"""One training of a project, from Label Studio's present state to predictions on their way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from backends.errors import LabelpilotError, LabelStudioError, LabelStudioGone
from backends.interface import LabelledTask, Project
from backends.label_studio.audits import AuditBook
from backends.label_studio.client import LabelStudios
from backends.micro.course import Course, Tools
from backends.micro.nouns import Scope, Standing
from backends.micro.out_of_fold import forget_found
from backends.micro.scope_training import ScopeTraining
from backends.micro.scopes import fills, scopes
from backends.micro.sync import drop_pointers, present_project, synchronised

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

log = logging.getLogger(__name__)

# Of several scopes each has its share of the time, but never less than a model needs.
_LEAST_BUDGET_S = 15.0


class Announce(Protocol):
    """Has predictions refreshed to the present models."""

    def __call__(
        self,
        project: Project,
        first: Sequence[int] = (),
        *,
        anyway: bool = False,
        is_early: bool = False,
        go_on: Callable[[], None] | None = None,
    ) -> None:
        """Those of the tasks `first` before all others; `anyway`: also if they seem to be so.

        `is_early`: only those, for better models come soon. Some things are possible only when a
        few are stored: with `go_on`, which is called meanwhile, that is waited for.
        """


class Learner:
    """Trains projects' models. Keeps nothing between calls; safe among processes."""

    def __init__(self, tools: Tools, studios: LabelStudios, announce: Announce) -> None:
        self._tools, self._studios, self._announce = tools, studios, announce
        self._store, self._audits = tools.store, AuditBook(tools.settings)
        self._begun: dict[str, Standing] = {}  # what was known when the last training began

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """See `backends.interface.Learner`."""
        begun = self._begun[project_key] = self._store.standing(project_key)
        self._store.note_begun(begun)
        try:
            tell("compares with Label Studio")
            client = self._studios.sdk(project_key)
            project = self._present(client, project_key)
            if project is None:
                return
            labels = self._learn(project, client, begun, go_on, tell)
        finally:
            self._store.note_step(project_key, None)
        self._store.note_seen(begun, labels=labels)

    def give_up(self, project_key: str, reason: str) -> None:
        """See `backends.interface.Learner`; what came while it went on is still news."""
        now, begun = self._store.standing(project_key), self._begun.get(project_key)
        if begun is None or begun.changes != now.begun:  # it began in a process that is gone
            begun = replace(now, changes=now.begun, since=0)
        self._store.note_failure(project_key, reason)
        self._store.note_step(project_key, None)
        self._store.note_seen(begun, labels=begun.labels)

    def _present(self, client: LabelStudio, project_key: str) -> Project | None:
        """The project as it is now; one that is gone is forgotten."""
        try:
            return present_project(client, project_key)
        except LabelStudioGone as error:
            log.warning("project %s is forgotten: %s", project_key, error)
            self._store.forget(project_key)
            forget_found(self._tools.settings, project_key)
            self._tools.registry.prune()
            return None

    def _learn(
        self,
        project: Project,
        client: LabelStudio,
        begun: Standing,
        go_on: Callable[[], None],
        tell: Callable[[str], None],
    ) -> int:
        """How many labelled tasks there are."""
        key = project.key
        drop_pointers(client, project, self._store)
        if not fills(project.config):
            self._say(key, "no control of the label config is one that a micro-model could fill")
            return 0
        synced = synchronised(client, project.id, key, self._store, go_on=go_on)
        labelled = self._store.labelled(key)
        self._store.note_labels(key, len(labelled))
        tell("")
        notes: list[str] = []
        # Labels that are to prove how good a model is are not learned from.
        untaught = self._audits.untaught(key)
        taught = [task for task in labelled if task.id not in untaught]
        if len(taught) < len(labelled):
            notes.append(f"{len(labelled) - len(taught)} labelled audits are not learned from")
        wanted = scopes(project.config, taught, told=notes.append)
        course = Course(
            project=project,
            client=client,
            labelled=taught,
            budget_s=self._tools.settings.train_budget_s,
            asked=begun.asked,
            go_on=go_on,
            early=lambda first: self._announce(project, first, is_early=True),
            pseudo=self._pseudo(key),
        )
        first = self._train_each(wanted, course, notes)
        # Tasks came, or lost their labels: they have no prediction of the present version.
        is_open = begun.tasks_came or bool(synced.gone)
        self._announce(project, first, anyway=is_open, go_on=go_on)
        return len(labelled)

    def _pseudo(self, key: str) -> list[LabelledTask]:
        """What was accepted under certificates that hold, in an order that says nothing."""
        if not self._tools.settings.micro_pseudo_labels:
            return []
        certified = self._audits.certified(key)
        found = [
            replace(task, annotations=some)
            for task in self._store.own_only(key)
            if (some := tuple(one for one in task.own if one.get("id") == certified.get(task.id)))
        ]
        order = np.random.default_rng(0).permutation(len(found)).tolist()
        return [found[index] for index in order]

    def _train_each(self, wanted: Sequence[Scope], course: Course, notes: list[str]) -> list[int]:
        """The tasks to answer first with what was promoted."""
        key = course.project.key
        first: list[int] = []
        failures: list[str] = []
        share = course.budget_s
        trainings = {scope.key: ScopeTraining(self._tools, course, scope) for scope in wanted}
        if len(wanted) > 1:
            share = _share(course.budget_s, sum(map(_is_due, trainings.values())))
        for name, training in trainings.items():
            course.go_on()
            prefix = f"{name}: " if len(wanted) > 1 else ""
            try:
                outcome = training.run(budget_s=share)
            except LabelStudioError:
                raise
            except Exception as error:  # one scope must not keep the others from learning
                course.go_on()  # it was only stopped, whatever became of that
                log.debug("training %s", name, exc_info=True)
                said = _said(error)
                log.warning("project %s, %s: not trained: %s", course.project.id, name, said)
                failures.append(f"{prefix}{said}")
                continue
            notes += [f"{prefix}{outcome.note}"] if outcome.note else []
            first += outcome.first
        least = self._tools.settings.train_first_at
        if not wanted:
            notes.append(f"no labels yet: training begins at {least}")
        self._say(key, "; ".join(notes))
        self._store.note_failure(key, "; ".join(failures))
        return first

    def _say(self, project_key: str, note: str) -> None:
        self._store.note(project_key, note)
        if note:
            log.info("project %s: %s", project_key.split(".")[0], note)


def _share(budget_s: float, scopes_: int) -> float:
    return max(budget_s / max(scopes_, 1), min(_LEAST_BUDGET_S, budget_s))


def _is_due(training: ScopeTraining) -> bool:
    try:
        return training.is_due()
    except LabelStudioError:
        raise
    except Exception:  # noqa: BLE001 - told when it is trained
        return True


def _said(error: Exception) -> str:
    is_told = isinstance(error, LabelpilotError)
    return str(error) if is_told else f"a fault in labelpilot ({type(error).__name__})"
