import base64
import errno
import gzip
import io
import logging
import os
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from backends.errors import MediaError
from backends.label_studio import media, media_cache
from backends.label_studio.client import LabelStudios
from backends.label_studio.media import MediaStore
from backends.label_studio.media_sources import unsigned
from backends.label_studio.projects import ProjectBook
from tests.backends.label_studio.web import Answer, Web, drip
from tests.label_studio_server import LabelStudioServer

KEY = "7.1700000000"
LEGACY = "0123456789abcdef0123456789abcdef01234567"
SECRET = "s3cr3t"


def png(width: int = 6, height: int = 4, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    body = io.BytesIO()
    PIL.Image.fromarray(pixels).save(body, "PNG")
    return body.getvalue()


class Versioned:
    """A page with an ETag, as Label Studio serves local files."""

    def __init__(self, body: bytes) -> None:
        self.body, self.tag = body, '"1"'

    def __call__(self, request: BaseHTTPRequestHandler) -> Answer:
        if request.headers.get("If-None-Match") == self.tag:
            return Answer(status=304, headers={"ETag": self.tag})
        return Answer(self.body, headers={"ETag": self.tag})


@pytest.fixture
def store(settings: Callable[..., Any], web: Web) -> Iterator[Callable[..., MediaStore]]:
    """Makes a `MediaStore`; `web` is its Label Studio unless the settings say otherwise."""
    with ExitStack() as stack:

        def make(resolver: Any = None, **values: Any) -> MediaStore:
            values.setdefault("label_studio_url", web.url)
            values.setdefault("label_studio_api_key", LEGACY)
            made = settings(**values)
            studios = stack.enter_context(closing(LabelStudios(made, ProjectBook(made))))
            how = {"resolver": resolver} if resolver else {}
            return stack.enter_context(closing(MediaStore(made, studios, **how)))

        yield make


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_PAUSES_S", (0.0, 0.0))


def minutes_later(monkeypatch: pytest.MonkeyPatch, minutes: float = 2) -> None:
    now = time.time
    monkeypatch.setattr(media.time, "time", lambda: now() + 60 * minutes)


class TestWhere:
    """Each kind of address that a task's data holds."""

    @pytest.mark.parametrize(
        "url",
        ["/data/upload/7/a.png", "{web}/data/upload/7/a.png", "{WEB}/data/upload/7/a.png"],
    )
    def test_uploads_are_fetched_with_the_token(self, web: Web, store, url: str) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        url = url.replace("{web}", web.url).replace("{WEB}", web.url.replace("http", "HTTP"))
        file = store().locate(url, KEY)
        assert (file.width_px, file.height_px) == (6, 4)
        assert file.path.read_bytes() == png()
        assert web.calls[0][2]["Authorization"] == f"Token {LEGACY}"

    def test_local_files_keep_their_query(self, web: Web, store) -> None:
        web.pages["/data/local-files/?d=a%20b/c.png"] = Answer(png())
        store().locate("/data/local-files/?d=a%20b/c.png", KEY)
        assert web.paths() == ["/data/local-files/?d=a%20b/c.png"]

    @pytest.mark.parametrize("prefix", ["", "/ls"])
    def test_sub_path_installs(self, web: Web, store, prefix: str) -> None:
        web.pages["/ls/data/upload/7/a.png"] = Answer(png())
        store(label_studio_url=f"{web.url}/ls").locate(f"{prefix}/data/upload/7/a.png", KEY)
        assert web.paths() == ["/ls/data/upload/7/a.png"]

    def test_another_name_of_label_studio_is_opened_at_the_settings_address(
        self, web: Web, settings
    ) -> None:
        made = settings(label_studio_url=web.url, label_studio_api_key=LEGACY)
        book = ProjectBook(made)
        book.remember(KEY, host="http://localhost:1", access_token=None, label_config="")
        web.pages["/data/upload/7/a.png"] = Answer(png())
        with (
            closing(LabelStudios(made, book)) as studios,
            closing(MediaStore(made, studios)) as images,
        ):
            images.locate("http://localhost:1/data/upload/7/a.png", KEY)
        assert web.calls[0][2]["Authorization"] == f"Token {LEGACY}"

    @pytest.mark.parametrize("url", ["s3://bucket/é/a.png", "gs://b/a", "azure-blob://b/a"])
    @pytest.mark.parametrize("task_id", [None, 12])
    def test_cloud_objects_are_signed_by_label_studio_and_fetched_without_the_token(
        self, web: Web, elsewhere: Web, store, url: str, task_id: int | None
    ) -> None:
        code = base64.urlsafe_b64encode(url.encode()).decode()
        path = "/tasks/12/presign/" if task_id else "/projects/7/presign/"
        signed = f"{elsewhere.url}/bucket/a.png?X-Amz-Signature={SECRET}"
        web.pages[f"{path}?fileuri={code}"] = Answer(status=303, headers={"Location": signed})
        elsewhere.pages["/bucket/a.png"] = Answer(png())
        images = store(media_allowed_hosts=f"127.0.0.1:{elsewhere.port}")
        assert images.locate(url, KEY, task_id).width_px == 6
        assert web.calls[0][2]["Authorization"] == f"Token {LEGACY}"
        assert "Authorization" not in elsewhere.calls[0][2]

    def test_signed_addresses_of_one_object_are_fetched_once(self, elsewhere: Web, store) -> None:
        elsewhere.pages["/a.png"] = Answer(png())
        images = store(media_allowed_hosts=f"127.0.0.1:{elsewhere.port}")
        for number in range(3):
            images.locate(
                f"{elsewhere.url}/a.png?v=1&X-Amz-Date={number}&X-Amz-Signature={number}", KEY
            )
        assert len(elsewhere.calls) == 1

    def test_data_uris(self, store) -> None:
        images = store()
        coded = base64.b64encode(png()).decode()
        file = images.locate(f"data:image/png;base64,{coded}", KEY)
        assert file.path.read_bytes() == png()
        assert images.read(file).width_px == 6
        with pytest.raises(MediaError, match="cannot be decoded"):
            images.locate("data:image/png;base64", KEY)

    def test_files_of_allowed_folders_only(self, store, tmp_path: Path) -> None:
        allowed, secret = tmp_path / "allowed", tmp_path / "secret.png"
        allowed.mkdir()
        (allowed / "a b.png").write_bytes(png())
        secret.write_bytes(png())
        (allowed / "link.png").symlink_to(secret)
        images = store(media_allowed_dirs=f" {allowed} ,")
        for url in (f"{allowed}/a b.png", f"file://{allowed}/a%20b.png", f"FILE:{allowed}/a b.png"):
            assert images.locate(url, KEY).width_px == 6
        for url in (secret, allowed / "link.png", allowed / ".." / "secret.png", allowed):
            with pytest.raises(MediaError, match="MEDIA_ALLOWED_DIRS"):
                images.locate(f"file://{url}", KEY)

    @pytest.mark.parametrize("claims", [None, 6])
    def test_large_files_are_refused(
        self, store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claims: int | None
    ) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png() + bytes(1_000_000))
        images = store(media_allowed_dirs=str(tmp_path), media_max_mb=1)
        if claims is not None:  # the file grows while it is read
            monkeypatch.setattr(media, "_state", lambda path: (claims, "tag"))
        with pytest.raises(MediaError, match="larger than 1 MB"):
            images.locate(str(path), KEY)

    def test_a_changed_file_is_read_again(self, store, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        path.write_bytes(png(6))
        images = store(media_allowed_dirs=str(tmp_path))
        assert images.locate(str(path), KEY).width_px == 6
        path.write_bytes(png(9))
        assert images.locate(str(path), KEY).width_px == 9

    def test_sizes_are_those_after_turning(self, web: Web, store) -> None:
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        body = io.BytesIO()
        PIL.Image.new("RGB", (30, 20)).save(body, "JPEG", exif=exif)
        web.pages["/data/upload/7/a.jpg"] = Answer(body.getvalue())
        images = store()
        file = images.locate("/data/upload/7/a.jpg", KEY)
        image = images.read(file)
        assert (file.width_px, file.height_px) == (image.width_px, image.height_px) == (20, 30)


class TestHostile:
    """Nothing of this machine or its network is opened because a task says so."""

    @pytest.mark.parametrize(
        "url",
        [
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "file:/etc/passwd",
            "//127.0.0.1:{port}/a.png",
            "http://127.0.0.1:{port}/a.png",
            "http://localhost:{port}/a.png",
            "http://[::ffff:127.0.0.1]:{port}/a.png",
            "http://2130706433:{port}/a.png",
            "http://a@127.0.0.1:{port}/a.png",
            "http:/\\127.0.0.1:{port}/a.png",
            "\\\\127.0.0.1\\a.png",
            "unix:/var/run/docker.sock",
            "ftp://127.0.0.1/a.png",
            "javascript:alert(1)",
            "a.png",
            "../../etc/passwd",
            "/\\127.0.0.1:{port}/a.png",
            "/api/users/",
            "{web}/api/users/",
            "/data/upload/7/a\r\nX: y",
            "",
            None,
            7,
            ["/data/upload/7/a.png"],
        ],
    )
    def test_refused(self, web: Web, elsewhere: Web, store, url: Any) -> None:
        elsewhere.pages["/a.png"] = Answer(png())
        if isinstance(url, str):
            url = url.replace("{port}", str(elsewhere.port)).replace("{web}", web.url)
        with pytest.raises(MediaError) as caught:
            store().locate(url, KEY)
        assert caught.value.advice
        assert elsewhere.calls == web.calls == []

    def test_names_that_lead_inside_are_refused_and_not_tried_again(
        self, elsewhere: Web, store
    ) -> None:
        asked: list[str] = []

        def resolver(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        with pytest.raises(MediaError, match="private or reserved") as caught:
            store(resolver).locate(f"http://harmless.example:{elsewhere.port}/a.png", KEY)
        assert f"harmless.example:{elsewhere.port}" in caught.value.advice
        assert asked == ["harmless.example"]
        assert elsewhere.calls == []

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_checked(self, web: Web, elsewhere: Web, store, status: int) -> None:
        target = f"{elsewhere.url}/a.png"
        web.pages["/data/upload/7/a.png"] = Answer(status=status, headers={"Location": target})
        elsewhere.pages["/a.png"] = Answer(png())
        with pytest.raises(MediaError, match="private or reserved"):
            store().locate("/data/upload/7/a.png", KEY)
        assert elsewhere.calls == []

    @pytest.mark.parametrize(
        "target",
        ["file:///etc/passwd", "http://127.1/", "gopher://h/", "http://u@h/", "http:\\\\h"],
    )
    def test_redirects_to_odd_addresses_are_refused(self, web: Web, store, target: str) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(status=302, headers={"Location": target})
        with pytest.raises(MediaError, match="is refused"):
            store().locate("/data/upload/7/a.png", KEY)

    def test_a_redirect_from_elsewhere_into_label_studio_gets_no_token(
        self, web: Web, elsewhere: Web, store
    ) -> None:
        target = {"Location": f"{web.url}/data/upload/7/a.png"}
        elsewhere.pages["/a.png"] = Answer(status=302, headers=target)
        hosts = f"127.0.0.1:{elsewhere.port},127.0.0.1:{web.port}"
        with pytest.raises(MediaError):
            store(media_allowed_hosts=hosts).locate(f"{elsewhere.url}/a.png", KEY)
        assert "Authorization" not in web.calls[0][2]

    def test_redirects_end(self, web: Web, store) -> None:
        path = "/data/upload/7/a.png"
        web.pages[path] = Answer(status=302, headers={"Location": path})
        with pytest.raises(MediaError, match="more than 5 times"):
            store().locate(path, KEY)
        assert len(web.calls) == 6

    def test_one_project_does_not_see_anothers_copy(self, web: Web, store) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        images.locate("/data/upload/7/a.png", KEY)
        web.pages["/data/upload/7/a.png"] = Answer(status=403)
        with pytest.raises(MediaError, match="403"):
            images.locate("/data/upload/7/a.png", "8.1")


class TestFresh:
    """What is here is used, and asked about again in time."""

    def test_a_known_address_costs_no_request_and_under_a_millisecond(
        self, web: Web, store
    ) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        images.locate("/data/upload/7/a.png", KEY)
        started = time.perf_counter()
        for _ in range(200):
            images.locate("/data/upload/7/a.png", KEY)
        assert (time.perf_counter() - started) / 200 < 0.001
        assert len(web.calls) == 1

    def test_copies_survive_a_restart(self, web: Web, store) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        first = store().locate("/data/upload/7/a.png", KEY)
        assert store().locate("/data/upload/7/a.png", KEY) == first
        assert len(web.calls) == 1

    @pytest.mark.parametrize("damage", ["half", "empty", "other bytes"])
    def test_a_copy_that_a_crash_or_a_disk_damaged_is_fetched_anew(
        self, web: Web, store, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        first = store().locate("/data/upload/7/a.png", KEY)
        whole = first.path.read_bytes()
        damaged = {"half": whole[: len(whole) // 2], "empty": b"", "other bytes": whole[::-1]}
        first.path.write_bytes(damaged[damage])
        images = store()  # after a restart
        again = images.locate("/data/upload/7/a.png", KEY)
        assert again == first
        assert again.path.read_bytes() == whole
        assert images.read(again).height_px == 4
        assert "was damaged on this disk" in caplog.text
        assert len(web.calls) == 2

    @pytest.mark.parametrize("minutes", [-24 * 60, 24 * 60])
    def test_a_clock_that_is_set_makes_no_copy_serve_for_a_day(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch, minutes: float
    ) -> None:
        page = web.pages["/data/local-files/"] = Versioned(png())
        images = store()
        images.locate("/data/local-files/?d=a.png", KEY)
        page.body, page.tag = png(9), '"2"'
        minutes_later(monkeypatch, minutes)
        assert images.locate("/data/local-files/?d=a.png", KEY).width_px == 9

    def test_local_files_are_asked_about_after_a_minute(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = web.pages["/data/local-files/"] = Versioned(png())
        images = store()
        old = images.locate("/data/local-files/?d=a.png", KEY)
        minutes_later(monkeypatch)
        assert images.locate("/data/local-files/?d=a.png", KEY) == old
        assert web.calls[1][2]["If-None-Match"] == '"1"'
        page.body, page.tag = png(9), '"2"'
        assert images.locate("/data/local-files/?d=a.png", KEY) == old
        minutes_later(monkeypatch)
        assert images.locate("/data/local-files/?d=a.png", KEY).width_px == 9
        assert len(web.calls) == 3

    def test_uploads_are_never_asked_about(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        images.locate("/data/upload/7/a.png", KEY)
        minutes_later(monkeypatch, 60 * 24)
        images.locate("/data/upload/7/a.png", KEY)
        assert len(web.calls) == 1

    @pytest.mark.parametrize("fault", ["down", 500])
    def test_an_old_copy_serves_while_label_studio_is_down(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch, caplog, fault: Any
    ) -> None:
        web.pages["/data/local-files/"] = Answer(png())
        images = store()
        old = images.locate("/data/local-files/?d=a.png", KEY)
        minutes_later(monkeypatch)
        if fault == "down":
            web.close()
            monkeypatch.setattr(web, "close", lambda: None)
            images = store()  # without open connections
        else:
            web.pages["/data/local-files/"] = Answer(status=fault)
        with caplog.at_level(logging.WARNING):
            assert images.locate("/data/local-files/?d=a.png", KEY) == old
        assert "an old copy serves" in caplog.text

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_an_old_copy_does_not_serve_who_may_not_see_it(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch, status: int
    ) -> None:
        web.pages["/data/local-files/"] = Answer(png())
        images = store()
        images.locate("/data/local-files/?d=a.png", KEY)
        minutes_later(monkeypatch)
        web.pages["/data/local-files/"] = Answer(status=status)
        with pytest.raises(MediaError, match=str(status)):
            images.locate("/data/local-files/?d=a.png", KEY)

    def test_many_threads_fetch_once(self, web: Web, store) -> None:
        start = threading.Barrier(8)

        def slowly(_: BaseHTTPRequestHandler) -> Answer:
            time.sleep(0.2)
            return Answer(png())

        web.pages["/data/upload/7/a.png"] = slowly
        images = store()

        def ask(_: int) -> str:
            start.wait()
            return images.locate("/data/upload/7/a.png", KEY).digest

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(ask, range(8)))) == 1
        assert len(web.calls) == 1


class TestCauses:
    """Every failure names its one cause and the cure, and no secret."""

    @pytest.mark.parametrize(
        ("path", "answer", "words", "cure"),
        [
            ("/data/upload/7/a", Answer(status=401), "legacy token is not accepted", "API_KEY"),
            (
                "/data/upload/7/a",
                Answer(b'{"detail": "legacy token authentication has been disabled"}', 401),
                "legacy tokens are switched off",
                "personal access token",
            ),
            ("/data/upload/7/a", Answer(status=404), "answered 404", "does the file still exist"),
            ("/data/upload/7/a", Answer(status=500), "Label Studio failed", "file deleted"),
            ("/data/local-files/?d=a", Answer(status=403), "403", "LOCAL_FILES_SERVING_ENABLED"),
            ("/tasks/1/presign/?fileuri=a", Answer(status=404), "404", "Cloud Storage"),
            (
                "/data/upload/7/a",
                Answer(status=302, headers={"Location": "/user/login/?next=/"}),
                "login page",
                "LABEL_STUDIO_API_KEY",
            ),
            ("/data/upload/7/a", Answer(b"<!doctype html><html>"), "login page", "API_KEY"),
            ("/data/upload/7/a", Answer(b"<svg/>"), "SVG", "PNG"),
            ("/data/upload/7/a", Answer(b""), "is empty", "again"),
            ("/data/upload/7/a", Answer(b"hello"), "not an image", "JPEG"),
            ("/data/upload/7/a", Answer(bytes(2_000_000)), "larger than 1 MB", "MEDIA_MAX_MB"),
            ("/data/upload/7/a", Answer(png(2000, 600)), "2000 x 600", "MEDIA_MAX_MEGAPIXELS"),
        ],
    )
    def test_of_label_studio(
        self, web: Web, store, path: str, answer: Answer, words: str, cure: str
    ) -> None:
        web.pages[path.split("?")[0]] = answer
        with pytest.raises(MediaError, match=words) as caught:
            store(media_max_mb=10 if b"PNG" in answer.body else 1, media_max_megapixels=1).locate(
                path, KEY
            )
        assert cure in caught.value.advice
        assert LEGACY not in str(caught.value)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(status=403), "may have expired"),
            (Answer(status=404), "still exist"),
            (Answer(b"<html>"), "the file itself"),
            (Answer(b"12", claims_bytes=9_000_000), "MEDIA_MAX_MB"),
        ],
    )
    def test_of_other_servers(self, elsewhere: Web, store, answer: Answer, words: str) -> None:
        elsewhere.pages["/a"] = answer
        images = store(media_allowed_hosts=f"127.0.0.1:{elsewhere.port}", media_max_mb=1)
        with pytest.raises(MediaError) as caught:
            images.locate(f"{elsewhere.url}/a?Signature={SECRET}", KEY)
        assert words in caught.value.advice
        assert SECRET not in str(caught.value)

    def test_a_storage_that_refuses_label_studios_signature(
        self, web: Web, elsewhere: Web, store
    ) -> None:
        signed = {"Location": f"{elsewhere.url}/a?X-Amz-Signature={SECRET}"}
        web.pages["/projects/7/presign/"] = Answer(status=303, headers=signed)
        elsewhere.pages["/a"] = Answer(status=403)
        with pytest.raises(MediaError, match="the storage refused") as caught:
            store(media_allowed_hosts=f"127.0.0.1:{elsewhere.port}").locate("s3://b/a", KEY)
        assert SECRET not in str(caught.value)

    def test_failures_are_tried_again_and_then_told(self, web: Web, store) -> None:
        answers = iter([Answer(status=502), Answer(png(), claims_bytes=10_000), Answer(png())])
        web.pages["/data/upload/7/a.png"] = lambda request: next(answers)
        assert store().locate("/data/upload/7/a.png", KEY).width_px == 6
        assert len(web.calls) == 3

    def test_a_server_that_is_down_is_told(self, store, elsewhere: Web, web: Web) -> None:
        web.close()
        web.close = lambda: None  # type: ignore[method-assign]
        with pytest.raises(MediaError, match="cannot be reached") as caught:
            store().locate("/data/upload/7/a.png", KEY)
        assert "LABEL_STUDIO_URL" in caught.value.advice

    def test_a_slow_server_is_told(self, web: Web, store) -> None:
        gate = threading.Event()

        def slowly(_: BaseHTTPRequestHandler) -> Answer:
            gate.wait(5)
            return Answer(png())

        web.pages["/data/upload/7/a.png"] = slowly
        try:
            with pytest.raises(MediaError, match="did not come in time"):
                store(media_timeout_s=0.1).locate("/data/upload/7/a.png", KEY)
        finally:
            gate.set()

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
    def test_a_server_that_drips_headers_or_body_is_told_in_time(
        self, web: Web, store, start: bytes
    ) -> None:
        web.pages["/data/upload/7/a.png"] = drip(start, stop := threading.Event())
        started = time.monotonic()
        try:
            with pytest.raises(MediaError, match="comes too slowly"):
                store(media_timeout_s=0.1).locate("/data/upload/7/a.png", KEY)
        finally:
            stop.set()
        assert time.monotonic() - started < 2
        assert len(web.calls) == 1  # no try is left

    def test_a_server_that_is_slow_at_every_redirect_is_told_in_time(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(media, "_PATIENCE", 1)
        path = "/data/upload/7/a.png"

        def onward(_: BaseHTTPRequestHandler) -> Answer:
            time.sleep(0.15)  # well within the timeout of one read
            return Answer(status=302, headers={"Location": path})

        web.pages[path] = onward
        with pytest.raises(MediaError, match="comes too slowly"):
            store(media_timeout_s=0.4).locate(path, KEY)

    def test_a_label_studio_that_drips_a_fresh_token_is_told_in_time(self, web: Web, store) -> None:
        claims = base64.urlsafe_b64encode(b'{"token_type": "refresh"}').decode().rstrip("=")
        web.pages["/api/token/refresh/"] = drip(
            b"HTTP/1.1 200 OK\r\nX: ", stop := threading.Event()
        )
        images = store(media_timeout_s=0.1, label_studio_api_key=f"e30.{claims}.c2ln")
        try:
            with pytest.raises(MediaError, match="comes too slowly"):
                images.locate("/data/upload/7/a.png", KEY)
        finally:
            stop.set()

    def test_who_waits_for_anothers_download_does_not_wait_without_end(self, store) -> None:
        images = store(media_timeout_s=0.05)
        source = images._sources.of("/data/upload/7/a.png", KEY)
        images._flights[source.key] = Future()  # of a thread that hangs
        with pytest.raises(MediaError, match="comes too slowly"):
            images.locate("/data/upload/7/a.png", KEY)

    @pytest.mark.parametrize(
        ("media_timeout_s", "limit_s"), [(0.1, 0.6), (5, 30), (20, 60), (300, 300)]
    )
    def test_the_time_for_a_download(self, store, media_timeout_s: float, limit_s: float) -> None:
        assert store(media_timeout_s=media_timeout_s)._limit_s == pytest.approx(limit_s)

    def test_no_label_studio_is_told(self, store) -> None:
        with pytest.raises(Exception, match="not known where Label Studio is"):
            store(label_studio_url=None, label_studio_api_key=None).locate("/data/upload/a", KEY)


class TestCompressed:
    """A server may compress once, though it was asked not to; the limit is that of the image."""

    @pytest.mark.parametrize(
        ("coding", "compress"),
        [
            ("gzip", gzip.compress),
            ("X-GZip", gzip.compress),
            ("deflate", zlib.compress),
            ("identity", bytes),
        ],
    )
    def test_one_layer_is_inflated(
        self, web: Web, store, coding: str, compress: Callable[[bytes], bytes]
    ) -> None:
        body = png(300, 300)
        web.pages["/data/upload/7/a"] = Answer(compress(body), 200, {"Content-Encoding": coding})
        assert store().locate("/data/upload/7/a", KEY).path.read_bytes() == body

    @pytest.mark.parametrize("coding", ["gzip, gzip", "br", "zstd", "gzip, identity", "x"])
    def test_anything_else_is_refused(self, web: Web, store, coding: str) -> None:
        web.pages["/data/upload/7/a"] = Answer(png(), 200, {"Content-Encoding": coding})
        with pytest.raises(MediaError, match="compresses although it was asked not to"):
            store().locate("/data/upload/7/a", KEY)

    @pytest.mark.parametrize("body", [b"hello", gzip.compress(png())[:-20]])
    def test_what_cannot_be_inflated_is_told(self, web: Web, store, body: bytes) -> None:
        web.pages["/data/upload/7/a"] = Answer(body, 200, {"Content-Encoding": "gzip"})
        with pytest.raises(MediaError, match="cannot be decompressed"):
            store().locate("/data/upload/7/a", KEY)

    @pytest.mark.parametrize("layers", [1, 2])
    def test_a_bomb_is_never_inflated_beyond_the_limit(self, web: Web, store, layers: int) -> None:
        body = bytes(100_000_000)
        for _ in range(layers):
            body = gzip.compress(body)
        coding = ", ".join(["gzip"] * layers)
        web.pages["/data/upload/7/a"] = Answer(body, 200, {"Content-Encoding": coding})
        tracemalloc.start()
        try:
            with pytest.raises(MediaError, match=r"larger than 1 MB|compresses although"):
                store(media_max_mb=1).locate("/data/upload/7/a", KEY)
            _, most_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most_bytes < 10_000_000

    def test_the_words_of_a_401_are_not_inflated_either(self, web: Web, store) -> None:
        body = gzip.compress(bytes(100_000_000))
        web.pages["/data/upload/7/a"] = Answer(body, 401, {"Content-Encoding": "gzip"})
        tracemalloc.start()
        try:
            with pytest.raises(MediaError, match="401"):
                store().locate("/data/upload/7/a", KEY)
            _, most_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most_bytes < 10_000_000


class TestDisk:
    """The folder stays whole and within its limit."""

    def files(self, images: MediaStore, part: str) -> list[Path]:
        folder = images._settings.data_path / "media" / part
        return [path for path in folder.rglob("*") if path.is_file()]

    @pytest.mark.parametrize("moment", ["write", "move"])
    def test_a_full_disk_is_told_and_leaves_nothing(
        self, web: Web, store, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def write_full(self: Path, mode: str = "r") -> Any:
            file = io.BytesIO()
            file.write = full  # type: ignore[method-assign, assignment]
            return file

        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        with monkeypatch.context() as patch:
            if moment == "move":
                patch.setattr(media_cache, "_move", full)
            else:
                patch.setattr(media_cache.Path, "open", write_full)
            with pytest.raises(MediaError, match="disk of this server is full"):
                images.locate("/data/upload/7/a.png", KEY)
        for part in ("part", "blobs", "urls"):
            assert self.files(images, part) == []
        assert images.locate("/data/upload/7/a.png", KEY).width_px == 6

    def test_failed_downloads_leave_nothing(self, web: Web, store) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(b"hello")
        images = store()
        with pytest.raises(MediaError):
            images.locate("/data/upload/7/a.png", KEY)
        assert self.files(images, "part") == self.files(images, "blobs") == []

    def test_the_files_used_longest_ago_make_room(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(media_cache, "_YOUNG_S", -1)
        cache = media_cache.MediaCache(tmp_path, limit_bytes=10_000)
        for number in range(12):
            with cache.receive([bytes([number]) * 1000]) as (part, digest):
                cache.keep(part, digest)
                cache.note(f"url {number}", media_cache.Entry(digest, 1, 1))
            os.utime(cache.path(digest), (number, number))
        kept = [number for number in range(12) if cache.find(f"url {number}")]
        assert kept[-1] == 11
        assert kept == list(range(kept[0], 12))
        assert 7 <= len(kept) <= 10
        assert len(list((tmp_path / "urls").rglob("*.json"))) <= 10

    def test_files_in_use_are_not_deleted(self, tmp_path: Path) -> None:
        cache = media_cache.MediaCache(tmp_path, limit_bytes=1000)
        for number in range(4):
            with cache.receive([bytes([number]) * 1000]) as (part, digest):
                assert cache.keep(part, digest).exists()
        assert len(list((tmp_path / "blobs").rglob("*/*"))) == 4

    def test_a_deleted_copy_is_fetched_again(self, web: Web, store) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        images.locate("/data/upload/7/a.png", KEY).path.unlink()
        assert images.locate("/data/upload/7/a.png", KEY).path.exists()
        assert len(web.calls) == 2

    def test_a_damaged_index_is_ignored(self, web: Web, store) -> None:
        web.pages["/data/upload/7/a.png"] = Answer(png())
        images = store()
        images.locate("/data/upload/7/a.png", KEY)
        for path in self.files(images, "urls"):
            path.write_text('{"digest": 1')
        assert store().locate("/data/upload/7/a.png", KEY).width_px == 6


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://h/a?v=1&X-Amz-Date=2&x-amz-signature=3", "https://h/a?v=1"),
        ("https://h/a?X-Goog-Signature=3&X-Goog-Expires=4", "https://h/a"),
        ("https://h/a?Expires=1&Signature=2&AWSAccessKeyId=3&w=4", "https://h/a?w=4"),
        ("https://h/a?sv=1&se=2&sp=r&sig=4&page=5", "https://h/a?page=5"),
        ("https://h/a?sp=1&expires=2&policy=3", "https://h/a?sp=1&expires=2&policy=3"),
        ("https://h/a", "https://h/a"),
    ],
)
def test_unsigned_addresses(url: str, plain: str) -> None:
    assert unsigned(url) == plain


@pytest.mark.e2e
class TestRealLabelStudio:
    """Uploads, local files and their failures, with either token."""

    @pytest.fixture(params=["personal_token", "legacy_token"])
    def images(self, label_studio: LabelStudioServer, store, request: Any) -> MediaStore:
        token = getattr(label_studio, request.param)
        return store(label_studio_url=label_studio.url, label_studio_api_key=token)

    def test_uploads(
        self, label_studio: LabelStudioServer, images: MediaStore, tmp_path: Path
    ) -> None:
        project = label_studio.add_project("<View/>")
        (tmp_path / "a b.png").write_bytes(png(9, 5))
        task = label_studio.upload(project, tmp_path / "a b.png")[0]
        (url,) = task["data"].values()
        file = images.locate(url, label_studio.project_key(project), task["id"])
        assert (file.width_px, file.height_px) == (9, 5)
        assert file.path.read_bytes() == png(9, 5)
        assert images.locate(label_studio.url + url, f"{project}.1") == file

    def test_local_files_are_revalidated(
        self, label_studio: LabelStudioServer, images: MediaStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project = label_studio.add_project("<View/>")
        folder = label_studio.files / f"folder {project}"
        folder.mkdir()
        (folder / "a.png").write_bytes(png(9, 5))
        label_studio.serve_folder(project, folder)
        url = f"{label_studio.url}/data/local-files/?d=folder%20{project}/a.png"
        assert images.locate(url, f"{project}.1").width_px == 9
        (folder / "a.png").write_bytes(png(7, 5))
        minutes_later(monkeypatch)
        assert images.locate(url, f"{project}.1").width_px == 7

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("/data/local-files/?d=none.png", "Local Files storage"),
            ("s3://bucket/none.png", "Cloud Storage"),
            ("/data/upload/1/none.png", "file deleted"),
            ("/projects/", "the image itself|API_KEY"),
        ],
    )
    def test_what_is_not_there(
        self, label_studio: LabelStudioServer, images: MediaStore, url: str, words: str
    ) -> None:
        project = label_studio.add_project("<View/>")
        with pytest.raises(MediaError, match=words):
            images.locate(url, f"{project}.1")

    def test_tokens_that_are_not_accepted(
        self, label_studio: LabelStudioServer, store, tmp_path: Path
    ) -> None:
        project = label_studio.add_project("<View/>")
        (tmp_path / "a.png").write_bytes(png())
        (url,) = label_studio.upload(project, tmp_path / "a.png")[0]["data"].values()
        wrong = store(label_studio_url=label_studio.url, label_studio_api_key="0" * 40)
        with pytest.raises(MediaError, match="legacy token is not accepted"):
            wrong.locate(url, f"{project}.1")
        old = store(
            label_studio_url=label_studio.url, label_studio_api_key=label_studio.legacy_token
        )
        label_studio.set_legacy_tokens(enabled=False)
        try:
            with pytest.raises(MediaError, match="legacy tokens are switched off"):
                old.locate(url, f"{project}.1")
        finally:
            label_studio.set_legacy_tokens(enabled=True)
