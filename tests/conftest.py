"""Fixtures that several folders share."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.label_studio_server import LabelStudioServer, program
from tests.postgres import PostgresServer, running_postgres

# Servers that tests start fetch no weights by themselves; a test of that says so.
os.environ["LABELPILOT_DOWNLOAD_WEIGHTS"] = "false"
# Every task gets its prediction; a test of blind tasks says so.
os.environ["LABELPILOT_BLIND_SHARE"] = "0"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Commands set up logging for a whole process, to streams that are closed with their test."""
    root = logging.getLogger()
    level, handlers, hooks = root.level, root.handlers[:], (sys.excepthook, threading.excepthook)
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """One real Label Studio for the whole run; a test that changes it puts it back."""
    if program() is None:
        pytest.skip("skipped: no Label Studio; run make install")
    server = LabelStudioServer(tmp_path_factory.mktemp("label-studio"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One real Postgres for the whole run; each test takes a database of its own."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def small_sam() -> Path:
    """The checkpoint of a small SAM that `tests/small_sam.py` trained."""
    return Path(__file__).with_name("small_sam.pt")


@pytest.fixture(scope="session")
def small_yolo() -> Path:
    """The folder of the checkpoints of `tests/small_yolo.py`: `detect.pt`, `pose.pt` and so on."""
    return Path(__file__).with_name("small_yolo")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and weights beside the repository; they are no part of it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("skipped: no ../shared")
    return folder
