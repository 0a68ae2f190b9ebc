"""Too many requests at once: who goes first, who is refused, what becomes of those who leave."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi.testclient import TestClient

from backends.commands.serve import serve as serve_command
from backends.serving import answers, app
from backends.serving.app import create_app
from backends.settings import Settings
from tests.backends.serving.conftest import (
    CONFIG,
    Serve,
    SquareEngine,
    data_uri,
    point,
    predict_body,
    task,
)
from tests.live import live

OPENED, MANY = 1, 5


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, nothing is answered that comes without a click."""
    release, answer = threading.Event(), answers.answer

    def slow(services, backend, decoded):  # type: ignore[no-untyped-def]
        assert decoded.context or release.wait(60)
        return answer(services, backend, decoded)

    monkeypatch.setattr("backends.serving.protocol.answer", slow)
    return release


def click(number: int) -> dict[str, object]:
    """On a picture of its own."""
    image = data_uri(64, 48, (number % 256, number // 256, 7))
    return predict_body(task(number, image), prompts=(point(50, 50, name=f"p{number}"),))


def gauge(client: TestClient | httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"labelpilot_{name} "))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tasks(first: int, count: int) -> dict[str, object]:
    return predict_body(*(task(first + n) for n in range(count)))


def test_a_click_waits_for_nothing_else(serve: Serve, held: threading.Event) -> None:
    client = serve(queue_length=8)
    with ThreadPoolExecutor(16) as pool:
        bulk = [
            pool.submit(client.post, "/predict", json=tasks(100 * n, count))
            for n, count in enumerate([MANY] * 6 + [OPENED] * 6)
        ]
        until(lambda: gauge(client, "bulk_pending") == 6 and gauge(client, "opened_pending") == 6)
        event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "project": {"id": 7}}
        setup = {"project": "7.1", "schema": CONFIG, "hostname": "", "access_token": ""}
        for turn in range(3):
            assert client.post("/predict", json=click(turn)).json()["results"][0]["result"]
            assert client.post("/webhook", json=event).status_code == 200
            assert client.post("/setup", json=setup).status_code == 200
            assert client.get("/health").status_code == 200
        assert not any(one.done() for one in bulk)
        held.set()
        assert {one.result().status_code for one in bulk} == {200}


def test_a_webhook_does_not_wait_for_setups(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many projects are opened whose label config takes long to read."""
    release, set_up, begun = threading.Event(), answers.set_up, []

    def slow(services, backend, decoded):  # type: ignore[no-untyped-def]
        begun.append(decoded)
        assert release.wait(60)
        return set_up(services, backend, decoded)

    monkeypatch.setattr("backends.serving.protocol.set_up", slow)
    client = serve()
    setup = {"project": "7.1", "schema": CONFIG, "hostname": "", "access_token": ""}
    event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "project": {"id": 7}}
    with ThreadPoolExecutor(40) as pool:
        setups = [pool.submit(client.post, "/setup", json=setup) for _ in range(40)]
        until(lambda: len(begun) >= 4)
        assert client.post("/webhook", json=event).json() == {"status": "ok"}
        assert client.post("/predict", json=click(1)).status_code == 200
        assert not any(one.done() for one in setups)
        release.set()
    assert {one.result().status_code for one in setups} == {200}


def test_who_opens_a_task_does_not_wait_for_a_whole_project(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, answer = threading.Event(), answers.answer

    def slow(services, backend, decoded):  # type: ignore[no-untyped-def]
        assert len(decoded.tasks) == OPENED or release.wait(60)
        return answer(services, backend, decoded)

    monkeypatch.setattr("backends.serving.protocol.answer", slow)
    client = serve()
    with ThreadPoolExecutor(8) as pool:
        bulk = [pool.submit(client.post, "/predict", json=tasks(9 * n, MANY)) for n in range(4)]
        until(lambda: gauge(client, "bulk_pending") == 4)
        assert client.post("/predict", json=tasks(1, OPENED)).json() == {"results": [{}]}
        assert not any(one.done() for one in bulk)
        release.set()
    assert {one.result().status_code for one in bulk} == {200}


def test_a_full_queue_says_when_to_come_back_and_later_answers(
    serve: Serve, engine: SquareEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "HELD_S", 0.0)
    client = serve(workers=2, queue_length=3)
    engine.may_embed.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.post, "/predict", json=click(n)) for n in range(5)]
        until(lambda: gauge(client, "clicks_pending") == 5)
        for number in range(10, 30):
            refusal = client.post("/predict", json=click(number))
            assert refusal.status_code == 503
            assert int(refusal.headers["Retry-After"]) >= 1
            assert "later" in refusal.json()["advice"]
        engine.may_embed.set()
        assert {one.result().status_code for one in waiting} == {200}
    assert gauge(client, "clicks_pending") == 0
    assert client.post("/predict", json=click(10)).status_code == 200
    assert len(engine.embedded) == 6  # of those that were refused nothing was computed


def test_a_refusal_waits_a_little_and_holds_up_nobody(
    serve: Serve, engine: SquareEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again as soon as refused would take all the time that others need."""
    client, held = serve(workers=1, queue_length=1), threading.Event()
    asked: list[float] = []

    async def until_let_go(seconds: float) -> None:
        asked.append(seconds)
        await asyncio.to_thread(held.wait, 60)

    monkeypatch.setattr(app, "HELD_S", 0.25)
    monkeypatch.setattr(app, "asyncio", SimpleNamespace(sleep=until_let_go))
    engine.may_embed.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.post, "/predict", json=click(n)) for n in range(2)]
        until(lambda: gauge(client, "clicks_pending") == 2)
        refused = [pool.submit(client.post, "/predict", json=click(n)) for n in range(2, 6)]
        until(lambda: len(asked) == len(refused))
        assert client.get("/health").status_code == 200
        assert not any(one.done() for one in refused)
        engine.may_embed.set()  # and there is room again for others
        assert {one.result().status_code for one in waiting} == {200}
        assert client.post("/predict", json=click(9)).status_code == 200
        held.set()
        assert {one.result().status_code for one in refused} == {503}
    assert asked == [0.25] * 4


def test_what_waits_for_a_caller_who_has_gone_is_not_computed(
    settings: Settings, engine: SquareEngine
) -> None:
    engine.may_embed.clear()
    few = settings.model_copy(update={"workers": 1, "queue_length": 3})
    with live(create_app(few, lambda _: engine)) as url, httpx.Client(base_url=url) as client:
        address = httpx.URL(url)
        body = json.dumps(click(1)).encode()
        first = _hanging_up_later(address, body)
        until(lambda: gauge(client, "clicks_pending") == 1)
        others = [_hanging_up_later(address, json.dumps(click(n)).encode()) for n in (2, 3, 4)]
        until(lambda: gauge(client, "clicks_pending") == 4)
        assert client.post("/predict", json=click(5)).status_code == 503
        for one in others:
            one.close()
        # The one in hand is computed to its end; the places of the others are free at once.
        until(lambda: gauge(client, "clicks_pending") == 1)
        first.close()
        with ThreadPoolExecutor(1) as pool:
            stays = pool.submit(client.post, "/predict", json=click(6), timeout=60)
            until(lambda: gauge(client, "clicks_pending") == 2)
            engine.may_embed.set()
            assert stays.result().json()["results"][0]["result"]
        until(lambda: gauge(client, "clicks_pending") == 0)
        assert len(engine.embedded) == 2


def _hanging_up_later(address: httpx.URL, body: bytes) -> socket.socket:
    """The connection of a caller who has asked for a prediction."""
    connection = socket.create_connection((address.host, address.port or 0), timeout=60)
    head = f"POST /predict HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_a_server_lets_its_threads_take_turns_quickly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[float] = []
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("backends.logs.configure", lambda _: None)
    monkeypatch.setattr("gc.freeze", lambda: None)
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: found.append(sys.getswitchinterval()))
    before = sys.getswitchinterval()
    try:
        serve_command()
    finally:
        sys.setswitchinterval(before)
    assert found
    assert found[0] <= 0.001


def test_threads_of_a_server_share_heaps(tmp_path: Path) -> None:
    """In a process of its own: the limit stays for good."""
    told = tmp_path / "malloc.xml"
    code = f"""
import ctypes, threading
from backends.commands.serve import _HEAPS, _share_heaps
_share_heaps()
together, libc = threading.Barrier(16), ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
def take():
    together.wait()
    for _ in range(500):
        libc.malloc(4000)
threads = [threading.Thread(target=take) for _ in range(16)]
for one in threads: one.start()
for one in threads: one.join()
file = ctypes.c_void_p(libc.fopen({str(told)!r}.encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(_HEAPS)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert 1 <= told.read_text().count("<heap nr=") <= int(done.stdout)
