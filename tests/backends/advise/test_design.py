"""Which trainings a learning curve is measured by."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from backends.advise.design import LEAST_LABELS, LEAST_SIZES, design, sizes
from backends.advise.nouns import Measured, Run
from micro_models.examples import Example
from micro_models.regions import Region, WholeImage

FAMILIES = ("forest", "tiny")


def labelled(count: int, kinds: int = 2) -> list[Example]:
    return [Example("", [Region(f"кот {n % kinds}", WholeImage())]) for n in range(count)]


def done(run: Run, budget_s: float) -> Measured:
    train, test = ({str(n) for n in some} for some in (run.train, run.test))
    return Measured(run.family, budget_s, {}, frozenset(train), frozenset(test))


@pytest.mark.parametrize("count", [LEAST_LABELS, 13, 40, 1000])
def test_there_are_enough_sizes_for_a_curve(count: int) -> None:
    made = design(labelled(count), FAMILIES, budget_s=240)
    for family in FAMILIES:
        found = {run.size for run in made.runs if run.family == family}
        assert len(found) >= LEAST_SIZES
        assert min(found) >= 3
        assert max(found) >= 0.7 * count - 1


def test_subsets_are_nested_and_never_hold_what_is_tested() -> None:
    made = design(labelled(40), FAMILIES, budget_s=240)
    for draw in {run.draw for run in made.runs}:
        runs = [run for run in made.runs if run.draw == draw]
        whole = max(runs, key=lambda run: run.size)
        assert all(run.train == whole.train[: run.size] for run in runs)
        assert {run.test for run in runs} == {whole.test}
        assert not set(whole.train) & set(whole.test)
        assert {*whole.train, *whole.test} == set(range(40))
    tested = [set(run.test) for run in made.runs if run.family == "tiny" and run.size == 30]
    assert not set.intersection(*tested)


def test_every_subset_has_each_label() -> None:
    made = design(labelled(40, kinds=4), FAMILIES, budget_s=240)
    assert min(run.size for run in made.runs) >= 4
    assert all({n % 4 for n in run.train} == {0, 1, 2, 3} for run in made.runs)


def test_more_labels_than_kinds_allow_are_not_asked_for() -> None:
    made = design(labelled(16, kinds=16), FAMILIES, budget_s=240)
    assert len({run.size for run in made.runs}) >= LEAST_SIZES


@pytest.mark.parametrize("budget_s", [20.0, 60.0, 240.0, 3600.0])
def test_trainings_fit_the_budget(budget_s: float) -> None:
    made = design(labelled(100), FAMILIES, budget_s=budget_s)
    total = sum(made.budgets_s[run.family] for run in made.runs)
    assert total <= budget_s or made.budgets_s["tiny"] == 3.0
    assert made.budgets_s["tiny"] >= made.budgets_s["forest"]
    assert Counter(run.family for run in made.runs)["tiny"] == len(made.runs) / 2


def test_the_first_draw_alone_is_a_curve() -> None:
    made = design(labelled(100), FAMILIES, budget_s=240)
    first = [run for run in made.runs if run.draw == 0]
    assert list(made.runs[: len(first)]) == first


def test_what_is_known_is_not_measured_again() -> None:
    made = design(labelled(40), FAMILIES, budget_s=240)
    known = [done(run, made.budgets_s[run.family]) for run in made.runs]
    assert design(labelled(40), FAMILIES, budget_s=240, known=known).runs == ()
    some = design(labelled(40), FAMILIES, budget_s=240, known=known[:7])
    assert list(some.runs) == list(made.runs[7:])


def test_more_labels_measure_what_is_new() -> None:
    before = design(labelled(40), FAMILIES, budget_s=240)
    known = [done(run, before.budgets_s[run.family]) for run in before.runs]
    after = design(labelled(80), FAMILIES, budget_s=240, known=known)
    alone = design(labelled(80), FAMILIES, budget_s=240)
    assert after.budgets_s == before.budgets_s
    assert 0 < len(after.runs) < len(alone.runs)
    assert max(run.size for run in after.runs) == 60


def test_shorter_trainings_are_no_points_of_the_same_curve() -> None:
    made = design(labelled(40), FAMILIES, budget_s=240)
    known = [done(run, 0.1) for run in made.runs]
    assert len(design(labelled(40), FAMILIES, budget_s=240, known=known).runs) == len(made.runs)


def test_sizes_are_far_enough_apart() -> None:
    """So far that they are points of their own."""
    for most in range(9, 300):
        found = sizes(most)
        assert found[-1] == most
        assert all(larger > 1.15 * smaller for smaller, larger in pairwise(found))
