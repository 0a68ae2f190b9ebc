"""The server is there before anything slow is imported; its models come after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.label_studio_server import ROOT, free_port

SLOW = ["torch", "torchvision", "openvino", "ultralytics", "sklearn", "scipy", "cleanlab", "mapie"]
SLOW += ["pandas", "label_studio_sdk.client", "dbos", "alembic", "segment_anything", "fsspec"]

# `labelpilot serve`, whose model may be loaded when a probe has been answered.
PROGRAM = """
import functools, http.client, json, os, signal, sys, threading, time
slow, port = json.loads(sys.argv[1]), int(sys.argv[2])
import backends.serving.app as module
from backends.cli import app
from backends.sam.engine import load_engine

may_load = threading.Event()

def load(settings):
    may_load.wait(60)
    return load_engine(settings)

def asked(path):
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except ConnectionRefusedError:
            time.sleep(0.02)
        finally:
            connection.close()

def imported():
    return [name for name in slow if name in sys.modules]

def probe():
    told = {"health": asked("/health")[0], "before": imported(), "ready": asked("/ready")}
    may_load.set()
    while asked("/ready")[0] != 200:
        time.sleep(0.1)
    print(json.dumps({**told, "after": imported()}), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

module.create_app = functools.partial(module.create_app, load=load)
threading.Thread(target=probe, daemon=True).start()
app(["serve", "--port", str(port)])
"""


def test_a_probe_is_answered_before_anything_slow_is_imported(
    tmp_path: Path, small_sam: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "small_sam.pt").symlink_to(small_sam)
    # A first start makes the database, for which it needs alembic.
    variables = {
        "LABELPILOT_DATA_DIR": str(tmp_path),
        "LABELPILOT_SAM_MODEL": "small_sam.pt",
        "PYTHONPATH": str(ROOT),
    }
    make = (
        "from backends.serving.services import check_state; from backends.settings import Settings"
    )
    for program in (f"{make}; check_state(Settings())", PROGRAM):
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(SLOW), str(free_port())],
            cwd=tmp_path,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert "Traceback" not in done.stderr, done.stderr
    told = json.loads(done.stdout)
    assert told["health"] == 200
    assert told["before"] == []
    status, body = told["ready"]
    assert status == 503
    assert body["parts"] == {"models": "loading", "database": "ready", "store": "ready"}
    assert "torch" in told["after"]  # or it would not have been seen above either
