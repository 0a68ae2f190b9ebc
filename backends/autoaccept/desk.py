"""What every part of accepting works with, and the lease by which one works on a project alone."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backends.autoaccept.store import AutoacceptStore
from backends.errors import Busy
from backends.interface import Prelabeller, Project
from backends.label_studio.audits import AuditBook

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Tell = Callable[[str, float], None]  # what is being done, and which part of it is: 0..1
GoOn = Callable[[], None]

# One call of Label Studio takes a minute at most, and the lease is renewed before each.
_LEASE_S, _RENEW_S = 180.0, 20.0


@dataclass(frozen=True)
class Desk:
    """One run on one project. `go_on` raises when it is to stop; `version` is the model's now.

    `blind_share`, 0..1: so many tasks never get a prediction, by `label_studio.blind.is_blind`.
    """

    client: LabelStudio
    project: Project
    prelabeller: Prelabeller
    version: str
    store: AutoacceptStore
    book: AuditBook
    rng: np.random.Generator
    tell: Tell
    go_on: GoOn
    blind_share: float = 0.0

    @property
    def key(self) -> str:
        """The project's."""
        return self.project.key


@contextmanager
def alone(store: AutoacceptStore, key: str) -> Iterator[GoOn]:
    """Nobody else accepts, takes back or draws in the project meanwhile.

    What it gives is to be called before each change: it renews the lease. Errors: `Busy` if
    somebody else is at it, also later, if this one was held up for minutes.
    """
    runner = uuid.uuid4().hex
    renewed_at = float("-inf")

    def go_on() -> None:
        nonlocal renewed_at
        if time.monotonic() - renewed_at < _RENEW_S:
            return
        if not store.take(key, runner, for_s=_LEASE_S):
            raise Busy(
                "another `labelpilot autoaccept` works on this project",
                advice="wait until it is done; one that was killed is forgotten after 3 minutes",
            )
        renewed_at = time.monotonic()

    go_on()
    try:
        with store.held():
            yield go_on
    finally:
        store.leave(key, runner)
