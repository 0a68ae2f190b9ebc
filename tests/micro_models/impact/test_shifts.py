"""Shifts in what is labelled: found where they are, and seldom where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.impact import Trial, shifts


def trial_of(rng: np.random.Generator, *, tasks: int = 200, share: float = 0.15) -> Trial:
    return Trial(range(tasks), rng.integers(0, 3, tasks), rng.random(tasks) < share)


def test_a_shift_is_found_and_measured_beside_what_stays() -> None:
    rng = np.random.default_rng(0)
    trial = trial_of(rng, tasks=2_000)
    measures = {f"noise {k}": rng.normal(size=2_000) for k in range(20)}
    own = np.array([2.0, 5.0, 9.0])[trial.annotator]  # people differ by more than the shift
    measures["regions"] = own + rng.poisson(3, 2_000) - 0.7 * trial.blind_mask
    found = {one.name: one for one in shifts(trial, measures, rng=rng)}
    hit = found["regions"]
    assert hit.low < 0.7 < hit.high
    assert hit.difference == pytest.approx(0.7, abs=0.25)
    assert hit.p_of_all < 0.01
    assert min(one.p_of_all for name, one in found.items() if name != "regions") > 0.05


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_many_measures_together_are_seldom_wrong(share: float) -> None:
    wrong, wrong_alone, draws = 0, 0, 60
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        trial = trial_of(rng, share=share)
        common = rng.normal(size=200)
        measures = {f"same {k}": common + rng.normal(0, 0.3, 200) for k in range(4)}
        measures |= {f"rare {k}": (rng.random(200) < 0.04).astype(float) for k in range(4)}
        measures |= {f"heavy {k}": rng.lognormal(0, 2, 200) for k in range(4)}
        found = shifts(trial, measures, rng=rng, rounds=100)
        wrong += any(one.p_of_all <= 0.05 for one in found)
        wrong_alone += any(one.p <= 0.05 for one in found)
    assert wrong / draws <= 0.1
    assert wrong_alone / draws > 0.25  # what the correction is for


def test_people_who_label_the_same_task_are_one_draw_of_the_lot() -> None:
    """Ten people who agree on everything are no evidence ten times over."""
    wrong, draws = 0, 60
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        task = np.repeat(np.arange(40), 10)
        trial = Trial(task, np.tile(np.arange(10), 40), (rng.random(40) < 0.25)[task])
        found = shifts(trial, {"count": rng.normal(size=40)[task]}, rng=rng, rounds=100)
        wrong += any(one.p <= 0.05 for one in found)
    assert wrong / draws <= 0.15


def test_the_least_shift_is_found_in_four_of_five_cases() -> None:
    rng, one_person = np.random.default_rng(1), [0] * 200
    trial = Trial(range(200), one_person, rng.permutation(200) < 30)
    (first,) = shifts(trial, {"x": rng.normal(size=200)}, rng=rng, rounds=1_000)
    found, draws = 0, 100
    for draw in range(draws):
        rng = np.random.default_rng(100 + draw)
        trial = Trial(range(200), one_person, rng.permutation(200) < 30)
        values = rng.normal(size=200) + first.least * ~trial.blind_mask
        (one,) = shifts(trial, {"x": values}, rng=rng, rounds=200)
        found += one.p <= 0.05
    assert 0.69 <= found / draws <= 0.91


def test_what_has_no_value_does_not_count() -> None:
    rng = np.random.default_rng(2)
    trial = Trial(range(100), [0] * 100, [k < 30 for k in range(100)])
    size = np.where(np.arange(100) % 2, np.nan, 4.0 + np.arange(100) % 4)
    size[:30] += 1.0
    (found,) = shifts(trial, {"size": size}, rng=rng, rounds=200)
    assert found.difference == pytest.approx(found.shown - found.blind)
    assert found.shown == pytest.approx(np.nanmean(size[30:]))
    assert found.p < 0.05


@pytest.mark.parametrize(
    "values",
    [np.full(10, 3.0), np.full(10, np.nan), np.array([1.0] * 5 + [np.nan] * 5)],
    ids=["constant", "none", "only of blind ones"],
)
def test_nothing_to_compare_is_left_out(values: np.ndarray) -> None:
    trial = Trial(range(10), [0] * 10, [k < 5 for k in range(10)])
    rng = np.random.default_rng(0)
    assert shifts(trial, {"x": values}, rng=rng, rounds=20) == ()
    assert shifts(Trial([], [], []), {"x": np.array([])}, rng=rng, rounds=20) == ()


def test_each_annotation_needs_a_value() -> None:
    trial = Trial(range(4), [0] * 4, [True, True, False, False])
    with pytest.raises(ValueError, match="each annotation"):
        shifts(trial, {"x": np.zeros(3)}, rng=np.random.default_rng(0))


def test_the_same_lot_gives_the_same_answer() -> None:
    rng = np.random.default_rng(5)
    trial, values = trial_of(rng), rng.normal(size=200)
    first, again = (
        shifts(trial, {"x": values}, rng=np.random.default_rng(9), rounds=100) for _ in range(2)
    )
    assert first == again
