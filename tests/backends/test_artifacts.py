"""The store that machines share, in a folder and by the S3 protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import artifacts
from backends.artifacts import Artifacts, open_artifacts, sha256
from backends.errors import StateError
from backends.settings import Settings
from tests.s3 import BUCKET, SECRET, s3_server


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "shared")
        return
    with pytest.MonkeyPatch.context() as patch, s3_server(patch):
        yield f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def store(url: str) -> Iterator[Artifacts]:
    artifacts._opened.cache_clear()
    made = open_artifacts(Settings(_env_file=None, store_url=url))
    assert made is not None
    yield made
    made.settle()


def test_a_file_comes_back_as_it_was(store: Artifacts, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    for content in (b"x" * 3_000_000, b"", b"newer"):
        there.write_bytes(content)
        store.put("models/aa/größe.tar", there)
        assert store.get("models/aa/größe.tar", back)
        assert back.read_bytes() == content
        assert sha256(back) == sha256(there)
    assert store.names("models", older_than_s=-60) == ["models/aa/größe.tar"]
    assert store.names("models", older_than_s=60) == []
    store.remove("models/aa/größe.tar")
    store.remove("models/aa/größe.tar")
    assert not store.get("models/aa/größe.tar", back)
    assert store.names("models", older_than_s=-60) == store.names("nothing", older_than_s=-60) == []
    assert back.read_bytes() == b"newer"
    assert {path.name for path in tmp_path.iterdir()} <= {"there", "back", "shared"}


def test_it_says_whether_it_can_be_used(store: Artifacts) -> None:
    store.check()
    assert store._files.find(store._root) == []


def test_readers_see_a_whole_file_or_none(store: Artifacts, tmp_path: Path) -> None:
    contents = [bytes([number]) * 400_000 for number in (1, 2)]
    ended = threading.Event()

    def write() -> None:
        for number in range(10):
            path = tmp_path / f"from-{number}"
            path.write_bytes(contents[number % 2])
            store.put("one", path)
        ended.set()

    writing = threading.Thread(target=write)
    writing.start()
    seen = 0
    while not ended.is_set() or not seen:
        if store.get("one", tmp_path / "to"):
            seen += 1
            assert (tmp_path / "to").read_bytes() in contents
    writing.join()


def test_what_is_stored_later_is_stored(store: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"here")
    store.put_later("here", tmp_path / "here")
    store.put_later("gone", tmp_path / "gone")
    store.settle()
    assert store.get("here", tmp_path / "back")
    assert not store.get("gone", tmp_path / "back")


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc/passwd", "", ".", "a//b"])
def test_names_do_not_leave_the_store(store: Artifacts, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ValueError):
        store.put(name, tmp_path / "file")


def test_a_store_that_is_away_is_told_once_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifacts._opened.cache_clear()
    monkeypatch.setattr(artifacts, "_TRIES_AFTER_S", (0.0, 0.0))
    (tmp_path / "file").write_bytes(b"x")
    settings = Settings(_env_file=None, store_url=f"s3://{BUCKET}/x")
    with s3_server(monkeypatch) as server:
        store = open_artifacts(settings)
        assert store is not None
        store.put("file", tmp_path / "file")
        server.stop()
        asked: list[str] = []
        real = store._files.get_file
        monkeypatch.setattr(
            store._files, "get_file", lambda *names: (asked.append(names[0]), real(*names))
        )
        for _ in range(5):
            with pytest.raises(StateError, match="the store cannot be read") as told:
                store.get("file", tmp_path / "back")
            assert told.value.status == 503
            assert SECRET not in str(told.value)
        assert len(asked) == 1  # the others did not wait
        assert caplog.text.count("the store cannot be read") == 1
        with pytest.raises(StateError, match="written to"):
            store.put("file", tmp_path / "file")
        store.put_later("file", tmp_path / "file")
        store.settle()
        server.start()
        store._away_until = 0.0
        store.put("file", tmp_path / "file")
        assert store.get("file", tmp_path / "back")
    assert SECRET not in caplog.text
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_url_that_nothing_opens_is_told(tmp_path: Path) -> None:
    assert open_artifacts(Settings(_env_file=None, data_dir=tmp_path)) is None
    for url in ("nothing://x", "gs://bucket/x"):
        with pytest.raises(StateError, match="LABELPILOT_STORE_URL cannot be opened"):
            open_artifacts(Settings(_env_file=None, store_url=url))
