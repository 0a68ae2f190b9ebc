"""/metrics: what is there, by Prometheus' rules, and that the documentation says what it means."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from fastapi.testclient import TestClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from backends.database import METADATA, close_database, open_database
from backends.interface import Project
from backends.jobs.figures import read_figures
from backends.jobs.store import JobStore
from backends.jobs.tables import JOBS, JobKind, State
from backends.label_studio.label_xml import parse_label_config
from backends.micro.nouns import ModelVersion
from backends.settings import Settings
from tests.backends.serving.conftest import CONFIG, Serve, point, predict_body
from tests.postgres import PostgresServer

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "operations.md").read_text()
KEY = "7.1700000000"


def families(client: TestClient) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        family.name: family
        for family in text_string_to_metric_families(answer.text)
        if not family.name.endswith("_created")
    }


def value(client: TestClient, name: str, **labels: str) -> float:
    family = families(client)[name.removesuffix("_total")]
    (found,) = [
        one.value
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]
    return float(found)


@pytest.fixture
def busy(serve: Serve) -> TestClient:
    """A server of which every metric has something to tell."""
    client = serve(train_first_at=0)
    services = client.app.state.services  # type: ignore[attr-defined]
    services.jobs.close()  # nobody does what waits
    services.engine.wait()
    client.post("/predict", json=predict_body(prompts=(point(50, 50),)))
    store = JobStore(services.settings)
    store.seen("machine-1", dead_after_s=40)
    project = Project(KEY, parse_label_config(CONFIG))
    store.create(project, "yolo-1", None, [[1, 2, 3]])
    ended = store.create(project, "micro-1", None, [])
    now = store.job(ended).created_at
    with store.engine.begin() as connection:
        connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.id == ended)
            .values(kind=JobKind.TRAIN, state=State.DONE, finished_at=now + 12.5)
        )
        connection.execute(
            sa.insert(METADATA.tables["job_failures"]),
            [{"job_id": ended, "task_id": n, "reason": "", "failed_at": now} for n in range(4)],
        )
    close_database(store.engine)
    one = ModelVersion("1" * 12, KEY, "project", now, 9, "d", "first", quality=0.8)
    services.micro.store.add_version(one)
    services.micro.store.promote(KEY, one.scope, one.id)
    while "labelpilot_media_cache_bytes" not in families(client):  # measured in a thread
        pass
    return client


def test_it_tells_what_there_is(busy: TestClient) -> None:
    assert value(busy, "labelpilot_jobs_open", kind="prelabel") == 1
    assert value(busy, "labelpilot_jobs_open", kind="train") == 0
    assert value(busy, "labelpilot_job_tasks_left", kind="prelabel") == 3
    assert 0 <= value(busy, "labelpilot_job_oldest_seconds", kind="prelabel") < 300
    assert value(busy, "labelpilot_job_tasks_failed") == 4
    assert value(busy, "labelpilot_trainings_ended", state="done") == 1
    assert value(busy, "labelpilot_training_seconds", state="done") == pytest.approx(12.5, abs=0.01)
    assert 0 <= value(busy, "labelpilot_worker_heartbeat_age_seconds", worker="machine-1") < 300
    assert value(busy, "labelpilot_micro_models") == 1
    assert value(busy, "labelpilot_micro_quality") == 0.8
    assert value(busy, "labelpilot_model_loaded") == 1
    assert value(busy, "labelpilot_database_up") == 1
    assert value(busy, "labelpilot_embeddings_total", source="computed") == 1
    assert value(busy, "process_resident_memory_bytes") > 1e6


def test_names_and_types_are_by_the_rules(busy: TestClient) -> None:
    for name, family in families(busy).items():
        assert re.fullmatch(r"(labelpilot|process)_[a-z_]+", name)
        assert family.documentation, name
        assert not name.endswith(("_ms", "_mb", "_minutes")), name
        if family.type == "counter":
            assert all(one.name in (f"{name}_total", f"{name}_created") for one in family.samples)
        else:
            assert not name.endswith("_total"), name


def test_problems_are_counted_by_level(client: TestClient) -> None:
    before = value(client, "labelpilot_problems_total", level="warning")
    logging.getLogger("backends.test").warning("one")
    logging.getLogger("backends.test").info("none")
    assert value(client, "labelpilot_problems_total", level="warning") == before + 1
    assert value(client, "labelpilot_problems_total", level="error") == 0


def test_a_database_that_is_broken_takes_only_its_own_metrics(
    busy: TestClient, settings: Settings
) -> None:
    before = value(busy, "labelpilot_database_errors_total")
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE job_workers"))
    close_database(engine)
    found = families(busy)
    assert value(busy, "labelpilot_database_up") == 0
    assert "labelpilot_jobs_open" not in found
    assert "labelpilot_request_seconds" in found
    assert value(busy, "labelpilot_database_errors_total") > before


def test_a_database_that_hangs_holds_up_no_scrape(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, asked = threading.Event(), []

    def hangs(_: object) -> object:
        asked.append(1)
        may_end.wait(120)
        raise TimeoutError

    monkeypatch.setattr("backends.serving.metrics.read_figures", hangs)
    for _ in range(5):
        assert value(client, "labelpilot_database_up") == 0
    may_end.set()
    assert len(asked) == 1


@contextmanager
def statements() -> Iterator[list[str]]:
    told: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_a_scrape_is_five_small_queries(busy: TestClient) -> None:
    busy.app.state.services.micro.close()  # type: ignore[attr-defined]
    with statements() as told:
        busy.get("/metrics")
    assert len(told) <= 5, told


def test_figures_are_the_same_in_postgres(
    postgres: PostgresServer,
    tmp_path: Path,
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=postgres.add_database())  # type: ignore[call-arg]
    store = JobStore(settings)
    store.seen("machine-1", dead_after_s=40)
    store.create(Project(KEY, parse_label_config(CONFIG)), "yolo-1", None, [[1, 2, 3]])
    with store.engine.connect() as connection:
        figures = read_figures(connection)
    close_database(store.engine)
    assert figures.open[JobKind.PRELABEL].tasks_left == 3
    assert figures.open[JobKind.TRAIN].jobs == 0
    assert 0 <= figures.heartbeats["machine-1"] < 300
    assert figures.failed == 0


def documented() -> set[str]:
    """Names in the first column of the table."""
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|.*\|.*\|.*\|$", PAGE, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`((?:labelpilot|process)_\w+)`", row)}
    assert names
    return names


def used_in(expression: str) -> set[str]:
    """The metrics that an expression of Prometheus asks for."""
    return set(re.findall(r"\b((?:labelpilot|process)_[a-z_]+)\b", expression))


def samples(client: TestClient) -> set[str]:
    """Names that an expression may use."""
    return {
        one.name
        for family in families(client).values()
        for one in family.samples
        if not one.name.endswith("_created")
    }


def test_every_metric_is_documented_and_every_documented_one_is_there(busy: TestClient) -> None:
    there = {
        f"{name}_total" if family.type == "counter" else name
        for name, family in families(busy).items()
    }
    assert documented() == there
    rows = re.findall(r"^\| `(?:labelpilot|process)_.*\|$", PAGE, re.MULTILINE)
    for row in rows:
        *_, meaning, alert, _ = row.split("|")
        assert meaning.strip(), row
        assert alert.strip(), row


def test_rules_ask_for_what_is_there(busy: TestClient) -> None:
    text = re.search(r"```yaml\n(groups:.*?)```", PAGE, re.DOTALL)
    assert text is not None
    (group,) = yaml.safe_load(text[1])["groups"]
    for rule in group["rules"]:
        used = used_in(rule["expr"])
        assert used, rule
        assert used <= samples(busy), used - samples(busy)
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_the_dashboard_is_whole_and_asks_for_what_is_there(busy: TestClient) -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    assert board["schemaVersion"] >= 36
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels, there = board["panels"], samples(busy)
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            used = used_in(target["expr"])
            assert used, target
            assert used <= there, used - there
            assert target["expr"].count("(") == target["expr"].count(")")
            known = {*variables, "__rate_interval"}
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= known
