from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from backends.artifacts import open_artifacts
from backends.errors import ModelMissing, StateError, Unavailable
from backends.serving.bounded import Bounded
from backends.serving.readiness import Readiness, artifacts_check, folder_check
from backends.settings import Settings
from tests.backends.serving.conftest import Serve, SquareEngine

FINE = {"models": "ready", "database": "ready", "store": "ready"}


def ready_at_last(client: TestClient) -> dict[str, object]:
    """The body of the first 200; models are loaded in a thread."""
    client.app.state.services.engine.wait()  # type: ignore[attr-defined]
    body: dict[str, object] = fresh(client).get("/ready").json()
    return body


def fresh(client: TestClient) -> TestClient:
    """The same, with nothing remembered of a moment ago."""
    for part in client.app.state.services.readiness._parts.values():  # type: ignore[attr-defined]
        part._keep_s = 0.0
    return client


def test_a_server_that_can_do_its_work_is_ready(client: TestClient) -> None:
    assert ready_at_last(client) == {"status": "ready", "parts": FINE}
    assert client.get("/ready").status_code == 200


def test_while_the_model_loads_it_is_alive_but_not_ready(
    serve: Serve, engine: SquareEngine
) -> None:
    may_load = threading.Event()

    def load(_: object) -> SquareEngine:
        assert may_load.wait(30)
        return engine

    client = fresh(serve(load))
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["parts"] == FINE | {"models": "loading"}
    assert client.get("/health").status_code == 200
    may_load.set()
    assert ready_at_last(client)["parts"] == FINE


def test_a_model_that_cannot_be_loaded_says_why(serve: Serve) -> None:
    def load(_: object) -> SquareEngine:
        raise ModelMissing("the checkpoint 'x.pt' is not in the model folder", advice="get it")

    client = fresh(serve(load))
    services = client.app.state.services  # type: ignore[attr-defined]
    with pytest.raises(ModelMissing):
        services.engine.wait()
    parts = client.get("/ready").json()["parts"]
    assert parts["models"] == "failed: the checkpoint 'x.pt' is not in the model folder"


def test_a_database_that_is_broken_is_told_without_its_place(
    client: TestClient, tmp_path: Path
) -> None:
    for path in tmp_path.glob("state.db*"):
        path.write_bytes(b"no database" * 1000)
    answer = fresh(client).get("/ready")
    assert answer.status_code == 503
    # Which of the two depends on what SQLite had read of it before.
    states = {"failed: DatabaseError", "failed: OperationalError"}
    assert answer.json()["parts"]["database"] in states
    assert str(tmp_path) not in answer.text


def test_a_full_or_lost_folder_is_told(tmp_path: Path) -> None:
    assert folder_check(tmp_path)() is None
    told = folder_check(tmp_path / "gone")()
    assert told == "failed: the data folder cannot be written to (No such file or directory)"


def test_the_shared_store_is_asked_seldom_while_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_artifacts(Settings(_env_file=None, store_url=str(tmp_path)))
    assert store is not None
    asked: list[bool] = []
    real = store.check

    def check(*, fails: bool = False) -> None:
        asked.append(fails)
        if fails:
            raise Unavailable("the store cannot be written to (TimeoutError)")
        real()

    monkeypatch.setattr(store, "check", check)
    readiness = Readiness({"shared store": artifacts_check(store)}, keep_s=0)
    assert [readiness.look() for _ in range(3)] == 3 * [{"shared store": "ready"}]
    assert asked == [False]
    monkeypatch.setattr("backends.serving.readiness._STORE_EVERY_S", -1.0)
    monkeypatch.setattr(store, "check", partial(check, fails=True))
    told = "failed: the store cannot be written to (TimeoutError)"
    assert seen(readiness, told)
    monkeypatch.setattr(store, "check", check)
    assert seen(readiness, "ready")


def seen(readiness: Readiness, state: str) -> bool:
    """Whether it says so at last: a look right after another one gets that one's answer."""
    for _ in range(200):
        if readiness.look() == {"shared store": state}:
            return True
        time.sleep(0.01)
    return False


def test_what_hangs_is_asked_once_and_holds_up_nobody() -> None:
    may_end, asked = threading.Event(), []

    def hangs() -> str | None:
        asked.append(1)
        may_end.wait(60)
        return None

    readiness = Readiness({"slow": hangs, "quick": lambda: None}, limit_s=0.05, keep_s=0.0)
    found = [readiness.look() for _ in range(20)]
    assert found == [{"slow": "failed: no answer in 0.05 s", "quick": "ready"}] * 20
    assert len(asked) == 1
    may_end.set()
    readiness._parts["slow"]._asked.result(timeout=30)
    readiness._limit_s = readiness._parts["slow"]._limit_s = 30.0
    while readiness.look()["slow"] != "ready":
        pass  # bounded by pytest's own limit
    assert len(asked) <= 3


def test_probes_that_pile_up_look_once() -> None:
    asked = []
    part = Bounded("test", lambda: asked.append(1), limit_s=30.0, keep_s=3600.0)
    threads = [threading.Thread(target=part.answer) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [1]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StateError("the store is away", advice="see"), "failed: the store is away"),
        (OSError("https://user:s3cret@host"), "failed: OSError"),
    ],
)
def test_a_check_that_fails_tells_no_secret(error: Exception, told: str) -> None:
    def check() -> str | None:
        raise error

    assert Readiness({"store": check}).look() == {"store": told}


def test_a_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    state: list[str | None] = ["failed: x", "failed: x", None]
    readiness = Readiness({"store": lambda: state.pop(0)}, keep_s=0.0)
    for _ in range(3):
        readiness.look()
    assert [record.getMessage() for record in caplog.records if "store" in record.message] == [
        "store: failed: x"
    ]


def test_probes_need_no_password(serve: Serve) -> None:
    client = serve(basic_auth_user="me", basic_auth_password=SecretStr("s3cret"))
    assert client.get("/ready").status_code in (200, 503)
    assert client.get("/metrics").status_code == 401
