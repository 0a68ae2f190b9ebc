"""`labelpilot train`: asks for a training, draws how far it is, says what came of it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from backends.errors import BadRequest
from backends.jobs.tables import JobState, State
from backends.label_studio.tasks import read_project
from backends.micro.nouns import ModelVersion, Standing, Step
from backends.serving.services import Services, check_state, make_services
from backends.settings import Settings

_LOOK_EVERY_S = 0.5
_INTERRUPTED = 130
_STAY = "the models that answer stay, and what changed is learned after the next submit"


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
            _watch(console, services, key)
        except KeyboardInterrupt:
            console.print(
                "stopping; `labelpilot serve` and `worker` go on with it, `labelpilot train "
                f"--project {project_id} --cancel` ends it",
                highlight=False,
            )
            return _INTERRUPTED
        new = [one for one in store.versions(key) if (one.scope, one.id) not in before]
        return told_outcome(console, store.standing(key), new, services.jobs.training(key))


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
            store.note_seen(standing, labels=store.count_labelled(standing.project_key))
            cancelled |= services.jobs.cancel_training(standing.project_key)
    console.print(f"cancelled; {_STAY}" if cancelled else "no training goes on", highlight=False)
    return 0


def told_outcome(
    console: Console, standing: Standing, new: Sequence[ModelVersion], job: JobState | None
) -> int:
    """Say what a training made; 1 if it failed, or somebody cancelled it."""
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
    ended = job.state if job is not None else State.DONE
    if ended is State.CANCELLED:
        console.print(f"[red]cancelled[/red]; {_STAY}", highlight=False)
        return 1
    failure = standing.failure
    if ended in (State.FAILED, State.SUPERSEDED) and job is not None:
        failure = failure or job.note
    # A note is of the last training that came through.
    note = standing.note if ended is State.DONE else ""
    if not new and not note and not failure:
        console.print("nothing new to train: no label has changed since the last time")
    if note:
        console.print(note, markup=False, highlight=False)
    if failure:
        console.print("[red]failed:[/red]", end=" ")
        console.print(failure, markup=False, highlight=False)
    return 1 if failure else 0


def step_text(step: Step | None, job: JobState | None = None) -> str:
    """A training's progress in a line; before its first step what it waits for.

    >>> step_text(Step("label Car", "training", 0.5, 120, 0.25, 12.0))
    'label Car: training, step 120, loss 0.250, 12 s left'
    """
    if step is None or (job and job.note):  # what waits may have been at a step before
        under_way = job is not None and job.state is State.RUNNING
        return (job.note if job else "") or ("under way" if under_way else "waits for its turn")
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


def _watch(console: Console, services: Services, key: str) -> None:
    columns = TextColumn("{task.description}", markup=False), BarColumn()
    line = ""
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=1.0)
        while _goes_on(services, key):
            step, job = services.micro.store.standing(key).step, services.jobs.training(key)
            text = step_text(step, job)
            progress.update(bar, description=text, completed=step.spent if step else 0.0)
            # Where there is no terminal to draw a bar on: one line for each stage.
            now = re.sub(r"\d+", "", f"{step.scope}: {step.stage}" if step else text)
            if not console.is_terminal and line != now:
                line = now
                console.print(text, markup=False, highlight=False)
            time.sleep(_LOOK_EVERY_S)
