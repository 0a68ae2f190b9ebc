from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, *options: str) -> Any:
    """The figures of a run with two annotators and no checkpoint, which starts quickly."""
    (folder / "models").mkdir()
    command = [sys.executable, "examples/load_test.py", "--annotators", "2", "--think", "0.2"]
    command += ["--model-dir", str(folder / "models"), "--json", str(folder / "figures.json")]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "figures.json").read_text())


def test_annotators_are_answered_alone_and_beside_bulk(tmp_path: Path) -> None:
    rows = run(tmp_path, "--seconds", "3", "--beside", "none", "bulk")["load"]
    assert [(row["annotators"], row["beside"]) for row in rows] == [(2, "none"), (2, "bulk")]
    for row in rows:
        requests = row["requests"]
        assert {"first click", "open", "health", "setup"} <= requests.keys()
        assert ("bulk" in requests) == (row["beside"] == "bulk")
        assert all(one["errors"] == 0 for one in requests.values())
        answered = [one for one in requests.values() if one["p50_ms"] is not None]
        assert answered
        for one in answered:
            assert 0 < one["p50_ms"] <= one["p95_ms"] <= one["p99_ms"] <= one["max_ms"]
        assert row["refused_without_retry_after"] == 0
        assert 50 < row["memory_mb"] < 4_000


def test_a_soak_tells_the_memory_and_its_slope(tmp_path: Path) -> None:
    found = run(tmp_path, "--soak", "0.05")["soak"]
    assert len(found["memory_mb"]) >= 2
    assert all(50 < memory < 4_000 for _, memory in found["memory_mb"])
    assert isinstance(found["slope_mb_per_hour"], float)


def test_the_slope_is_that_of_the_line(example_module: Callable[[str], ModuleType]) -> None:
    slope = example_module("load_test").slope
    assert slope([(0.0, 100.0), (10.0, 103.0), (20.0, 106.0)]) == pytest.approx(0.3)
    assert slope([(0.0, 100.0)]) == 0.0
