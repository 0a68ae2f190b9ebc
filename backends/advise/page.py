"""What the status page shows of a project's plan: read from the database, nothing computed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from backends.advise.plot import HEIGHT, WIDTH, Plot, plot
from backends.advise.store import AdviseStore
from backends.advise.words import OptionRow, options, sentences


@dataclass(frozen=True)
class AdvisePage:
    """The newest plan: in words, as a table of ways to the target, as a drawing."""

    made_at: datetime
    scope: str
    labels: int
    target: str
    sentences: list[str]
    options: list[OptionRow]
    plot: Plot | None
    width: int = WIDTH
    height: int = HEIGHT


def page(store: AdviseStore, project_key: str) -> AdvisePage | None:
    """None where no plan was made yet. Errors: `StateError`."""
    advice = store.advice(project_key)
    if advice is None:
        return None
    figures = advice.figures
    return AdvisePage(
        made_at=datetime.fromtimestamp(advice.made_at, UTC),
        scope=advice.scope,
        labels=figures["labels"],
        target=f"{figures['target']['metric']} {figures['target']['value']:g}",
        sentences=sentences(figures),
        options=options(figures),
        plot=plot(figures),
    )
