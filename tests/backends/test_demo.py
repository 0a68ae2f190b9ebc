"""The parts of `labelpilot demo` that need no Label Studio; tests/e2e/ runs it whole."""

from __future__ import annotations

import io
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from rich.progress import Progress

from backends.demo.project import LABELS, find_photos, label_config, load_account
from backends.demo.servers import (
    DemoFailed,
    Server,
    choose_port,
    only_one,
    stopped_by_signals,
)
from backends.label_studio.config import parse_label_config


@pytest.fixture
def progress() -> Progress:
    return Progress(console=Console(quiet=True))


def test_a_port_in_use_gives_way_to_the_next_and_is_told() -> None:
    said = io.StringIO()
    progress = Progress(console=Console(file=said))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = choose_port(port, progress)
    assert other > port
    assert said.getvalue() == f"port {port} is in use, {other} is taken instead\n"
    assert choose_port(port, progress) == port
    assert choose_port(port, progress, taken=port) > port


def test_the_account_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    account = load_account(path)
    assert load_account(path) == account
    assert path.stat().st_mode & 0o777 == 0o600
    assert account.password not in repr(load_account(tmp_path / "other.json"))


def test_a_folder_is_used_by_one_demo_at_a_time(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(DemoFailed, match="running already"):
        only_one(tmp_path).__enter__()
    with only_one(tmp_path):
        pass


def test_the_photos_are_a_dozen_and_listed_with_their_licences() -> None:
    photos = find_photos()
    table = (Path(__file__).parents[2] / "examples/demo_photos.md").read_text()
    assert len(photos) >= 12
    assert all(f"| {photo.name} |" in table for photo in photos)


def test_the_label_config_can_be_served() -> None:
    config = parse_label_config(label_config())
    assert {control.tag for control in config.controls} == {
        "KeyPointLabels",
        "RectangleLabels",
        "BrushLabels",
    }
    assert all(control.labels == tuple(LABELS) for control in config.controls)


def test_a_server_that_ends_shows_the_end_of_its_log(tmp_path: Path, progress: Progress) -> None:
    server = Server("Label Studio", tmp_path / "log", "http://127.0.0.1:1")
    command = [sys.executable, "-c", "print('no space left'); raise SystemExit(3)"]
    with server.running(command, {}), pytest.raises(DemoFailed, match="no space left"):
        server.wait(progress)


def test_nothing_that_a_server_started_outlives_it(tmp_path: Path) -> None:
    server = Server("x", tmp_path / "log", "http://127.0.0.1:1")
    child = "import subprocess, time; subprocess.Popen(['sleep', '99']); time.sleep(99)"
    me = psutil.Process()
    others = set(me.children(recursive=True))  # servers of other tests
    with server.running([sys.executable, "-c", child], {"PATH": "/usr/bin:/bin"}):
        while len(children := set(me.children(recursive=True)) - others) < 2:
            pass
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_block_quietly(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals():
        signal.raise_signal(number)
        pytest.fail("went on")
    assert signal.getsignal(number) == before
