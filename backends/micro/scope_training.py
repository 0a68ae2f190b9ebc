"""One scope's training: what it learns from, the model, and whether that is promoted."""

from __future__ import annotations

import time
from dataclasses import dataclass

from backends.interface import Task
from backends.micro.course import Course, Tools
from backends.micro.gathering import Lesson, gather
from backends.micro.nouns import ModelVersion, Scope, ScopeKind, Step
from backends.micro.promotion import Verdict, judge
from backends.micro.rivalry import rival_f1
from backends.micro.training import Request, Trained, train
from micro_models.budget import Progress

_STEP_EVERY_S = 0.5


@dataclass(frozen=True)
class Outcome:
    """What became of a scope; `first`: the tasks to answer first; `note`: why nothing was done."""

    promoted: bool = False
    first: tuple[int, ...] = ()
    note: str = ""


class ScopeTraining:
    """Trains the model of one scope, once."""

    def __init__(self, tools: Tools, course: Course, scope: Scope) -> None:
        self._tools, self._course, self._scope = tools, course, scope
        self._store, self._key = tools.store, course.project.key
        self._told_at = 0.0

    def run(self) -> Outcome:
        """Train if there is something new. Errors: `TrainingFailed`, `LabelStudioError`."""
        with self._tools.registry.workspace() as folder:
            lesson = gather(self._tools, self._course, self._scope, folder)
            if note := self._why_not(lesson):
                return Outcome(note=note)
            latest = self._latest()
            if latest is not None and latest.data == lesson.data:
                return Outcome(note=f"nothing has changed since version {latest.id} was trained")
            before = self._store.current(self._key).get(self._scope.key)
            request = Request(
                examples=lesson.material,
                unlabelled=lesson.unlabelled,
                budget_s=self._course.budget_s,
                seed=int(lesson.data[:8], 16),
                device=self._tools.settings.train_device,
                rival_folder=self._tools.registry.folder(before) if before else None,
            )
            trained = train(
                request,
                folder,
                told=self._told,
                go_on=self._course.go_on,
                on_better=lambda early: self._take_early(early, lesson, before),
            )
            return self._take(trained, lesson, before)

    def _why_not(self, lesson: Lesson) -> str:
        count, least = len(lesson.material), self._tools.settings.train_first_at
        if not any(one.regions for one in lesson.material):
            problem = next(iter(lesson.problems.values()), "")
            return "nothing to learn from yet" + (f": {problem}" if problem else "")
        if count < least and not self._course.asked:
            return f"{count} of {least} labels: training begins at {least}"
        return ""

    def _latest(self) -> ModelVersion | None:
        return next(iter(self._store.versions(self._key, self._scope.key)), None)

    def _take_early(self, trained: Trained, lesson: Lesson, before: ModelVersion | None) -> None:
        """A first model is better than none; one that answers already is not replaced by it."""
        if before is not None:
            return
        verdict = judge(lesson.truth, trained.held_out, trained.old)
        # It is not what these labels were trained to: a training that is cut off is done again.
        row = self._row(trained, lesson, verdict, None, data="")
        self._tools.registry.add(trained, row)
        self._tools.registry.promote(self._key, self._scope.key, row.id)
        self._course.early()

    def _take(self, trained: Trained, lesson: Lesson, before: ModelVersion | None) -> Outcome:
        verdict = judge(lesson.truth, trained.held_out, trained.old)
        parent = before or self._store.current(self._key).get(self._scope.key)
        row = self._row(trained, lesson, verdict, parent, data=lesson.data)
        self._tools.registry.add(trained, row)
        if verdict.promote:
            self._tools.registry.promote(self._key, self._scope.key, row.id)
        self._tools.registry.prune()
        if not verdict.promote:
            return Outcome(note=f"version {row.id} was not promoted: {verdict.why}")
        return Outcome(promoted=True, first=self._first(trained))

    def _first(self, trained: Trained) -> tuple[int, ...]:
        """Which tasks to answer first, the least certain one before all others."""
        if self._scope.kind is ScopeKind.CLIP:
            return (int(self._scope.value),)
        return tuple(sorted(trained.certainty, key=trained.certainty.__getitem__))

    def _row(
        self,
        trained: Trained,
        lesson: Lesson,
        verdict: Verdict,
        parent: ModelVersion | None,
        *,
        data: str,
    ) -> ModelVersion:
        return ModelVersion(
            id=trained.version,
            project_key=self._key,
            scope=self._scope.key,
            made_at=time.time(),
            labels=len(lesson.material),
            data=data,
            why=verdict.why,
            quality=verdict.quality,
            baseline=verdict.baseline,
            f1=verdict.f1,
            rival=self._rival(trained, lesson) if data else None,
            parent=parent.id if parent else None,
            report=trained.report,
        )

    def _rival(self, trained: Trained, lesson: Lesson) -> float | None:
        """What the pre-labeller would have shown for the images that were held out."""
        if self._tools.rival is None or self._scope.kind is ScopeKind.CLIP:
            return None
        truth = {
            one.task_id: one.regions
            for one, found in zip(lesson.material, trained.held_out, strict=True)
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
        self._store.note_step(self._key, step)
