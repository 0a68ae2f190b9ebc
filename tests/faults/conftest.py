"""What can be broken: a Postgres of one's own, a Label Studio, a server on them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.jobs import conftest as of_jobs
from tests.postgres import PostgresServer, running_postgres

small, make_settings = of_jobs.small, of_jobs.make_settings


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """One that a test may stop, as long as it runs again at the end."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB that a test may fill."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=8m", "labelpilot-test"]
    if mount is None or subprocess.run([mount, *options, folder], capture_output=True).returncode:
        pytest.skip("skipped: no small disk; it is mounted as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
