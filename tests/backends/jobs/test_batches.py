"""When results are worth a request to Label Studio."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from backends.jobs import batches
from backends.jobs.batches import VERY_SOON_S, Batch, ImportTimes


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def batch(size: int, **more: float) -> Batch:
    items = {n: {"task": n} for n in range(size)}
    return Batch(items=items, since=1000.0, **more)  # type: ignore[arg-type]


def test_fifty_are_worth_a_request_and_fewer_after_a_while(clock: list[float]) -> None:
    many, few, waited_for = batch(50), batch(2), batch(1, soon_s=VERY_SOON_S)
    assert (many.ripe, few.ripe, waited_for.ripe) == (True, False, False)
    clock[0] += 2.0
    assert (few.ripe, waited_for.ripe) == (False, True)
    clock[0] += 4.0
    assert few.ripe


def test_where_imports_take_long_batches_grow(clock: list[float]) -> None:
    times = ImportTimes()
    assert times.batch_grows_s("7.1") == 0.0
    times.note("7.1", 2.0)
    assert times.batch_grows_s("8.1") == 0.0
    grows = batch(60, grows_s=times.batch_grows_s("7.1"))
    clock[0] += 9.9
    assert not grows.ripe
    clock[0] += 0.2
    assert grows.ripe
    times.note("7.1", 60.0)
    assert times.batch_grows_s("7.1") == 120.0  # what a crash costs stays bounded
    assert batch(500, grows_s=120.0).full
