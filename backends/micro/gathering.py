"""What one training learns from, whether its scope is of images or of a clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from backends.errors import LabelStudioError, MediaError
from backends.interface import ImageFile, LabelConfig, LabelledTask, Medium, Task, VideoFile
from backends.label_studio.annotations import first_image
from backends.micro.clips import ClipTruth, clip_examples
from backends.micro.course import Course, Tools
from backends.micro.examples import data_hash, examples
from backends.micro.exchange import Material
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.scopes import covers, video_controls
from backends.micro.unlabelled import located, pool
from backends.micro.video import frames_of
from micro_models.regions import Region

# `fit` learns from 60 of them; all are answered first, the least certain one before the others.
_UNLABELLED = 120
# Of what is accepted as many are fetched as are learned from.
_PSEUDO_PER_LABEL = 4


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, and (id, picture) of others: of tasks, or of frames of a clip.

    `pseudo` have what a certificate vouches for.
    """

    labelled: tuple[Material, ...] = ()
    others: tuple[tuple[int, Path], ...] = ()
    pseudo: tuple[Material, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """What labels teach: per picture its regions; a hash over all; what was left out, by task.

    `labels`: how many tasks are labelled, or how many frames of a clip are drawn. `pictures` writes
    them to a folder and fetches unlabelled ones, which takes seconds; `labelled` are those that are
    files already.
    """

    truth: tuple[tuple[Region, ...], ...]
    data: str
    labels: int
    pictures: Callable[[Path], Pictures]
    problems: Mapping[int, str] = field(default_factory=dict)
    labelled: tuple[Material, ...] = ()


def gather(tools: Tools, course: Course, scope: Scope) -> Lesson:
    """What a scope's labels teach. Errors: `LabelStudioError`."""
    if scope.kind is not ScopeKind.CLIP:
        return _of_images(tools, course, scope)
    medium = clip_medium(course.project.config)
    (task,) = (one for one in course.labelled if covers(scope, one))
    try:
        return _of_clip(tools, course, task, medium)
    except LabelStudioError:
        raise
    except MediaError as error:
        return Lesson((), "", 0, lambda _: Pictures(), {task.id: str(error)})


def clip_medium(config: LabelConfig) -> Medium:
    """The `<Video>` that models of clips learn; there has to be one."""
    names = {control.to_name for control in video_controls(config)}
    return next(one for one in config.media if one.name in names)


def _of_images(tools: Tools, course: Course, scope: Scope) -> Lesson:
    name = first_image(course.project.config)
    key = next(one.data_key for one in course.project.config.media if one.name == name)

    def locate(task: LabelledTask | Task) -> ImageFile:
        return tools.images.locate(_url(task, key), course.project.key, task.id)

    found = examples(scope, course.project, course.labelled, locate, go_on=course.go_on)
    labelled, data = tuple(found.material), data_hash(found.material)

    def pictures(_folder: Path) -> Pictures:
        tasks = pool(
            course.client,
            course.project,
            scope,
            known_ids={one.id for one in course.labelled},
            limit=_UNLABELLED,
            rng=np.random.default_rng(int(data, 16)),
            go_on=course.go_on,
        )
        others = tuple(located(tasks, locate, go_on=course.go_on))
        vouched = course.pseudo[: _PSEUDO_PER_LABEL * len(labelled)]
        more = examples(scope, course.project, vouched, locate, go_on=course.go_on)
        return Pictures(labelled, others, tuple(more.material))

    truth = tuple(one.regions for one in labelled)
    return Lesson(truth, data, len(labelled), pictures, found.problems, labelled)


def _of_clip(tools: Tools, course: Course, task: LabelledTask, medium: Medium) -> Lesson:
    url = _url(task, medium.data_key)
    video = tools.videos.locate_video(url, course.project.key, task.id)
    annotations = [dict(one) for one in task.annotations]
    truth = clip_examples(annotations, course.project.config, video, medium=medium, data=task.data)
    # Named by what says all about a picture: which frame of which video. What is known and not
    # learned from changes the tracks all the same.
    named = [
        Material(task.id, Path(f"{kind} {video.digest} {frame}"), regions, frame)
        for kind, frames in (("learned", truth.frames), ("known", truth.known))
        for frame, regions in frames.items()
    ]
    return Lesson(
        tuple(truth.frames.values()),
        data_hash(named),
        truth.key_frames,
        partial(_frames, tools, course, task.id, video, truth),
        {task.id: "; ".join(truth.problems)[:500]} if truth.problems else {},
    )


def _frames(
    tools: Tools, course: Course, task_id: int, video: VideoFile, truth: ClipTruth, folder: Path
) -> Pictures:
    paths = frames_of(
        video,
        tools.videos,
        truth.frames,
        folder,
        progress=lambda _done, _in_all: course.go_on(),
    )
    labelled = (
        Material(task_id, paths[frame], regions, frame)
        for frame, regions in truth.frames.items()
        if frame in paths
    )
    others = ((frame, path) for frame, path in paths.items() if frame not in truth.known)
    return Pictures(tuple(labelled), tuple(others))


def _url(task: LabelledTask | Task, key: str) -> str:
    """Errors: `MediaError`."""
    url = task.data.get(key)
    if not isinstance(url, str) or not url:
        raise MediaError(
            f"the task's data has nothing under {key!r}",
            advice=f'the label config says value="${key}": import tasks with that key',
        )
    return url
