"""The command `labelpilot`. Heavy modules are imported by the commands that need them."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backends.commands.advise import advise
from backends.commands.autoaccept import autoaccept
from backends.commands.backup import backup, restore
from backends.commands.consensus import consensus
from backends.commands.impact import impact
from backends.commands.models import models_app, train
from backends.commands.review import review
from backends.commands.serve import serve
from backends.errors import LabelpilotError
from backends.terminal import (
    ProjectOption,
    UrlOption,
    console,
    load_settings,
    mistakes_explained,
    print_table,
)

if TYPE_CHECKING:
    from rich.progress import Progress

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""ML backends for Label Studio: a click becomes a mask, tasks arrive labelled.

    Settings are environment variables, or lines of a file `.env` in the current folder:

    - `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`: where Label Studio is, and a token of yours
      (personal access token or legacy token, both work)
    - `LABELPILOT_DATA_DIR`: state and caches, default ~/.labelpilot
    - `LABELPILOT_MODEL_DIR`: checkpoints, default models/ in the data folder
    - `LABELPILOT_SAM_MODEL`: the model for clicks; default: the best one in the model folder, else
      GrabCut, which needs no weights
    - `LABELPILOT_YOLO_MODEL`: the model for pre-labels where the label config names none; default:
      the best one in the model folder
    - `LABELPILOT_TRAIN_FIRST_AT`: labelled tasks from which on small models train themselves on
      what people submit, default 5; 0: never

    Start with `labelpilot serve`, then `labelpilot connect --project N`. When nothing appears in
    Label Studio: `labelpilot doctor --project N`. To label a whole project:
    `labelpilot prelabel --project N`.
    """,
)
weights_app = typer.Typer(
    no_args_is_help=True,
    help="Checkpoints: which there are, which are here, and how to get one.",
)
app.add_typer(weights_app, name="weights")
app.add_typer(models_app, name="models")
app.command()(train)
app.command()(impact)
app.command()(review)
app.command()(consensus)
app.command()(autoaccept)
app.command()(advise)
app.command()(backup)
app.command()(restore)
app.command()(serve)


@app.callback()
def _before_any_command() -> None:
    # torch's threads wait for each other in busy loops by default: two processes on one machine
    # then slow each other down many times. Read when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@app.command()
def connect(
    project: ProjectOption,
    url: UrlOption = "http://127.0.0.1:9090",
    title: Annotated[str, typer.Option(help="The name shown in the project's settings.")] = (
        "labelpilot"
    ),
) -> None:
    """Add this server to a project: interactive, with its webhook; safe to repeat.

    Needs `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`, and the running server. Reports webhooks
    that an earlier backend left behind.
    """
    from backends.label_studio.client import LabelStudios
    from backends.label_studio.connect import connect as connect_backend
    from backends.label_studio.projects import ProjectBook

    settings = load_settings()
    with (
        mistakes_explained(),
        closing(LabelStudios(settings, ProjectBook(settings))) as studios,
    ):
        report = connect_backend(
            studios.sdk(),
            project_id=project,
            url=url,
            title=title,
            basic_auth=settings.basic_auth,
        )
    console.print(
        f"[green]{'added' if report.added else 'already there, checked'}[/green]: backend "
        f"{report.backend_id} at {report.url}, version {report.version}, webhook "
        f"{report.webhook_id}{' with Basic auth' if report.webhook_with_auth else ''}",
        highlight=False,
    )
    for stale in report.stale_webhooks:
        console.print(
            f"[yellow]stale webhook[/yellow] {stale}: no backend of the project belongs to it; "
            "delete it under Settings > Webhooks",
            highlight=False,
        )
    for note in report.notes:
        console.print(f"[yellow]note:[/yellow] {note}", highlight=False)
    if not report.connected:
        raise typer.Exit(1)


@app.command()
def doctor(
    project: Annotated[
        int | None, typer.Option(help="Also check this project: config, media, webhook.")
    ] = None,
    url: UrlOption = "http://127.0.0.1:9090",
) -> None:
    """Test every link between Label Studio and this server, and say how to mend what is broken.

    Exits with 1 if anything failed.
    """
    from backends.label_studio.doctor import run_checks
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    colors = {"ok": "green", "warn": "yellow", "fail": "red"}
    failed = False
    with mistakes_explained():
        check_state(settings)
    with mistakes_explained(), closing(make_services(settings)) as services:
        for check in run_checks(
            settings,
            project_id=project,
            url=url,
            prelabels=services.yolo,
            learned=services.micro.serving_version,
        ):
            color = colors[check.outcome]
            console.print(
                f"[{color}]{check.outcome:>4}[/{color}] {check.name}: {check.seen}", highlight=False
            )
            if check.cure:
                console.print(f"     [bold]cure:[/bold] {check.cure}", highlight=False)
            failed |= check.outcome == "fail"
    if failed:
        raise typer.Exit(1)


@app.command()
def embed(project: ProjectOption) -> None:
    """Compute the embeddings of all images of a project, so that every first click is warm.

    Stop it at any time; a second run goes on where the first one stopped. A running server finds
    the results at once. Needs `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`.
    """
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    from backends.interface import Task
    from backends.label_studio.client import iter_tasks
    from backends.label_studio.tasks import read_project
    from backends.serving.services import check_state, make_services

    settings = load_settings()
    with mistakes_explained():
        check_state(settings)
    services = make_services(settings)
    failures = 0
    with mistakes_explained(), _progress(MofNCompleteColumn(), TimeRemainingColumn()) as progress:
        bar = progress.add_task("loading the model", total=None)
        services.engine.wait()
        client = services.studios.sdk()
        known, tasks = read_project(client, project)
        progress.update(bar, description="embedding", total=tasks)
        for task_id, data in iter_tasks(client, project):
            try:
                services.sam.warm(known, Task(task_id, data))
            except LabelpilotError as error:
                failures += 1
                progress.console.print(f"[yellow]task {task_id}:[/yellow] {error}")
            progress.advance(bar)
    services.close()
    use = services.embeddings.use()
    console.print(f"{use.computed} images embedded now, {failures} tasks without an image")
    if failures:
        raise typer.Exit(1)


@app.command()
def prelabel(
    project: ProjectOption,
    view: Annotated[
        int | None, typer.Option(help="Only what this tab of the Data Manager shows: 3 in ?tab=3.")
    ] = None,
    filter_json: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Only what this filter of the Data Manager selects, as JSON."
        ),
    ] = None,
    only_unlabelled: Annotated[
        bool, typer.Option("--only-unlabelled", help="Only tasks without annotations.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Put new predictions in the place of earlier versions."),
    ] = False,
    limit: Annotated[int | None, typer.Option(help="At most so many tasks.", min=1)] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Drop an unfinished run of the same command.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Leave the work to `labelpilot worker` or `serve`.")
    ] = False,
) -> None:
    """Predict for every task of a project that has no prediction of the present version.

    Stop it at any time, also with kill -9: the same command goes on where it stopped. Running
    workers on the same database take part. Exits with 1 if a task failed; the summary says which
    and why. Needs `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`.
    """
    from backends.commands.jobs import Wanted, run_prelabel

    settings = load_settings()
    wanted = Wanted(
        project,
        view=view,
        filter_json=filter_json,
        only_unlabelled=only_unlabelled,
        replace=replace,
        limit=limit,
    )
    with mistakes_explained():
        code = run_prelabel(settings, console, wanted, restart=restart, detach=detach)
    raise typer.Exit(code)


@app.command()
def worker(
    threads: Annotated[
        int | None,
        typer.Option(help="Parts of the work done at the same time by each worker.", min=1),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(help="What it does: train, predict; give it twice for both, as by default."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve Prometheus metrics at this port.", min=1, max=65535),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="Address for that; whoever reaches it may read them.")
    ] = "127.0.0.1",
) -> None:
    """Do background work until SIGTERM or Ctrl-C: what "Retrieve predictions" and `prelabel` left.

    Any number of workers, on this or other machines, share the work of one database
    (`LABELPILOT_DATABASE_URL`, Postgres for several machines). A batch in hand is finished.
    """
    from backends.commands.jobs import run_worker

    changed = {"job_threads": threads, "queues": ",".join(queue) if queue else None}
    settings = load_settings(**{name: to for name, to in changed.items() if to is not None})
    with mistakes_explained():
        metrics = (metrics_host, metrics_port) if metrics_port else None
        run_worker(settings, console, metrics=metrics)


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Label Studio's port; the next free one if busy.")] = (
        8080
    ),
    backend_port: Annotated[
        int, typer.Option(help="This server's port; the next free one if busy.")
    ] = 9090,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget an earlier demo and start anew.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the project in the browser.")] = True,
) -> None:
    """Start Label Studio and this server with a sample project; Ctrl-C stops both."""
    from backends.demo.main import run_demo

    with mistakes_explained():
        run_demo(port=port, backend_port=backend_port, reset=reset, open_browser=browser)


@weights_app.command("list")
def weights_list() -> None:
    """Show every checkpoint: what for, its size, and whether it is in the model folder."""
    from rich.table import Table

    from backends.weights import listing

    folder = load_settings().model_path
    table = Table("name", "gives", "MB", "here", "what for", box=None, pad_edge=False)
    for weights, is_here in listing(folder):
        mark = " *" if weights.extra else ""
        here = "[green]yes[/green]" if is_here else ""
        about = f"{weights.about}\n[dim]{weights.file}[/dim]"
        table.add_row(weights.name + mark, weights.gives, str(weights.size_mb), here, about)
    print_table(table)
    console.print(
        '* needs the extra: pip install "labelpilot[ultralytics]" (AGPL-3.0)\n'
        f"Model folder: {folder}\nLABELPILOT_SAM_MODEL names one for clicks and boxes drawn, "
        "LABELPILOT_YOLO_MODEL (or model_path in the label config) one for pre-labels: a name "
        "from here, or any other file in the folder. Offline, put files there by hand.",
        highlight=False,
        markup=False,
    )


@weights_app.command("get")
def weights_get(
    name: Annotated[str, typer.Argument(help="A name that `labelpilot weights list` shows.")],
) -> None:
    """Download a checkpoint into the model folder; goes on where an earlier try stopped.

    The file is checked by its SHA-256 and appears only when it is whole.
    """
    from rich.progress import DownloadColumn, TransferSpeedColumn

    from backends.weights import download, named

    folder = load_settings().model_path
    with mistakes_explained(), _progress(DownloadColumn(), TransferSpeedColumn()) as progress:
        bar = progress.add_task(name, total=None)
        path = download(
            name,
            folder,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    is_for_clicks = named(name).task == "prompt"
    use = "restart `labelpilot serve` to use it" if is_for_clicks else "`serve` finds it by itself"
    console.print(f"{path} is ready; {use}", highlight=False)


def _progress(*columns: Any) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), *columns, console=console, transient=True
    )


if __name__ == "__main__":
    app()
