"""Several servers and workers on one Postgres and one S3, behind nginx: nothing lost or doubled."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import sqlalchemy as sa

import backends.serving.services  # noqa: F401 - all tables
from backends.database import METADATA
from tests.e2e.cluster import Cluster, Network, cluster, missing_parts, until
from tests.e2e.conftest import CONFIGS, connect
from tests.e2e.labelled_clip import ClipProject, camera_clip
from tests.e2e.pilot import Pilot
from tests.e2e.test_yolo_bulk import new_project, predictions
from tests.label_studio_server import LabelStudioServer
from tests.postgres import PostgresServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TASKS = 400


@pytest.fixture
def machines(
    label_studio: LabelStudioServer,
    postgres: PostgresServer,
    yolo_models: Path,
    small_sam: Path,
    tmp_path: Path,
) -> Iterator[Cluster]:
    if lacks := missing_parts():
        pytest.skip(f"skipped: {lacks}")
    (yolo_models / small_sam.name).write_bytes(small_sam.read_bytes())
    with cluster(
        label_studio,
        postgres,
        tmp_path,
        LABELPILOT_MODEL_DIR=str(yolo_models),
        LABELPILOT_SAM_MODEL=small_sam.name,
        LABELPILOT_MEDIA_ALLOWED_HOSTS=label_studio.url.removeprefix("http://"),
    ) as made:
        yield made


def setup_version(url: str, studio: LabelStudioServer, project: int) -> str:
    """What a server says to Label Studio."""
    schema = studio.api("GET", f"/api/projects/{project}/")["label_config"]
    body = {"project": studio.project_key(project), "schema": schema, "hostname": studio.url}
    answer = httpx.post(f"{url}/setup", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_version"])


def test_what_one_machine_trains_all_serve_and_no_task_is_done_twice(
    machines: Cluster, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    servers = [machines.server("server-1"), machines.server("server-2")]
    url = machines.balancer()
    trains = machines.worker("trains", "train")
    predicts = machines.worker("predicts", "predict")
    project = ClipProject(label_studio, "scaled", camera_clip(tmp_path / "clip", 40))
    connect(label_studio, project.id, url)
    untrained = {setup_version(each, label_studio, project.id) for each in servers}
    assert len(untrained) == 1
    for task in project.spread(5):
        project.submit(task)

    def settled() -> bool:
        """All tasks that nobody labelled have one prediction, of what all servers serve."""
        versions = {setup_version(each, label_studio, project.id) for each in servers}
        found, labelled = project.predictions(), project.labelled()
        done = [
            [one["model_version"] for one in found.get(task, [])] == list(versions)
            for task in project.tasks
            if task not in labelled
        ]
        return versions != untrained and all(done)

    until(settled, 240)
    until(lambda: "train" not in open_kinds(machines) and settled(), 240)
    # Servers that trained nothing answer with what the other machine trained.
    (model,) = current_models(machines)
    for name in ("server-1", "server-2"):
        assert not list((tmp_path / name).glob("micro/*/*/*"))
    task = next(one for one in project.tasks if one not in project.labelled())
    data = label_studio.api("GET", f"/api/tasks/{task}/")["data"]
    body = {
        "tasks": [{"id": task, "data": data}],
        "project": label_studio.project_key(project.id),
        "label_config": label_studio.api("GET", f"/api/projects/{project.id}/")["label_config"],
    }
    answers = [httpx.post(f"{each}/predict", json=body, timeout=90).json() for each in servers]
    assert answers[0] == answers[1]
    assert answers[0]["results"][0]["result"]
    for name in ("server-1", "server-2"):
        assert list((tmp_path / name).glob(f"micro/*/*/{model}"))
    assert trains.stop() == predicts.stop() == 0


def open_kinds(machines: Cluster) -> set[str]:
    jobs = METADATA.tables["jobs"]
    query = sa.select(jobs.c.kind).where(jobs.c.state.in_(["queued", "running"]))
    return set(scalars(machines, query))


def current_models(machines: Cluster) -> list[str]:
    return scalars(machines, sa.select(METADATA.tables["micro_current"].c.id))


def scalars(machines: Cluster, query: sa.Select[Any]) -> list[Any]:
    engine = sa.create_engine(machines.database_url)
    with engine.connect() as connection:
        found = list(connection.execute(query).scalars())
    engine.dispose()
    return found


def test_each_click_may_land_on_another_server(
    machines: Cluster, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    servers = [machines.server("server-1"), machines.server("server-2")]
    pixels = np.full((96, 128, 3), 90, np.uint8)
    cv2.circle(pixels, (64, 48), 25, (250, 120, 30), -1)
    cv2.imwrite(str(tmp_path / "disc.png"), pixels[..., ::-1])
    config = (CONFIGS / "to_brush.xml").read_text()
    project = label_studio.add_project(config)
    (task,) = label_studio.upload(project, tmp_path / "disc.png")

    def click(url: str, *points: tuple[str, float, float, bool]) -> dict[str, Any]:
        drawn = [
            {
                "id": name,
                "type": "keypointlabels",
                "from_name": "point",
                "to_name": "image",
                "original_width": 128,
                "original_height": 96,
                "is_positive": positive,
                "value": {"x": x, "y": y, "width": 0.4, "keypointlabels": ["Cat"]},
            }
            for name, x, y, positive in points
        ]
        body = {
            "tasks": [{"id": task["id"], "data": task["data"]}],
            "project": label_studio.project_key(project),
            "label_config": config,
            "params": {"context": {"result": drawn}},
        }
        answer = httpx.post(f"{url}/predict", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        (result,) = answer.json()["results"]
        return dict(result["result"][0])

    first = click(servers[0], ("a", 50.0, 50.0, True))
    second = click(servers[1], ("a", 50.0, 50.0, True), ("b", 5.0, 5.0, False))
    # The editor sends only the newest prompt once a suggestion was accepted.
    third = click(servers[0], ("c", 55.0, 50.0, True))
    assert first["id"] == second["id"] == third["id"]
    digests = {path.stem for path in tmp_path.glob("server-*/embeddings/*/*.npz")}
    assert len(digests) == 1


def test_a_machine_that_is_cut_off_and_killed_loses_and_doubles_nothing(
    machines: Cluster, label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    project = new_project(label_studio, "cut", TASKS)
    pilot = Pilot(label_studio, project, tmp_path / "pilot", **machines.environment())
    with closing(Network()) as network:
        far = machines.worker("far", "predict", network=network)
        near = [machines.worker(f"near-{n}", "predict") for n in range(2)]
        pilot("prelabel", "--detach")
        until(lambda: has_begun(machines, "far"))
        network.cut()
        held = set(held_by(machines, "far"))
        until(lambda: not open_jobs(machines), 180)
        assert Counter(one["task"] for one in predictions(label_studio, project)) == every(
            label_studio, project
        )
        assert held  # it had something in hand, which others did
        network.mend()
        until(lambda: not held_by(machines, "far"), 120)
        assert far.runs
        assert far.stop(signal.SIGKILL) == -signal.SIGKILL
    assert Counter(one["task"] for one in predictions(label_studio, project)) == every(
        label_studio, project
    )
    for one in near:
        assert one.stop() == 0


def every(studio: LabelStudioServer, project: int) -> Counter[int]:
    """Each task once."""
    return Counter(int(task["id"]) for task in studio.tasks(project))


def open_jobs(machines: Cluster) -> list[str]:
    jobs = METADATA.tables["jobs"]
    return scalars(machines, sa.select(jobs.c.id).where(jobs.c.state.in_(["queued", "running"])))


def held_by(machines: Cluster, name: str) -> list[str]:
    """What DBOS says that a worker has in hand."""
    status = sa.table(
        "workflow_status",
        *(sa.column(column) for column in ("workflow_uuid", "status", "executor_id")),
        schema="dbos",
    )
    return scalars(
        machines,
        sa.select(status.c.workflow_uuid).where(
            status.c.status == "PENDING", status.c.executor_id == name
        ),
    )


def has_begun(machines: Cluster, name: str) -> bool:
    """Whether a worker has labelled something, and has more in hand."""
    jobs = METADATA.tables["jobs"]
    stored = scalars(machines, sa.select(sa.func.sum(jobs.c.stored)))[0]
    return bool(stored) and bool(held_by(machines, name))
