"""`labelpilot backup` and `labelpilot restore`: the state and the models in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backends.terminal import console, load_settings, mistakes_explained, progress

_QUICK_S = 2.0  # what takes no longer needs no bar

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="For example labelpilot.zip.")]


def backup(file: FileArgument) -> None:
    """Write the state and the models that were trained of annotations to a file.

    Servers and workers may go on meanwhile: it holds what the database held at one moment. It is
    the same for SQLite and Postgres. Left out are caches (embeddings, media, what `review` has
    measured), checkpoints that came from elsewhere, settings, and tokens of Label Studio.
    """
    from backends.backup.saving import back_up

    settings = load_settings()
    with mistakes_explained(), progress(after_s=_QUICK_S) as tell:
        saved = back_up(settings, file, tell=tell)
    size = file.stat().st_size / 1e6
    console.print(
        f"{file}: {saved.rows} rows, {saved.models} models, {size:.1f} MB", highlight=False
    )
    for version in saved.missing:
        console.print(f"[yellow]without the files of model[/yellow] {version}", highlight=False)


def restore(
    file: FileArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Delete what the database holds, and restore then.")
    ] = False,
) -> None:
    """Bring back what `labelpilot backup` wrote, into an empty database; all of it or nothing.

    Stop servers and workers first. Background jobs that were unfinished go on when one starts
    again; no task gets a second prediction of the same version.
    """
    from backends.backup.restoring import restore as bring_back

    settings = load_settings()
    with mistakes_explained(), progress(after_s=_QUICK_S) as tell:
        restored = bring_back(settings, file, force=force, tell=tell)
    console.print(
        f"restored as of {restored.made_at}: {restored.rows} rows, {restored.models} models",
        highlight=False,
    )
