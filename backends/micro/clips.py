"""What an annotation of a video says about single frames, for a model of that clip to learn."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from backends.interface import LabelConfig, Medium, VideoFile
from backends.label_studio.clip_truth import read_tracks
from backends.label_studio.percents import visible_part
from micro_models.evaluation.overlap import similarity
from micro_models.regions import Box, Region, RotatedBox
from micro_models.tracks import Track, interpolate

Regions = tuple[Region, ...]

# More frames teach little more, and each is decoded, stored and learned from.
MAX_EXAMPLES = 100
# Shorter times off have no frame that is far from both ends.
_SHORT_GAP = 10
# An object that comes or goes is half visible: with so many better key frames these teach no more.
_ENOUGH = 3
_LEAST_SIDE_PX = 1.0
# An object whose boxes before and after overlap by so much is where it is interpolated.
_STILL = 0.5


@dataclass(frozen=True)
class ClipTruth:
    """What is known of decoded frames, the first being 0; () where nothing is to be seen.

    `frames` are those to learn from, `known` those that need no model; both are empty where nobody
    labelled. `key_frames` is how many frames people drew in, `problems` a line for people about
    each thing in the annotations that was left out.
    """

    frames: Mapping[int, Regions]
    known: Mapping[int, Regions]
    key_frames: int
    problems: tuple[str, ...] = ()


def clip_examples(
    annotations: Any,
    config: LabelConfig,
    video: VideoFile,
    *,
    medium: Medium,
    data: Mapping[str, Any],
) -> ClipTruth:
    """What the annotations of a task say about frames of its video; see `read_tracks`.

    Learned from are key frames of any track, with all that the editor shows there, and frames from
    within the longest times off, in which the object is not: as many of these as it is off as often
    as on. If there are enough others, key frames are left out in which an object only comes or
    goes, or lies far from where it is drawn before or after. Known are key frames, and those after
    an object went, where nobody has to guess. Before its first key frame nothing is known of an
    object; it is taken to come with it. `data` is the task's.
    """
    truth = read_tracks(annotations, config, video=video, medium=medium, data=data)
    tracks = truth.tracks or ()
    keyed = {key.frame for track in tracks for key in track.key_frames}
    absent = _absences(tracks, keyed, video)
    gone = {first for track in tracks for first, _ in _times_off(track, video.clip.frames)}
    drawn = {frame: _seen(tracks, frame, video) for frame in sorted({*keyed, *absent, *gone})}
    sure = {frame for frame in drawn if all(_is_sure(track, frame) for track in tracks)}
    good = keyed & sure - _edges(tracks)
    chosen = good if len(good) >= _ENOUGH else keyed
    chosen = chosen | set(absent[: _fitting(tracks, video, len(chosen))])
    examples = _spread([frame for frame in drawn if frame in chosen])
    return ClipTruth(
        {frame: drawn[frame] for frame in examples},
        {frame: regions for frame, regions in drawn.items() if frame in sure},
        len(keyed),
        truth.problems,
    )


def _is_sure(track: Track, frame: int) -> bool:
    """Whether its box in a frame is drawn, or about where it is drawn before and after."""
    keys = track.key_frames
    at = bisect_right(keys, frame, key=lambda key: key.frame)
    before = keys[at - 1] if at else None
    if before is None or before.frame == frame or not before.enabled:
        return True
    return at < len(keys) and similarity(before.box, keys[at].box) >= _STILL


def _seen(tracks: Sequence[Track], frame: int, video: VideoFile) -> Regions:
    """What the editor shows in a frame, cut at its edges."""
    boxes = ((track.label, interpolate(track, frame)) for track in tracks)
    cut = ((label, _cut(box, video)) for label, box in boxes if box is not None)
    return tuple(Region(label, box) for label, box in cut if box is not None)


def _cut(box: Box | RotatedBox, video: VideoFile) -> Box | RotatedBox | None:
    """What is visible of a box, None if nothing is."""
    size_px = (video.width_px, video.height_px)
    if isinstance(box, RotatedBox):
        part = visible_part(box, size_px)
        if isinstance(part, Box):  # which stands for "nowhere on it"
            return None
        return part if min(part.width_px, part.height_px) >= _LEAST_SIDE_PX else None
    x0, y0 = max(box.x0, 0.0), max(box.y0, 0.0)
    x1, y1 = min(box.x1, float(size_px[0])), min(box.y1, float(size_px[1]))
    return Box(x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= _LEAST_SIDE_PX else None


def _absences(tracks: Sequence[Track], keyed: Collection[int], video: VideoFile) -> list[int]:
    """Frames within the times off of a track, away from both ends; those of long times first."""
    found: dict[int, int] = {}
    for track in tracks:
        for first, last in _times_off(track, video.clip.frames):
            length = last - first + 1
            margin = length // 4
            # Another track's key frame may show it already.
            if length >= _SHORT_GAP and not any(
                first + margin <= frame <= last - margin for frame in keyed
            ):
                found[first + length // 2] = length
    return sorted(found, key=lambda frame: -found[frame])


def _fitting(tracks: Sequence[Track], video: VideoFile, examples: int) -> int:
    """How many frames of absence go with so many examples of presence, at least one.

    A model takes objects to be there as often as in its examples.
    """
    ends = [track.key_frames[0].frame for track in tracks]
    all_ = sum(video.clip.frames - first for first in ends)
    times = (one for track in tracks for one in _times_off(track, video.clip.frames))
    off = sum(last - first + 1 for first, last in times)
    return max(round(examples * off / max(all_ - off, 1)), 1)


def _times_off(track: Track, clip_frames: int) -> Iterator[tuple[int, int]]:
    """The first and the last frame of each time that a track is off after having been on."""
    for key, following in pairwise((*track.key_frames, None)):
        end = clip_frames if following is None else following.frame
        if key is not None and not key.enabled and end - key.frame > 1:
            yield key.frame + 1, end - 1


def _edges(tracks: Sequence[Track]) -> frozenset[int]:
    """Key frames in which objects only come or go."""
    edges: set[int] = set()
    inner: set[int] = set()
    for track in tracks:
        was_off = False
        for key in track.key_frames:
            (edges if was_off or not key.enabled else inner).add(key.frame)
            was_off = not key.enabled
    return frozenset(edges - inner)


def _spread(frames: Sequence[int]) -> list[int]:
    """At most `MAX_EXAMPLES` of the frames, evenly."""
    step = max(len(frames) / MAX_EXAMPLES, 1.0)
    return [frames[math.floor(at * step)] for at in range(min(len(frames), MAX_EXAMPLES))]
