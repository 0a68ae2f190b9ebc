"""How this program logs: lines for people, or one JSON object a line for collectors.

Every line carries the ids of what it is about: a request, a job, a turn, a project.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

if TYPE_CHECKING:
    from backends.settings import Settings

T = TypeVar("T")

_NONE: Mapping[str, str] = MappingProxyType({})
_ids: ContextVar[Mapping[str, str]] = ContextVar("ids", default=_NONE)
# What a terminal, or whoever reads line by line, takes for something else than text. Names, labels
# and messages of other servers are written by strangers.
# Also what turns the direction of text around: a label must not look like another line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Their INFO lines hold full URLs, and URLs of media hold signatures; uvicorn's say nothing new.
_QUIET = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "alembic", "botocore", "s3fs", "fsspec")


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Until the block ends, what this thread or task logs carries these ids, too.

    Names: `request_id`, `job_id`, `turn_id`, `project`.
    """
    token = _ids.set({**_ids.get(), **ids})
    try:
        yield
    finally:
        _ids.reset(token)


def ids() -> Mapping[str, str]:
    """The ids that a line logged here and now carries."""
    return _ids.get()


class Threads(ThreadPoolExecutor):
    """A pool whose work carries the ids of whoever submitted it."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """As of any executor."""
        return super().submit(copy_context().run, fn, *args, **kwargs)


def where(error: BaseException) -> str:
    """The kind of an error and the line that raised it; its text may hold secrets."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    line = f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else "?"
    return f"{type(error).__name__} in {line}"


class AddIds(logging.Filter):
    """Notes the ids with each record, in the thread that logs it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets all pass."""
        record.ids = _ids.get()
        return True


class TextFormatter(logging.Formatter):
    """One line a record: time, level, logger, message, and its ids in brackets."""

    def format(self, record: logging.LogRecord) -> str:
        """A line without control characters, and never a traceback."""
        at = _time(record).isoformat(" ", "milliseconds").replace("+00:00", "Z")
        parts = [at, record.levelname, f"{record.name}:", record.getMessage()]
        if (error := _error(record)) is not None:
            parts.append(f"({where(error)})")
        if of := " ".join(f"{name}={value}" for name, value in _ids_of(record).items()):
            parts.append(f"[{of}]")
        return _CONTROL.sub(lambda found: repr(found[0])[1:-1], " ".join(parts))


class JsonFormatter(logging.Formatter):
    """One JSON object a record: `time` (ISO, UTC), `level`, `logger`, `message`, and its ids.

    `error` is the kind of what was raised, and where.
    """

    def format(self, record: logging.LogRecord) -> str:
        """A line, and never a traceback."""
        line = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ids_of(record),
        }
        if (error := _error(record)) is not None:
            line["error"] = where(error)
        return json.dumps(line)


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Log to a stream, else to standard error, as the settings say, whoever in this process logs.

    Warnings and what ends a thread become lines as well: nothing prints a traceback.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    handler.addFilter(AddIds())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_ended
    sys.excepthook = _program_ended


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "?"
    told = where(ended.exc_value) if ended.exc_value else "?"
    logging.getLogger(__name__).error("the thread %s ended: %s", name, told)


def _program_ended(
    _kind: type[BaseException], error: BaseException, _traceback: TracebackType | None
) -> None:
    if not isinstance(error, KeyboardInterrupt):
        logging.getLogger(__name__).critical("the program ended: %s", where(error))


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _ids_of(record: logging.LogRecord) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(record, "ids", _NONE)
    return found
