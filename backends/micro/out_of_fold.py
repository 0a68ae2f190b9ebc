"""What models that never saw a label find in its picture: every label judged by a stranger.

Each of a few folds of a scope's labelled pictures is held out in turn from a training of all the
others. What was found is kept beside the models until a label changes, or more time is given.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from backends.artifacts import open_artifacts
from backends.errors import StateError
from backends.interface import Project
from backends.label_studio.client import LabelStudios
from backends.label_studio.tasks import read_project
from backends.micro.course import Course, Tools
from backends.micro.exchange import Key, Material, Request, keys, write_json
from backends.micro.gathering import Lesson, Pictures, gather
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.scopes import fills, scopes
from backends.micro.sync import synchronised
from backends.micro.training import train
from backends.settings import Settings
from micro_models.region_json import from_json, to_json
from micro_models.regions import Region

Tell = Callable[[str, float], None]  # what is being done, and which part of all is: 0..1
GoOn = Callable[[], None]
Regions = tuple[Region, ...]

FOLDS = 5
# Below this nobody would call it found.
LEAST_SCORE = 0.05
# A model that learns for less is no judge.
_LEAST_BUDGET_S = 6.0


@dataclass(frozen=True)
class Judged:
    """A labelled picture: what people say is in it, and what a stranger to its labels found.

    `found` is best first, with calibrated scores, P(right), from `LEAST_SCORE` on; of classes of
    the whole image every one is there.
    """

    task_id: int
    picture: Path
    given: Regions
    found: Regions
    frame: int | None = None


@dataclass(frozen=True)
class OutOfFold:
    """The labelled pictures of a scope. `data` changes whenever a label of it does.

    `problems`: by task id why it is not among them, or what of it is not; 0: of no task alone.
    """

    scope: Scope
    data: str
    judged: tuple[Judged, ...] = ()
    problems: Mapping[int, str] = field(default_factory=dict)


def judged_labels(
    tools: Tools,
    studios: LabelStudios,
    project_id: int,
    *,
    tell: Tell = lambda _text, _part: None,
    go_on: GoOn = lambda: None,
) -> tuple[Project, list[OutOfFold]]:
    """Every label of a project as Label Studio has it now, and what strangers to it find.

    Takes `review_budget_s` for all scopes together, or a moment where no label has changed since
    the last time. Clips are not looked at: neighbouring frames know each other. `go_on` is called
    all the time and raises to stop. Errors: `LabelStudioError`, `TrainingFailed`, `StateError`.
    """
    tell("compares with Label Studio", 0.0)
    client = studios.sdk()
    project, _ = read_project(client, project_id)
    synchronised(client, project.id, project.key, tools.store, go_on=go_on)
    labelled = tools.store.labelled(project.key)
    if not fills(project.config):
        return project, []
    wanted = [one for one in scopes(project.config, labelled) if one.kind is not ScopeKind.CLIP]
    budget_s = max(tools.settings.review_budget_s / max(len(wanted), 1), _LEAST_BUDGET_S * FOLDS)
    course = Course(
        project=project,
        client=client,
        labelled=labelled,
        budget_s=budget_s,
        asked=True,
        go_on=go_on,
        early=lambda _first: None,
    )
    found = []
    for number, scope in enumerate(wanted):

        def told(text: str, part: float, number: int = number, name: str = scope.key) -> None:
            prefix = f"{name}: " if len(wanted) > 1 else ""
            tell(f"{prefix}{text}", (number + part) / len(wanted))

        found.append(_Scope(tools, course, scope, told).judged())
    return project, found


def kept_folder(settings: Settings, project_key: str) -> Path:
    """Where what was found of a project is kept; who deletes it has all measured again."""
    return settings.data_path / "out_of_fold" / _digest(project_key)


def forget_found(settings: Settings, project_key: str) -> None:
    """Delete what was found of a project that is gone; what cannot be deleted stays."""
    shutil.rmtree(kept_folder(settings, project_key), ignore_errors=True)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class _Scope:
    """The labels of one scope."""

    def __init__(self, tools: Tools, course: Course, scope: Scope, tell: Tell) -> None:
        self._tools, self._course, self._scope, self._tell = tools, course, scope, tell
        folder = kept_folder(tools.settings, course.project.key)
        self._kept = folder / f"{_digest(scope.key)}.json"

    def judged(self) -> OutOfFold:
        self._tell("reads labels", 0.0)
        lesson = gather(self._tools, self._course, self._scope)
        problems = dict(lesson.problems)
        found = self._known(lesson.data)
        if found is None:
            with self._tools.registry.workspace() as folder:
                found = self._found(lesson, lesson.pictures(folder), folder, problems)
        material, names = lesson.labelled, keys(lesson.labelled)
        judged = tuple(
            Judged(one.task_id, one.picture, one.regions, found[name], one.frame)
            for one, name in zip(material, names, strict=True)
            if name in found
        )
        for one, name in zip(material, names, strict=True):
            if name not in found:
                problems.setdefault(one.task_id, "no model could be made of the other labels")
        return OutOfFold(self._scope, lesson.data, judged, problems)

    def _known(self, data: str) -> dict[Key, Regions] | None:
        """What was found before, on this machine or another one."""
        known = _read(self._kept, data, self._course.budget_s)
        if known is None and (store := open_artifacts(self._tools.settings)) is not None:
            with suppress(StateError, OSError):  # then it is found again
                self._kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                store.get(self._name, self._kept)
            known = _read(self._kept, data, self._course.budget_s)
        return known

    @property
    def _name(self) -> str:
        return f"out_of_fold/{self._kept.parent.name}/{self._kept.name}"

    def _found(
        self, lesson: Lesson, pictures: Pictures, folder: Path, problems: dict[int, str]
    ) -> dict[Key, Regions]:
        """Per picture what was found when it was held out."""
        groups = _groups(pictures.labelled)
        found: dict[Key, Regions] = {}
        names = keys(pictures.labelled)
        is_whole = True
        for number, group in enumerate(groups):
            told = partial(self._told, number, len(groups))
            rest = [n for n in range(len(names)) if n not in set(group)]
            if not any(pictures.labelled[n].regions for n in rest):
                continue
            answers = self._of_fold(lesson, pictures, rest, group, folder / f"{number}", told)
            for n, answer in zip(group, answers, strict=True):
                if answer is None:
                    is_whole = False
                    problems[pictures.labelled[n].task_id] = "its picture cannot be read"
                else:
                    found[names[n]] = answer
        if is_whole and found:
            _write(self._kept, lesson.data, self._course.budget_s, found)
            if (store := open_artifacts(self._tools.settings)) is not None:
                store.put_later(self._name, self._kept)
        return found

    def _of_fold(
        self,
        lesson: Lesson,
        pictures: Pictures,
        rest: Sequence[int],
        group: Sequence[int],
        folder: Path,
        told: Callable[[str, float], None],
    ) -> list[Regions | None]:
        """What a model of the `rest` finds in the pictures of the group."""
        from micro_models import load

        folder.mkdir()
        labelled = pictures.labelled
        request = Request(
            examples=tuple(labelled[n] for n in rest),
            unlabelled=pictures.others,
            budget_s=self._course.budget_s / FOLDS,
            seed=int(lesson.data[:8], 16),
            device=self._tools.settings.train_device,
        )
        trained = train(
            request,
            folder,
            told=lambda progress: told(progress.stage, progress.spent),
            go_on=self._course.go_on,
            on_better=lambda _early: None,
        )
        told("looks at what was held out", 1.0)
        model = load(trained.folder)
        answers: list[Regions | None] = []
        for n in group:
            self._course.go_on()
            answers.append(_looked(model, labelled[n].picture))
        return answers

    def _told(self, number: int, count: int, text: str, part: float) -> None:
        self._tell(f"part {number + 1} of {count}: {text}", (number + part) / count)


def _groups(material: Sequence[Material]) -> Sequence[Sequence[int]]:
    """Indices of pictures that are held out together."""
    from micro_models.examples import Example
    from micro_models.fitting.folds import folds

    if len(material) < 2:
        return ()
    return folds([Example(one.picture, one.regions) for one in material], count=FOLDS)


def _looked(model: Any, picture: Path) -> Regions | None:
    """None where the picture cannot be read."""
    from micro_models.pictures import UnreadableImage

    try:
        return tuple(model.detect([picture], min_score=LEAST_SCORE)[0])
    except (UnreadableImage, FileNotFoundError):
        return None


def _write(path: Path, data: str, budget_s: float, found: Mapping[Key, Regions]) -> None:
    rows = [[*key, [to_json(one) for one in regions]] for key, regions in found.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(path, {"data": data, "budget_s": budget_s, "found": rows})
    except OSError as error:
        raise StateError(
            "what was found cannot be kept", advice="see whether the disk is full"
        ) from error


def _read(path: Path, data: str, budget_s: float) -> dict[Key, Regions] | None:
    """What is kept of exactly these labels, by models that learned for as long or longer."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        stored = json.loads(path.read_bytes())
        if stored["data"] == data and stored["budget_s"] >= budget_s:
            return {
                (row[0], row[1], row[2]): tuple(from_json(one) for one in row[3])
                for row in stored["found"]
            }
    return None
