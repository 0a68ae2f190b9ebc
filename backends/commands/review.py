"""`labelpilot review`: which labels of a project are probably wrong, or missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

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
    from backends.micro.out_of_fold import OutOfFold
    from backends.review.nouns import Review, Suspect
    from backends.review.publishing import Published
    from backends.serving.services import Services

_PROBLEMS_TOLD = 5
_JUDGING = 0.9  # of the bar


def review(
    project: ProjectOption,
    limit: Annotated[int, typer.Option(help="Rows of the list; all are written.", min=1)] = 50,
    min_score: Annotated[
        float, typer.Option(help="Probability of being an error, from which on.", min=0, max=1)
    ] = 0.3,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list: write nothing to Label Studio.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Take suggestions, field and tab out of Label Studio again."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Find labels that are probably wrong or missing; no label is changed.

    Every labelled picture is judged by a small model that learned from the other pictures only
    (out-of-fold, five folds), and a score is the estimated probability that the label is an error,
    calibrated on what models find in pictures that they have not seen. People make mistakes in
    checking too: cases with known answers, mixed unmarked into the gallery on the status page,
    estimate theirs, and the number of true errors corrected for them, with a 95% interval.

    In Label Studio each suspicious task gets a prediction `review-...` (a tab beside the
    annotations shows it, a region's note tells kind and reason), the field `labelpilot_review`
    (0 to 100), and all of them the Data Manager's tab "Suspicious labels". A repeat replaces them.
    Answers given in the gallery are remembered, also after `--undo`. Clips are not reviewed.
    """
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    with mistakes_explained():
        check_state(settings)
        with closing(make_services(settings)) as services:
            if undo:
                _undo(services, project)
                return
            _review(services, project, limit, min_score, as_json=as_json, dry_run=dry_run)


def _review(
    services: Services,
    project_id: int,
    limit: int,
    min_score: float,
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    from backends.micro.out_of_fold import judged_labels
    from backends.review.judging import found
    from backends.review.publishing import publish
    from backends.review.reviewing import made_review, open_suspicion, without_audits

    settings = services.settings
    with closing(_store(services)) as store, progress() as tell:
        project, scopes = judged_labels(
            services.micro.tools,
            services.studios,
            project_id,
            tell=lambda text, part: tell(text, part * _JUDGING),
        )
        tell("looks for errors", _JUDGING)
        scopes, notes = without_audits(scopes, services.audits.blind(project.key))
        result = found(scopes, min_score=min_score)
        result = replace(result, notes=(*result.notes, *notes))
        known = services.projects.get(project.key)
        host = (known.host if known else "") or settings.label_studio_url or ""
        made = made_review(project, scopes, result, store, host=host)
        published = None
        if not dry_run:
            store.put(made)
            published = publish(
                services.studios.sdk(),
                project,
                scopes,
                made.suspects,
                open_suspicion(result, made),
                tell=lambda text, part: tell(text, _JUDGING + part * (1 - _JUDGING)),
                go_on=lambda: None,
            )
    if as_json:
        print(json.dumps(_json(made, published), indent=1))  # noqa: T201 - for programs
        return
    _told(made, published, scopes, limit)


def _undo(services: Services, project_id: int) -> None:
    from backends.label_studio.tasks import read_project
    from backends.review.publishing import withdraw

    client = services.studios.sdk()
    project, _ = read_project(client, project_id)
    with closing(_store(services)) as store:
        removed = withdraw(client, project.id, go_on=lambda: None)
        store.drop(project.key)
    tab = ", and the tab" if removed.tab else ""
    console.print(
        f"taken back: suggestions of {removed.predictions} tasks, the field of {removed.fields}"
        f"{tab}",
        highlight=False,
    )


def _store(services: Services) -> Any:
    from backends.review.store import ReviewStore

    return ReviewStore(services.settings)


def _told(
    made: Review, published: Published | None, scopes: Sequence[OutOfFold], limit: int
) -> None:
    suspects = made.suspects
    if suspects:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("task", "kind", "label", "region", "score", "reason", "link"):
            table.add_column(name, no_wrap=name in ("task", "score"), overflow="fold")
        for one in suspects[:limit]:
            table.add_row(*map(escape, _row(one, made)))
        print_table(table)
    if len(suspects) > limit:
        console.print(f"and {len(suspects) - limit} more: --limit {len(suspects)}", highlight=False)
    for note in made.notes:
        console.print(f"[yellow]note:[/yellow] {escape(note)}", highlight=False)
    _told_problems(made, published)
    settled = sum(case.known is None and case.verdict is False for case in made.cases)
    checked = f", {settled} more were called right before" if settled else ""
    console.print(
        f"{len(suspects)} suspicious labels in {made.judged} labelled tasks{checked}",
        highlight=False,
    )
    if not scopes:
        console.print("there is nothing to review: no picture has a label that a model learns")
    if tab := _tab(made, published):
        console.print(
            f"in Label Studio: tab {tab}; to take it back: labelpilot review "
            f"--project {made.project_key.split('.')[0]} --undo",
            highlight=False,
        )


def _told_problems(made: Review, published: Published | None) -> None:
    problems = {**made.problems, **(published.failed if published else {})}
    for task_id, why in list(problems.items())[:_PROBLEMS_TOLD]:
        about = f"task {task_id}" if task_id else "left out"
        console.print(f"[yellow]{about}:[/yellow] {escape(why)}", highlight=False)
    if len(problems) > _PROBLEMS_TOLD:
        console.print(f"and {len(problems) - _PROBLEMS_TOLD} more such tasks", highlight=False)


def _row(one: Suspect, made: Review) -> list[str]:
    return [
        str(one.task_id),
        str(one.kind),
        _label(one),
        _place(one),
        f"{one.score * 100:.1f}%",
        one.reason,
        _link(made, one.task_id),
    ]


def _label(one: Suspect) -> str:
    labels = dict.fromkeys(r.label for r in (one.given, one.suggested) if r is not None)
    return " -> ".join(labels)


def _place(one: Suspect) -> str:
    """Left, top, width and height in pixels."""
    return "whole image" if (box := _bounds(one)) is None else " ".join(f"{n:.0f}" for n in box)


def _bounds(one: Suspect) -> tuple[float, float, float, float] | None:
    from micro_models.evaluation.overlap import bounds
    from micro_models.regions import WholeImage

    if isinstance(one.region.shape, WholeImage):
        return None
    box = bounds(one.region.shape)
    return box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0


def _json(made: Review, published: Published | None) -> dict[str, Any]:
    return {
        "project": int(made.project_key.split(".")[0]),
        "version": made.version,
        "judged": made.judged,
        "tab": _tab(made, published),
        "suspects": [_suspect_json(one, made) for one in made.suspects],
        "notes": list(made.notes),
        "problems": {str(task_id): why for task_id, why in made.problems.items()},
        "not_written": {str(t): why for t, why in (published.failed if published else {}).items()},
    }


def _suspect_json(one: Suspect, made: Review) -> dict[str, Any]:
    box = _bounds(one)
    return {
        "task": one.task_id,
        "scope": one.scope,
        "kind": str(one.kind),
        "given": one.given.label if one.given else None,
        "suggested": one.suggested.label if one.suggested else None,
        "x_y_width_height_px": None if box is None else [round(n, 1) for n in box],
        "score": round(one.score, 4),
        "iou": None if one.iou is None else round(one.iou, 4),
        "reason": one.reason,
        "link": _link(made, one.task_id),
    }


def _link(made: Review, task_id: int) -> str:
    project_id = made.project_key.split(".")[0]
    return f"{made.host.rstrip('/')}/projects/{project_id}/data?task={task_id}"


def _tab(made: Review, published: Published | None) -> str | None:
    from backends.label_studio.tabs import tab_address

    if published is None or published.tab is None:
        return None
    return tab_address(made.host, int(made.project_key.split(".")[0]), published.tab)
