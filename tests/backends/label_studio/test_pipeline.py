from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep

import pytest

from backends.errors import MediaError
from backends.interface import ImageFile, Task
from backends.label_studio import pipeline
from backends.label_studio.pipeline import Pipeline
from micro_models.regions import Image
from tests.backends.yolo.fakes import FakeImages

FILE = ImageFile(Path("a.jpg"), "d", 100, 60)


def numbered(count: int) -> Iterator[Task]:
    return (Task(number, {}) for number in range(count))


def feed(tasks, locate=lambda task: {"image": FILE}, images=None) -> Pipeline:
    return Pipeline(
        tasks, locate=locate, needed=lambda item: ["image"], images=images or FakeImages()
    )


def test_batches_keep_the_order_and_grow() -> None:
    with feed(numbered(100)) as running:
        batches = list(running.batches())
        assert [item.task.id for batch in batches for item in batch] == list(range(100))
        assert len(batches[0]) == 1
        assert max(map(len, batches)) <= pipeline.MOST_IMAGES
        assert all(item.image("image").width_px == 100 for batch in batches for item in batch)


def test_few_large_files_are_fetched_ahead() -> None:
    located = []

    def locate(task: Task) -> dict[str, ImageFile]:
        located.append(task.id)
        return {"image": FILE}

    with Pipeline(
        numbered(20), locate=locate, needed=lambda item: [], images=FakeImages(), ahead=1
    ) as running:
        for done, batch in enumerate(running.batches(), start=1):
            assert len(batch) == 1
            sleep(0.02)  # time enough to fetch too many
            assert len(located) <= done + 1
    assert located == list(range(20))


def test_large_images_make_small_batches() -> None:
    side = int((pipeline.MOST_BYTES / 3 / 2.5) ** 0.5)  # two and a half of them fill a batch
    huge = ImageFile(Path("a.jpg"), "d", side, side)
    with feed(numbered(20), locate=lambda task: {"image": huge}) as running:
        assert max(len(batch) for batch in running.batches()) == 2


def test_an_image_larger_than_a_batch_is_one() -> None:
    vast = ImageFile(Path("a.jpg"), "d", 20_000, 20_000)
    with feed(numbered(3), locate=lambda task: {"image": vast}) as running:
        assert [len(batch) for batch in running.batches()] == [1, 1, 1]


def test_what_goes_wrong_unforeseen_is_told_of_its_task_alone() -> None:
    class Odd(FakeImages):
        def read(self, file: ImageFile) -> Image:
            raise OverflowError("in /secret/place")

    def locate(task: Task) -> dict[str, ImageFile]:
        if task.id == 1:
            raise KeyError("/secret/place")
        return {"image": FILE}

    with feed(numbered(2), locate, Odd()) as running:
        good, bad = (item for batch in running.batches() for item in batch)
        assert bad.error is not None
        assert "KeyError" in bad.error.message
        assert "secret" not in str(bad.error)
        with pytest.raises(MediaError, match="OverflowError") as caught:
            good.image("image")
        assert "secret" not in str(caught.value)


def test_nothing_to_do() -> None:
    with feed(iter(())) as running:
        assert list(running.batches()) == []
