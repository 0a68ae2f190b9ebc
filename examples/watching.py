"""A bar that shows how far a training is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from micro_models.budget import Progress as Step
from micro_models.budget import Told, ignore


@contextmanager
def watched(console: Console, *, quiet: bool) -> Iterator[Told]:
    """A bar for as long as the block lasts; `quiet`: none."""
    if quiet:
        yield ignore
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def told(step: Step) -> None:
            loss = "" if step.loss is None else f"  loss {step.loss:.3f}"
            bar.update(task, completed=step.spent, description=f"{step.stage}{loss}")

        yield told
