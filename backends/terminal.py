"""What all commands share: consoles, settings, how mistakes are told.

Every command imports it: `labelpilot --help` must stay quick.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backends.errors import LabelpilotError

if TYPE_CHECKING:
    from backends.settings import Settings

# What is being done, and which part of all is: 0..1.
Tell = Callable[[str, float], None]

console = Console()
errors = Console(stderr=True)
_NO_LIMIT = 100_000  # columns; what goes into a pipe or a file is not cut to a screen's width

ProjectOption = Annotated[
    int,
    typer.Option(help="The number in the project's address: 7 in http://host/projects/7/data."),
]
UrlOption = Annotated[
    str,
    typer.Option(
        help="This server's address as Label Studio reaches it. In Docker that is the service's "
        "name, such as http://labelpilot:9090, never localhost."
    ),
]


def print_table(table: Table) -> None:
    """Print a table to fit the screen; where there is none, in full."""
    where = console if console.is_terminal else Console(file=console.file, width=_NO_LIMIT)
    where.print(table)


@contextmanager
def progress(*, after_s: float = 0.0) -> Iterator[Tell]:
    """A bar on a terminal, else a line for each stage, whatever it counts; to standard error.

    Nothing of it is shown of what takes less than `after_s`.
    """
    from rich.progress import BarColumn, Progress, TextColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn()
    last, began = "", time.monotonic()
    bar = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    task = bar.add_task("", total=1.0)

    def tell(text: str, part: float) -> None:
        nonlocal last
        if time.monotonic() - began < after_s:
            return
        bar.start()
        bar.update(task, description=text, completed=part)
        stage = re.sub(r"\d+", "", text)  # of a hundred pictures not a hundred lines
        if not errors.is_terminal and stage != last:
            last = stage
            errors.print(text, markup=False, highlight=False)

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def mistakes_explained() -> Iterator[None]:
    """Print what to do instead of a traceback, and exit with 1."""
    try:
        yield
    except LabelpilotError as error:
        errors.print(f"[red]error:[/red] {escape(error.message)}", highlight=False)
        if error.advice:
            errors.print(f"[bold]cure:[/bold] {escape(error.advice)}", highlight=False)
        raise typer.Exit(1) from None


def load_settings(**changed: Any) -> Settings:
    """The settings. A wrong one is named, with what it should be, and ends the program.

    `changed` by fields' names: what a command's options say instead.
    """
    from pydantic import ValidationError

    from backends.settings import Settings

    try:
        return Settings(**changed)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper() or "SETTINGS"
            name = name if name.startswith("LABEL") else f"LABELPILOT_{name}"
            errors.print(f"[red]error:[/red] {name}: {problem['msg']}", highlight=False)
        raise typer.Exit(2) from None
