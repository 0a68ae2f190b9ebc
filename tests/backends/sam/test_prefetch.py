from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from backends.errors import MediaError
from backends.interface import LabelConfig, Project, Task
from backends.sam.prefetch import WISHES, Prefetcher

PROJECT = Project("1.2", LabelConfig((), (), "<View/>"))


def task(number: int) -> Task:
    return Task(number, {})


class Warmed:
    """Notes which tasks were warmed; waits at a gate."""

    def __init__(self, *, bad: int | None = None) -> None:
        self.ids: list[int | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self._bad = bad

    def __call__(self, _project: Project, one: Task) -> None:
        assert self.gate.wait(10)
        if one.id == self._bad:
            raise MediaError("gone")
        self.ids.append(one.id)


def no_more(_project: Project, _task: Task) -> Sequence[Task]:
    return []


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_opened_task_is_warmed_then_the_next_ones() -> None:
    warm = Warmed()
    prefetcher = Prefetcher(warm, lambda _, opened: [task((opened.id or 0) + n) for n in (1, 2)])
    prefetcher.want(PROJECT, [task(7)])
    until(lambda: len(warm.ids) == 3)
    prefetcher.close()
    assert warm.ids == [7, 8, 9]


def test_a_task_opened_later_comes_first() -> None:
    warm = Warmed()
    warm.gate.clear()
    prefetcher = Prefetcher(warm, no_more)
    for number in (1, 2, 3):
        prefetcher.want(PROJECT, [task(number)])
        time.sleep(0.02)
    warm.gate.set()
    until(lambda: len(warm.ids) == 3)
    prefetcher.close()
    assert warm.ids == [1, 3, 2]


def test_a_click_goes_before() -> None:
    warm = Warmed()
    prefetcher = Prefetcher(warm, no_more)
    prefetcher.pause()
    prefetcher.want(PROJECT, [task(1)])
    time.sleep(0.1)
    assert warm.ids == []
    prefetcher.resume()
    until(lambda: warm.ids == [1])
    prefetcher.close()


def test_one_missing_image_does_not_stop_the_rest() -> None:
    warm = Warmed(bad=1)
    prefetcher = Prefetcher(warm, no_more)
    prefetcher.want(PROJECT, [task(1), task(2)])
    until(lambda: warm.ids == [2])
    prefetcher.close()


def test_a_bulk_request_does_not_pile_up() -> None:
    warm = Warmed()
    warm.gate.clear()
    prefetcher = Prefetcher(warm, no_more)
    prefetcher.want(PROJECT, [task(number) for number in range(10 * WISHES)])
    warm.gate.set()
    until(lambda: len(warm.ids) >= WISHES)
    prefetcher.close()
    assert len(warm.ids) <= WISHES + 1
    assert warm.ids[:3] == [0, 1, 2]
