from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backends import logs
from backends.settings import Settings

SECRET = "s3cret-token"


def raising() -> None:
    raise ValueError(f"Authorization: Token {SECRET}")


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """What is logged; afterwards all is as it was."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    sys.excepthook, threading.excepthook = hooks
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def configured(log_format: str, heard: io.StringIO) -> logging.Logger:
    logs.configure(Settings(log_format=log_format), heard)  # type: ignore[arg-type]
    return logging.getLogger("backends.somewhere")


def lines(heard: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in heard.getvalue().splitlines()]


def test_a_line_of_json_says_when_where_what_and_about_whom(heard: io.StringIO) -> None:
    log = configured("json", heard)
    with logs.about(request_id="r1"), logs.about(job_id="j1", turn_id="t1", project="7.1"):
        log.warning("%d of %d", 3, 4)
    log.info("after")
    first, second = lines(heard)
    at = datetime.fromisoformat(first.pop("time"))
    assert at.utcoffset() == timedelta(0)
    assert first == {
        "level": "warning",
        "logger": "backends.somewhere",
        "message": "3 of 4",
        "request_id": "r1",
        "job_id": "j1",
        "turn_id": "t1",
        "project": "7.1",
    }
    assert set(second) == {"time", "level", "logger", "message"}


def test_text_names_the_ids_too(heard: io.StringIO) -> None:
    log = configured("text", heard)
    with logs.about(request_id="r1", project="7"):
        log.warning("something")
    assert heard.getvalue().endswith("something [request_id=r1 project=7]\n")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_error_is_its_kind_and_place_and_never_its_text(
    log_format: str, heard: io.StringIO
) -> None:
    log = configured(log_format, heard)
    try:
        raising()
    except ValueError:
        log.exception("it failed")
    told = heard.getvalue()
    assert f"ValueError in {__name__}:" in told
    assert "Traceback" not in told
    assert SECRET not in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_a_stranger_wrote_stays_on_its_line(log_format: str, heard: io.StringIO) -> None:
    log = configured(log_format, heard)
    log.warning("task %s", "a\nERROR forged\r\x1b[31m\u2028\udc80")
    told = heard.getvalue()
    assert len(told.splitlines()) == 1
    assert "\x1b" not in told


def test_threads_of_a_pool_carry_the_ids_of_whoever_submitted() -> None:
    with logs.Threads(1) as pool:
        with logs.about(job_id="a"):
            first = pool.submit(lambda: dict(logs.ids()))
        with logs.about(job_id="b"):
            (second,) = pool.map(lambda _: dict(logs.ids()), [0])
        assert first.result() == {"job_id": "a"}
        assert second == {"job_id": "b"}
        assert pool.submit(lambda: dict(logs.ids())).result() == {}


def test_warnings_and_what_ends_a_thread_are_lines_as_well(heard: io.StringIO) -> None:
    configured("json", heard)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", stacklevel=1)
    logging.captureWarnings(capture=False)
    try:
        raising()
    except ValueError as error:
        hook = threading.ExceptHookArgs((ValueError, error, error.__traceback__, None))
        threading.excepthook(hook)
    told = lines(heard)
    assert [line["logger"] for line in told] == ["py.warnings", "backends.logs"]
    assert "ValueError in" in told[1]["message"]
    assert SECRET not in heard.getvalue()


@pytest.mark.parametrize("logger", ["uvicorn.error", "dbos", "asyncio", "sqlalchemy.pool"])
def test_loggers_of_libraries_go_through_it(
    logger: str, heard: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (logger, logger.partition(".")[0]):  # as in a new process
        for attribute, fresh in (("propagate", True), ("disabled", False), ("level", 0)):
            monkeypatch.setattr(logging.getLogger(name), attribute, fresh)
        logging.getLogger(name).manager._clear_cache()  # type: ignore[attr-defined]
    configured("json", heard)
    logging.getLogger(logger).error("%s says", logger)
    assert [line["logger"] for line in lines(heard)] == [logger]


def test_a_program_that_fails_tells_no_secret() -> None:
    program = (
        "from backends import logs; from backends.settings import Settings\n"
        "logs.configure(Settings(log_format='json'))\n"
        f"raise ValueError('{SECRET}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["message"] == "the program ended: ValueError in __main__:3"
