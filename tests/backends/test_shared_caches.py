"""What one machine has fetched or computed, another one does not fetch or compute again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backends.artifacts import Artifacts, open_artifacts
from backends.errors import Unavailable
from backends.label_studio.media_cache import Entry, MediaCache
from backends.sam.embeddings import EmbeddingCache
from backends.settings import Settings
from micro_models.regions import Embedding

URL = "http://files/größe.jpg"
BYTES = b"picture" * 1000


@pytest.fixture
def store(tmp_path: Path) -> Artifacts:
    made = open_artifacts(Settings(_env_file=None, store_url=str(tmp_path / "store")))
    assert made is not None
    return made


def never() -> Embedding:
    raise AssertionError("computed again")


def embedding() -> Embedding:
    return Embedding({"features": np.arange(100, dtype=np.float16)}, 30, 20)


def embeddings(folder: Path, store: Artifacts) -> EmbeddingCache:
    return EmbeddingCache(folder, memory_bytes=10**6, disk_bytes=10**6, artifacts=store)


def test_an_embedding_is_found_wherever_the_next_click_lands(
    tmp_path: Path, store: Artifacts
) -> None:
    embeddings(tmp_path / "one", store).get("sam/v1", "a" * 64, embedding)
    store.settle()
    other = embeddings(tmp_path / "other", store)
    found = other.get("sam/v1", "a" * 64, never)
    assert (found.width_px, found.height_px) == (30, 20)
    np.testing.assert_array_equal(found.arrays["features"], np.arange(100))
    assert other.use().computed == 0
    store.remove(f"embeddings/sam_v1/{'a' * 64}.npz")
    assert embeddings(tmp_path / "other", store).get("sam/v1", "a" * 64, never)  # its own by now


def test_a_damaged_embedding_of_the_store_is_computed(tmp_path: Path, store: Artifacts) -> None:
    (tmp_path / "bad").write_bytes(b"no array")
    store.put(f"embeddings/v1/{'a' * 64}.npz", tmp_path / "bad")
    assert embeddings(tmp_path / "one", store).get("v1", "a" * 64, embedding).width_px == 30


def test_without_the_store_embeddings_are_computed(
    tmp_path: Path, store: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Unavailable("the store cannot be read (TimeoutError)")

    monkeypatch.setattr(store, "get", fail)
    monkeypatch.setattr(store, "_put", fail)
    assert embeddings(tmp_path / "one", store).get("v1", "a" * 64, embedding).width_px == 30
    cache = MediaCache(tmp_path / "media", limit_bytes=10**6, artifacts=store)
    assert cache.find(URL) is None
    assert fetched(cache).exists()
    store.settle()


def fetched(cache: MediaCache) -> Path:
    """What a download does."""
    with cache.receive([BYTES]) as (part, digest):
        path = cache.keep(part, digest)
    cache.note(URL, Entry(digest, 64, 48, etag="e", checked_at=1.0))
    return path


def test_a_file_is_fetched_by_one_machine(tmp_path: Path, store: Artifacts) -> None:
    path = fetched(MediaCache(tmp_path / "one", limit_bytes=10**6, artifacts=store))
    store.settle()
    other = MediaCache(tmp_path / "other", limit_bytes=10**6, artifacts=store)
    entry = other.find(URL)
    assert entry is not None
    assert (entry.width_px, entry.etag, entry.digest) == (64, "e", path.name)
    assert other.path(entry.digest).read_bytes() == BYTES
    assert other.find("http://files/other.jpg") is None
    assert list((tmp_path / "other" / "part").iterdir()) == []


def test_a_file_that_changed_in_the_store_is_fetched_anew(
    tmp_path: Path, store: Artifacts, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetched(MediaCache(tmp_path / "one", limit_bytes=10**6, artifacts=store))
    store.settle()
    (tmp_path / "bad").write_bytes(b"another picture")
    store.put(f"media/blobs/{path.name[:2]}/{path.name}", tmp_path / "bad")
    other = MediaCache(tmp_path / "other", limit_bytes=10**6, artifacts=store)
    assert other.find(URL) is None
    assert not other.path(path.name).exists()
    assert "damaged" in caplog.text


@pytest.mark.parametrize("digest", ["../../../etc/passwd", "", "A" * 64])
def test_what_the_store_tells_of_a_file_names_no_path(
    tmp_path: Path, store: Artifacts, digest: str
) -> None:
    one = MediaCache(tmp_path / "one", limit_bytes=10**6, artifacts=store)
    fetched(one)
    store.settle()
    (name,) = store.names("media/urls", older_than_s=-60)
    told = {"digest": digest, "width_px": 1, "height_px": 1}
    (tmp_path / "bad").write_text(json.dumps(told))
    store.put(name, tmp_path / "bad")
    other = MediaCache(tmp_path / "other", limit_bytes=10**6, artifacts=store)
    assert other.find(URL) is None
