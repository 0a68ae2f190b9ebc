from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from backends.errors import BadRequest, Busy
from backends.serving.work import Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test", threads=1, queue_length=1)
    yield lane
    lane.close()


def test_equal_requests_are_computed_once(lane: Lane) -> None:
    calls = []
    release = threading.Event()

    def compute() -> int:
        calls.append(1)
        release.wait(5)
        return len(calls)

    async def story() -> list[int]:
        both = asyncio.gather(lane.run(compute, key="a"), lane.run(compute, key="a"))
        await asyncio.sleep(0.05)
        release.set()
        return list(await both)

    assert asyncio.run(story()) == [1, 1]
    assert asyncio.run(lane.run(compute, key="a")) == 2  # type: ignore[arg-type]


def test_beyond_the_queue_the_answer_is_busy_and_later_it_goes_on(lane: Lane) -> None:
    release = threading.Event()

    async def story() -> None:
        waiting = [asyncio.ensure_future(lane.run(release.wait, key=key)) for key in "ab"]
        await asyncio.sleep(0.05)
        assert lane.pending == 2
        with pytest.raises(Busy) as refusal:
            await lane.run(release.wait, key="c")
        assert refusal.value.retry_after_s
        release.set()
        await asyncio.gather(*waiting)
        assert await lane.run(lambda: "again", key="c") == "again"

    asyncio.run(story())
    assert lane.pending == 0


def test_who_would_wait_too_long_is_told_at_once_until_calls_are_quick_again() -> None:
    lane = Lane("test", threads=1, queue_length=9, longest_wait_s=5)
    release = threading.Event()

    async def story() -> None:
        lane._usual_s = 6.0
        waiting = [asyncio.ensure_future(lane.run(release.wait, key=key)) for key in "ab"]
        await asyncio.sleep(0.05)  # one computes, and before the other nobody waits
        with pytest.raises(Busy):
            await lane.run(release.wait, key="c")
        release.set()
        await asyncio.gather(*waiting)
        for turn in range(200):  # whoever is alone is always taken, and shows how long it takes now
            await lane.run(lambda: None, key=str(turn))
        release.clear()
        waiting = [asyncio.ensure_future(lane.run(release.wait, key=key)) for key in "abc"]
        await asyncio.sleep(0.05)
        assert lane.pending == 3
        release.set()
        await asyncio.gather(*waiting)

    asyncio.run(story())
    lane.close()


def test_who_has_waited_too_long_is_told() -> None:
    lane = Lane("test", threads=1, queue_length=9, longest_wait_s=0.2)
    computed = []

    async def story() -> None:
        slow = asyncio.ensure_future(lane.run(lambda: time.sleep(0.5), key="slow"))
        await asyncio.sleep(0.05)
        with pytest.raises(Busy):
            await lane.run(lambda: computed.append(1), key="a")
        await slow
        await lane.run(lambda: computed.append(2), key="a")

    asyncio.run(story())
    assert computed == [2]
    assert lane.pending == 0
    lane.close()


def test_a_client_that_hangs_up_does_not_cancel_the_other(lane: Lane) -> None:
    release = threading.Event()

    async def story() -> str:
        def compute() -> str:
            release.wait(5)
            return "done"

        gone = asyncio.ensure_future(lane.run(compute, key="a"))
        stays = asyncio.ensure_future(lane.run(compute, key="a"))
        await asyncio.sleep(0.05)
        gone.cancel()
        release.set()
        return await stays

    assert asyncio.run(story()) == "done"


def test_an_error_reaches_the_caller(lane: Lane) -> None:
    def fail() -> None:
        raise BadRequest("no")

    with pytest.raises(BadRequest):
        asyncio.run(lane.run(fail, key="a"))  # type: ignore[arg-type]


def test_what_nobody_waits_for_any_more_is_dropped_unless_it_runs(lane: Lane) -> None:
    release, computed = threading.Event(), []

    def compute(name: str) -> str:
        release.wait(30)
        computed.append(name)
        return name

    async def story() -> str:
        runs = asyncio.ensure_future(lane.run(lambda: compute("runs"), key="runs"))
        waits = asyncio.ensure_future(lane.run(lambda: compute("waits"), key="waits"))
        same = asyncio.ensure_future(lane.run(lambda: compute("waits"), key="waits"))
        await asyncio.sleep(0.05)
        waits.cancel()
        await asyncio.sleep(0)
        assert lane.pending == 2  # somebody waits for it still
        same.cancel()
        runs.cancel()
        await asyncio.sleep(0)
        assert lane.pending == 1  # what runs keeps its place
        after = asyncio.ensure_future(lane.run(lambda: compute("after"), key="waits"))
        await asyncio.sleep(0)
        release.set()
        return await after

    assert asyncio.run(story()) == "after"
    lane.close()
    assert computed == ["runs", "after"]
    assert lane.pending == 0


@pytest.mark.skipif(sys.platform != "linux", reason="skipped: threads have no own priority here")
def test_threads_of_a_lane_and_those_that_they_start_step_back() -> None:
    lane = Lane("test", threads=1, queue_length=1, nice=7)

    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def looked() -> list[int]:
        found = [nice()]
        child = threading.Thread(target=lambda: found.append(nice()))
        child.start()
        child.join()
        return found

    mine = nice()
    assert asyncio.run(lane.run(looked, key="a")) == [max(mine, 7)] * 2
    assert nice() == mine
    lane.close()
