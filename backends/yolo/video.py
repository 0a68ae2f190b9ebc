"""A clip -> the tracks of the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from backends.interface import VideoFile, VideoSource
from micro_models.detections import Detection, DetectOptions, Detector, Tracker
from micro_models.regions import Box, Image
from micro_models.tracks import MIN_SEEN, Track, TrackBuilder

FrameProgress = Callable[[int, int], None]  # frames done, frames in all

_BATCH = 8  # frames that are decoded before the detector sees them
_LOW_SCORE = 0.1  # the weakest box that may carry on a track; no track is made of such alone
_MAX_GAP_S = 0.5  # how long an object may be hidden before its box is switched off


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

    `tracker` is fresh, made for `video.clip.fps` and `options.min_score`. An object must once have
    been seen with that score; weaker sightings only carry it on. Of boxes of several classes over
    one another the best is taken. Between key frames the IoU with what was seen is at least
    `min_iou`. `progress` is told after every few frames; what it raises ends the work. Memory does
    not grow with the clip, but for the key frames. Errors: `MediaError`.
    """
    frames_in_all = video.clip.frames
    max_gap = round(_MAX_GAP_S * video.clip.fps)
    wanted = replace(options, min_score=min(_LOW_SCORE, options.min_score), across_classes=True)
    objects: dict[int, TrackBuilder] = {}
    for frame, image, detections in _detected(detector, source.frames(video), wanted):
        for number, detection in tracker.update(detections, image):
            inside = _inside(detection, image)
            if inside is not None:
                if number not in objects:
                    objects[number] = TrackBuilder(min_iou=min_iou, max_gap=max_gap)
                objects[number].see(frame, inside)
        if progress is not None and (frame % _BATCH == _BATCH - 1 or frame == frames_in_all - 1):
            progress(frame + 1, frames_in_all)
    seen_once = [made for made in objects.values() if made.best_score >= options.min_score]
    min_seen = min(MIN_SEEN, frames_in_all)
    tracks = [made.track(clip_frames=frames_in_all, min_seen=min_seen) for made in seen_once]
    found = [track for track in tracks if track is not None]
    return sorted(found, key=lambda track: track.key_frames[0].frame)


def _detected(
    detector: Detector, frames: Iterable[Image], options: DetectOptions
) -> Iterator[tuple[int, Image, list[Detection]]]:
    """Each frame with its number and what is in it."""
    frames, number = iter(frames), 0
    while batch := list(islice(frames, _BATCH)):
        for image, detections in zip(batch, detector.detect(batch, options=options), strict=True):
            yield number, image, detections
            number += 1


def _inside(detection: Detection, frame: Image) -> Detection | None:
    """The part of it that the frame shows; a tracker goes on beyond the edge."""
    box = detection.box
    if box is None or detection.rotated is not None:
        return detection
    x0, y0 = max(box.x0, 0.0), max(box.y0, 0.0)
    x1, y1 = min(box.x1, float(frame.width_px)), min(box.y1, float(frame.height_px))
    return replace(detection, box=Box(x0, y0, x1, y1)) if x1 > x0 and y1 > y0 else None
