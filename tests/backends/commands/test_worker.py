"""`labelpilot worker` as operators run it: its log, its metrics, its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.label_studio_server import ROOT, free_port


@contextmanager
def worker(folder: Path, *options: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    variables = {f"LABELPILOT_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "backends.cli", "worker", *options],
        cwd=folder,
        env=os.environ
        | {"LABELPILOT_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT)}
        | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def metrics(process: subprocess.Popen[str], port: int) -> str:
    """What it tells, as soon as it does."""
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)


def test_a_worker_tells_its_metrics_and_logs_json_alone(tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, "--metrics-port", str(port), log_format="json") as process:
        text = metrics(process, port)
        found = {family.name for family in text_string_to_metric_families(text)}
        assert {"labelpilot_jobs_open", "labelpilot_database_up"} <= found
        assert "process_resident_memory_bytes" in found
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == ""
    assert all({"time", "level", "message"} <= json.loads(line).keys() for line in err.splitlines())


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    port = free_port()
    with worker(tmp_path, "--metrics-port", str(port)) as first:
        metrics(first, port)
        with worker(tmp_path, "--metrics-port", str(port)) as second:
            _, err = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "choose another --metrics-port" in err
    assert "Traceback" not in err
