"""`labelpilot impact`: what predictions do to the speed and to the labels of people."""

from __future__ import annotations

import json
import math
import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from backends.terminal import (
    ProjectOption,
    Tell,
    console,
    load_settings,
    mistakes_explained,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from backends.impact.nouns import Impact
    from backends.serving.services import Services


def impact(
    project: ProjectOption,
    detect: Annotated[
        float,
        typer.Option(help="The speed-up worth knowing: 1.2 is a fifth faster.", min=1.01, max=10),
    ] = 1.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Forget what the status page shows of it.")
    ] = False,
) -> None:
    """Tell whether predictions help, and whether they bias: against tasks served without any.

    A share of tasks (`LABELPILOT_BLIND_SHARE`, 5%) is drawn by lot and gets no predictions, so what
    differs between them and the others is what predictions do: times are compared by ranks, each
    person with themselves, and all shifts in the labels are tested together, so that a false alarm
    comes in one of twenty comparisons, however many measures there are. Intervals are of 95%, and
    a power calculation says how many more blind tasks an answer needs.

    Only the first annotation of each person and task counts, and only from before autoaccept
    accepted tasks: of those that are not blind it leaves the harder ones to people. Nothing in
    Label Studio is changed, and nobody is told which tasks are blind.
    """
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    with mistakes_explained():
        check_state(settings)
        with closing(make_services(settings)) as services:
            if undo:
                _undo(services, project)
                return
            with progress() as tell:
                found = _measured(services, project, detect, tell)
        if as_json:
            from backends.impact.store import as_json as figures

            print(json.dumps(figures(found), indent=1))  # noqa: T201 - for programs
            return
        _tell(found)


def _measured(services: Services, project_id: int, worth: float, tell: Tell) -> Impact:
    from backends.impact.gathering import Lots, gathered
    from backends.impact.measuring import measured
    from backends.impact.store import ImpactStore
    from backends.label_studio.tasks import read_project

    client, share = services.studios.sdk(), services.settings.blind_share
    known, _ = read_project(client, project_id)
    certificates = services.tools.autoaccept.certificates(known.key)
    lots = Lots(
        share,
        services.audits.ever(known.key),
        services.jobs.unshown(known.key),
        until=min((one.made_at for one in certificates), default=math.inf),
    )
    annotations = gathered(client, known, lots, tell=lambda text, part: tell(text, 0.8 * part))
    tell("compares", 0.8)
    found = measured(
        annotations, project_key=known.key, made_at=time.time(), share=share, worth=worth
    )
    with closing(ImpactStore(services.settings)) as store:
        store.put(found)
    return found


def _undo(services: Services, project_id: int) -> None:
    from backends.impact.store import ImpactStore
    from backends.label_studio.tasks import read_project

    known, _ = read_project(services.studios.sdk(), project_id)
    with closing(ImpactStore(services.settings)) as store:
        forgotten = store.forget(known.key)
    console.print("forgotten" if forgotten else "there was nothing to forget")


def _tell(found: Impact) -> None:
    from backends.impact.telling import (
        needed_lines,
        shift_lines,
        speed_line,
        standing_lines,
    )

    for note in found.notes:
        console.print("[yellow]note:[/yellow]", end=" ")
        console.print(note, markup=False, highlight=False)
    lines = [
        speed_line(found.speed),
        *shift_lines(found),
        *standing_lines(found),
        *needed_lines(found),
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False)
    if len(found.by_annotator) > 1:
        _tell_people(found)
    for reason, many in found.left_out.items():
        console.print(f"left out: {many} {reason}", markup=False, highlight=False)


def _tell_people(found: Impact) -> None:
    table = Table("annotator", "blind", "others", "median", "", "times as fast", box=None)
    for person, one in found.by_annotator.items():
        medians = ["" if s is None else f"{s:.1f} s" for s in (one.blind_s, one.shown_s)]
        high = "any" if math.isinf(one.high) else f"{one.high:.2f}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f} ({one.low:.2f} to {high})"
        table.add_row(str(person), str(one.blind), str(one.shown), *medians, ratio)
    print_table(table)
