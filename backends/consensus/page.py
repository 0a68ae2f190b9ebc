"""What the status page shows of a consensus: read from the database, nothing computed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from backends.consensus.nouns import Rated
from backends.consensus.store import ConsensusStore

PEOPLE_SHOWN = 200
LABELS_SHOWN = 5


@dataclass(frozen=True)
class PersonRow:
    """A person as people see it; all texts."""

    name: str
    tasks: int
    regions: int
    agreement: str
    interval: str
    misses: str
    false_alarms: str


@dataclass(frozen=True)
class TaskRow:
    """A task on which people differ; `address` in Label Studio, "" if unknown."""

    task_id: int
    agreement: str
    address: str


@dataclass(frozen=True)
class ConsensusPage:
    """A project's consensus: who agrees how far, and where they differ most."""

    made_at: datetime
    version: str
    tasks: int
    disagreements: int
    people: list[PersonRow]
    worst: list[TaskRow]
    told: list[str]


def page(store: ConsensusStore, project_key: str) -> ConsensusPage | None:
    """None where there was none yet, or it was undone. Errors: `StateError`."""
    report = store.report(project_key)
    if report is None:
        return None
    project_id = project_key.split(".")[0]
    # What /setup told is a stranger's: a link must not run anything.
    is_web = report.host.startswith(("http://", "https://"))
    start = f"{report.host.rstrip('/')}/projects/{project_id}/data?task=" if is_web else ""
    return ConsensusPage(
        made_at=datetime.fromtimestamp(report.made_at, UTC),
        version=report.version,
        tasks=report.tasks,
        disagreements=report.disagreements,
        people=[person_row(one) for one in report.people[:PEOPLE_SHOWN]],
        worst=[
            TaskRow(task, f"{value:.0%}", f"{start}{task}" if start else "")
            for task, value in report.worst
        ],
        told=told(report.alpha, report.trust, report.lift),
    )


def person_row(one: Rated) -> PersonRow:
    """A person's figures as text; rates of the labels that are worst, at most `LABELS_SHOWN`."""
    return PersonRow(
        name=one.name,
        tasks=one.tasks,
        regions=one.regions,
        agreement="" if one.agreement is None else f"{one.agreement:.1%}",
        interval="" if one.agreement is None else f"{one.low:.1%} to {one.high:.1%}",
        misses=_rates(one.misses),
        false_alarms=_rates(one.false_alarms),
    )


def told(alpha: float | None, trust: float | None, lift: float | None) -> list[str]:
    """Lines for people on agreement beyond chance, and on what the model's voice was worth."""
    lines = []
    if alpha is not None:
        lines.append(f"Krippendorff's alpha of classes: {alpha:.2f} (1: perfect, 0: as by chance)")
    if trust is not None:
        lines.append(f"of the model's answers about classes {trust:.0%} counted")
    if lift is not None:
        lines.append(f"the model finds what is there {lift:.1f} times as readily as what is not")
    return lines


def _rates(rates: object) -> str:
    values = dict(rates) if isinstance(rates, dict) else {}
    worst = sorted(values.items(), key=lambda pair: -pair[1])
    shown = [f"{label} {value:.0%}" for label, value in worst[:LABELS_SHOWN]]
    more = len(worst) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
