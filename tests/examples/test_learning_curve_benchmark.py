from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def test_forecasts_beat_the_baselines_on_small_sets() -> None:
    done = subprocess.run(
        [sys.executable, "examples/learning_curve_benchmark.py", "--quick", "--json"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["sets"]) == {"iris", "wine", "breast cancer"}
    total = told["all"]
    assert total["ours"] < total["power law"]
    assert total["ours"] < total["last value"]
    assert 0.5 < total["covered"] < 1


@pytest.fixture
def benchmark(example_module):
    return example_module("learning_curve_benchmark")


def test_the_baseline_is_the_optimum(benchmark) -> None:
    sizes = np.array([8, 16, 32, 64])
    scores = 1 - (0.1 + 0.9 * sizes**-0.5)
    assert benchmark.power_law(sizes, scores, at=256) == pytest.approx(0.9 - 0.9 / 16, abs=0.003)


def test_only_what_was_measured_at_four_times_counts(benchmark) -> None:
    sizes = np.array([8, 11, 16, 23, 32])
    scores = np.tile(np.array([[0.5], [0.6], [0.7], [0.75], [0.8]]), (1, 2))
    curve = benchmark.Curve("set", "learner", sizes, scores, scores - 0.1, {92: 0.9})
    (case,) = benchmark.cases(curve)
    assert (case.last, case.truth) == (0.75, 0.9)
    assert case.low <= case.ours <= case.high
    (few,) = benchmark.cases(curve, few=True)
    assert few.last == pytest.approx(0.65)
    assert list(benchmark.cases(benchmark.Curve("set", "l", sizes, scores, scores, {}))) == []


def test_no_reported_set_is_tuned_on(benchmark) -> None:
    reported, tuned = benchmark.reported_sets(0), benchmark.tuning_sets(0)
    assert len(reported) >= 10
    assert not set(reported) & set(tuned)
    for made in tuned.values():
        x, _ = made()
        for other in reported.values():
            seen, _ = other()
            assert x.shape != seen.shape or not np.allclose(x, seen)
