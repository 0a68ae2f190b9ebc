"""Detections of a clip's frames -> the objects that they are of, over time.

Each object is the cheapest path through the detections of its label: a detection that is likely
right earns, a step costs what it moves and how the size changes, a frame without a detection costs
what it is unlikely to be missed, and to appear or leave costs something too, so that an object
neither flickers off where the model wavers nor stays where it is gone. The best path is taken, its
detections leave, and so on while one earns anything: H. Pirsiavash, D. Ramanan and C. Fowlkes,
Globally-Optimal Greedy Algorithms for Tracking a Variable Number of Objects (CVPR 2011). Weak
detections carry a path on, as in Y. Zhang et al., ByteTrack (ECCV 2022): alone they earn nothing.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from micro_models.regions import Box, Region, RotatedBox

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

# Neighbouring frames err alike: what a score says counts this much.
_WEIGHT = 0.5
# Log odds beyond this say nothing more.
_MOST_ODDS = 3.0
# To appear and to leave, together.
_ENTER, _LEAVE = 1.5, 1.5
# A step of this part of the object's size, or a size changed by this factor, costs a half; where
# most objects are faster, a step twice as long as theirs, but none of more than so many sizes.
_STEP, _GROWTH = 0.5, math.log(1.3)
_FAST_PERCENTILE, _FARTHEST = 75, 4.0
# What a person drew is there.
_DRAWN = 50.0
# A label with more paths than this is told by noise.
_MOST_PATHS = 300
# Of a label so many more detections in a frame than ever seen together are looked at.
_SPARE = 2

# Columns of the numbers kept of a detection.
_FRAME, _X, _Y, _WIDTH, _HEIGHT, _ANGLE, _IS_TURNED, _SCORE, _IS_DRAWN = range(9)


@dataclass(frozen=True)
class LinkOptions:
    """`threshold`: the score, 0..1, from which a detection may start an object.

    `most` tells how many objects of a label a frame shows at most, 1 where it says nothing;
    `max_gap`: over how many frames without a detection an object may go on; `recall`: the part of
    the objects, 0..1, that the detector finds in a frame.
    """

    threshold: float = 0.5
    most: Mapping[str, int] = field(default_factory=dict)
    max_gap: int = 12
    recall: float = 0.9


Sighting = tuple[int, Region]  # a frame, and the object in it


@dataclass(frozen=True)
class Linked:
    """One object: for each time that it is there what was seen of it, in rising order of frames.

    Between two sightings of a run it is there unseen; between runs it is gone. `drawn` are the
    frames that a person drew it in.
    """

    label: str
    runs: tuple[tuple[Sighting, ...], ...]
    drawn: frozenset[int] = frozenset()


def linked(found: Sequence[Sequence[Region]], options: LinkOptions = LinkOptions()) -> list[Linked]:
    """The objects in a clip, from the boxes found in each frame, weak ones too.

    Where a label has one object at most, it is always the same one that comes and goes.

    >>> from micro_models.regions import Box
    >>> scores = [0.9, 0.9, 0.9, 0.3, 0.0, 0.9, 0.9, 0.0, 0.0, 0.0, 0.2, 0.0, 0.0]
    >>> cars = [Region("car", Box(n, 0, n + 9, 9), score) for n, score in enumerate(scores)]
    >>> (car,) = linked([[one] if one.score else [] for one in cars])
    >>> [[frame for frame, region in run] for run in car.runs]
    [[0, 1, 2, 3, 5, 6]]
    """
    linker = Linker(options)
    for frame, regions in enumerate(found):
        linker.see(frame, regions)
    return linker.objects()


class Linker:
    """Takes a clip's detections frame after frame, 72 bytes each, and links them in the end.

    >>> from micro_models.regions import Box
    >>> linker = Linker(LinkOptions())
    >>> for frame in range(3):
    ...     linker.see(frame, [Region("car", Box(frame, 0, frame + 9, 9), 0.9)])
    >>> [(one.label, len(one.runs[0])) for one in linker.objects()]
    [('car', 3)]
    """

    def __init__(self, options: LinkOptions) -> None:
        self._options = options
        self._rows: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._most: Counter[str] = Counter(options.most)
        self._drawn: list[int] = []
        self._last = 0

    def see(self, frame: int, regions: Sequence[Region]) -> None:
        """The next frame's detections, best first; what is no box is left out."""
        seen: Counter[str] = Counter()
        self._last = frame
        for region in regions:
            if seen[region.label] < max(self._most[region.label], 1) + _SPARE:
                seen[region.label] += self._keep(frame, region, drawn=0.0)

    def see_drawn(self, frame: int, regions: Sequence[Region]) -> None:
        """The next frame as a person drew it: these objects are there, and no others."""
        self._drawn.append(frame)
        self._last = frame
        seen: Counter[str] = Counter()
        for region in regions:
            seen[region.label] += self._keep(frame, region, drawn=1.0)
        self._most |= seen

    def objects(self) -> list[Linked]:
        """What was seen, in order of the first frame."""
        found = [one for label in sorted(self._rows) for one in self._objects(label)]
        return sorted(found, key=lambda one: one.runs[0][0][0])

    def _keep(self, frame: int, region: Region, *, drawn: float) -> int:
        shape = region.shape
        if isinstance(shape, Box):
            width, height = shape.x1 - shape.x0, shape.y1 - shape.y0
            place = [shape.x0 + width / 2, shape.y0 + height / 2, width, height, 0.0, 0.0]
        elif isinstance(shape, RotatedBox):
            place = [shape.center_x, shape.center_y, shape.width_px, shape.height_px]
            place += [shape.angle_deg, 1.0]
        else:
            return 0
        self._rows[region.label].extend([float(frame), *place, region.score, drawn])
        return 1

    def _objects(self, label: str) -> list[Linked]:
        rows = np.frombuffer(self._rows[label], dtype=np.float64).reshape(-1, _IS_DRAWN + 1)
        most = max(self._most[label], 1)
        steps = _Steps(rows, np.array(self._drawn, dtype=np.float64), self._options, self._last)
        paths = _paths(steps, rows[:, _FRAME], most)
        if most > 1:
            return [_linked(label, [rows[path]]) for path in paths]
        runs = sorted(paths, key=lambda path: int(path[0]))
        return [_linked(label, [rows[path] for path in runs])] if runs else []


def _paths(steps: _Steps, frames: Numbers, most: int) -> list[Places]:
    """The rows of each path, that which earns most first."""
    free = np.ones(len(frames), np.bool_)
    taken: Counter[float] = Counter()
    found: list[Places] = []
    while len(found) < _MOST_PATHS and (path := steps.best(free)) is not None:
        found.append(path)
        free[path] = False
        # Of a full frame, and of one that the path bridges, nothing else is left.
        span = np.arange(frames[path[0]], frames[path[-1]] + 1).tolist()
        taken.update(span)
        free &= ~np.isin(frames, [frame for frame in span if taken[frame] >= most])
    return found


class _Steps:
    """What each detection earns, and the steps by which it can be reached."""

    def __init__(self, rows: Numbers, drawn: Numbers, options: LinkOptions, last: int) -> None:
        odds = _log_odds(rows[:, _SCORE]) - _log_odds(np.array([options.threshold]))
        self._miss = -_WEIGHT * math.log(1.0 - min(max(options.recall, 0.3), 0.98))
        earned = np.maximum(_WEIGHT * np.clip(odds, -_MOST_ODDS, _MOST_ODDS), -self._miss)
        self._earned = np.where(rows[:, _IS_DRAWN] > 0, _DRAWN, earned)
        frames = rows[:, _FRAME]
        self._step = _usual_step(rows[rows[:, _SCORE] >= options.threshold])
        # What is there from the first frame on need not appear, nor leave if it stays to the end.
        self._enter = np.minimum(_ENTER, self._miss * frames)
        self._leave = np.minimum(_LEAVE, self._miss * (last - frames))
        self._sources: list[Places] = []
        self._costs: list[Numbers] = []
        starts = np.searchsorted(frames, frames - options.max_gap - 1)
        ends = np.searchsorted(frames, frames)
        latest = np.searchsorted(drawn, frames) - 1  # the last frame drawn before each
        for at in range(len(rows)):
            start = starts[at]
            if latest[at] >= 0:  # no step leads past a frame that is known
                start = max(start, np.searchsorted(frames, drawn[latest[at]]))
            sources = np.arange(start, ends[at])
            costs = self._cost(rows[sources], rows[at])
            good = costs < _ENTER + _LEAVE
            self._sources.append(sources[good])
            self._costs.append(costs[good])

    def best(self, free: NDArray[np.bool_]) -> Places | None:
        """The rows of the path that earns most, of those that are free; None if none earns."""
        total, before = np.full(len(free), -np.inf), np.full(len(free), -1)
        for at in np.flatnonzero(free):
            total[at], sources = self._earned[at] - self._enter[at], self._sources[at]
            if len(sources):
                ways = total[sources] - self._costs[at]
                best = int(ways.argmax())
                if ways[best] > -self._enter[at]:
                    total[at] = ways[best] + self._earned[at]
                    before[at] = sources[best]
        total -= self._leave
        if not len(free) or total.max() <= 0:
            return None
        path = [int(total.argmax())]
        while (source := int(before[path[-1]])) >= 0:
            path.append(source)
        return np.array(path[::-1])

    def _cost(self, sources: Numbers, to: Numbers) -> Numbers:
        """(n, 9), (9,) -> (n,): of the step from each, by movement, growth and frames between."""
        frames = to[_FRAME] - sources[:, _FRAME]
        moved = _distances(sources, to)
        grown = np.abs(np.log(_sizes(to) / _sizes(sources)))
        cost = 0.5 * ((moved / self._step) ** 2 + (grown / _GROWTH) ** 2) / frames
        return np.asarray(cost + self._miss * (frames - 1))


def _usual_step(rows: Numbers) -> float:
    """How far objects move in a frame, in sizes: to the nearest detection in the next one."""
    frames = rows[:, _FRAME]
    starts, ends = (np.searchsorted(frames, frames + 1, side) for side in ("left", "right"))
    steps = [
        float(_distances(rows[start:end], row).min())
        for row, start, end in zip(rows, starts, ends, strict=True)
        if end > start
    ]
    fast = 2 * float(np.percentile(steps, _FAST_PERCENTILE)) if steps else 0.0
    return min(max(_STEP, fast), _FARTHEST)


def _distances(sources: Numbers, to: Numbers) -> Numbers:
    """(n, 9), (9,) -> (n,): between their centres, in sizes."""
    away = np.hypot(sources[:, _X] - to[_X], sources[:, _Y] - to[_Y])
    return np.asarray(away / np.sqrt(_sizes(sources) * _sizes(to)))


def _sizes(rows: Numbers) -> Numbers:
    """(..., 9) -> (...): the square root of the area."""
    return np.asarray(np.sqrt(np.maximum(rows[..., _WIDTH] * rows[..., _HEIGHT], 1.0)))


def _log_odds(scores: Numbers) -> Numbers:
    sane = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(sane / (1 - sane)))


def _linked(label: str, runs: Sequence[Numbers]) -> Linked:
    drawn = [int(row[_FRAME]) for run in runs for row in run if row[_IS_DRAWN]]
    seen = [
        tuple((int(row[_FRAME]), Region(label, _shape(row), float(row[_SCORE]))) for row in run)
        for run in runs
    ]
    return Linked(label, tuple(seen), frozenset(drawn))


def _shape(row: Numbers) -> Box | RotatedBox:
    x, y, width, height, angle, is_turned = (float(value) for value in row[_X:_SCORE])
    if is_turned:
        return RotatedBox(x, y, width, height, angle)
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
