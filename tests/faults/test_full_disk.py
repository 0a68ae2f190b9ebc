"""The disk of the data folder is full: said clearly, nothing breaks, and it heals without a start.

Everything is done on a disk of 8 MB, which only root can mount.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from backends.errors import TrainingFailed
from backends.jobs import turns
from backends.jobs.tables import PrelabelOptions
from backends.micro.exchange import Request
from backends.micro.training import train
from backends.serving.app import create_app
from backends.settings import Settings
from micro_models import load
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.backends.micro.scenes import all_drawn
from tests.backends.serving.conftest import SquareEngine, data_uri, point, predict_body, task

KEY = "7.1795168884"


def fill(folder: Path) -> Path:
    """A file that takes all that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return path


def setup(text: str) -> dict[str, object]:
    return {"project": KEY, "schema": text, "hostname": "http://127.0.0.1:9", "access_token": "t"}


def test_a_server_says_that_its_disk_is_full_and_heals(small_disk: Path) -> None:
    settings = Settings(data_dir=small_disk, label_studio_url="http://127.0.0.1:9", workers=2)
    click = predict_body(prompts=(point(30, 40),))
    new = predict_body(task(2, data_uri(64, 48, (9, 9, 9))), prompts=(point(30, 40),))
    app = create_app(settings, lambda _: SquareEngine())
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/setup", json=setup(CONFIG)).status_code == 200
        assert client.post("/predict", json=click).status_code == 200
        ballast = fill(small_disk)
        # What is here still answers; what is new is told.
        assert client.post("/predict", json=click).json()["results"][0]["result"]
        for number in range(30):
            changed = CONFIG.replace("Cat", f"Dog{number}" * 100)
            answers = [
                client.post("/predict", json=new),
                client.post("/setup", json=setup(changed)),
                client.get("/"),
                client.get("/metrics"),
            ]
            assert all(one.status_code in (200, 424, 503) for one in answers), answers
        assert "full" in answers[0].text
        assert "cannot be written to" in client.get("/ready").text
        ballast.unlink()
        assert client.get("/health").status_code == 200
        assert client.post("/predict", json=new).json()["results"][0]["result"]
        assert client.post("/setup", json=setup(CONFIG.replace("Cat", "Cow"))).status_code == 200
        until(lambda: client.get("/ready").status_code == 200)


def test_a_job_waits_for_space_and_goes_on(
    small_disk: Path,
    small: SmallStudio,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(turns, "DATABASE_AGAIN_S", 0.2)
    settings = make_settings(small, None).model_copy(update={"data_dir": small_disk})
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * 600)
    with jobs_of(settings, BoxLabeller(task_s=0.005)) as jobs:
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        until(lambda: jobs.job(job_id).finished)
        ballast = fill(small_disk)
        until(lambda: "the disk is full" in caplog.text)
        assert jobs.job(job_id).open
        ballast.unlink()
        job = ended(jobs, job_id)
    assert (job.state, job.finished, job.failed) == ("done", 600, 0)
    assert small.versions(key) == {one: ["box-1"] for one in ids}


@pytest.mark.parametrize("left", [0, 100_000])
def test_a_training_says_that_the_disk_is_full_and_leaves_nothing(
    small_disk: Path, tmp_path: Path, left: int
) -> None:
    request = Request(all_drawn(tmp_path / "drawn", 5), (), budget_s=5, seed=0, steps=4)
    nothing: Any = lambda *_: None  # noqa: E731
    how = {"told": nothing, "go_on": nothing, "on_better": nothing}
    ballast = fill(small_disk)
    os.truncate(ballast, ballast.stat().st_size - left)
    with pytest.raises(TrainingFailed, match="the disk is full"):
        train(request, small_disk / "work", **how)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [ballast]
    ballast.unlink()
    assert load(train(request, small_disk / "work", **how).folder).labels


def test_a_log_line_that_cannot_be_written_ends_nothing(small_disk: Path) -> None:
    ballast = fill(small_disk)
    with (small_disk / "log").open("w", buffering=1) as file:
        handler = logging.StreamHandler(file)
        record = logging.LogRecord("x", logging.INFO, "x", 1, "a line " * 1_000, None, None)
        handler.emit(record)
        ballast.unlink()
        handler.emit(record)
        handler.flush()
    assert "a line" in (small_disk / "log").read_text()
