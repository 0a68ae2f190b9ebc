"""`labelpilot advise`: more labels, or another model? In money."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backends.terminal import (
    ProjectOption,
    console,
    load_settings,
    mistakes_explained,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from backends.advise.advising import Wanted
    from backends.advise.nouns import Advice
    from backends.serving.services import Services


def advise(
    project: ProjectOption,
    target: Annotated[
        str, typer.Option(help="What to reach: mAP50=0.85, accuracy=0.9 or PCK=0.9.")
    ],
    label_cost: Annotated[float, typer.Option(help="What a labelled picture costs.", min=0)] = 0.05,
    engineer_hour: Annotated[
        float, typer.Option(help="What an hour of engineering costs, in the same money.", min=0)
    ] = 40.0,
    engineer_hours: Annotated[
        float, typer.Option(help="How many hours another model takes; an assumption.", min=0)
    ] = 8.0,
    labels_per_day: Annotated[
        float, typer.Option(help="How many pictures are labelled in a day.", min=1)
    ] = 200.0,
    budget_s: Annotated[
        float, typer.Option(help="How long to measure, in seconds.", min=20, max=86_400)
    ] = 240.0,
    scope: Annotated[
        str, typer.Option(help='Which model, where there are several: "label Car".')
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """How many labels a target takes, what they cost, and whether other work is cheaper.

    Small models of two families learn nested parts of the labels at hand, are scored on labels held
    out, and the learning curve through these scores is an average over families of curves, each
    counting by how well it foretold the last points from those before. Intervals hold 80% of what
    comes at four times the labels; a label is suspected wrong where models that never saw it
    (out-of-fold) think so with a probability of half or more.

    Nothing in Label Studio is changed. What was measured is kept: a repeat is instant, and more
    labels measure only what is new. The plan is on the project's page in the browser, too.
    """
    from backends.advise.advising import Wanted
    from backends.advise.targets import parse_prices, parse_target
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    with mistakes_explained():
        prices = parse_prices(label_cost, engineer_hour, engineer_hours, labels_per_day)
        wanted = Wanted(parse_target(target), prices, budget_s, scope)
        check_state(settings)
        with closing(make_services(settings)) as services:
            made = _advised(services, project, wanted)
    if as_json:
        figures = {"project": project, "made_at": made.made_at, **made.figures}
        print(json.dumps(figures, indent=1))  # noqa: T201 - for programs
        return
    told(made)


def told(made: Advice) -> None:
    """The plan in words, and a table of the ways to the target."""
    from backends.advise.words import options, sentences

    for line in sentences(made.figures):
        console.print(line, markup=False, highlight=False)
    rows = options(made.figures)
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("way", "model", "labels more", "cost", "days"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        style = "green" if row.is_best else None
        table.add_row(row.way, row.family, row.labels, row.cost, row.days, style=style)
    console.print()
    print_table(table)


def _advised(services: Services, project_id: int, wanted: Wanted) -> Advice:
    from backends.advise.advising import advise as advised
    from backends.advise.store import AdviseStore

    with closing(AdviseStore(services.settings)) as store, progress() as tell:
        return advised(services.micro.tools, services.studios, store, project_id, wanted, tell=tell)
