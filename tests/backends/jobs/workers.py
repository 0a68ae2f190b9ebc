"""Worker processes for tests to kill."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backends.settings import Settings
from tests.label_studio_server import ROOT


@contextmanager
def worker_process(
    settings: Settings,
    data: Path | None = None,
    *,
    task_s: float = 0.01,
    of: int = 1,
    learn_s: float | None = None,
    lands_s: float | None = None,
    quiet: bool = True,
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that takes `task_s` over a task, and begins when all `of` workers have one.

    It takes `learn_s` over a training, None: it does none. What was sent before it began may land
    for `lands_s`, None: as long as in the program.
    It tells how many it did at its end, and, where it is `quiet`, nothing else.
    """
    token, url = settings.label_studio_api_key, settings.database_url
    variables = {
        "LABELPILOT_DATA_DIR": str(data or settings.data_path),
        "LABEL_STUDIO_URL": settings.label_studio_url or "",
        "LABEL_STUDIO_API_KEY": token.get_secret_value() if token else "",
        "LABELPILOT_TEST_TASK_S": str(task_s),
        "LABELPILOT_TEST_WORKERS": str(of),
        "PYTHONPATH": str(ROOT),
    }
    if learn_s is not None:
        variables["LABELPILOT_TEST_LEARN_S"] = str(learn_s)
    if lands_s is not None:
        variables["LABELPILOT_TEST_LANDS_S"] = str(lands_s)
    if url is not None:
        variables["LABELPILOT_DATABASE_URL"] = url.get_secret_value()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.backends.jobs.box_labeller"],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()
        log.seek(0)
        said = log.read().decode()
    assert not quiet or said == "", said
    assert "Traceback" not in said, said
