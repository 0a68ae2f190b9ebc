"""One scope's training: what it learns from, the model, and whether that is promoted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from backends.errors import StateError
from backends.interface import Task
from backends.micro.course import Course, Tools
from backends.micro.exchange import Request, Trained
from backends.micro.gathering import Lesson, Pictures, gather
from backends.micro.nouns import ModelVersion, Scope, ScopeKind, Step
from backends.micro.promotion import Verdict, judge
from backends.micro.rivalry import rival_f1
from backends.micro.training import train
from micro_models.budget import Progress

_STEP_EVERY_S = 0.5
# Where nothing could be held out in the time, on a slow or busy machine, so many times as much.
_PATIENCE = (1, 3)


@dataclass(frozen=True)
class Outcome:
    """What became of a scope: the tasks to answer `first`; `note`: what people should know."""

    first: tuple[int, ...] = ()
    note: str = ""


class ScopeTraining:
    """Trains the model of one scope, once."""

    def __init__(self, tools: Tools, course: Course, scope: Scope) -> None:
        self._tools, self._course, self._scope = tools, course, scope
        self._store, self._key = tools.store, course.project.key
        self._told_at = 0.0
        self._lesson: Lesson | None = None
        self._before: ModelVersion | None = None  # what a promotion would replace

    def is_due(self) -> bool:
        """Whether there is something new to train on. Errors: `LabelStudioError`."""
        lesson = gather(self._tools, self._course, self._scope)
        is_due = not self._why_not(lesson)
        self._lesson = lesson if is_due else None  # labels with masks are large
        return is_due

    def run(self, *, budget_s: float) -> Outcome:
        """Train if there is something new. Errors: `TrainingFailed`, `LabelStudioError`."""
        lesson = self._lesson or gather(self._tools, self._course, self._scope)
        self._lesson = None
        if note := self._why_not(lesson):
            return Outcome(note=note)
        for times in _PATIENCE:
            with self._tools.registry.workspace() as folder:
                pictures = lesson.pictures(folder)
                trained = self._trained(pictures, folder, lesson, times * budget_s)
                verdict = self._verdict(trained, pictures)
                if verdict.is_measured or times == _PATIENCE[-1]:
                    return self._take(trained, lesson, pictures, verdict)
        raise AssertionError

    def _trained(
        self, pictures: Pictures, folder: Path, lesson: Lesson, budget_s: float
    ) -> Trained:
        self._before = self._store.current(self._key).get(self._scope.key)
        before = self._before if self._before and self._is_here(self._before) else None
        request = Request(
            examples=pictures.labelled,
            unlabelled=pictures.others,
            pseudo=pictures.pseudo,
            budget_s=budget_s,
            seed=int(lesson.data[:8], 16),
            device=self._tools.settings.train_device,
            rival_folder=self._tools.registry.fetch(before) if before else None,
            threshold=self._tools.settings.micro_score_threshold,
        )
        return train(
            request,
            folder,
            told=self._told,
            go_on=self._course.go_on,
            on_better=lambda early: self._take_early(early, pictures, before),
        )

    def _why_not(self, lesson: Lesson) -> str:
        count, least = lesson.labels, self._tools.settings.train_first_at
        if not any(lesson.truth):
            problem = next(iter(lesson.problems.values()), "")
            return "nothing to learn from yet" + (f": {problem}" if problem else "")
        if count < least and not self._course.asked:
            too_few = f"{count} of {least} labels: training begins at {least}"
            return "; ".join(filter(None, [too_few, _left_out(lesson)]))
        versions = self._store.versions(self._key, self._scope.key)
        latest = next(iter(versions), None)
        if latest is not None and latest.data == lesson.data and not self._is_lost(versions):
            unchanged = f"nothing has changed since version {latest.id} was trained"
            return "; ".join(filter(None, [unchanged, _left_out(lesson)]))
        return ""

    def _is_lost(self, versions: Sequence[ModelVersion]) -> bool:
        """Whether none of them answers any more."""
        current = next((one for one in versions if one.is_current), None)
        if current is None:
            return any(one.promoted_at is not None for one in versions)
        return not self._is_here(current)

    def _is_here(self, version: ModelVersion) -> bool:
        return self._tools.registry.is_there(version)

    def _take_early(
        self, trained: Trained, pictures: Pictures, before: ModelVersion | None
    ) -> None:
        """A first model is better than none; one that answers already is not replaced by it."""
        if before is not None:
            return
        self._keep(trained, pictures, self._verdict(trained, pictures))
        self._course.early(self._first(trained) or tuple(number for number, _ in pictures.others))

    def _take(
        self, trained: Trained, lesson: Lesson, pictures: Pictures, verdict: Verdict
    ) -> Outcome:
        row = self._keep(trained, pictures, verdict)
        if row.is_current == verdict.promote:
            self._store.add_version(replace(row, data=lesson.data))
        else:  # to be compared with what answers by now
            self._store.note_event([self._key], submissions=0)
        self._tools.registry.prune()
        if not row.is_current:
            return Outcome(note=f"version {row.id} was not promoted: {row.why}")
        return Outcome(first=self._first(trained), note=_left_out(lesson))

    def _keep(self, trained: Trained, pictures: Pictures, verdict: Verdict) -> ModelVersion:
        """Keep a model, and let it answer if it may: it is current then.

        Its row lacks the hash over the labels: what is cut off before that is told is done again.
        """
        row, registry = self._row(trained, pictures, verdict), self._tools.registry
        row = registry.add(trained, row)
        if not verdict.promote:
            return row
        before = self._before.id if self._before else None
        if not registry.promote(self._key, self._scope.key, row.id, instead_of=before):
            row = replace(row, why="meanwhile somebody let another model answer")
            self._store.add_version(row)
            return row
        self._before = replace(row, is_current=True)
        return self._before

    def _verdict(self, trained: Trained, pictures: Pictures) -> Verdict:
        truth = [one.regions for one in pictures.labelled]
        lost = self._before.lost if self._before else 0.0
        return judge(truth, trained.held_out, trained.old, later=trained.later, lost=lost)

    def _first(self, trained: Trained) -> tuple[int, ...]:
        """Which tasks to answer first, the least certain one before all others."""
        if self._scope.kind is ScopeKind.CLIP:
            return (int(self._scope.value),)
        return tuple(sorted(trained.certainty, key=trained.certainty.__getitem__))

    def _row(self, trained: Trained, pictures: Pictures, verdict: Verdict) -> ModelVersion:
        parent = self._before
        return ModelVersion(
            id=trained.version,
            project_key=self._key,
            scope=self._scope.key,
            made_at=self._store.now(),
            labels=len(pictures.labelled),
            data="",
            why=verdict.why,
            quality=verdict.quality,
            baseline=verdict.baseline,
            f1=verdict.f1,
            rival=self._rival(trained, pictures),
            parent=parent.id if parent and parent.id != trained.version else None,
            lost=verdict.lost,
            report=trained.report,
        )

    def _rival(self, trained: Trained, pictures: Pictures) -> float | None:
        """What the pre-labeller would have shown for the images that were held out."""
        if self._tools.rival is None or self._scope.kind is ScopeKind.CLIP:
            return None
        truth = {
            one.task_id: one.regions
            for one, found in zip(pictures.labelled, trained.held_out, strict=True)
            if found is not None
        }
        tasks = [Task(one.id, one.data) for one in self._course.labelled if one.id in truth]
        return rival_f1(
            self._tools.rival, self._course.project, tasks, truth, go_on=self._course.go_on
        )

    def _told(self, progress: Progress) -> None:
        if time.monotonic() - self._told_at < _STEP_EVERY_S:
            return
        self._told_at = time.monotonic()
        step = Step(
            scope=self._scope.key,
            stage=progress.stage,
            spent=progress.spent,
            step=progress.step,
            loss=progress.loss,
            remaining_s=progress.remaining_s,
        )
        with suppress(StateError):  # a figure on a page is not worth a training
            self._store.note_step(self._key, step)


def _left_out(lesson: Lesson) -> str:
    """What of the labels was not learned, "" for nothing."""
    if not lesson.problems:
        return ""
    task, problem = next(iter(sorted(lesson.problems.items())))
    more = f", and {len(lesson.problems) - 1} more" if len(lesson.problems) > 1 else ""
    return f"not all labels are learned from: task {task}{more}: {problem}"
