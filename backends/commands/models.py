"""The commands of micro-models: which there are, which one answers, training by hand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from backends.errors import BadRequest, ModelMissing
from backends.terminal import (
    ProjectOption,
    console,
    load_settings,
    mistakes_explained,
    print_table,
)

if TYPE_CHECKING:
    from backends.micro.nouns import ModelVersion
    from backends.micro.store import MicroStore

_REFRESHED = (
    "a running `labelpilot serve` refreshes predictions within seconds; without one, its next "
    "start does"
)
_SCOPES_NAMED = 10
# Of the list on a narrow screen: what takes several lines, so that ids and figures stay whole.
_WRAPPED, _WIDE, _DATE = ("for", "made", ""), 110, len("2026-01-31")

models_app = typer.Typer(
    no_args_is_help=True,
    help="Micro-models that were trained of annotations: which there are, which one answers.",
)

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="As `labelpilot models list` shows it; its beginning does."),
]


@models_app.command("list")
def models_list(
    project: Annotated[int | None, typer.Option(help="Only those of this project.")] = None,
) -> None:
    """Show trained models, the newest first: what for, of how many labels, how good.

    Quality is on labelled tasks that were held out of the training, 0 to 1; beside it that of the
    model which it was to replace, on the same tasks. F1 counts what scores 0.5 or more; beside it
    that of YOLO. One model of each scope is current, and answers.
    """
    from backends.micro.store import MicroStore

    settings = load_settings()
    with mistakes_explained(), closing(MicroStore(settings)) as store:
        found = [one for one in store.all_versions() if project in (None, _project_id(one))]
    if not found:
        console.print(
            "no model has been trained yet: that begins by itself at "
            f"{settings.train_first_at} labelled tasks, or with `labelpilot train --project N`",
            highlight=False,
        )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    is_narrow = console.is_terminal and console.width < _WIDE
    for name in ("id", "project", "for", "made", "labels", "quality", "before", "F1", "YOLO", ""):
        width = _DATE if name == "made" and is_narrow else None
        table.add_column(name, no_wrap=name not in _WRAPPED, width=width, overflow="fold")
    for one in found:
        table.add_row(
            one.id,
            str(_project_id(one)),
            escape(one.scope),
            _time(one.made_at),
            str(one.labels),
            *(_share(value) for value in (one.quality, one.baseline, one.f1, one.rival)),
            f"[green]{_fate(one)}[/green]" if one.is_current else _fate(one),
        )
    print_table(table)


@models_app.command("show")
def models_show(model: ModelArgument) -> None:
    """Tell all about a model: why it was promoted or not, its ancestors, its training's report."""
    from backends.micro.registry import Registry
    from backends.micro.store import MicroStore

    settings = load_settings()
    with mistakes_explained(), closing(MicroStore(settings)) as store:
        one = _only(store, model)
        folder = Registry(settings, store).folder(one)
        ancestors = _ancestors(one, store.versions(one.project_key, one.scope))
    rows = {
        "model": one.id,
        "project": f"{_project_id(one)} ({one.project_key})",
        "for": one.scope,
        "made": _time(one.made_at),
        "state": f"{_fate(one)}: {one.why}",
        "labelled tasks": f"{one.labels}, together {one.data}",
        "quality, held out": _against(one.quality, one.baseline, "of the one before"),
        "F1": _against(one.f1, one.rival, "of YOLO"),
        "made after": ", ".join(ancestors) or "none",
        "folder": str(folder) if one.is_on_disk else "gone",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        console.print(f"{name:<{width}}  {value}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"\n{_report(one)}", markup=False, highlight=False)


@models_app.command("promote")
def models_promote(model: ModelArgument) -> None:
    """Let this model answer from now on, whatever its quality; the one before is kept.

    The next training compares with it, and replaces it only by one that is at least as good.
    """
    from backends.micro.registry import Registry
    from backends.micro.store import MicroStore

    settings = load_settings()
    with mistakes_explained(), closing(MicroStore(settings)) as store:
        one, registry = _only(store, model), Registry(settings, store)
        if one.is_current:
            console.print(f"{one.id} is current already", highlight=False)
            return
        if not one.is_on_disk or not registry.is_there(one):
            raise ModelMissing(
                f"the files of {one.id} are gone",
                advice="old models leave when LABELPILOT_MICRO_DISK_MB is full; promote one that "
                "`labelpilot models list` does not show as gone, or train anew",
            )
        registry.promote(one.project_key, one.scope, one.id)
    _told_current(one)


@models_app.command("rollback")
def models_rollback(
    project: ProjectOption,
    scope: Annotated[
        str | None, typer.Option(help='What the model is for: "label Car", "scene=night".')
    ] = None,
) -> None:
    """Go back to the model that answered before the current one.

    `--scope` is needed only where a project has several models.
    """
    from backends.micro.registry import Registry
    from backends.micro.store import MicroStore

    settings = load_settings()
    with mistakes_explained(), closing(MicroStore(settings)) as store:
        current = _current(store, project, scope)
        one = Registry(settings, store).rollback(current.project_key, current.scope)
    _told_current(one)


def train(
    project: ProjectOption,
    cancel: Annotated[
        bool,
        typer.Option(
            "--cancel", help="End the training that goes on; models that answer by then stay."
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the work to `labelpilot serve` or `worker`.")
    ] = False,
) -> None:
    """Train a project's micro-models now, on all that is labelled, and say what came of it.

    Training also begins by itself after annotations are submitted. A new model replaces the old one
    only if it is at least as good on labelled tasks that both had not seen. Safe to stop and to
    repeat. Needs `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`.
    """
    from backends.commands.training import run_cancel, run_train

    settings = load_settings()
    with mistakes_explained():
        if cancel:
            code = run_cancel(settings, console, project)
        else:
            code = run_train(settings, console, project, detach=detach)
    raise typer.Exit(code)


def _only(store: MicroStore, model: str) -> ModelVersion:
    """The one version whose id begins so. Errors: `BadRequest`."""
    prefix = model.strip().lower()
    found = store.version_by_id(prefix) if prefix else []
    exact = [one for one in found if one.id == prefix]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise BadRequest(
            f"there is no model {model!r}", advice="`labelpilot models list` shows all"
        )
    some = ", ".join(
        f"{one.id} (project {_project_id(one)}, {one.scope})" for one in found[:_SCOPES_NAMED]
    )
    raise BadRequest(
        f"{len(found)} models begin with {model!r}: {some}", advice="give more of the id"
    )


def _current(store: MicroStore, project: int, scope: str | None) -> ModelVersion:
    """The current version of a project's scope. Errors: `BadRequest`."""
    found = [one for one in store.all_versions() if one.is_current and _project_id(one) == project]
    if not found:
        raise BadRequest(
            f"project {project} has no model", advice="`labelpilot models list` shows all"
        )
    fits = [one for one in found if scope in (None, one.scope)]
    if len(fits) == 1:
        return fits[0]
    scopes = ", ".join(f'"{one.scope}"' for one in found[:_SCOPES_NAMED])
    if not fits:
        raise BadRequest(f"project {project} has no model for {scope!r}", advice=f"it has {scopes}")
    raise BadRequest(
        f"project {project} has {len(fits)} models", advice=f"say which with --scope: {scopes}"
    )


def _ancestors(one: ModelVersion, versions: Sequence[ModelVersion]) -> list[str]:
    """Ids of its parent, that one's parent, and so on."""
    parents = {version.id: version.parent for version in versions}
    line, parent = list[str](), one.parent
    while parent is not None and parent not in line and parent != one.id:
        line.append(parent)
        parent = parents.get(parent)
    return line


def _report(one: ModelVersion) -> str:
    from micro_models.fitting.report import Report
    from micro_models.interface import ModelFileError

    try:
        return str(Report.from_dict(one.report))
    except ModelFileError:
        return "nothing is kept of its training's report"


def _told_current(one: ModelVersion) -> None:
    console.print(
        f"[green]{one.id}[/green] answers for {escape(one.scope)} of project {_project_id(one)} "
        f"now; {_REFRESHED}",
        highlight=False,
    )


def _fate(one: ModelVersion) -> str:
    fate = "promoted before" if one.promoted_at is not None else "not promoted"
    fate = "current" if one.is_current else fate
    return fate if one.is_on_disk else f"{fate}, files gone"


def _project_id(one: ModelVersion) -> int:
    return int(one.project_key.split(".")[0])


def _against(value: float | None, other: float | None, whose: str) -> str:
    if value is None:
        return "not measured"
    return _share(value) + (f", {_share(other)} {whose}" if other is not None else "")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
