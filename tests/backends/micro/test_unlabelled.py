from __future__ import annotations

import threading
from pathlib import Path

import pytest

from backends.errors import MediaError
from backends.interface import ImageFile, Task
from backends.micro.unlabelled import located

TASKS = [Task(number, {}) for number in range(6)]


def file(task: Task) -> ImageFile:
    return ImageFile(Path(f"d{task.id}"), f"d{task.id}", 10, 10)


def test_what_cannot_be_had_is_left_out() -> None:
    def locate(task: Task) -> ImageFile:
        if task.id == 1:
            raise MediaError("it is not there")
        if task.id == 2:
            raise KeyError("odd")
        return file(task)

    found = located(TASKS, locate, go_on=lambda: None)
    assert found == [(n, Path(f"d{n}")) for n in (0, 3, 4, 5)]
    assert located([], locate, go_on=lambda: None) == []


def test_slow_media_are_not_waited_for() -> None:
    held = threading.Event()
    quick = threading.Semaphore(0)

    def locate(task: Task) -> ImageFile:
        if task.id in (0, 3):
            held.wait(20)
        else:
            quick.release()
        return file(task)

    def go_on() -> None:
        """Returns once all quick ones are here, however slow this machine is."""
        if not went:
            for _ in range(4):
                assert quick.acquire(timeout=20)
            went.append(1)

    went: list[int] = []
    found = located(TASKS, locate, go_on=go_on, within_s=1.0)
    held.set()
    assert [number for number, _ in found] == [1, 2, 4, 5]


def test_it_can_be_stopped() -> None:
    held = threading.Event()

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        located(TASKS, lambda task: held.wait(20) and file(task), go_on=stop)
    held.set()
