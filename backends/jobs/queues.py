"""What kinds of background work there are, and how much of each a process does at a time."""

from __future__ import annotations

from dataclasses import dataclass

from backends.jobs.tables import TurnKind
from backends.settings import Settings

# Of each queue so many turns may wait in DBOS: enough for workers, few to clear away when a job
# ends early.
AHEAD = 16


@dataclass(frozen=True)
class Queue:
    """Turns of some kinds, of which a process does at most `threads` at a time."""

    name: str
    kinds: tuple[TurnKind, ...]
    threads: int
    poll_s: float


def queues(settings: Settings, *, trains: bool) -> tuple[Queue, ...]:
    """Those that the settings name; trainings only where `trains`.

    Each kind of turn that must not wait for another has a queue of its own.
    """
    threads = settings.job_threads
    labels = Queue("labelpilot-turns", (TurnKind.LIST, TurnKind.LABEL), threads, 0.25)
    first = Queue("labelpilot-first", (TurnKind.FIRST,), 1, 0.25)
    training = Queue("labelpilot-training", (TurnKind.TRAIN,), 1, 0.5)
    names = settings.queue_names
    predicts = (labels, first) if "predict" in names else ()
    return (*predicts, training) if trains and "train" in names else predicts
