"""A real Postgres for tests, from Debian's package `postgresql`."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.label_studio_server import free_port


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PostgresServer:
    """One Postgres on 127.0.0.1 and a free port, its data in a folder of its own.

    It refuses to run as root, and is then run as the user `postgres`.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._user = "postgres" if os.geteuid() == 0 else None
        # Not pytest's folder: no other user may enter that.
        self._folder = Path(tempfile.mkdtemp(prefix="labelpilot-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data and start; returns when it answers."""
        folder = programs()
        assert folder is not None
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        data = self._folder / "data"
        subprocess.run(
            [folder / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-N", "-E", "UTF8"],
            check=True,
            capture_output=True,
            user=self._user,
            cwd=self._folder,
            timeout=120,
        )
        self.resume()

    def resume(self) -> None:
        """Run on its data, after `start` or `halt`; returns when it answers."""
        folder = programs()
        assert folder is not None
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
        }
        settings = [part for item in options.items() for part in ("-c", "=".join(item))]
        self._process = subprocess.Popen(
            [folder / "postgres", "-D", self._folder / "data", *settings],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def add_database(self) -> str:
        """A new empty database; its URL."""
        name = f"test_{secrets.token_hex(4)}"
        engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return self._url(name)

    def halt(self) -> None:
        """End it in the middle of all transactions; its data stay."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients to leave
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def stop(self) -> None:
        """End it and remove its data."""
        self.halt()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://tester@127.0.0.1:{self.port}/{database}"

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        engine = sa.create_engine(self._url("postgres"))
        while True:
            try:
                with engine.connect():
                    break
            except sa.exc.OperationalError:
                assert time.monotonic() < deadline, "Postgres did not start"
                time.sleep(0.1)
        engine.dispose()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """One that runs; skips the test where there is none."""
    if programs() is None:
        pytest.skip("skipped: no Postgres; install Debian's postgresql")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()
