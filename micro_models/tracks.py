"""Objects on their way through a video: key frames, and what lies between them."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.detections import Detection
from micro_models.regions import Box, Floats, RotatedBox

Rows = NDArray[np.float64]  # (n, 5): x, y of the corner that a box turns about, sides, angle

MIN_SEEN = 3  # an object seen in fewer frames is a flicker of the model rather than a track
_RUN = 256  # sightings that wait to be thinned together
_SMOOTH = 3  # frames on either side that a key frame's box may be the mean of


@dataclass(frozen=True)
class KeyFrame:
    """Where an object is in one frame (the first frame is 0), in pixels.

    Between two key frames the box moves evenly. `enabled` False: it is seen in this frame and no
    more until the next key frame.
    """

    frame: int
    box: Box | RotatedBox
    enabled: bool = True
    score: float = 1.0


@dataclass(frozen=True)
class Track:
    """One object's key frames, in rising order, at least one; `score` as of a `Region`."""

    label: str
    key_frames: tuple[KeyFrame, ...]
    score: float = 1.0

    def __post_init__(self) -> None:
        frames = [key.frame for key in self.key_frames]
        if not frames or frames != sorted(set(frames)) or frames[0] < 0:
            raise ValueError(f"a track needs key frames in rising order, got {frames[:10]}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")


def interpolate(track: Track, frame: int) -> Box | RotatedBox | None:
    """Where the object is in `frame`, as Label Studio's editor shows it; None where it is off.

    The top-left corner before turning, the sides and the angle (the short way) change evenly.
    """
    keys = track.key_frames
    at = bisect_right(keys, frame, key=lambda key: key.frame)
    before = keys[at - 1] if at else None
    if before is None or not (before.enabled or before.frame == frame):
        return None
    if at == len(keys) or before.frame == frame:
        return before.box
    after = keys[at]
    share = (frame - before.frame) / (after.frame - before.frame)
    row = _between(_row(before.box), _row(after.box), np.array([share]))[0]
    return _box(row, upright=isinstance(before.box, Box) and isinstance(after.box, Box))


def thin(key_frames: Sequence[KeyFrame], *, min_iou: float) -> list[KeyFrame]:
    """As few key frames as one pass finds that still tell where the object was in each.

    In every frame of `key_frames` the interpolated box has an IoU of at least `min_iou` with the
    box given there. The first and the last, and those around a time off, stay as they are; the
    others may be moved to the mean of their neighbours, which takes the jitter out.
    """
    kept: list[KeyFrame] = []
    start = 0
    for end, key in enumerate(key_frames, 1):
        if not key.enabled or end == len(key_frames):
            kept += _thin_run(key_frames[start:end], min_iou)
            start = end
    return kept


def from_detections(
    sightings: Iterable[tuple[int, Detection]],
    *,
    clip_frames: int,
    min_iou: float,
    max_gap: int,
    min_seen: int = MIN_SEEN,
) -> Track | None:
    """The track of one object from (frame, detection), in rising order; see `TrackBuilder`."""
    builder = TrackBuilder(min_iou=min_iou, max_gap=max_gap)
    for frame, detection in sightings:
        builder.see(frame, detection)
    return builder.track(clip_frames=clip_frames, min_seen=min_seen)


class TrackBuilder:
    """Makes one object's `Track` of what is seen of it, frame after frame.

    Up to `max_gap` frames without it are bridged by interpolation; over more it is off. Between
    key frames the IoU with what was seen is at least `min_iou`. Holds little but key frames.
    """

    def __init__(self, *, min_iou: float, max_gap: int) -> None:
        self._min_iou, self._max_gap = min_iou, max_gap
        self._kept: list[KeyFrame] = []
        self._run: list[KeyFrame] = []
        self._votes: Counter[str] = Counter()
        self._seen = 0
        self._scores = 0.0
        self.best_score = 0.0

    def see(self, frame: int, detection: Detection) -> None:
        """Take note of a sighting; frames must rise. Errors: `ValueError` without a box."""
        box = detection.rotated or detection.box
        if box is None:
            raise ValueError("a track is made of boxes, and this detection has none")
        if self._run:
            self._go_on(frame, self._run[-1])
            box = _aligned(box, self._run[-1].box) if self._run else box
        self._run.append(KeyFrame(frame, box, score=detection.score))
        self._votes[detection.label] += detection.score  # type: ignore[assignment]
        self._seen += 1
        self._scores += detection.score
        self.best_score = max(self.best_score, detection.score)

    def track(self, *, clip_frames: int, min_seen: int = MIN_SEEN) -> Track | None:
        """The track so far; None for an object seen in fewer than `min_seen` frames.

        The label with the highest sum of scores wins; the score is the mean. An object that is
        not seen in the last of `clip_frames` is off after its last sighting.
        """
        if self._seen < min_seen or not self._run:
            return None
        last = self._run[-1]
        run = [*self._run[:-1], replace(last, enabled=last.frame >= clip_frames - 1)]
        label = max(self._votes, key=self._votes.__getitem__)
        keys = self._kept + thin(run, min_iou=self._min_iou)
        return Track(label, tuple(keys), min(self._scores / self._seen, 1.0))

    def _go_on(self, frame: int, last: KeyFrame) -> None:
        """End the run where a long gap begins; thin it when it is long."""
        if frame - last.frame > self._max_gap + 1:
            run = [*self._run[:-1], replace(last, enabled=False)]
            self._kept += thin(run, min_iou=self._min_iou)
            self._run = []
        elif len(self._run) >= _RUN:
            *done, last = thin(self._run, min_iou=self._min_iou)
            self._kept += done
            self._run = [last]


def _thin_run(keys: Sequence[KeyFrame], min_iou: float) -> list[KeyFrame]:
    """`thin` of one stretch during which the object is seen."""
    frames = np.array([key.frame for key in keys])
    seen = np.array([_row(key.box) for key in keys])
    rows = _smooth(frames, seen, min_iou)
    kept, at = [0], 0
    while at < len(keys) - 1:
        at = _farthest(at, frames, seen, rows, min_iou)
        kept.append(at)
    upright = all(isinstance(key.box, Box) for key in keys)
    return [
        keys[at]
        if np.array_equal(rows[at], seen[at])
        else replace(keys[at], box=_box(rows[at], upright=upright))
        for at in kept
    ]


def _farthest(start: int, frames: NDArray[np.int64], seen: Rows, rows: Rows, min_iou: float) -> int:
    """The last index to which one even movement from `start` fits, found in growing strides."""

    def fits(end: int) -> bool:
        inner = slice(start + 1, end)
        share = (frames[inner] - frames[start]) / (frames[end] - frames[start])
        return bool((_ious(_between(rows[start], rows[end], share), seen[inner]) >= min_iou).all())

    good, last, stride = start + 1, len(frames) - 1, 1
    while good < last and fits(min(good + stride, last)):
        good = min(good + stride, last)
        stride *= 2
    bad = min(good + stride, last)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _smooth(frames: NDArray[np.int64], seen: Rows, min_iou: float) -> Rows:
    """Each box as the mean of its neighbours, where that still fits it; the ends as they are."""
    smooth = seen.copy()
    count = len(seen)
    for at in range(1, count - 1):
        reach = min(_SMOOTH, at, count - 1 - at)
        near = slice(at - reach, at + reach + 1)
        if frames[near].mean() == frames[at]:  # so that even movement stays as it is
            smooth[at] = seen[near].mean(axis=0)
    fits = _ious(smooth, seen) >= min_iou
    return np.where(fits[:, None], smooth, seen)


def _row(box: Box | RotatedBox) -> Rows:
    if isinstance(box, Box):
        return np.array([box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0, 0.0])
    x, y = _from_center(box.angle_deg, -box.width_px / 2, -box.height_px / 2)
    sides = (box.width_px, box.height_px)
    return np.array([box.center_x + x, box.center_y + y, *sides, box.angle_deg])


def _box(row: Rows, *, upright: bool) -> Box | RotatedBox:
    x, y, width, height, angle = (float(value) for value in row)
    if upright:
        return Box(x, y, x + width, y + height)
    to_x, to_y = _from_center(angle, width / 2, height / 2)
    return RotatedBox(x + to_x, y + to_y, width, height, angle)


def _from_center(angle_deg: float, x: float, y: float) -> tuple[float, float]:
    angle = np.radians(angle_deg)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return x * cos - y * sin, x * sin + y * cos


def _between(start: Rows, end: Rows, share: NDArray[np.float64]) -> Rows:
    """The rows at each `share` (n,) of the way from one row (5,) to another."""
    way = end - start
    way[4] = (way[4] + 180) % 360 - 180
    return np.asarray(start + share[:, None] * way)


def _aligned(box: Box | RotatedBox, before: Box | RotatedBox) -> Box | RotatedBox:
    """The same rectangle, named by the angle that is closest to the one before.

    Turned by 90 degrees with its sides swapped it is the same; a model changes between such names.
    """
    if isinstance(box, Box) or isinstance(before, Box):
        return box
    turns = round((before.angle_deg - box.angle_deg) / 90)
    sides = (box.width_px, box.height_px) if turns % 2 == 0 else (box.height_px, box.width_px)
    return RotatedBox(box.center_x, box.center_y, *sides, box.angle_deg + 90 * turns)


def _ious(one: Rows, other: Rows) -> NDArray[np.float64]:
    """(n,) intersection over union of boxes in pairs, 0 where neither has an area."""
    if not (one[:, 4].any() or other[:, 4].any()):
        low = np.maximum(one[:, :2], other[:, :2])
        high = np.minimum(one[:, :2] + one[:, 2:4], other[:, :2] + other[:, 2:4])
        common = np.maximum(high - low, 0).prod(axis=1)
    else:
        common = np.array([_common(a, b) for a, b in zip(one, other, strict=True)])
    both = one[:, 2] * one[:, 3] + other[:, 2] * other[:, 3] - common
    ious: NDArray[np.float64] = np.zeros(len(one))
    np.divide(common, both, out=ious, where=both > 0)
    return ious


def _common(one: Rows, other: Rows) -> float:
    """The area that two turned boxes have in common."""
    # Single precision is exact enough around the origin.
    ours, theirs = (_corners(row - [*one[:2], 0, 0, 0]) for row in (one, other))
    return float(cv2.intersectConvexConvex(ours, theirs)[0])


def _corners(row: Rows) -> Floats:
    x, y, width, height, angle = row
    right, down = _from_center(angle, width, 0), _from_center(angle, 0, height)
    ways = [(0.0, 0.0), right, (right[0] + down[0], right[1] + down[1]), down]
    return np.array([(x + dx, y + dy) for dx, dy in ways], dtype=np.float32)
