"""What the status page shows of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from backends.impact.nouns import Impact
from backends.impact.store import ImpactStore
from backends.impact.telling import (
    needed_lines,
    shift_line,
    speed_line,
    standing_lines,
    times,
)

PEOPLE_SHOWN = 50


@dataclass(frozen=True)
class PersonRow:
    """One annotator: how many annotations of each kind, their medians, and the speed-up."""

    annotator: int
    blind: int
    shown: int
    blind_s: str
    shown_s: str
    speed: str


@dataclass(frozen=True)
class ShiftRow:
    """A measure; `is_shifted`: chance does not explain it, however many were looked at."""

    name: str
    blind: str
    shown: str
    difference: str
    p: str
    is_shifted: bool


@dataclass(frozen=True)
class ImpactPage:
    """A project's comparison, in words and rows; which tasks are blind it does not say."""

    project_id: int
    made_at: datetime
    blind_tasks: int
    shown_tasks: int
    covered: float
    speed: str
    found: list[str]
    needed: list[str]
    people: list[PersonRow]
    shifts: list[ShiftRow]
    left_out: list[str]
    notes: list[str]


def page(store: ImpactStore, project_key: str) -> ImpactPage | None:
    """None where nothing was compared yet. Errors: `StateError`."""
    impact = store.get(project_key)
    return None if impact is None else impact_page(impact)


def impact_page(impact: Impact) -> ImpactPage:
    """The same of a comparison that is at hand."""
    people = sorted(impact.by_annotator.items(), key=lambda one: -(one[1].blind + one[1].shown))
    return ImpactPage(
        impact.project_id,
        datetime.fromtimestamp(impact.made_at, UTC),
        impact.blind_tasks,
        impact.shown_tasks,
        impact.covered,
        speed=speed_line(impact.speed),
        found=[*(shift_line(one) for one in impact.shifted), *standing_lines(impact)],
        needed=needed_lines(impact),
        people=[
            PersonRow(
                person,
                one.blind,
                one.shown,
                _seconds(one.blind_s),
                _seconds(one.shown_s),
                times(one),
            )
            for person, one in people[:PEOPLE_SHOWN]
        ],
        shifts=[
            ShiftRow(
                one.name,
                f"{one.blind:.2f}",
                f"{one.shown:.2f}",
                f"{one.difference:+.2f} ({one.low:+.2f} to {one.high:+.2f})",
                f"{one.p_of_all:.3f}",
                is_shifted=one in impact.shifted,
            )
            for one in impact.shifts
        ],
        left_out=[f"{many} {reason}" for reason, many in impact.left_out.items()],
        notes=list(impact.notes),
    )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
