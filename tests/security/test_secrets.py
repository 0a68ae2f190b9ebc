"""Secrets stay where they were set: a whole run with faults, then everything left is searched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest

from backends.micro.training import _environment
from tests.backends.serving.conftest import CONFIG, data_uri, point
from tests.label_studio_server import free_port

ROOT = Path(__file__).resolve().parents[2]
API_KEY = "a11ce0a11ce0a11ce0a11ce0a11ce0a11ce0a11c"
SETUP_TOKEN = "b0bb0bb0bb0bb0bb0bb0bb0bb0bb0bb0bb0bb0bb"
PASSWORD = "open-sesame-of-basic-auth"
CLOUD_KEY = "cloud-key-that-nobody-may-see"
SIGNATURE = "5161a70e5161a70e5161a70e"
DATABASE_PASSWORD = "password-of-the-database"
SECRETS = (API_KEY, SETUP_TOKEN, PASSWORD, CLOUD_KEY, SIGNATURE, DATABASE_PASSWORD)
AUTH = ("ann", PASSWORD)


class FaultyStudio(BaseHTTPRequestHandler):
    """A Label Studio that fails, and says in its answers all that it was sent."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        said = f"{self.path} {self.headers.get('Authorization')}"
        status = {"tasks": 401, "projects": 500, "upload": 403}
        found = next((code for part, code in status.items() if part in self.path), 500)
        body = f'{{"detail": "{said}"}}'.encode()
        self.send_response(found)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def faulty_studio() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FaultyStudio) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "LABELPILOT_DATA_DIR": str(folder),
        "LABELPILOT_SAM_MODEL": "grabcut",
        "LABELPILOT_LOG_LEVEL": "debug",
        "LABELPILOT_BASIC_AUTH_USER": AUTH[0],
        "LABELPILOT_BASIC_AUTH_PASSWORD": PASSWORD,
        "LABEL_STUDIO_API_KEY": API_KEY,
        "AWS_SECRET_ACCESS_KEY": CLOUD_KEY,
        "PYTHONPATH": str(ROOT),
        **more,
    }


def provoke(url: str, studio: str) -> str:
    """Everything that fails or tells; all that was answered."""
    image = f"{studio}/data/upload/1/a.png?X-Amz-Signature={SIGNATURE}&X-Amz-Date=1"
    elsewhere = f"http://127.0.0.1:9/a.png?X-Amz-Signature={SIGNATURE}"
    user_info = f"http://user:{SIGNATURE}@example.invalid/a.png"
    said = []
    with httpx.Client(base_url=url, auth=AUTH, timeout=60) as client:
        setup = {"project": "7.1", "schema": CONFIG, "hostname": studio}
        said.append(client.post("/setup", json={**setup, "access_token": SETUP_TOKEN}).text)
        for address in (data_uri(32, 32), image, elsewhere, user_info, "s3://bucket/a.png"):
            task = {"id": 5, "data": {"image": address}}
            body = {"project": "7.1", "label_config": CONFIG, "tasks": [task]}
            said.append(client.post("/predict", json=body).text)
            prompted = {**body, "params": {"context": {"result": [point(50, 50)]}}}
            said.append(client.post("/predict", json=prompted).text)
        event = {"action": "ANNOTATION_CREATED", "project": {"id": 7}, "task": {"id": 5}}
        said.append(client.post("/webhook", json={**event, "annotation": {"id": 9}}).text)
        said.append(
            client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}}).text
        )
        said.append(client.post("/setup", content=f'{{"access_token": "{SETUP_TOKEN}"').text)
        said.append(client.get("/", auth=(AUTH[0], "wrong")).text)
        until = time.monotonic() + 60  # a training asks Label Studio in the background
        while "waits for Label Studio" not in client.get("/").text:
            assert time.monotonic() < until
            time.sleep(0.2)
        paths = (
            "/",
            "/metrics",
            "/versions",
            "/projects/7.1",
            "/openapi.json",
            "/pictures/7.1/5.jpg",
        )
        said += [client.get(path).text for path in paths]
    return "\n".join(said)


@pytest.fixture(scope="module")
def leftovers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """By place, everything that a run has answered, printed, written and shown to other users."""
    folder = tmp_path_factory.mktemp("run")
    port, found = free_port(), {}
    with faulty_studio() as studio, (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "backends.cli", "serve", "--port", str(port)]
        process = subprocess.Popen(
            command,
            env=environment(folder / "data", LABEL_STUDIO_URL=studio),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    httpx.get(f"{url}/health")
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.1)
            found["answers"] = provoke(url, studio).encode()
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
            found["command lines"] = repr([one.cmdline() for one in family]).encode()
            found["environment of children"] = repr([one.environ() for one in family[1:]]).encode()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    found["log"] = (folder / "log").read_bytes()
    files = [path for path in (folder / "data").rglob("*") if path.is_file()]
    assert any(path.name.startswith("state.db") for path in files)
    found |= {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return found


def test_faults_were_provoked(leftovers: dict[str, bytes]) -> None:
    """Else nothing would be told by what follows."""
    log = leftovers["log"].decode()
    assert "DEBUG" in log
    assert "WARNING" in log
    assert b"403" in leftovers["answers"]
    assert b"labelpilot_requests_total" in leftovers["answers"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_left_anywhere(leftovers: dict[str, bytes], secret: str) -> None:
    assert [place for place, held in leftovers.items() if secret.encode() in held] == []


def test_what_is_kept_is_for_the_owner_only(tmp_path: Path) -> None:
    from backends.label_studio.projects import ProjectBook
    from backends.settings import Settings

    book = ProjectBook(Settings(data_dir=tmp_path / "data"))
    book.remember("7.1", host="http://a", access_token=SETUP_TOKEN, label_config="")
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert SETUP_TOKEN not in repr(book.get("7.1"))
    for path in (tmp_path / "data").glob("state.db*"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "database",
    [
        f"postgresql+psycopg://ann:{DATABASE_PASSWORD}@127.0.0.1:9/none",
        f"nonsense://ann:{DATABASE_PASSWORD}@127.0.0.1:9/none",
        f"postgresql://ann:{DATABASE_PASSWORD}@[::1/none",
        f"ann:{DATABASE_PASSWORD}",
    ],
)
def test_a_database_that_is_down_or_misspelt_is_told_without_its_password(
    tmp_path: Path, database: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", "serve", "--port", "0"],
        env=environment(tmp_path, LABELPILOT_DATABASE_URL=database),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (1, 2), done.stderr
    assert "LABELPILOT_DATABASE_URL" in done.stdout + done.stderr
    for secret in SECRETS:
        assert secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_children_that_train_get_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    names = (
        "LABEL_STUDIO_API_KEY", "LABELPILOT_DATABASE_URL", "LABELPILOT_BASIC_AUTH_PASSWORD",
        "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
        "GOOGLE_APPLICATION_CREDENTIALS", "PGPASSWORD", "DATABASE_URL", "HF_TOKEN", "SENTRY_DSN",
    )  # fmt: skip
    for name in names:
        monkeypatch.setenv(name, CLOUD_KEY)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    given = _environment()
    assert CLOUD_KEY not in given.values()
    assert {"PATH", "CUDA_VISIBLE_DEVICES", "PYTHONPATH"} <= given.keys()
