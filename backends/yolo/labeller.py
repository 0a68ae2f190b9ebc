"""Tasks -> predictions, with models that are loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from backends.errors import BadLabelConfig, LabelpilotError, MediaError
from backends.interface import (
    ImageFile,
    ImageSource,
    Labelled,
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
    failure,
    finished,
)
from backends.yolo import answers
from backends.yolo.plan import ReadyRun
from backends.yolo.seen import SeenCache, SeenKey
from backends.yolo.video import track_video
from micro_models.active_learning.certainty import joint_certainty
from micro_models.detections import Detection, Outline, Tracker
from micro_models.regions import Image

log = logging.getLogger(__name__)

Seen = dict[SeenKey, list[Detection]]


class MakeTracker(Protocol):
    """Makes a fresh tracker for one clip."""

    def __call__(
        self, kind: str, *, fps: float, min_score: float, settings: Mapping[str, str]
    ) -> Tracker:
        """`kind` is botsort or bytetrack; a detection of `min_score` starts an object.

        Errors: ValueError for `settings` that the tracker does not know.
        """


@dataclass(frozen=True)
class Work:
    """What is to be done for the tasks of a project."""

    project: Project
    version: str
    runs: Sequence[ReadyRun]

    @property
    def media(self) -> Mapping[str, ReadyRun]:
        """One run for each object that is looked at, by its name."""
        return {ready.run.medium.name: ready for ready in self.runs}


class Labeller:
    """Labels tasks. Any thread may call; what was seen in an image is remembered for all."""

    def __init__(
        self,
        *,
        images: ImageSource,
        videos: VideoSource,
        make_tracker: MakeTracker,
        seen: SeenCache,
        tolerance_px: float,
        track_min_iou: float,
    ) -> None:
        self._images = images
        self._videos = videos
        self._make_tracker = make_tracker
        self._seen = seen
        self._tolerance_px = tolerance_px
        self._track_min_iou = track_min_iou

    def label(
        self, work: Work, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        """The tasks in order; a bad one costs none but itself."""
        with Pipeline(
            tasks,
            locate=lambda task: self._locate(work, task),
            needed=lambda item: self._unseen(work, item),
            images=self._images,
            ahead=VIDEOS_AHEAD if any(ready.run.is_video for ready in work.runs) else AHEAD,
        ) as pipeline:
            for batch in pipeline.batches():
                seen = self._look(work, batch)
                for item in batch:
                    yield finished(item, partial(self._answer, work, item, seen), progress)

    def _locate(self, work: Work, task: Task) -> Located:
        """A task's files. Errors: `MediaError` where it has none of what the config names."""
        urls = {
            name: url
            for name, ready in work.media.items()
            if isinstance(url := task.data.get(ready.run.medium.data_key), str) and url
        }
        if not urls:
            keys = sorted({ready.run.medium.data_key for ready in work.runs})
            raise MediaError(
                f"the task's data has nothing under {' or '.join(map(repr, keys))}",
                advice=f'the label config says value="${keys[0]}": import tasks with that key',
            )
        return {
            name: (
                self._videos.locate_video if work.media[name].run.is_video else self._images.locate
            )(url, work.project.key, task.id)
            for name, url in urls.items()
        }

    def _unseen(self, work: Work, item: Item) -> list[str]:
        """The names of images that some model has not seen yet."""
        keys = [(ready.run.medium.name, self._key(ready, item)) for ready in work.runs]
        return list(
            dict.fromkeys(name for name, key in keys if key and self._seen.get(key) is None)
        )

    def _key(self, ready: ReadyRun, item: Item) -> SeenKey | None:
        """Under which name it is remembered what a run saw; None where it does not look."""
        file = item.files.get(ready.run.medium.name)
        if not isinstance(file, ImageFile) or ready.options.classes == frozenset():
            return None
        return file.digest, ready.detector.version, ready.options, _shown_from(ready)

    def _look(self, work: Work, batch: Sequence[Item]) -> Seen:
        """Let every run see the images of a batch that it has not seen."""
        seen: Seen = {}
        for ready in work.runs:
            images: dict[SeenKey, Image] = {}
            waiting: dict[SeenKey, list[Item]] = {}
            for item in batch:
                key = self._key(ready, item) if item.error is None else None
                if key is None:
                    continue
                known = self._seen.get(key)
                if known is not None:
                    seen[key] = known
                    continue
                try:
                    images[key] = self._image(item, ready.run.medium.name)
                    waiting.setdefault(key, []).append(item)
                except LabelpilotError as error:
                    item.error = error
            for key, found in _detected(ready, images).items():
                if not isinstance(found, LabelpilotError):
                    self._seen.put(key, found)
                    seen[key] = found
                    continue
                for item in waiting[key]:
                    item.error = found
        for item in batch:
            item.pixels.clear()
        return seen

    def _image(self, item: Item, name: str) -> Image:
        """The pixels; read now if they were remembered as seen, and forgotten since."""
        file = item.files[name]
        if name not in item.pixels and isinstance(file, ImageFile):
            return explained(lambda: self._images.read(file))
        return item.image(name)

    def _answer(self, work: Work, item: Item, seen: Seen, progress: TaskProgress) -> Prediction:
        placed: list[PlacedRegion | PlacedTrack] = []
        sure: list[float] = []
        for ready in work.runs:
            file = item.files.get(ready.run.medium.name)
            if isinstance(file, VideoFile):
                file = self._still_here(work, ready, file, item.task)
                tracks, certainties = self._tracks(ready, file, item.task, progress)
                placed += tracks
            elif isinstance(file, ImageFile):
                regions, certainties = self._regions(ready, file, item, seen)
                placed += regions
            else:  # the task has another of the config's objects
                continue
            sure += certainties
        files = list(item.files.values())
        clips = [file.clip for file in files if isinstance(file, VideoFile)]
        return Prediction(
            regions=tuple(placed),
            score=joint_certainty(sure),
            version=work.version,
            width_px=files[0].width_px,
            height_px=files[0].height_px,
            clip=clips[0] if clips else None,
        )

    def _regions(
        self, ready: ReadyRun, file: ImageFile, item: Item, seen: Seen
    ) -> tuple[list[PlacedRegion], list[float]]:
        key = self._key(ready, item)
        detections = seen[key] if key else []
        size_px = (file.width_px, file.height_px)
        task_key = str(item.task.id if item.task.id is not None else file.digest)
        placed = [
            region
            for filling in ready.fillings
            for region in answers.regions(
                filling,
                detections,
                task_key=task_key,
                size_px=size_px,
                tolerance_px=self._tolerance_px,
            )
        ]
        if len(item.files) > 1:
            name = ready.run.medium.name
            placed = [replace(region, to_name=name, size_px=size_px) for region in placed]
        return placed, [answers.certainty(filling, detections) for filling in ready.fillings]

    def _still_here(self, work: Work, ready: ReadyRun, file: VideoFile, task: Task) -> VideoFile:
        """The file, fetched again if the cache let go of it while others were tracked."""
        if file.path.exists():
            return file
        url = task.data[ready.run.medium.data_key]
        return self._videos.locate_video(url, work.project.key, task.id)

    def _tracks(
        self, ready: ReadyRun, file: VideoFile, task: Task, progress: TaskProgress
    ) -> tuple[list[PlacedTrack], list[float]]:
        if ready.options.classes == frozenset():
            return [], [1.0]

        found = track_video(
            ready.detector,
            file,
            source=self._videos,
            tracker=self._tracker(ready, file.clip.fps),
            options=ready.options,
            min_iou=self._track_min_iou,
            progress=lambda done, in_all: progress(task, done, in_all),
        )
        task_key = str(task.id if task.id is not None else file.digest)
        placed = [
            track
            for filling in ready.fillings
            for track in answers.tracks(filling, found, task_key=task_key)
        ]
        return placed, [answers.track_certainty(filling, found) for filling in ready.fillings]

    def _tracker(self, ready: ReadyRun, fps: float) -> Tracker:
        target = ready.fillings[0].target
        try:
            return self._make_tracker(
                target.parameters.tracker,
                fps=fps,
                min_score=ready.options.min_score,
                settings=dict(target.parameters.tracker_settings),
            )
        except ValueError as error:
            raise BadLabelConfig(
                f"{target}: {error}",
                advice=f"correct its {target.parameters.tracker}_... attributes",
            ) from error


def _detected(
    ready: ReadyRun, images: Mapping[SeenKey, Image]
) -> dict[SeenKey, list[Detection] | LabelpilotError]:
    """What the model sees in each image; an image that it fails on does not cost the others."""
    if not images:
        return {}
    try:
        found = ready.detector.detect(list(images.values()), options=ready.options)
        return {key: _light(ready, seen) for key, seen in zip(images, found, strict=True)}
    except Exception as error:  # noqa: BLE001 - one image must not cost the others
        if len(images) == 1:
            return {next(iter(images)): failure(f"running {ready.run.model[:80]}", error)}
        return {
            key: found
            for one in images.items()
            for key, found in _detected(ready, dict([one])).items()
        }


def _light(ready: ReadyRun, seen: Sequence[Detection]) -> list[Detection]:
    """Without the masks of near misses, of which only the score is used."""
    shown_from = _shown_from(ready)
    return [
        replace(one, outline=_own(one.outline) if one.score >= shown_from else None) for one in seen
    ]


def _own(outline: Outline | None) -> Outline | None:
    """A copy that does not keep the memory of all the outlines that a model gave."""
    return outline and replace(outline, values=outline.values.copy())


def _shown_from(ready: ReadyRun) -> float:
    """The least score that any control shows."""
    return min(filling.target.parameters.min_score for filling in ready.fillings)
