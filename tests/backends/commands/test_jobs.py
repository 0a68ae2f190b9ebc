"""What `labelpilot prelabel` waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from backends.commands import jobs as module
from backends.jobs.tables import JobKind

HERE = {"project_key": "7.1", "version": "micro-1"}


@pytest.mark.parametrize(
    ("beside", "waits"),
    [
        ({}, True),
        ({"version": "micro-0"}, False),
        ({"project_key": "8.1"}, False),
        ({"kind": JobKind.PRELABEL}, False),
    ],
)
def test_it_waits_for_a_refresh_that_has_its_tasks_in_hand(
    monkeypatch: pytest.MonkeyPatch, beside: dict[str, Any], waits: bool
) -> None:
    own = SimpleNamespace(**HERE, kind=JobKind.PRELABEL, open=False)
    other = SimpleNamespace(**{**HERE, "kind": JobKind.REFRESH, "open": True, **beside})
    seen: list[bool] = []

    def watch(_console: Console, shown: Any, over: Any) -> None:
        seen.extend([other in shown(), over(0.0)])
        other.open = False
        seen.append(over(0.0))

    monkeypatch.setattr(module, "watch", watch)
    jobs: Any = SimpleNamespace(job=lambda _id: own, recent_jobs=lambda: [other, own])
    assert module._watch_job(Console(), jobs, "a") is own
    assert seen == [waits, not waits, True]
