"""Callers that send slowly, endlessly or too much: each is cut off, and others are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from backends.serving.app import create_app
from backends.serving.patience import PatientProtocol
from backends.settings import Settings
from tests.backends.serving.conftest import SquareEngine, point, predict_body
from tests.live import live


class Impatient(PatientProtocol):
    within_s = 0.3


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        label_studio_url="http://127.0.0.1:9",
        max_request_mb=1,
    )
    with live(create_app(settings, lambda _: SquareEngine()), http=Impatient) as address:
        yield address


def call(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=30)
    connection.settimeout(30)
    return connection


def said(connection: socket.socket) -> bytes:
    """All that is answered until the server hangs up; a connection that stays open times out."""
    answer = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET / HT",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-",
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        b"POST /setup HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
    ids=["nothing", "half a line", "half a head", "half a body", "half a chunk"],
)
def test_who_does_not_finish_is_cut_off(url: str, begun: bytes) -> None:
    others = [call(url) for _ in range(20)]
    with call(url) as slow:
        for one in (slow, *others):
            one.sendall(begun)
        assert httpx.get(f"{url}/health").status_code == 200
        assert b"200 OK" not in said(slow)
        for one in others:
            said(one)
            one.close()
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_second_request_has_to_be_whole_as_the_first(url: str) -> None:
    whole = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    with call(url) as one:
        one.sendall(whole)
        assert b"200 OK" in one.recv(65536)
        one.sendall(whole[:-3])
        assert b"200 OK" not in said(one)


def test_who_is_waiting_for_an_answer_is_not_cut_off(tmp_path: Path) -> None:
    engine = SquareEngine()
    engine.may_embed.clear()
    settings = Settings(data_dir=tmp_path, label_studio_url="http://127.0.0.1:9")
    with live(create_app(settings, lambda _: engine), http=Impatient) as url:
        threading.Timer(4 * Impatient.within_s, engine.may_embed.set).start()
        body = predict_body(prompts=(point(50, 50),))
        assert httpx.post(f"{url}/predict", json=body, timeout=30).status_code == 200


def test_a_head_without_end_is_refused(url: str) -> None:
    with call(url) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        sent = 0
        with suppress(ConnectionError):
            while sent < 50_000_000:
                sent += one.send(b"x" * 65536)
        # What the system's buffers hold is sent before anybody looks.
        assert sent < 20_000_000
        answer = said(one)
    assert answer[:12] in (b"HTTP/1.1 400", b"")
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_head_of_too_many_lines_is_refused(url: str) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(20_000))
    with call(url) as one:
        with suppress(ConnectionError):
            one.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
        assert b"200 OK" not in said(one)
    assert httpx.get(f"{url}/health").status_code == 200


@pytest.mark.parametrize("is_chunked", [True, False])
@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook", "/micro/webhook"])
def test_a_body_beyond_the_limit_is_413(url: str, path: str, is_chunked: bool) -> None:
    parts = (b" " * 100_000 for _ in range(15))
    content = parts if is_chunked else b"".join(parts)
    answer = httpx.post(f"{url}{path}", content=content)
    assert answer.status_code == 413
    assert "LABELPILOT_MAX_REQUEST_MB" in answer.json()["advice"]


def test_a_length_that_lies_takes_no_memory(url: str) -> None:
    with call(url) as one:
        one.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\n{}"
        )
        assert b"200 OK" not in said(one)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /setup HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /setup HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: x\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\x00\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["two hosts", "two lengths", "odd coding", "odd name", "zero byte", "TLS"],
)
def test_what_proxies_read_differently_is_refused(url: str, sent: bytes) -> None:
    with call(url) as one:
        one.sendall(sent)
        answer = said(one)
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5", b""), answer[:100]
    assert b"Traceback" not in answer
