"""Tasks -> predictions, with the models of the scopes that cover each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from backends.errors import LabelpilotError, MediaError
from backends.interface import (
    Clip,
    ImageFile,
    ImageSource,
    Labelled,
    Medium,
    PlacedRegion,
    PlacedTrack,
    Prediction,
    Project,
    Task,
    TaskProgress,
    VideoFile,
    VideoSource,
)
from backends.label_studio.pipeline import (
    AHEAD,
    VIDEOS_AHEAD,
    Item,
    Located,
    Pipeline,
    explained,
    finished,
)
from backends.micro.certainty import certainty
from backends.micro.controls import Controls, placed_tracks
from backends.micro.nouns import ModelVersion, Scope, ScopeKind
from backends.micro.scopes import covers, image_controls, video_controls
from backends.micro.shelf import ModelShelf
from backends.micro.tracked import read_tracks_file, tracks_file, write_tracks_file
from backends.micro.video import track_clip
from backends.settings import Settings
from micro_models.active_learning.certainty import joint_certainty, near_miss_floor
from micro_models.pictures import UnreadableImage
from micro_models.regions import Region
from micro_models.stitching import stitched
from micro_models.tracks import Track

if TYPE_CHECKING:
    from micro_models import MicroModel

Frames = Mapping[int, tuple[Region, ...]]
# Task id, the prediction's score 0..1, what is shown: for who wants the least sure ones.
TellShown = Callable[[int, float, Sequence[Region]], None]


@dataclass(frozen=True)
class Work:
    """What is to be done for the tasks of a project.

    `models`: the version that answers for each scope. `known`: by frame what people drew in a
    task's video, which is taken as drawn.
    """

    project: Project
    version: str
    models: Mapping[Scope, ModelVersion]
    known: Callable[[Task, VideoFile], Frames] | None = None

    def of(self, task: Task) -> dict[Scope, ModelVersion]:
        """The models that answer for a task."""
        return {scope: version for scope, version in self.models.items() if covers(scope, task)}


@dataclass(frozen=True)
class _Plan:
    """Work, and what its label config means for all tasks."""

    work: Work
    controls: Controls
    image: Medium | None
    video: Medium | None
    shown: TellShown | None

    @classmethod
    def of(cls, work: Work, shown: TellShown | None) -> _Plan:
        config = work.project.config
        image, video = (
            next((one for one in config.media if one.name in names), None)
            for controls in (image_controls(config), video_controls(config))
            for names in [{control.to_name for control in controls}]
        )
        return cls(work, Controls(config), image, video, shown)

    @property
    def has_clips(self) -> bool:
        """Whether any model answers for a video."""
        return any(scope.kind is ScopeKind.CLIP for scope in self.work.models)

    def media(self, task: Task) -> list[Medium]:
        """What the models that cover a task look at; the video first, its size is the answer's."""
        are_clips = {scope.kind is ScopeKind.CLIP for scope in self.work.of(task)}
        wanted = (self.video, True), (self.image, False)
        return [medium for medium, kind in wanted if medium is not None and kind in are_clips]

    def on_image(self, task: Task) -> dict[Scope, ModelVersion]:
        """The models that look at a task's image."""
        found = self.work.of(task)
        return {one: found[one] for one in found if one.kind is not ScopeKind.CLIP}

    def on_video(self, task: Task) -> list[ModelVersion]:
        """The model that looks at a task's video, if there is one."""
        found = self.work.of(task)
        return [found[one] for one in found if one.kind is ScopeKind.CLIP]


class Labeller:
    """Labels tasks with micro-models. Keeps nothing but loaded models; any thread may call."""

    def __init__(
        self, *, images: ImageSource, videos: VideoSource, shelf: ModelShelf, settings: Settings
    ) -> None:
        self._images = images
        self._videos = videos
        self._shelf = shelf
        self._threshold = settings.micro_score_threshold
        self._track_min_iou = settings.track_min_iou

    def label(
        self,
        work: Work,
        tasks: Iterable[Task],
        *,
        progress: TaskProgress | None = None,
        shown: TellShown | None = None,
    ) -> Iterator[Labelled]:
        """The tasks in order; a bad one costs none but itself, one that no scope covers has none.

        `shown` is told of each image. Errors: `ModelMissing` where the only model cannot be used.
        """
        if len(work.models) == 1:
            self._shelf.model(*work.models.values())
        plan = _Plan.of(work, shown)
        with Pipeline(
            tasks,
            locate=partial(self._locate, plan),
            needed=partial(self._needed, plan),
            images=self._images,
            ahead=VIDEOS_AHEAD if plan.has_clips else AHEAD,
        ) as pipeline:
            for item in (item for batch in pipeline.batches() for item in batch):
                if item.error is None and not item.files:
                    yield Labelled(item.task)
                    continue
                yield finished(item, partial(self._answer, plan, item), progress)
                item.pixels.clear()

    def _locate(self, plan: _Plan, task: Task) -> Located:
        """A task's files, none if no scope covers it. Errors: `MediaError` where it has none."""
        media = plan.media(task)
        urls = {one.name: task.data.get(one.data_key) for one in media}
        if media and not any(map(_is_url, urls.values())):
            key = media[0].data_key
            raise MediaError(
                f"the task's data has nothing under {key!r}",
                advice=f'the label config says value="${key}": import tasks with that key',
            )
        return {
            one.name: self._file(one, plan.work, task) for one in media if _is_url(urls[one.name])
        }

    def _file(self, medium: Medium, work: Work, task: Task) -> ImageFile | VideoFile:
        locate = self._videos.locate_video if medium.tag == "Video" else self._images.locate
        return locate(task.data[medium.data_key], work.project.key, task.id)

    def _needed(self, plan: _Plan, item: Item) -> list[str]:
        """The image, where a model looks at it as large as it is: else it is read reduced."""
        if plan.image is None or plan.image.name not in item.files:
            return []
        try:
            models = [self._shelf.model(one) for one in plan.on_image(item.task).values()]
        except LabelpilotError as error:
            item.error = error
            return []
        return [plan.image.name] if any(model.factor == 1.0 for model in models) else []

    def _answer(self, plan: _Plan, item: Item, progress: TaskProgress) -> Prediction:
        placed: list[PlacedRegion | PlacedTrack] = []
        sure: list[float] = []
        clip: Clip | None = None
        for medium in plan.media(item.task):
            file = item.files.get(medium.name)
            if isinstance(file, VideoFile):
                clip = file.clip
                found, certain = self._tracks(plan, medium, file, item.task, progress)
                placed += found
                sure.append(certain)
            elif isinstance(file, ImageFile):
                regions, certain = self._regions(plan, medium, file, item)
                placed += regions
                sure.append(certain)
        first = next(iter(item.files.values()))
        return Prediction(
            regions=tuple(placed),
            score=joint_certainty(sure),
            version=plan.work.version,
            width_px=first.width_px,
            height_px=first.height_px,
            clip=clip,
        )

    def _regions(
        self, plan: _Plan, medium: Medium, file: ImageFile, item: Item
    ) -> tuple[list[PlacedRegion], float]:
        """What all models see in the image together, and how sure the least sure of them is."""
        answers: list[list[Region]] = []
        sure: list[float] = []
        for scope, version in plan.on_image(item.task).items():
            model = self._shelf.model(version)
            every = self._seen(plan, model, medium, file, item)
            found = [one for one in every if plan.controls.belongs(one, scope)]
            answers.append(found)
            sure.append(certainty(found, plan.controls, model.report, threshold=self._threshold))
        score = joint_certainty(sure)
        regions = [one for one in stitched(answers) if one.score >= self._threshold]
        if plan.shown is not None and item.task.id is not None:
            plan.shown(item.task.id, score, regions)
        size_px = (file.width_px, file.height_px)
        placed = plan.controls.placed(regions, task_key=_key(item.task, file), size_px=size_px)
        if len(item.files) > 1:
            placed = [replace(one, size_px=size_px) for one in placed]
        return placed, score

    def _seen(
        self, plan: _Plan, model: MicroModel, medium: Medium, file: ImageFile, item: Item
    ) -> list[Region]:
        """Candidates down to near misses. A file is read no larger than the model looks at it."""
        floor = near_miss_floor(self._threshold)
        if model.factor == 1.0:
            return model.detect([item.image(medium.name)], min_score=floor)[0]
        try:
            return model.detect([file.path], min_score=floor)[0]
        except (UnreadableImage, FileNotFoundError):
            # Damaged, which the source explains better, or gone from the cache since.
            again = self._images.locate(
                item.task.data[medium.data_key], plan.work.project.key, item.task.id
            )
            whole = explained(lambda: self._images.read(again))
            return model.detect([whole], min_score=floor)[0]

    def _tracks(
        self, plan: _Plan, medium: Medium, file: VideoFile, task: Task, progress: TaskProgress
    ) -> tuple[list[PlacedTrack], float]:
        if not file.path.exists():  # the cache let go of it while others were tracked
            file = self._videos.locate_video(
                task.data[medium.data_key], plan.work.project.key, task.id
            )
        placed: list[PlacedTrack] = []
        sure: list[float] = []
        for version in plan.on_video(task):
            tracks, certain = self._tracked(plan, version, file, task, progress)
            placed += placed_tracks(
                tracks, plan.work.project.config, to_name=medium.name, task_key=_key(task, file)
            )
            sure.append(certain)
        return placed, joint_certainty(sure)

    def _tracked(
        self,
        plan: _Plan,
        version: ModelVersion,
        file: VideoFile,
        task: Task,
        progress: TaskProgress,
    ) -> tuple[list[Track], float]:
        """A video's tracks, found now or before."""
        known = plan.work.known(task, file) if plan.work.known else {}
        path = tracks_file(
            self._shelf.folder(version), file.digest, known, self._threshold, self._track_min_iou
        )
        found = read_tracks_file(path)
        if found is None:
            found = track_clip(
                self._shelf.model(version),
                file,
                source=self._videos,
                threshold=self._threshold,
                min_iou=self._track_min_iou,
                known=known,
                progress=lambda done, in_all: progress(task, done, in_all),
            )
            with suppress(OSError):  # then it is found again next time
                write_tracks_file(path, *found)
        return found


def _key(task: Task, file: ImageFile | VideoFile) -> str:
    """What ids of regions are made of: a task that is only shown to us has no id yet."""
    return str(task.id if task.id is not None else file.digest)


def _is_url(value: object) -> bool:
    return isinstance(value, str) and bool(value)
