"""A clip's key frames -> what to learn from; a model of the clip -> tracks over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from backends.errors import StateError
from backends.interface import VideoFile
from micro_models.active_learning.detection_uncertainty import (
    MISSING_WEIGHT,
    detection_uncertainty,
)
from micro_models.detections import Detection
from micro_models.fitting.calibration import Calibration
from micro_models.fitting.report import Report
from micro_models.linking import Linked, Linker, LinkOptions, Sighting
from micro_models.regions import Box, Image, Region, RotatedBox
from micro_models.tracks import KeyFrame, Track, TrackBuilder, interpolate

FrameProgress = Callable[[int, int], None]  # frames done, frames in all

UNLABELLED_FRAMES = 60
# All frames that are kept only to be looked at, together: large ones are fewer.
_MOST_UNLABELLED_PX = 300_000_000
_TOLD = 8  # frames after which progress is told
_LOW_SCORE = 0.1  # the weakest box that may carry on a track
_MAX_GAP_S = 0.5  # how long an object may be unseen before its box is switched off
# A few held-out frames say little of how much a model finds: so many more that found this much.
_USUAL_RECALL, _USUAL_FRAMES = 0.9, 10


class ClipModel(Protocol):
    """What is needed of a `MicroModel`."""

    @property
    def report(self) -> Report:
        """How it was made."""

    @property
    def calibration(self) -> Calibration:
        """Among others the most of each label that an example shows."""

    def detect(self, pictures: Sequence[Image], *, min_score: float) -> list[list[Region]]:
        """Per picture its regions, best first."""


class FrameSource(Protocol):
    """What is needed of a `VideoSource`."""

    def frames(self, file: VideoFile) -> Iterator[Image]:
        """Upright RGB, one frame after the other, all of `file.clip.frames`."""


def frames_of(
    video: VideoFile,
    source: FrameSource,
    numbers: Iterable[int],
    folder: Path,
    *,
    unlabelled: int = UNLABELLED_FRAMES,
    progress: FrameProgress | None = None,
) -> dict[int, Path]:
    """The frames `numbers` as lossless pictures in `folder`, and some others, evenly spaced.

    Those others, at most `unlabelled` of them, are what else the clip shows. The clip is decoded
    once. `progress` is told of each frame; what it raises ends the work. Errors: `MediaError`;
    `StateError` where a picture cannot be written.
    """
    most = max(_MOST_UNLABELLED_PX // (video.width_px * video.height_px), 1)
    spread = np.linspace(0, video.clip.frames - 1, min(unlabelled, most, video.clip.frames))
    wanted = {*numbers, *spread.round().astype(int).tolist()}
    last, paths = max(wanted, default=-1), {}
    for number, image in enumerate(islice(source.frames(video), last + 1)):
        if number in wanted:
            paths[number] = folder / f"{number:06}.png"
            _write(paths[number], image)
        if progress is not None:
            progress(number + 1, last + 1)
    return paths


def track_clip(
    model: ClipModel,
    video: VideoFile,
    *,
    source: FrameSource,
    threshold: float,
    min_iou: float,
    known: Mapping[int, tuple[Region, ...]] | None = None,
    progress: FrameProgress | None = None,
) -> tuple[list[Track], float]:
    """The tracks of all objects in all of the clip in order of their first frame; how sure, 0..1.

    Detections are linked over time (`micro_models.linking`): those below `threshold` only carry an
    object on, and where it is unseen for half a second at most it is there, between its places
    before and after. `known` are frames that a person drew, () where nothing is there: they stay
    as drawn. Between key frames the IoU with what was seen is at least `min_iou`. `progress` is
    told after every few frames; what it raises ends the work. Memory grows by 72 bytes a detection
    and the key frames. Errors: `MediaError`.

    How sure: one less the mean over frames of how unsure their detections are, unseen objects
    being half in doubt. Not the worst frame: in nearly every clip there is one, when an object
    leaves, so that clips would be ranked by chance.
    """
    drawn = known or {}
    linker = Linker(_options(model, video, threshold))
    doubts = 0.0
    for frame, found in _detected(model, video, source, threshold, drawn, progress):
        if frame in drawn:
            linker.see_drawn(frame, drawn[frame])
        else:
            doubts += detection_uncertainty(found, threshold=threshold)
            linker.see(frame, found)
    objects = linker.objects()
    doubts += MISSING_WEIGHT * sum(_unseen(run) for one in objects for run in one.runs)
    tracks = [_track(one, video.clip.frames, min_iou) for one in objects]
    return tracks, min(max(1.0 - doubts / video.clip.frames, 0.0), 1.0)


def _detected(
    model: ClipModel,
    video: VideoFile,
    source: FrameSource,
    threshold: float,
    drawn: Mapping[int, object],
    progress: FrameProgress | None,
) -> Iterator[tuple[int, list[Region]]]:
    """Each frame with what the model finds in it; nobody asks it about those that are drawn."""
    least, in_all = min(_LOW_SCORE, threshold), video.clip.frames
    for number, image in enumerate(source.frames(video)):
        yield number, [] if number in drawn else model.detect([image], min_score=least)[0]
        if progress is not None and (number % _TOLD == _TOLD - 1 or number == in_all - 1):
            progress(number + 1, in_all)


def _options(model: ClipModel, video: VideoFile, threshold: float) -> LinkOptions:
    report = model.report
    recall = _USUAL_RECALL if report.recall is None else report.recall
    seen = recall * report.examples + _USUAL_RECALL * _USUAL_FRAMES
    return LinkOptions(
        threshold=threshold,
        most=model.calibration.most,
        max_gap=round(_MAX_GAP_S * video.clip.fps),
        recall=seen / (report.examples + _USUAL_FRAMES),
    )


def _unseen(run: tuple[Sighting, ...]) -> int:
    """Over how many frames it was bridged."""
    return run[-1][0] - run[0][0] + 1 - len(run)


def _track(one: Linked, clip_frames: int, min_iou: float) -> Track:
    """Off between its runs, and where a person drew it as drawn."""
    keys: list[KeyFrame] = []
    scores = 0.0
    for run in one.runs:
        built = _built(run, clip_frames, min_iou)
        drawn = {frame: region for frame, region in run if frame in one.drawn}
        keys += _as_drawn(built, drawn)
        scores += built.score * len(run)
    return Track(one.label, tuple(keys), min(scores / sum(map(len, one.runs)), 1.0))


def _built(run: tuple[Sighting, ...], clip_frames: int, min_iou: float) -> Track:
    builder = TrackBuilder(min_iou=min_iou, max_gap=clip_frames)
    for frame, region in run:
        turned = region.shape if isinstance(region.shape, RotatedBox) else None
        box = region.shape if isinstance(region.shape, Box) else None
        builder.see(frame, Detection(region.label, region.score, box=box, rotated=turned))
    track = builder.track(clip_frames=clip_frames, min_seen=1)
    if track is None:
        raise ValueError("a run has at least one sighting")
    return track


def _as_drawn(track: Track, drawn: Mapping[int, Region]) -> list[KeyFrame]:
    """Its key frames, with one wherever a person drew another box than it has there."""
    keys = {key.frame: key for key in track.key_frames}
    for frame, region in drawn.items():
        shape = region.shape
        if isinstance(shape, Box | RotatedBox) and interpolate(track, frame) != shape:
            is_enabled = keys[frame].enabled if frame in keys else True
            keys[frame] = KeyFrame(frame, shape, is_enabled, region.score)
    return [keys[frame] for frame in sorted(keys)]


def _write(path: Path, image: Image) -> None:
    """A PNG, whole or not there."""
    pixels = cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    part = path.with_suffix(".part")
    try:
        if not encoded:
            raise OSError("no PNG could be made of it")
        part.write_bytes(data.tobytes())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StateError(
            f"a frame of a video cannot be written ({error.strerror or error})",
            advice="free some space in the data folder, LABELPILOT_DATA_DIR",
        ) from error
