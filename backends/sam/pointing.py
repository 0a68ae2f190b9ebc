"""What annotators point at: clicks and boxes that mean one object."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from micro_models.regions import Bools, Box, Click, Floats, Prompt, RotatedBox

THUMB_PX = 256
KEEP_S = 1800.0  # how long an object may be gone on with


@dataclass(frozen=True)
class Pin:
    """A click as it was drawn. `settled`: its suggestion was accepted, the editor lets it go."""

    id: str
    click: Click
    label: str | None
    settled: bool = False


@dataclass(frozen=True, eq=False)
class PointedObject:
    """One object of one task: everything drawn for it, and the last answer.

    `thumb` (256, 256) bool is the answered mask, shrunk; `hint` is of the engine whose version is
    `engine`. `stamp` is another one for each prompt. `drawn_at`: seconds since 1970.
    """

    region_id: str
    label: str | None
    pins: tuple[Pin, ...]
    box: Box | RotatedBox | None
    box_ids: frozenset[str]
    drawn_at: float
    size_px: tuple[int, int]
    user: str | None = None
    hint: Floats | None = None
    thumb: Bools | None = None
    engine: str = ""
    stamp: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def clicks(self) -> tuple[Click, ...]:
        """All clicks, oldest first."""
        return tuple(pin.click for pin in self.pins)

    @property
    def prompt_ids(self) -> frozenset[str]:
        """The ids of everything drawn."""
        return self.box_ids | {pin.id for pin in self.pins}

    @property
    def asks(self) -> bool:
        """Whether anything positive was drawn; without it there is no object to cut from."""
        return self.box is not None or any(click.positive for click in self.clicks)

    def prompt(self, engine: str) -> Prompt:
        """What the engine of this version is asked."""
        return Prompt(self.clicks, self.box, self.hint if self.engine == engine else None)

    def covers(self, click: Click) -> bool:
        """Whether the last answer's mask holds the click."""
        if self.thumb is None:
            return False
        column = int(click.x * THUMB_PX / self.size_px[0])
        row = int(click.y * THUMB_PX / self.size_px[1])
        inside = 0 <= column < THUMB_PX and 0 <= row < THUMB_PX
        return inside and bool(self.thumb[row, column])


@dataclass(frozen=True)
class Place:
    """Where objects are told apart: one medium of one task, as long as its image is the same."""

    project_key: str
    task_id: int | None
    medium: str
    digest: str
