from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from backends.errors import BadRequest, ModelMissing
from backends.micro.shelf import ModelShelf
from backends.settings import Settings
from micro_models import Box, Budget, Example, Image, Region, fit
from micro_models.trainers.forest import ForestTrainer
from tests.backends.micro.balls import version


class Loading:
    """Loads a fresh object for each folder, and counts; waits until it may."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.may = threading.Event()
        self.may.set()
        self.fails: Exception | None = None

    def __call__(self, folder: Path):
        assert self.may.wait(20)
        self.loads.append(folder.name)
        if self.fails is not None:
            raise self.fails
        return object()


def shelf(folder: Path, load=None, *, memory_mb: int = 100) -> ModelShelf:
    settings = Settings(micro_memory_mb=memory_mb)
    options = {} if load is None else {"load": load}
    return ModelShelf(settings, lambda one: folder / one.id, **options)


def stored(folder: Path, name: str, megabytes: int) -> None:
    (folder / name).mkdir()
    (folder / name / "arrays.npz").write_bytes(bytes(megabytes * 1_000_000))


def test_a_real_model_is_loaded_and_a_damaged_one_told(tmp_path: Path) -> None:
    pixels = np.full((48, 64, 3), 90, np.uint8)
    pixels[10:30, 20:40] = 250
    example = Example(Image(pixels), [Region("batman", Box(20, 10, 40, 30))])
    model = fit([example], budget=Budget(steps=2), trainers=[ForestTrainer()])
    model.save(tmp_path / model.version)
    models = shelf(tmp_path)
    assert models.model(version(model.version)).version == model.version
    model.save(tmp_path / "another")
    model.save(tmp_path / "bad")
    (arrays,) = (tmp_path / "bad").glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-100])
    for name in ("bad", "another", "nowhere"):
        with pytest.raises(ModelMissing, match="rollback") as caught:
            models.model(version(name))
        assert str(tmp_path) not in str(caught.value)


def test_a_model_is_loaded_once_whoever_asks(tmp_path: Path) -> None:
    load = Loading()
    load.may.clear()
    models = shelf(tmp_path, load)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(models.model, version("a")) for _ in range(8)]
        load.may.set()
        assert len({id(one.result()) for one in asked}) == 1
    assert load.loads == ["a"]


def test_scopes_do_not_share_what_has_one_name(tmp_path: Path) -> None:
    load = Loading()
    models = shelf(tmp_path, load)
    assert models.model(version("a", "x=1")) is not models.model(version("a", "x=2"))


def test_the_least_used_model_leaves(tmp_path: Path) -> None:
    load = Loading()
    for name in "abcd":
        stored(tmp_path, name, 4)  # about 8 MB in memory
    models = shelf(tmp_path, load, memory_mb=20)
    for name in "abac":  # b is used least
        models.model(version(name))
    assert load.loads == ["a", "b", "c"]
    for name in "acb":
        models.model(version(name))
    assert load.loads == ["a", "b", "c", "b"]


def test_a_model_larger_than_the_memory_is_used_all_the_same(tmp_path: Path) -> None:
    load = Loading()
    stored(tmp_path, "a", 30)
    models = shelf(tmp_path, load, memory_mb=10)
    assert models.model(version("a")) is models.model(version("a"))


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    load = Loading()
    models = shelf(tmp_path, load)
    load.fails = MemoryError()
    with pytest.raises(ModelMissing, match="MemoryError"):
        models.model(version("a"))
    load.fails = BadRequest("of its own kind")
    with pytest.raises(BadRequest):
        models.model(version("a"))
    load.fails = None
    assert models.model(version("a")) is not None
