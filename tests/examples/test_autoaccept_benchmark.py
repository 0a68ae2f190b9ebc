from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def benchmark(example_module: Callable[[str], ModuleType]) -> ModuleType:
    return example_module("autoaccept_benchmark")


def test_a_few_draws_of_a_small_forest(benchmark: ModuleType) -> None:
    figures = benchmark.benchmark("trees", draws=4, trees=30, seed=0)
    by = {(one.target, one.audits, one.rule): one for one in figures}
    assert len(by) == len(benchmark.SETTINGS) * len(benchmark.RULES)
    assert all(0 <= one.broken <= 1 and 0 <= one.accepted <= 1 for one in figures)
    assert by[0.05, 300, "certificate"].accepted > 0.6
    naive, ours = (
        np.mean([one.broken for one in figures if one.rule == rule])
        for rule in ("naive", "certificate")
    )
    assert naive > ours
    assert benchmark.table(figures).row_count == len(figures)


def test_the_classifier_has_seen_none_of_what_it_answers(benchmark: ModuleType) -> None:
    made = benchmark.answers("vote", np.random.default_rng(0), trees=30)
    assert len(made.scores) == len(made.wrong) == 1797 - benchmark.TRAINED_ON
    assert 0.005 < made.wrong.mean() < 0.06


def test_the_naive_rule_meets_the_target_in_the_audits_only(benchmark: ModuleType) -> None:
    audits = [benchmark.Audit(k / 20, wrong=k in (3, 9)) for k in range(20)]
    pool = np.linspace(0, 1, 50)
    assert benchmark.naive(audits, pool, 0.09) == pytest.approx(0.17, abs=0.02)
    assert benchmark.certified(audits, pool, 0.09) is None
