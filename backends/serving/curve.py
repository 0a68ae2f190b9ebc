"""How good a scope's models became with more labels, as the numbers of a small drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.micro.nouns import ModelVersion

WIDTH, HEIGHT = 320, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 310, 12, 118
_TOLD = 6
_MOST_DOTS = 200


@dataclass(frozen=True)
class Dot:
    """A version; `x`, `y` in pixels of the drawing."""

    x: float
    y: float
    told: str
    is_promoted: bool
    is_current: bool


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A scope's quality over its number of labels; `line` joins what was promoted."""

    scope: str
    told: str
    dots: tuple[Dot, ...]
    line: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def curve(versions: Sequence[ModelVersion]) -> Curve | None:
    """The drawing of the versions of one scope; None where none was measured."""
    measured = [one for one in versions if one.quality is not None][:_MOST_DOTS]
    if not measured:
        return None
    measured.sort(key=lambda one: (one.labels, one.made_at))
    most = max(1, measured[-1].labels)
    dots = tuple(_dot(one, most) for one in measured)
    return Curve(
        scope=measured[0].scope,
        told=_told(measured),
        dots=dots,
        line=" ".join(f"{dot.x},{dot.y}" for dot in dots if dot.is_promoted),
        across=tuple(Tick(_x(labels, most), str(labels)) for labels in _round_numbers(most)),
        up=tuple(Tick(_y(share), f"{share:.1f}") for share in (0.0, 0.5, 1.0)),
    )


def _dot(version: ModelVersion, most: int) -> Dot:
    quality = version.quality or 0.0
    fate = "not promoted" if version.promoted_at is None else "promoted"
    told = f"{version.labels} labels: {quality:.2f}, {fate}, {version.id}"
    return Dot(
        x=_x(version.labels, most),
        y=_y(quality),
        told=told + (", current" if version.is_current else ""),
        is_promoted=version.promoted_at is not None,
        is_current=version.is_current,
    )


def _told(measured: Sequence[ModelVersion]) -> str:
    """The same in words: the first, the last, and some between."""
    step = max(1, -(-(len(measured) - 1) // (_TOLD - 1)))
    some = [*measured[:-1:step], measured[-1]]
    return ", ".join(f"{one.quality or 0:.2f} at {one.labels} labels" for one in some)


def _round_numbers(most: int) -> list[int]:
    """From 0 to `most` in steps as people count, three to five of them where there are as many."""
    step = next(
        number * 10**zeros
        for zeros in range(len(str(most)) + 1)
        for number in (1, 2, 5)
        if number * 10**zeros * 4 >= most
    )
    return list(range(0, most + 1, step))


def _x(labels: float, most: int) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * labels / most, 1)


def _y(quality: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * min(1.0, max(0.0, quality)), 1)
