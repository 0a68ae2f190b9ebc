"""The database is away for some seconds: clicks go on, the rest says 503, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from backends.errors import Unavailable
from backends.jobs import turns
from backends.jobs.tables import PrelabelOptions
from backends.micro.nouns import Standing
from backends.serving.app import create_app
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.backends.jobs.workers import worker_process
from tests.backends.serving.conftest import SquareEngine, point, predict_body, task
from tests.label_studio_server import ROOT, free_port
from tests.postgres import PostgresServer

KEY = "7.1795168884"


@contextmanager
def server(settings: Settings) -> Iterator[TestClient]:
    app = create_app(settings, lambda _: SquareEngine())
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def setup(text: str = CONFIG) -> dict[str, object]:
    return {"project": KEY, "schema": text, "hostname": "http://127.0.0.1:9", "access_token": "t"}


def submit(client: TestClient) -> int:
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 1, "task": 1, "result": []},
        "task": {"id": 1},
        "project": {"id": 7},
    }
    return client.post("/webhook", json=event).status_code


def standing(client: TestClient) -> Standing:
    found: Standing = client.app.state.services.micro.store.standing(KEY)  # type: ignore[attr-defined]
    return found


CHANGED = CONFIG.replace("Cat", "Dog")
REQUESTS = [
    ("POST", "/setup", setup(CHANGED)),
    ("POST", "/yolo/setup", setup(CHANGED)),
    ("POST", "/micro/setup", setup(CHANGED)),
    ("POST", "/predict", predict_body()),
    ("POST", "/micro/predict", predict_body()),
    ("POST", "/sam/predict", predict_body()),
    ("POST", "/predict", {"tasks": [task()], "project": KEY, "params": {}}),
    ("GET", "/versions", None),
    ("GET", "/micro/versions", None),
    ("GET", "/", None),
    ("GET", "/metrics", None),
    ("GET", "/ready", None),
    ("GET", "/health", None),
    ("GET", f"/projects/{KEY}", None),
    ("GET", f"/pictures/{KEY}/1.jpg", None),
    ("GET", f"/review/{KEY}/1.jpg", None),
]


def test_without_a_database_clicks_go_on_and_the_rest_says_503(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = own_postgres.add_database()
    settings = Settings(
        data_dir=tmp_path, database_url=url, label_studio_url="http://127.0.0.1:9", workers=2
    )
    click = predict_body(prompts=(point(30, 40),))
    with server(settings) as client:
        assert client.post("/setup", json=setup()).status_code == 200
        assert client.post("/predict", json=click).json()["results"][0]["result"]
        own_postgres.halt()
        try:
            assert client.post("/predict", json=click).json()["results"][0]["result"]
            for method, path, body in REQUESTS:
                answer = client.request(method, path, json=body)
                assert answer.status_code in (200, 404, 503), (path, answer.text)
                assert "tester" not in answer.text, path
                if answer.status_code == 503:
                    assert int(answer.headers["Retry-After"]) >= 1, path
                    assert "database" in answer.text, path
            assert client.post("/setup", json=setup(CHANGED)).status_code == 503
            assert "cannot be" in client.get("/").text or "failed" in client.get("/").text
            assert client.get("/ready").status_code == 503
        finally:
            own_postgres.resume()
        until(lambda: client.get("/ready").status_code == 200)
        assert client.post("/setup", json=setup(CHANGED)).status_code == 200
        assert client.post("/predict", json=click).json()["results"][0]["result"]
        assert client.app.state.services.projects.get(KEY).label_config == CHANGED  # type: ignore[attr-defined]


def test_a_submit_that_came_while_the_database_was_away_is_noted_when_it_is_back(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Label Studio does not send a webhook twice."""
    url = own_postgres.add_database()
    settings = Settings(
        data_dir=tmp_path,
        database_url=url,
        label_studio_url="http://127.0.0.1:9",
        train_quiet_s=1_000,
        train_first_at=100,
    )
    with server(settings) as client:
        assert client.post("/setup", json=setup()).status_code == 200
        before = standing(client).since
        own_postgres.halt()
        try:
            assert [submit(client) for _ in range(3)] == [503] * 3
        finally:
            own_postgres.resume()
        until(lambda: client.get("/ready").status_code == 200)
        until(lambda: standing(client).since == before + 3)
        assert submit(client) == 200
        until(lambda: standing(client).since == before + 4)


def test_a_postgres_that_restarts_in_the_middle_loses_and_doubles_nothing(
    own_postgres: PostgresServer,
    small: SmallStudio,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for a moment, once for some seconds, while two processes work."""
    monkeypatch.setattr(turns, "DATABASE_AGAIN_S", 0.2)
    settings = make_settings(small, own_postgres.add_database())
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 400)
    with (
        jobs_of(settings, BoxLabeller(task_s=0.01)) as jobs,
        worker_process(settings, settings.data_path / "far", task_s=0.01, quiet=False) as far,
    ):
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        for stored, away_s in ((1, 0.0), (120, 3.0)):
            until(lambda stored=stored: jobs.job(job_id).finished >= stored)
            own_postgres.halt()
            try:
                with pytest.raises(Unavailable, match="database"):
                    jobs.job(job_id)
                time.sleep(away_s)  # what is stored meanwhile cannot be counted
            finally:
                own_postgres.resume()
        job = ended(jobs, job_id, timeout_s=120)
        assert far.poll() is None, "a worker ends because its database was away"
    assert (job.state, job.finished, job.failed, job.note) == ("done", 400, 0, "")
    assert small.versions(key) == {one: ["box-1"] for one in ids}


@pytest.mark.parametrize("command", ["worker", "serve"])
def test_a_program_outlives_its_database(
    own_postgres: PostgresServer, tmp_path: Path, command: str
) -> None:
    port = free_port()
    asked = [command, f"--port={port}"] if command == "serve" else [command]
    environment = os.environ | {
        "LABELPILOT_DATA_DIR": str(tmp_path),
        "LABELPILOT_DATABASE_URL": own_postgres.add_database(),
        "LABELPILOT_SAM_MODEL": "grabcut",
        "PYTHONUNBUFFERED": "1",
    }
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "backends.cli", *asked],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    said = (tmp_path / "log").read_text
    try:
        until(lambda: "waiting for work" in said() or _answers(port), tell=said)
        own_postgres.halt()
        time.sleep(2)  # it looks every half second
        own_postgres.resume()
        time.sleep(1)
        assert process.poll() is None, said()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == (0 if command == "worker" else -signal.SIGTERM), said()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in said()


def _answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=5).is_success
    return False
