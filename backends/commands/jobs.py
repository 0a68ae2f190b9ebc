"""The commands of background work, and how it shows on a console."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from backends import logs
from backends.errors import BadRequest, StateError, Unavailable
from backends.jobs.jobs import Jobs
from backends.jobs.tables import JobKind, JobState, PrelabelOptions, State
from backends.label_studio.tasks import TaskFilter, read_project, view_filter
from backends.serving.services import Services, check_state, make_services
from backends.settings import Settings

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 10.0  # where there is no terminal to draw a bar on
_FAILURES_SHOWN = 20
_REASONS_SHOWN = 10
_INTERRUPTED = 130


@dataclass(frozen=True)
class Wanted:
    """What `labelpilot prelabel` was asked for; `view` and `filter_json` exclude each other."""

    project_id: int
    view: int | None = None
    filter_json: str | None = None
    only_unlabelled: bool = False
    replace: bool = False
    limit: int | None = None

    def options(self, client: LabelStudio) -> PrelabelOptions:
        """The same for the job. Errors: `BadRequest`, `LabelStudioError`."""
        if self.view is not None and self.filter_json is not None:
            raise BadRequest("--view and --filter exclude each other", advice="give one of them")
        tasks = TaskFilter()
        if self.view is not None:
            tasks = view_filter(client, self.project_id, self.view)
        elif self.filter_json is not None:
            try:
                tasks = TaskFilter.read(json.loads(self.filter_json))
            except ValueError as error:
                raise BadRequest(f"--filter is not JSON: {error}") from None
        tasks = TaskFilter(tasks.items, tasks.any_fits, self.only_unlabelled)
        return PrelabelOptions(tasks, replace=self.replace, limit=self.limit)


def run_prelabel(
    settings: Settings, console: Console, wanted: Wanted, *, restart: bool, detach: bool
) -> int:
    """`labelpilot prelabel`; its exit code."""
    check_state(settings)
    with closing(make_services(settings)) as services:
        jobs, client = services.jobs, services.studios.sdk()
        project, _ = read_project(client, wanted.project_id)
        options = wanted.options(client)
        with console.status("getting the model ready"):
            job_id = jobs.prelabel_project(
                project,
                options,
                restart=restart,
                prelabeller=services.copilot.prelabeller(project),
            )
        if detach:
            console.print(f"job {job_id} waits for a worker", highlight=False)
            return 0
        jobs.start()
        try:
            job = _watch_job(console, jobs, job_id)
        except KeyboardInterrupt:
            console.print("stopping; the same command goes on from here", highlight=False)
            return _INTERRUPTED
        return 0 if summary(console, jobs, job) else 1


def _watch_job(console: Console, jobs: Jobs, job_id: str) -> JobState:
    """Draw its progress until it has ended; how it ended.

    A refresh to the same version may have tasks of it in hand: no server may be here to go on with
    them, so that has to end, too.
    """

    def shown() -> list[JobState]:
        job = jobs.job(job_id)
        same = job.project_key, job.version
        refreshes = [one for one in jobs.recent_jobs() if one.kind is JobKind.REFRESH and one.open]
        return [job, *(one for one in refreshes if (one.project_key, one.version) == same)]

    states = _steady(shown, shown())

    def over(wait_s: float) -> bool:
        time.sleep(wait_s)
        return not any(one.open for one in states())

    watch(console, states, over)
    return states()[0]


def _steady(
    read: Callable[[], Sequence[JobState]], first: Sequence[JobState] = ()
) -> Callable[[], Sequence[JobState]]:
    """What is read, or was last: a database that is away for a moment ends no command."""
    last = first

    def states() -> Sequence[JobState]:
        nonlocal last
        with suppress(Unavailable):  # whoever does the work says so
            last = read()
        return last

    return states


def run_worker(
    settings: Settings, console: Console, *, metrics: tuple[str, int] | None = None
) -> None:
    """`labelpilot worker`: until SIGTERM or SIGINT. `metrics`: where to tell them, host and port.

    Errors: `StateError`, also if that port is taken.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    logs.configure(settings)
    if settings.log_format == "json":  # who collects lines wants no others between them
        console = Console(quiet=True)
    check_state(settings)
    with closing(make_services(settings)) as services, _told(services, metrics):
        jobs = services.jobs
        jobs.start()
        console.print("waiting for work; Ctrl-C ends", highlight=False)

        def states() -> list[JobState]:
            return [job for job in (*jobs.recent_jobs(), *jobs.recent_trainings()) if job.open]

        watch(console, _steady(states), ended.wait)
        console.print("finishing the batch in hand", highlight=False)


@contextmanager
def _told(services: Services, where: tuple[str, int] | None) -> Iterator[None]:
    """Serve /metrics meanwhile: a worker has no other server. Anybody who reaches it may read."""
    if where is None:
        yield
        return
    from prometheus_client import start_http_server

    host, port = where
    try:
        server, thread = start_http_server(port, host, registry=services.journal.registry)
    except OSError as error:
        raise StateError(
            f"metrics cannot be served at {host}:{port}: {error.strerror}",
            advice="choose another --metrics-port",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watch(
    console: Console, states: Callable[[], Sequence[JobState]], ended: Callable[[float], bool]
) -> None:
    """Draw a bar for each job until `ended`, which waits for some seconds, says so."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        console=console,
        transient=True,
    )
    bars: dict[str, TaskID] = {}
    line_at = time.monotonic()
    with progress:
        while True:
            seen = states()
            for job in seen:
                if job.id not in bars:
                    bars[job.id] = progress.add_task("", total=None, pace="")
                progress.update(
                    bars[job.id],
                    description=_title(job),
                    total=job.total or None,
                    completed=job.finished,
                    pace=pace(job),
                )
            for gone in bars.keys() - {job.id for job in seen}:
                progress.remove_task(bars.pop(gone))
            if not console.is_terminal and time.monotonic() - line_at > _LINE_EVERY_S:
                line_at = time.monotonic()
                for job in seen:
                    done = f"{job.finished} of {job.total}" if job.total else str(job.state)
                    console.print(f"{_title(job)}: {done}, {pace(job)}", highlight=False)
            if ended(_LOOK_EVERY_S):
                return


def _title(job: JobState) -> str:
    what = {JobKind.TRAIN: " trains", JobKind.REFRESH: " is refreshed"}.get(job.kind, "")
    return f"project {job.project_id}{what}"


def pace(job: JobState) -> str:
    """Rate, remaining time, failures and videos under way, or what a job waits for."""
    parts = [f"{job.rate:.1f}/s"] if job.rate else []
    if job.left_s is not None and job.open:
        parts.append(f"{_duration(job.left_s)} left")
    if job.failed:
        parts.append(f"{job.failed} failed")
    parts += [f"task {clip.task_id}: frame {clip.done} of {clip.frames}" for clip in job.clips]
    parts += [job.note] if job.note else []
    return ", ".join(parts)


def summary(console: Console, jobs: Jobs, job: JobState) -> bool:
    """Say what became of a job; whether all went well."""
    blind = f", {job.blind} blind" if job.blind else ""
    console.print(
        f"[{'green' if job.state is State.DONE else 'red'}]{job.state}[/]: {job.stored} stored, "
        f"{job.skipped - job.blind} skipped, {job.failed} failed{blind}; version {job.version}",
        highlight=False,
    )
    if job.state is State.DONE and not job.total:
        console.print("every task that was asked for has a prediction of this version")
    if job.note:
        console.print(job.note, highlight=False, markup=False)
    failures = jobs.failures(job.id)
    for task_id, reason in failures[:_FAILURES_SHOWN]:
        console.print(f"task {task_id}: {reason}", highlight=False, markup=False)
    if job.failed > _FAILURES_SHOWN:
        console.print(f"... {job.failed} in all, the commonest reasons:", highlight=False)
        for reason, times in jobs.failure_reasons(job.id)[:_REASONS_SHOWN]:
            console.print(f"{times} x {reason}", highlight=False, markup=False)
    return job.state is State.DONE and not job.failed


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
