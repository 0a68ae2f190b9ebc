"""`labelpilot train`: asks for a training, draws how far it is, says what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from backends.errors import BadRequest
from backends.label_studio.tasks import read_project
from backends.micro.nouns import ModelVersion, Standing, Step
from backends.micro.store import MicroStore
from backends.serving.services import Services, check_state, make_services
from backends.settings import Settings

_LOOK_EVERY_S = 0.5
_INTERRUPTED = 130


def run_train(settings: Settings, console: Console, project_id: int, *, detach: bool) -> int:
    """`labelpilot train`; its exit code."""
    if not settings.train_first_at:
        raise BadRequest(
            "training is switched off", advice="set LABELPILOT_TRAIN_FIRST_AT to 5, or leave it out"
        )
    check_state(settings)
    with closing(make_services(settings)) as services:
        project, _ = read_project(services.studios.sdk(), project_id)
        store, key = services.micro.store, project.key
        before = {(one.scope, one.id) for one in store.versions(key)}
        store.note_event([key], submissions=0, asked=True)
        services.jobs.train(key)
        if detach:
            console.print("a training waits for a worker", highlight=False)
            return 0
        services.jobs.start()
        try:
            _watch(console, store, lambda: _goes_on(services, key), key)
        except KeyboardInterrupt:
            console.print(
                "stopping; `labelpilot serve` and `worker` go on with it, `labelpilot train "
                f"--project {project_id} --cancel` ends it",
                highlight=False,
            )
            return _INTERRUPTED
        new = [one for one in store.versions(key) if (one.scope, one.id) not in before]
        return told_outcome(console, store.standing(key), new)


def run_cancel(settings: Settings, console: Console, project_id: int) -> int:
    """`labelpilot train --cancel`; its exit code."""
    check_state(settings)
    with closing(make_services(settings)) as services:
        store = services.micro.store
        known = [
            one for one in store.standings() if one.project_key.split(".")[0] == str(project_id)
        ]
        cancelled = False
        for standing in known:
            # First, or whoever watches would begin again: what changed is no reason any more.
            store.note_seen(standing, labels=standing.labels)
            cancelled |= services.jobs.cancel_training(standing.project_key)
    console.print("cancelled; the models are as they were" if cancelled else "no training goes on")
    return 0


def told_outcome(console: Console, standing: Standing, new: list[ModelVersion]) -> int:
    """Say what a training made; 1 if it failed."""
    for one in reversed(new):
        fate = (
            "[green]promoted[/green]"
            if one.promoted_at is not None
            else "[yellow]not promoted[/yellow]"
        )
        console.print(fate, end=" ")
        console.print(f"{one.id} for {one.scope}: {one.why}", markup=False, highlight=False)
    if new and any(one.is_current for one in new):
        console.print(
            "`labelpilot serve` or `labelpilot worker` refreshes the predictions", highlight=False
        )
    if not new and not standing.note and not standing.failure:
        console.print("nothing new to train: no label has changed since the last time")
    if standing.note:
        console.print(standing.note, markup=False, highlight=False)
    if standing.failure:
        console.print("[red]failed:[/red]", end=" ")
        console.print(standing.failure, markup=False, highlight=False)
    return 1 if standing.failure else 0


def step_text(step: Step | None) -> str:
    """A training's progress in a line.

    >>> step_text(Step("label Car", "training", 0.5, 120, 0.25, 12.0))
    'label Car: training, step 120, loss 0.250, 12 s left'
    """
    if step is None:
        return "looks at what changed"
    parts = [f"{step.scope}: {step.stage}"]
    parts += [f"step {step.step}"] if step.step else []
    parts += [] if step.loss is None else [f"loss {step.loss:.3f}"]
    parts += [] if step.remaining_s is None else [f"{step.remaining_s:.0f} s left"]
    return ", ".join(parts)


def _goes_on(services: Services, key: str) -> bool:
    """Whether what was asked for is still to be done; sees to it that somebody does."""
    if services.jobs.is_training(key):
        return True
    # What was under way when we asked has ended, and took no note of us.
    if services.micro.store.standing(key).asked:
        services.jobs.train(key)
        return True
    return False


def _watch(console: Console, store: MicroStore, goes_on: Callable[[], bool], key: str) -> None:
    columns = TextColumn("{task.description}", markup=False), BarColumn()
    stage = ""
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("waits", total=1.0)
        while goes_on():
            step = store.standing(key).step
            progress.update(bar, description=step_text(step), completed=step.spent if step else 0.0)
            if step and not console.is_terminal and stage != f"{step.scope}: {step.stage}":
                stage = f"{step.scope}: {step.stage}"
                console.print(stage, markup=False, highlight=False)
            time.sleep(_LOOK_EVERY_S)
