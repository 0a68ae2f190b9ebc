"""One training of a project, from Label Studio's present state to predictions on their way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from backends.errors import LabelpilotError, LabelStudioError, LabelStudioRefused
from backends.interface import Project
from backends.label_studio.client import LabelStudios
from backends.label_studio.tasks import read_project
from backends.micro.course import Course, Tools
from backends.micro.nouns import Scope, Standing
from backends.micro.scope_training import ScopeTraining
from backends.micro.scopes import fills, scopes
from backends.micro.sync import synchronised

log = logging.getLogger(__name__)

# Of several scopes each has its share of the time, but never less than a model needs.
_LEAST_BUDGET_S = 15.0


class Announce(Protocol):
    """Has predictions refreshed to the present models."""

    def __call__(self, project: Project, first: Sequence[int], *, anyway: bool) -> None:
        """Those of the tasks `first` before all others; `anyway`: also if they seem to be so."""


class Learner:
    """Trains projects' models. Keeps nothing between calls; safe among processes."""

    def __init__(self, tools: Tools, studios: LabelStudios, announce: Announce) -> None:
        self._tools, self._studios, self._announce = tools, studios, announce
        self._store = tools.store

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """See `backends.interface.Learner`."""
        begun = self._store.standing(project_key)
        try:
            labels = self._learn(begun, go_on, tell)
        except LabelStudioRefused as error:
            self._failed(begun, str(error))
            raise
        except LabelStudioError:
            raise  # the same will be tried again
        except LabelpilotError as error:
            self._failed(begun, str(error))
            raise
        finally:
            self._store.note_step(project_key, None)
        self._store.note_seen(begun, labels=labels)

    def _failed(self, begun: Standing, reason: str) -> None:
        """Whatever comes next may be tried, but this not again for ever."""
        self._store.note_failure(begun.project_key, reason)
        self._store.note_seen(begun, labels=begun.labels)

    def _learn(
        self, begun: Standing, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> int:
        """How many labelled tasks there are."""
        key = begun.project_key
        tell("compares with Label Studio")
        client = self._studios.sdk(key)
        found, _ = read_project(client, int(key.split(".")[0]))
        project = replace(found, key=key)
        if not fills(project.config):
            self._say(key, "no control of the label config is one that a micro-model could fill")
            return 0
        synchronised(client, project.id, key, self._store, go_on=go_on)
        labelled = self._store.labelled(key)
        tell("")
        wanted = scopes(project.config, labelled)
        course = Course(
            project=project,
            client=client,
            labelled=labelled,
            budget_s=_share(self._tools.settings.train_budget_s, len(wanted)),
            asked=begun.asked,
            go_on=go_on,
            early=lambda: self._announce(project, (), anyway=False),
        )
        first = self._train_each(wanted, course)
        self._announce(project, first, anyway=begun.tasks_came)
        return len(labelled)

    def _train_each(self, wanted: Sequence[Scope], course: Course) -> list[int]:
        """The tasks to answer first with what was promoted."""
        key = course.project.key
        first: list[int] = []
        notes: list[str] = []
        failures: list[str] = []
        for scope in wanted:
            course.go_on()
            name = f"{scope.key}: " if len(wanted) > 1 else ""
            try:
                outcome = ScopeTraining(self._tools, course, scope).run()
            except LabelStudioError:
                raise
            except LabelpilotError as error:  # one scope must not keep the others from learning
                log.warning("project %s, %s: not trained: %s", course.project.id, scope.key, error)
                failures.append(f"{name}{error}")
                continue
            notes += [f"{name}{outcome.note}"] if outcome.note else []
            first += outcome.first
        least = self._tools.settings.train_first_at
        self._say(key, "; ".join(notes) if wanted else f"no labels yet: training begins at {least}")
        self._store.note_failure(key, "; ".join(failures))
        return first

    def _say(self, project_key: str, note: str) -> None:
        self._store.note(project_key, note)
        if note:
            log.info("project %s: %s", project_key.split(".")[0], note)


def _share(budget_s: float, scopes_: int) -> float:
    return max(budget_s / max(scopes_, 1), min(_LEAST_BUDGET_S, budget_s))
