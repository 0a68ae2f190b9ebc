"""labelpilot on many machines, with real parts: Postgres, S3, nginx, a network that is cut."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.label_studio_server import ROOT, LabelStudioServer, free_port
from tests.postgres import PostgresServer
from tests.s3 import BUCKET, s3_server

PATIENCE_S = 90.0


class Process:
    """One command of labelpilot on a machine of its own; its log is `log`."""

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, inside: list[str]
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*inside, sys.executable, "-m", "backends.cli", *command],
                env=environment,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit code. It has time to finish what it has in hand."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        return self._process.wait(60)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None


class Cluster:
    """What all machines share, and machines: each has a data folder of its own."""

    def __init__(
        self, studio: LabelStudioServer, folder: Path, database_url: str, **settings: str
    ) -> None:
        self.studio, self.folder, self.database_url = studio, folder, database_url
        self._settings = settings
        self._opened = ExitStack()
        self.urls: list[str] = []

    def close(self) -> None:
        self._opened.close()

    def server(self, name: str) -> str:
        """`labelpilot serve` that leaves background work to others; its URL."""
        port = free_port()
        process = self._start(name, ["serve", "--port", str(port)], LABELPILOT_QUEUES="")
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(url) or not process.runs)
        assert process.runs, process.log.read_text()
        self.urls.append(url)
        return url

    def worker(self, name: str, *queues: str, network: Network | None = None) -> Process:
        """`labelpilot worker`, behind `network` or on this machine's."""
        options = [part for queue in queues for part in ("--queue", queue)]
        more = {"LABELPILOT_EXECUTOR_ID": name, "LABELPILOT_JOB_THREADS": "1"}
        if network is not None:
            more |= network.environment(self.environment())
        inside = network.inside if network is not None else []
        return self._start(name, ["worker", *options], inside, **more)

    def balancer(self) -> str:
        """nginx before all servers, by the file that is handed out; its URL."""
        port = free_port()
        text = (ROOT / "examples/nginx.conf").read_text()
        servers = "\n".join(
            f"server {url.removeprefix('http://')} max_fails=1 fail_timeout=2s;"
            for url in self.urls
        )
        text, found = re.subn(r"(\s+server labelpilot-\d:9090[^;]*;)+", f"\n{servers}", text)
        assert found == 1
        text = text.replace("listen 9090;", f"listen 127.0.0.1:{port};")
        text = text.replace("/tmp/nginx", f"{self.folder}/nginx")
        config = self.folder / "nginx.conf"
        config.write_text(text)
        with (self.folder / "nginx.log").open("wb") as log:
            process = subprocess.Popen(
                ["nginx", "-p", self.folder, "-c", config, "-g", "daemon off;"],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        self._opened.callback(process.wait, 20)
        self._opened.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(url))
        return url

    def environment(self) -> dict[str, str]:
        """What every machine is told."""
        return {
            "LABEL_STUDIO_URL": self.studio.url,
            "LABEL_STUDIO_API_KEY": self.studio.legacy_token,
            "LABELPILOT_DATABASE_URL": self.database_url,
            "LABELPILOT_STORE_URL": f"s3://{BUCKET}/pilot",
            "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
            **self._settings,
        }

    def _start(
        self, name: str, command: list[str], inside: list[str] | None = None, **more: str
    ) -> Process:
        data = self.folder / name
        data.mkdir(exist_ok=True)
        environment = os.environ | self.environment() | more | {"LABELPILOT_DATA_DIR": str(data)}
        process = Process(command, environment, self.folder / f"{name}.log", inside or [])
        self._opened.callback(lambda: process.stop(signal.SIGKILL))
        return process


@contextmanager
def cluster(
    studio: LabelStudioServer, postgres: PostgresServer, folder: Path, **settings: str
) -> Iterator[Cluster]:
    """A database and a store that are empty, and no machine yet."""
    with pytest.MonkeyPatch.context() as patch, s3_server(patch):
        made = Cluster(studio, folder, postgres.add_database(), **settings)
        with closing(made):
            yield made


def until(is_so: object, patience_s: float = PATIENCE_S) -> None:
    """Wait until it is so, however often that has to be asked."""
    assert callable(is_so)
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Network:
    """A network namespace with one cable to this machine, which `cut` pulls out.

    What is to be reached through it, `environment` gives by the cable's addresses: relays on this
    side pass connections on.
    """

    def __init__(self) -> None:
        tag, subnet = secrets.token_hex(3), 20 + secrets.randbelow(200)
        self._space, self._here, self._there = f"lp-{tag}", f"lp{tag}h", f"lp{tag}n"
        self._address = f"10.213.{subnet}.1"
        self._relays: list[Relay] = []
        peer = f"10.213.{subnet}.2/30"
        _ip("netns", "add", self._space)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self._space)
        _ip("addr", "add", f"{self._address}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        for words in (
            ("addr", "add", peer, "dev", self._there),
            ("link", "set", self._there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self._space, *words)

    @property
    def inside(self) -> list[str]:
        """What a command begins with that is to run there."""
        return ["ip", "netns", "exec", self._space]

    def environment(self, environment: dict[str, str]) -> dict[str, str]:
        """The same variables with addresses of the cable instead of 127.0.0.1."""

        def relayed(match: re.Match[str]) -> str:
            relay = Relay(self._address, int(match[1]))
            self._relays.append(relay)
            return f"{self._address}:{relay.port}"

        return {
            name: re.sub(r"127\.0\.0\.1:(\d+)", relayed, value)
            for name, value in environment.items()
        }

    def cut(self) -> None:
        """Pull out the cable: packets vanish, and nobody is told."""
        _ip("link", "set", self._here, "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("link", "set", self._here, "up")

    def close(self) -> None:
        for relay in self._relays:
            relay.close()
        _ip("netns", "del", self._space)
        subprocess.run(["ip", "link", "del", self._here], check=False, capture_output=True)


class Relay:
    """Passes TCP connections on to a port of 127.0.0.1."""

    def __init__(self, address: str, to_port: int) -> None:
        self._listener = socket.create_server((address, 0))
        self._to_port = to_port
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()
        self._open: list[socket.socket] = []

    def close(self) -> None:
        """Hang up."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                there, _ = self._listener.accept()
                here = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                return
            self._open += [there, here]
            for one, other in ((there, here), (here, there)):
                thread = threading.Thread(target=_pass_on, args=(one, other), daemon=True)
                self._threads.append(thread)
                thread.start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    finally:
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def missing_parts() -> str:
    """What this machine lacks to play several, "" for nothing."""
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    return " and ".join(name for name in ("nginx", "ip") if shutil.which(name) is None)
