"""Whether this server can do its work: what `/ready` tells load balancers."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import sqlalchemy as sa

from backends.artifacts import Artifacts
from backends.errors import LabelpilotError
from backends.logs import where
from backends.sam.engine import EngineSlot
from backends.serving.bounded import Bounded

log = logging.getLogger(__name__)

READY = "ready"
LIMIT_S = 2.0
_KEEP_S = 1.0  # of probes that pile up one looks
_STORE_EVERY_S = 30.0
_WRITTEN = bytes(4096)

# None where all is well, else what is not, for everybody to read: probes bring no password.
Check = Callable[[], str | None]


class Readiness:
    """Looks at named parts; never hangs, whatever they do."""

    def __init__(
        self, checks: Mapping[str, Check], *, limit_s: float = LIMIT_S, keep_s: float = _KEEP_S
    ) -> None:
        self._limit_s = limit_s
        self._parts = {
            name: Bounded(f"ready-{name}", check, limit_s=limit_s, keep_s=keep_s)
            for name, check in checks.items()
        }
        self._told: dict[str, str] = {}

    def look(self) -> dict[str, str]:
        """Of each part "ready" or what is wrong with it; within the limit, of all together."""
        for part in self._parts.values():
            part.begin()
        found = {name: self._state(part) for name, part in self._parts.items()}
        for name, state in found.items():
            before = self._told.get(name, READY)
            if state != before:
                level = logging.INFO if state in (READY, LOADING) else logging.WARNING
                log.log(level, "%s: %s", name, state)
        self._told = found
        return found

    def _state(self, part: Bounded[str | None]) -> str:
        try:
            return part.answer() or READY
        except TimeoutError:
            return f"failed: no answer in {self._limit_s:g} s"
        except LabelpilotError as error:
            return f"failed: {error.message}"
        except Exception as error:  # noqa: BLE001 - a check that fails is a part that does
            log.debug("a part is not ready: %s", where(error))
            return f"failed: {type(error).__name__}"


LOADING = "loading"


def model_check(engine: EngineSlot) -> Check:
    """The model for clicks, which is loaded at the start; others are when they are needed."""

    def check() -> str | None:
        error = engine.error()
        if error is not None:
            return f"failed: {error.message}"
        return None if engine.now() is not None else LOADING

    return check


def database_check(engine: sa.Engine) -> Check:
    """The database answers from one of our tables, so that not only its server is there."""
    query = sa.select(sa.literal(1)).select_from(sa.table("projects")).limit(1)

    def check() -> str | None:
        with engine.connect() as connection:
            connection.execute(query).all()
        return None

    return check


def artifacts_check(artifacts: Artifacts) -> Check:
    """The store that machines share can be written to; while it can, it is asked seldom: each time
    costs two requests, which others charge for.
    """
    fine_at = float("-inf")

    def check() -> str | None:
        nonlocal fine_at
        if time.monotonic() - fine_at > _STORE_EVERY_S:
            artifacts.check()
            fine_at = time.monotonic()
        return None

    return check


def folder_check(folder: Path) -> Check:
    """A folder can be written to, and its disk is not full."""

    def check() -> str | None:
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(_WRITTEN)
                file.flush()
        except OSError as error:
            return f"failed: the data folder cannot be written to ({error.strerror})"
        return None

    return check
