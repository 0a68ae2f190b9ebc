"""A clip -> the tracks of the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from backends.interface import VideoFile, VideoSource
from micro_models.detections import Detection, DetectOptions, Detector, Tracker
from micro_models.regions import Box, Image
from micro_models.tracks import Track, TrackBuilder

FrameProgress = Callable[[int, int], None]  # frames done, frames in all

_BATCH = 8  # frames that are decoded before the detector sees them
_LOW_SCORE = 0.1  # the weakest box that may carry on a track; no track begins with it


def track_video(
    detector: Detector,
    video: VideoFile,
    *,
    source: VideoSource,
    tracker: Tracker,
    options: DetectOptions,
    min_iou: float,
    progress: FrameProgress | None = None,
) -> list[Track]:
    """The tracks of all objects in all of the clip, in order of their first frame.

    `tracker` is fresh, made for `video.clip.fps`. An object must once have been seen with
    `options.min_score`; weaker sightings only carry it on, and of overlapping boxes of several
    classes the best is taken. Between key frames the box has an IoU of at least `min_iou` with
    what the tracker gave. `progress` is told after every few frames; what it raises ends the work.
    Memory does not grow with the clip, but for the key frames. Errors: `MediaError`.
    """
    raise NotImplementedError
