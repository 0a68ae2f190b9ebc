"""`labelpilot autoaccept`: accept what the model does, under a certificate."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
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
    from backends.autoaccept.desk import Desk
    from backends.autoaccept.nouns import Entry, Terms
    from backends.autoaccept.store import AutoacceptStore
    from backends.autoaccept.tool import Outcome
    from backends.interface import Prelabeller, Project
    from backends.serving.services import Services

_SUSPENDED = 1


def autoaccept(
    project: ProjectOption,
    max_error: Annotated[
        float, typer.Option(help="The share of accepted tasks that may be wrong.", min=0, max=1)
    ] = 0.02,
    confidence: Annotated[
        float, typer.Option(help="The probability that this holds.", min=0, max=1)
    ] = 0.9,
    audits: Annotated[int, typer.Option(help="At most so many audits are drawn.", min=1)] = 500,
    keep_checking: Annotated[
        float,
        typer.Option(help="The share of what could be accepted that people check.", min=0, max=1),
    ] = 0.05,
    min_iou: Annotated[
        float, typer.Option(help="The overlap from which on a region is right.", min=0.01, max=1)
    ] = 0.5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the certificate; change nothing.")
    ] = False,
    new_audits: Annotated[
        bool, typer.Option("--new-audits", help="Learn from the old audits, and draw new ones.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Accept again after an alarm, with new audits.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Delete what was accepted and nobody has changed.")
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Print what was accepted, and when.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Accept the model's answers of which at most `--max-error` are wrong, with `--confidence`.

    Audits, drawn at random and labelled by people who do not see the model's answer, give an exact
    bound (Learn-then-Test with binomial tests, thresholds in a fixed order): over all draws of
    audits the promise is broken in at most 1 - confidence of them. Wrong is any answer with a
    missing or extra region, a wrong label, or an overlap below `--min-iou`; what people skip counts
    as wrong.

    The first run draws audits into the Data Manager's tab "Audit these"; label them, and run it
    again. Accepted tasks get annotations by an account of labelpilot's own, which never count as
    labels; a note at every region says so (an empty answer has no region: see `--log`). Audits are
    not learned from until `--undo` or `--new-audits`. A random share of what could be accepted goes
    to people into the same tab: if they disagree more than the certificate allows (an e-process),
    accepting is suspended until `--resume`, and the exit code is 1.
    """
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    code = 0
    with mistakes_explained():
        _compatible(dry_run=dry_run, changes=new_audits or resume or undo)
        terms = _terms(max_error, confidence, keep_checking, audits, min_iou)
        check_state(settings)
        with closing(make_services(settings)) as services, closing(_store(services)) as store:
            if log:
                _print_log(services, store, project, as_json=as_json)
            elif undo:
                _undo(services, store, project, as_json=as_json)
            else:
                if new_audits or resume:
                    _renew(services, store, project)
                code = _run(services, store, project, terms, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(code)


def _compatible(*, dry_run: bool, changes: bool) -> None:
    from backends.errors import BadRequest

    if dry_run and changes:
        raise BadRequest(
            "--dry-run changes nothing, and --new-audits, --resume and --undo do",
            advice="give one of them",
        )


def _terms(
    max_error: float, confidence: float, keep_checking: float, audits: int, min_iou: float
) -> Terms:
    from backends.autoaccept.nouns import Terms
    from backends.errors import BadRequest

    if not (0 < max_error < 1 and 0 < confidence < 1):
        raise BadRequest(
            "--max-error and --confidence lie between 0 and 1, ends excluded",
            advice="no number of audits proves that nothing is wrong",
        )
    return Terms(max_error, confidence, keep_checking, audits, min_iou)


def _store(services: Services) -> AutoacceptStore:
    from backends.autoaccept.store import AutoacceptStore

    return AutoacceptStore(services.settings)


@contextmanager
def _desk(
    services: Services, store: AutoacceptStore, project_id: int, *, version: str | None = None
) -> Iterator[Desk]:
    """Alone with the project. `version`: without getting the model ready, to take things back."""
    import numpy as np

    from backends.autoaccept.desk import Desk, alone
    from backends.errors import BadRequest
    from backends.label_studio.annotations import first_image
    from backends.label_studio.tasks import read_project

    client = services.studios.sdk()
    project, _ = read_project(client, project_id)
    if version is None and first_image(project.config) is None:
        raise BadRequest(
            "the project has no images",
            advice="models of videos are of one video each: there is nothing to accept beside it",
        )
    prelabeller = services.copilot.prelabeller(project)
    with progress() as tell, alone(store, project.key) as go_on:
        tell("gets the model ready", 0.0)
        yield Desk(
            client=client,
            project=project,
            prelabeller=prelabeller,
            version=_version(prelabeller, project) if version is None else version,
            store=store,
            book=services.audits,
            rng=np.random.default_rng(),
            tell=tell,
            go_on=go_on,
            blind_share=services.settings.blind_share,
        )


def _version(prelabeller: Prelabeller, project: Project) -> str:
    from backends.errors import ModelMissing

    try:
        return prelabeller.wait(project)
    except ModelMissing as error:
        number = project.id
        raise ModelMissing(
            error.message,
            advice=f"label some tasks and run labelpilot train --project {number}, which needs no "
            f"other model; or {error.advice}",
        ) from error


def _run(
    services: Services,
    store: AutoacceptStore,
    project_id: int,
    terms: Terms,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    from backends.autoaccept.tool import Autoaccept

    with _desk(services, store, project_id) as desk:
        outcome = Autoaccept(desk, terms, dry_run=dry_run).run()
        key = desk.key
    if as_json:
        print(json.dumps(outcome.as_dict(), indent=1))  # noqa: T201 - for programs
    else:
        _told(outcome, _tab(services, key, outcome), project_id, dry_run=dry_run)
    return _SUSPENDED if outcome.suspended and not dry_run else 0


def _undo(services: Services, store: AutoacceptStore, project_id: int, *, as_json: bool) -> None:
    from backends.autoaccept.nouns import Fate
    from backends.autoaccept.tool import undo

    with _desk(services, store, project_id, version="") as desk:
        counts = undo(desk)
        services.micro.store.note_event([desk.key], submissions=0)  # audits are learned from now
    if as_json:
        print(json.dumps(counts, indent=1))  # noqa: T201 - for programs
        return
    kept = counts[Fate.CHANGED]
    console.print(
        f"taken back: {counts[Fate.TAKEN_BACK]} annotations, the tab and its field"
        + (f"; {kept} that people changed stay" if kept else ""),
        highlight=False,
    )


def _renew(services: Services, store: AutoacceptStore, project_id: int) -> None:
    from backends.autoaccept.tool import renew

    with _desk(services, store, project_id, version="") as desk:
        renew(desk)
        services.micro.store.note_event([desk.key], submissions=0)


def _told(outcome: Outcome, tab: str, project_id: int, *, dry_run: bool) -> None:
    if (made := outcome.certificate) is not None:
        head = "certificate" if made.threshold is not None else "no certificate"
        name = f" {outcome.id}" if outcome.id else ""
        console.print(f"[bold]{head}{name}[/bold] for {outcome.version}", highlight=False)
        for name, value in _rows(outcome):
            console.print(f"  {name:<22}{value}", markup=False, highlight=False)
        console.print(made.why, markup=False, highlight=False, soft_wrap=True)
    _told_audits(outcome, tab, dry_run=dry_run)
    _told_watch(outcome)
    for note in outcome.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)
    done = outcome.accepted
    if outcome.suspended:
        console.print(
            f"[red]suspended:[/red] {escape(outcome.suspended)}; see what changed, then "
            f"labelpilot autoaccept --project {project_id} --resume",
            highlight=False,
        )
    elif made is not None and made.threshold is not None and dry_run:
        console.print(
            f"{outcome.acceptable} tasks would be accepted, but for a random share that people "
            "check; nothing was changed",
            highlight=False,
        )
    elif made is not None and made.threshold is not None:
        console.print(
            f"[green]{done.accepted} tasks accepted[/green], {done.checked} go to people"
            + (f", {done.changed} had changed meanwhile" if done.changed else "")
            + f"; to take it back: labelpilot autoaccept --project {project_id} --undo",
            highlight=False,
        )


def _rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    made = outcome.certificate
    if made is None:
        return
    yield "wrong at most", f"{made.max_error:.2%} of what is accepted"
    yield "with probability", f"{made.confidence:.1%}"
    yield "right is an overlap", f"of {outcome.min_iou:.2f} or more, of the same label, all found"
    yield "audits", f"{made.audited}, {made.above} of them at the threshold or above"
    yield "errors seen there", str(made.errors)
    if made.threshold is not None:
        yield "upper bound", f"{made.upper:.2%}"
        if not made.groups:
            yield "score threshold", f"{made.threshold:.4f}"
        yield "accepted share", f"{made.share:.0%} of what was unlabelled"
    for name, one in made.groups.items():
        kept = "nothing" if one.threshold is None else f"{one.accepted} from {one.threshold:.4f} on"
        seen = f"{one.errors} of {one.above} audits wrong"
        yield f"  {name or 'all others'}", f"{kept}, {seen}"
    missing = "more than there are tasks" if made.missing is None else f"{made.missing:,}"
    yield "clean audits missing", missing


def _told_audits(outcome: Outcome, tab: str, *, dry_run: bool) -> None:
    where = f': the Data Manager\'s tab "Audit these"{tab and f", {tab}"}'
    if outcome.open:
        console.print(
            f"{outcome.open} of {outcome.audits} audits are to be labelled{where}", highlight=False
        )
        console.print("then run this again", highlight=False)
    elif outcome.to_draw and dry_run:
        console.print(
            f"{outcome.to_draw} audits would be drawn for people to label", highlight=False
        )


def _told_watch(outcome: Outcome) -> None:
    watch = outcome.watch
    if watch.answered or watch.open:
        console.print(
            f"spot checks: {watch.wrong} of {watch.answered} wrong, {watch.open} open",
            highlight=False,
        )


def _tab(services: Services, key: str, outcome: Outcome) -> str:
    from backends.label_studio.tabs import tab_address

    known = services.projects.get(key)
    host = (known.host if known else "") or services.settings.label_studio_url or ""
    return tab_address(host, int(key.split(".")[0]), outcome.tab) if outcome.tab else ""


def _print_log(
    services: Services, store: AutoacceptStore, project_id: int, *, as_json: bool
) -> None:
    from backends.label_studio.tasks import read_project

    project, _ = read_project(services.studios.sdk(), project_id)
    entries = store.log(project.key)
    min_iou = {one.id: one.min_iou for one in store.certificates(project.key)}
    if as_json:
        lines = [_entry_json(one, min_iou.get(one.certificate)) for one in entries]
        print(json.dumps(lines, indent=1))  # noqa: T201 - for programs
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("when", "task", "annotation", "version", "score", "certificate", "min IoU", ""):
        table.add_column(name, no_wrap=True)
    for one in entries:
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at)),
            str(one.task_id),
            str(one.annotation_id or "-"),
            one.version,
            f"{one.score:.3f}",
            one.certificate,
            str(min_iou.get(one.certificate, "-")),
            str(one.fate),
        )
    print_table(table)
    console.print(f"{len(entries)} tasks", highlight=False)


def _entry_json(one: Entry, min_iou: float | None) -> dict[str, object]:
    return {
        "at": one.at,
        "task": one.task_id,
        "annotation": one.annotation_id,
        "version": one.version,
        "score": one.score,
        "certificate": one.certificate,
        "min_iou": min_iou,
        "fate": str(one.fate),
    }
