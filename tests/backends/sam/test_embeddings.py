from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from backends.sam.embeddings import EmbeddingCache
from micro_models.regions import Embedding

MEGABYTE = 1_000_000


def embedding(value: int = 0, *, nbytes: int = 1000) -> Embedding:
    return Embedding({"features": np.full(nbytes, value, np.uint8)}, 30, 20)


def never() -> Embedding:
    raise AssertionError("computed again")


def cache(folder: Path, *, memory: int = MEGABYTE, disk: int = MEGABYTE) -> EmbeddingCache:
    return EmbeddingCache(folder, memory_bytes=memory, disk_bytes=disk)


def test_an_embedding_survives_a_restart(tmp_path: Path) -> None:
    cache(tmp_path).get("v1", "a", lambda: embedding(7))
    again = cache(tmp_path)
    assert again.has("v1", "a")
    found = again.get("v1", "a", never)
    assert (found.width_px, found.height_px) == (30, 20)
    assert (found.arrays["features"] == 7).all()
    assert again.use().disk_hits == 1


@pytest.mark.parametrize(("version", "digest"), [("v2", "a"), ("v1", "b")])
def test_another_model_or_image_does_not_hit(tmp_path: Path, version: str, digest: str) -> None:
    both = cache(tmp_path)
    both.get("v1", "a", lambda: embedding(1))
    assert not both.has(version, digest)
    assert both.get(version, digest, lambda: embedding(2)).arrays["features"][0] == 2


def test_memory_is_bounded_and_what_left_it_is_on_disk(tmp_path: Path) -> None:
    small = cache(tmp_path, memory=2500)
    for digest in "abc":
        small.get("v", digest, embedding)
    use = small.use()
    assert use.images == 2
    assert use.memory_bytes == 2000
    small.get("v", "a", never)


def test_the_disk_is_bounded_by_last_use(tmp_path: Path) -> None:
    small = cache(tmp_path, disk=5000)
    for digest in "abcdef":
        small.get("v", digest, embedding)
        time.sleep(0.01)
    small.shrink()
    left = sorted(path.stem for path in tmp_path.glob("v/*.npz"))
    assert left
    assert left == sorted("abcdef")[-len(left) :]
    assert sum(path.stat().st_size for path in tmp_path.glob("v/*.npz")) <= 5000


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    cache(tmp_path).get("v", "a", embedding)
    (tmp_path / "v" / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    assert cache(tmp_path).get("v", "a", lambda: embedding(3)).arrays["features"][0] == 3


def test_a_disk_that_takes_nothing_costs_no_answer(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder can be here")
    assert cache(blocked).get("v", "a", lambda: embedding(4)).arrays["features"][0] == 4


def test_eight_threads_compute_once(tmp_path: Path) -> None:
    shared, computed, found = cache(tmp_path), [], []

    def compute() -> Embedding:
        computed.append(1)
        time.sleep(0.05)
        return embedding(5)

    threads = [
        threading.Thread(target=lambda: found.append(shared.get("v", "a", compute)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1
    assert len(found) == 8


def test_an_error_reaches_everyone_and_is_not_kept(tmp_path: Path) -> None:
    def fail() -> Embedding:
        raise ValueError("no image")

    shared = cache(tmp_path)
    with pytest.raises(ValueError, match="no image"):
        shared.get("v", "a", fail)
    shared.get("v", "a", embedding)
