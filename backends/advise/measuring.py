"""Measures a learning curve in a process of its own, and keeps every point as soon as it is known.

Whoever is stopped and measures again goes on from there: what was measured of labels that are still
the same is not measured again, however many were added.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.advise.child import RUNS, write_runs
from backends.advise.design import design
from backends.advise.nouns import Measured, Run
from backends.advise.store import AdviseStore
from backends.advise.targets import Metric
from backends.errors import StateError
from backends.micro.examples import data_hash
from backends.micro.exchange import REQUEST, Material, Request, write_request
from backends.micro.training import Process
from micro_models.examples import Example

_CHILD = "backends.advise.child"
_DIGITS = 12
# Of its time a process may take so much more; a training that hangs is ended.
_TOO_LONG, _GRACE_S = 3.0, 60.0

Tell = Callable[[str, float], None]
GoOn = Callable[[], None]


@dataclass(frozen=True)
class Subject:
    """What is measured: a scope of a project, by the keys of both, and its labelled pictures."""

    project_key: str
    scope: str
    material: tuple[Material, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """Per labelled picture what changes whenever it or a region of it does."""
        return tuple(data_hash([one])[:_DIGITS] for one in self.material)


def measured(
    subject: Subject,
    store: AdviseStore,
    room: Path,
    *,
    families: Sequence[str],
    budget_s: float,
    device: str,
    tell: Tell,
    go_on: GoOn,
    steps: int | None = None,
) -> list[Measured]:
    """What is known of the learning curves of `families`, after at most `budget_s` more.

    All of it is of trainings that could take as long.

    `room` is a folder for files, which are gone afterwards. Errors: `TrainingFailed`, `StateError`,
    and what `go_on` raises; what was measured until then is kept.
    """
    digests = subject.digests
    store.drop_points(subject.project_key, subject.scope, still=digests)
    known = store.points(subject.project_key, subject.scope)
    examples = [Example(one.picture, one.regions) for one in subject.material]
    wanted = design(examples, families, budget_s=budget_s, known=known)
    known = [one for one in known if wanted.fits(one)]
    if not wanted.runs:
        return known
    until = time.monotonic() + budget_s
    request = Request(subject.material, (), budget_s=budget_s, seed=0, device=device, steps=steps)
    try:
        write_request(request, room / REQUEST)
        write_runs(wanted.runs, wanted.budgets_s, room / RUNS)
    except OSError as error:
        raise StateError(
            "what is to be measured could not be written", advice="see whether the disk is full"
        ) from error
    unreadable: frozenset[int] = frozenset()
    with Process(_CHILD, room, most_s=_TOO_LONG * budget_s + _GRACE_S) as process:
        for message in process.messages(go_on):
            if (failure := process.failure(message)) is not None:
                raise failure
            if "read" in message:
                tell("reading pictures", 0.0)
            elif "unreadable" in message:
                unreadable = frozenset(message["unreadable"])
                _tell_next(wanted.runs, 0, tell)
            else:
                number = message["run"]
                run = wanted.runs[number]
                found = {Metric(name): value for name, value in message["scores"].items()}
                one = Measured(
                    run.family,
                    wanted.budgets_s[run.family],
                    found,
                    _some(digests, run.train, unreadable),
                    _some(digests, run.test, unreadable),
                    message["took_s"],
                )
                if found:
                    store.add_point(subject.project_key, subject.scope, one)
                    known.append(one)
                if time.monotonic() + message["took_s"] > until:
                    return known
                _tell_next(wanted.runs, number + 1, tell)
        process.check()
    return known


def _some(digests: Sequence[str], indices: Sequence[int], but: frozenset[int]) -> frozenset[str]:
    return frozenset(digests[n] for n in indices if n not in but)


def _tell_next(runs: Sequence[Run], number: int, tell: Tell) -> None:
    if number < len(runs):
        one = runs[number]
        tell(f"{one.family} learns {one.size} labels, draw {one.draw + 1}", number / len(runs))
