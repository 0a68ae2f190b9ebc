"""`labelpilot demo` as people run it: from nothing to a click, again, and no process left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import Editor, log_in
from tests.label_studio_server import ROOT, program

pytestmark = pytest.mark.e2e


@contextmanager
def demo(folder: Path, port: int, *, stop: signal.Signals) -> Iterator[str]:
    """Run the demo in `folder` until the block ends; gives the project's address."""
    command = [sys.executable, "-m", "backends.cli", "demo", "--no-browser"]
    command += [f"--port={port}", f"--backend-port={port}"]
    environment = os.environ | {"LABELPILOT_MODEL_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    with (folder / "demo.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 200
            while not (found := re.search(r"http\S+/projects/\d+/data", _text(folder))):
                assert process.poll() is None, _text(folder)
                assert time.monotonic() < deadline, _text(folder)
                time.sleep(0.2)
            children = psutil.Process(process.pid).children(recursive=True)
            assert len(children) >= 2
            yield found[0]
        finally:
            process.send_signal(stop)
            assert process.wait(30) == 0
    assert psutil.wait_procs(children, timeout=10)[1] == []


def _text(folder: Path) -> str:
    return (folder / "demo.log").read_text()


def test_demo(browser: Browser, tmp_path: Path) -> None:
    executable = program()
    if executable is None:
        pytest.skip("skipped: no Label Studio; run make install")
    link = tmp_path / ".venv-label-studio/bin/label-studio"
    link.parent.mkdir(parents=True)
    link.symlink_to(executable)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with demo(tmp_path, port, stop=signal.SIGINT) as address:
            assert f":{port}/" not in address
            assert f"port {port} is in use" in _text(tmp_path)
            _click(browser, tmp_path, address)
    started = time.monotonic()
    with demo(tmp_path, port, stop=signal.SIGTERM) as address:
        assert f":{port}/" in address
        assert time.monotonic() - started < 60
        with _api(tmp_path, address) as api:
            (backend,) = api.get("/api/ml", params={"project": 1}).json()
            assert (backend["state"], backend["is_interactive"]) == ("CO", True)
            assert len(api.get("/api/webhooks/", params={"project": 1}).json()) == 1


def _click(browser: Browser, folder: Path, address: str) -> None:
    account = json.loads((folder / ".demo/account.json").read_text())
    assert (folder / ".demo/account.json").stat().st_mode & 0o777 == 0o600
    url = address.split("/projects")[0]
    with _api(folder, address) as api:
        tasks = api.get("/api/tasks", params={"project": 1, "page_size": 50}).json()["tasks"]
    assert len(tasks) >= 12
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    log_in(context, url, account["email"], account["password"])
    editor = Editor(context.new_page(), url)
    editor.open(1, tasks[0]["id"], auto_accept=True)
    with editor.answered():
        editor.click(50, 50, "Animal")
    assert [each["labels"] for each in editor.regions()] == [["Animal"]]
    context.close()


@contextmanager
def _api(folder: Path, address: str) -> Iterator[httpx.Client]:
    token = json.loads((folder / ".demo/account.json").read_text())["token"]
    headers = {"Authorization": f"Token {token}"}
    with httpx.Client(base_url=address.split("/projects")[0], headers=headers, timeout=30) as api:
        yield api
