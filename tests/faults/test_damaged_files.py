"""Files that something damaged: said clearly, made anew where they can be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backends.database import open_database
from backends.errors import Damaged
from backends.label_studio.projects import ProjectBook
from backends.micro.store import MicroStore
from backends.settings import Settings
from tests.label_studio_server import ROOT, free_port

KEY = "7.1700000000"
GARBAGE = bytes(range(1, 255)) * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=None)


def filled(settings: Settings, projects: int = 400) -> Path:
    """A database with projects in it; its file, closed."""
    book = ProjectBook(settings)
    for number in range(projects):
        book.remember(f"{number}.1", host="h", access_token=None, label_config="<View/>" * 20)
    book.close()
    return settings.data_path / "state.db"


def _head(path: Path) -> None:
    path.write_bytes(GARBAGE + path.read_bytes()[len(GARBAGE) :])


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(4096, len(content), 4096):  # each page but the first
        content[start : start + 64] = GARBAGE[:64]
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_head, _half, _middle])
def test_serve_says_what_to_do_about_a_damaged_database(
    settings: Settings, tmp_path: Path, damage: object
) -> None:
    damage(filled(settings))  # type: ignore[operator]
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", "serve", f"--port={free_port()}"],
        env=os.environ | {"LABELPILOT_DATA_DIR": str(tmp_path), "LABELPILOT_SAM_MODEL": "grabcut"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1, said
    assert "is damaged: state.db" in said
    assert "labelpilot restore" in said
    assert "Traceback" not in said


def test_a_database_that_is_damaged_while_it_is_used_is_told(settings: Settings) -> None:
    path = filled(settings)
    book = ProjectBook(settings)
    _middle(path)
    for old in ("-wal", "-shm"):
        path.with_name(path.name + old).unlink(missing_ok=True)
    with pytest.raises(Damaged, match=r"of projects is damaged: state\.db"):
        book.all()
    book.close()


@pytest.mark.parametrize("damage", [_head, _half])
def test_a_damaged_wal_costs_what_was_in_it_alone(settings: Settings, damage: object) -> None:
    """A process was killed before its last changes were in the file, and the disk lost a part."""
    path = filled(settings)
    code = (
        "import os\n"
        "from backends.micro.store import MicroStore\n"
        "from backends.settings import Settings\n"
        "store = MicroStore(Settings())\n"
        "held = store._engine.connect(); held.exec_driver_sql('SELECT 1')\n"
        f"store.note_event(['{KEY}'], submissions=1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"LABELPILOT_DATA_DIR": str(settings.data_path)}
    killed = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    wal = path.with_name("state.db-wal")
    assert wal.stat().st_size > 0
    damage(wal)  # type: ignore[operator]
    book, store = ProjectBook(settings), MicroStore(settings)
    assert len(book.all()) == 400
    store.note_event([KEY], submissions=1)
    assert store.standing(KEY).since >= 1
    book.close()
    store.close()
    assert _sound(settings)


def _sound(settings: Settings) -> bool:
    with open_database(settings).connect() as connection:
        return connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
