"""DBOS, which hands turns to workers: one at a time to one worker, again if that one dies.

It is a singleton of the process. What a turn does is all in our own tables and in Label Studio
(see `turns.py`), so that a turn may be done twice without harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS

from backends.database import database_url
from backends.errors import StateError
from backends.jobs.queues import Queue
from backends.settings import Settings

_WORKFLOW = "labelpilot-turn"
# Fixed, or DBOS would leave alone what a worker of another release was doing. A change of what a
# turn's arguments mean needs a new one.
_VERSION = "turns-1"
_CLOSE_S = 60.0
_KEEP_S = 3600.0
_FORGET_AT_ONCE = 500
# Beside those of our own tables; a Postgres gives all processes together a hundred by default.
_CONNECTIONS = 5


_Run = Callable[[str, int], None]
_launched = threading.Lock()  # held by the engine of this process
_run: _Run | None = None
_in_hand = 0
_changed = threading.Condition()


@DBOS.workflow(name=_WORKFLOW)
def _turn(turn_id: str, attempt: int) -> None:
    global _in_hand
    if _run is None:
        raise StateError("no worker is there")
    with _changed:
        _in_hand += 1
    try:
        _run(turn_id, attempt)
    finally:
        with _changed:
            _in_hand -= 1
            _changed.notify_all()


class Engine:
    """DBOS in this process, calling `run(turn id, attempt)` for the turns of some queues.

    Errors: `StateError` if the process has one already, or the database is not to be had.
    """

    def __init__(self, settings: Settings, name: str, run: _Run, *, takes: Sequence[Queue]) -> None:
        global _run
        if not _launched.acquire(blocking=False):
            raise StateError("background work has been started in this process already")
        _run = run
        # It logs to the console, with tracebacks; what matters is in our own tables.
        logger = logging.getLogger("dbos")
        logger.addHandler(logging.NullHandler())
        try:
            DBOS(
                config={
                    "name": "labelpilot",
                    "system_database_url": database_url(settings),
                    "sys_db_pool_size": _CONNECTIONS,
                    "application_version": _VERSION,
                    "executor_id": name,
                    "enable_otlp": False,
                    "use_listen_notify": False,
                    "log_level": "CRITICAL",
                }
            )
            DBOS.listen_queues([queue.name for queue in takes])
            DBOS.launch()
            for queue in takes:
                DBOS.register_queue(
                    queue.name,
                    worker_concurrency=queue.threads,
                    polling_interval_sec=queue.poll_s,
                    on_conflict="always_update",
                )
        except Exception as error:
            self.close()
            raise StateError(
                f"background work cannot be started ({type(error).__name__})",
                advice="see whether the database can be reached and may be written to",
            ) from error

    def send(self, queue: Queue, turns: Iterable[tuple[str, int]]) -> None:
        """Queue turns (id, attempt); one that is queued already stays so."""
        for turn_id, attempt in turns:
            DBOS.enqueue_workflow_with_options(
                {
                    "workflow_name": _WORKFLOW,
                    "queue_name": queue.name,
                    "workflow_id": f"{turn_id}-{attempt}",
                },
                turn_id,
                attempt,
            )

    def dropped(
        self, turns: Sequence[tuple[str, int]], dead: Sequence[str]
    ) -> list[tuple[str, int]]:
        """Turns (id, attempt) that nobody does any more: those of `turns`, which had begun, whose
        workflow has ended all the same, and all that workers named `dead` had in hand.
        """
        ids = [f"{turn_id}-{attempt}" for turn_id, attempt in turns]
        waiting = ("PENDING", "ENQUEUED", "DELAYED")
        options: dict[str, Any] = {"load_input": False, "load_output": False}
        found = DBOS.list_workflows(workflow_ids=ids, **options) if ids else []
        gone = set(ids) - {one.workflow_id for one in found if one.status in waiting}
        if dead:
            held = DBOS.list_workflows(status="PENDING", executor_id=list(dead), **options)
            gone |= {one.workflow_id for one in held}
        parts = [workflow_id.rpartition("-") for workflow_id in gone]
        return [(turn_id, int(attempt)) for turn_id, _, attempt in parts]

    def forget_ended(self, *, before_s: float = _KEEP_S) -> int:
        """Delete what DBOS keeps of turns that ended so long ago; how many.

        Nobody asks for it any more, and it would grow for ever. Some at a time.
        """
        ended_before = datetime.fromtimestamp(time.time() - before_s, UTC).isoformat()
        ended = DBOS.list_workflows(
            name=_WORKFLOW,
            status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_before=ended_before,
            limit=_FORGET_AT_ONCE,
            load_input=False,
            load_output=False,
        )
        if ended:
            DBOS.delete_workflows([one.workflow_id for one in ended])
        return len(ended)

    def close(self) -> None:
        """Wait until turns in hand have ended, which is up to whoever does them, and stop."""
        global _run
        with _changed:
            _changed.wait_for(lambda: _in_hand == 0, timeout=_CLOSE_S)
        DBOS.destroy()
        _run = None
        _launched.release()
