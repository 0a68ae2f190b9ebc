"""A plan's learning curves as the numbers of a small drawing: sizes across, scores up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 624, 14, 252
COLORS = ("#2f9e44", "#4c6ef5")
_ROUND = (1, 2, 5)
_MOST_TICKS = 8


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Dot:
    """A measured point; `top` and `bottom` are a standard error away."""

    x: float
    y: float
    top: float
    bottom: float
    told: str


@dataclass(frozen=True)
class Drawn:
    """A family: paths of its curve and of the interval around it, and its dots."""

    family: str
    color: str
    line: str
    band: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Plot:
    """All of the drawing; `target` is the height of the target's line, `now` where labels are."""

    families: tuple[Drawn, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    target: float
    now: float | None
    told: str


def plot(figures: Mapping[str, Any]) -> Plot | None:
    """The drawing of a plan's figures; None where nothing could be fitted."""
    families = figures["families"]
    if not families:
        return None
    rows = [row for one in families.values() for row in one["curve"]]
    first, last = min(row[0] for row in rows), max(row[0] for row in rows)
    target = figures["target"]["value"]
    lowest = min(
        target,
        *(row[2] for row in rows),
        *(p["score"] - p["error"] for one in families.values() for p in one["points"]),
    )
    axes = _Axes(first, last, max(math.floor(lowest * 10) / 10, 0.0))
    now = figures["labels"]
    return Plot(
        families=tuple(
            _drawn(name, one, axes, color)
            for (name, one), color in zip(families.items(), COLORS, strict=False)
        ),
        across=tuple(Tick(axes.x(size), f"{size:,}") for size in _sizes(first, last)),
        up=tuple(Tick(axes.y(share), f"{share:.1f}") for share in axes.shares()),
        target=axes.y(target),
        now=axes.x(now) if first <= now <= last else None,
        told=_told(families, target),
    )


@dataclass(frozen=True)
class _Axes:
    """Sizes from `first` to `last` by their logarithm, scores from `lowest` to 1; pixels."""

    first: float
    last: float
    lowest: float

    def x(self, size: float) -> float:
        part = math.log(size / self.first) / math.log(self.last / self.first)
        return round(LEFT + (RIGHT - LEFT) * part, 1)

    def y(self, score: float) -> float:
        part = (min(max(score, self.lowest), 1.0) - self.lowest) / (1 - self.lowest)
        return round(BOTTOM - (BOTTOM - TOP) * part, 1)

    def shares(self) -> list[float]:
        """Tenths; every other one where there are many."""
        tenths = list(range(round(self.lowest * 10), 11))
        return [one / 10 for one in tenths[:: 2 if len(tenths) > 6 else 1]]


def _drawn(family: str, one: Mapping[str, Any], axes: _Axes, color: str) -> Drawn:
    rows = one["curve"]
    upper = [(row[0], row[3]) for row in rows]
    lower = [(row[0], row[2]) for row in reversed(rows)]
    return Drawn(
        family,
        color,
        _path([(row[0], row[1]) for row in rows], axes),
        f"{_path([*upper, *lower], axes)} Z",
        tuple(_dot(point, axes) for point in one["points"]),
    )


def _path(places: Sequence[tuple[float, float]], axes: _Axes) -> str:
    return "M" + " L".join(f"{axes.x(size)},{axes.y(score)}" for size, score in places)


def _dot(point: Mapping[str, Any], axes: _Axes) -> Dot:
    score, error = point["score"], point["error"]
    return Dot(
        axes.x(point["labels"]),
        axes.y(score),
        axes.y(score + error),
        axes.y(score - error),
        f"{point['labels']} labels: {score:.3f}, of {point['draws']} trainings",
    )


def _sizes(first: float, last: float) -> list[int]:
    """1, 2 and 5 times tens between the two; only tens where those are too many."""
    tens = [10**n for n in range(int(math.log10(last)) + 1)]
    found = [step * ten for ten in tens for step in _ROUND if first <= step * ten <= last]
    return found if len(found) <= _MOST_TICKS else [one for one in tens if first <= one <= last]


def _told(families: Mapping[str, Any], target: float) -> str:
    """The same in words."""
    each = [
        f"{name}: "
        + ", ".join(f"{point['score']:.2f} at {point['labels']} labels" for point in one["points"])
        for name, one in families.items()
    ]
    return f"{'; '.join(each)}; target {target:g}"
