"""Which model answers: by tables, and by real trainings on good labels and on spoiled ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from backends.micro.exchange import Material, keys, write_held_out
from backends.micro.predecessor import old_answers
from backends.micro.promotion import Verdict, judge
from micro_models import Budget, Example, MicroModel, fit
from micro_models.regions import Box, Region
from micro_models.trainers.forest import ForestTrainer
from tests.backends.micro.scenes import all_drawn, misplaced, swapped

CAR = (Region("car", Box(0, 0, 20, 20), 0.9),)
SHY = (Region("car", Box(0, 0, 20, 20), 0.3),)
AWAY = (Region("car", Box(50, 50, 70, 70), 0.9),)
NONE = ()


@pytest.mark.parametrize(
    ("new", "before", "later", "promote", "why"),
    [
        ([CAR] * 6, [], [], True, "nothing to compare"),
        ([NONE] * 6, [], [], False, "finds too little: 0.00 on 6 held-out images"),
        ([None] * 6, [], [], False, "no labelled image could be held out"),
        ([None], [], [], True, "no labelled image could be held out"),
        ([None] * 6, [CAR] * 6, [], False, "the model before stays"),
        ([CAR] * 3 + [None] * 3, [None] * 3 + [CAR] * 3, [], True, "no image to compare"),
        ([CAR] * 6, [CAR] * 6, [], True, "at least as good: 1.00 against 1.00"),
        ([NONE] * 6, [NONE] * 6, [], True, "at least as good: 0.00 against 0.00"),
        ([CAR] * 6, [NONE] * 6, [], True, "at least as good"),
        ([NONE] * 6, [CAR] * 6, [], False, "not as good: 0.00 against 1.00"),
        ([CAR] * 5 + [NONE], [CAR] * 6, [], False, "not as good"),
        ([*[CAR] * 37, *[NONE] * 3], [NONE, NONE, *[CAR] * 38], [], True, "within chance"),
        ([*[CAR] * 38, *[NONE] * 2], [CAR] * 40, [], False, "not as good"),
        ([CAR] * 37 + [AWAY] * 3, [CAR] * 40, [], False, "not as good"),
        # Better on what came later only, and by that on all.
        ([NONE] * 3 + [CAR] * 7, [CAR] * 3 + [NONE] * 7, range(3, 10), False, "labelled earlier"),
        ([CAR] * 9 + [NONE], [CAR] * 10, range(10, 20), False, "not as good"),
        ([*[CAR] * 9, NONE, *[CAR] * 9], [*[CAR] * 10, *[NONE] * 9], range(10, 19), True, "least"),
        ([*[CAR] * 9, NONE, *[CAR] * 9], [CAR] * 19, range(10, 19), False, "not as good"),
        ([*[CAR] * 7, *[NONE] * 3, *[CAR] * 9], [*[CAR] * 10, *[NONE] * 9], range(10, 19), False,
         "labelled earlier"),
    ],
)  # fmt: skip
def test_decisions(new, before, later, promote, why) -> None:
    verdict = judge([CAR] * len(new), new, before, later=later)
    assert (verdict.promote, why in verdict.why) == (promote, True), verdict


@pytest.mark.parametrize("images", [6, 10, 20])
def test_models_that_are_each_a_little_worse_do_not_drift(images: int) -> None:
    cars = [tuple(Region("car", Box(60 * k, 0, 60 * k + 50, 50), 0.9) for k in range(4))] * images
    order = np.random.default_rng(1).permutation(4 * images)

    def without(missed: int) -> list[tuple[Region, ...]]:
        gone = set(order[:missed].tolist())
        return [
            tuple(one for k, one in enumerate(found) if 4 * n + k not in gone)
            for n, found in enumerate(cars)
        ]

    def steps(missed: int, lost: float) -> Iterator[tuple[int, Verdict]]:
        for more in range(8, 0, -1):
            yield missed + more, judge(cars, without(missed + more), without(missed), lost=lost)

    missed, lost, taken = 0, 0.0, 0
    while missed < 2 * images:  # each time as bad a model as is promoted
        step = next((one for one in steps(missed, lost) if one[1].promote), None)
        if step is None:
            break
        missed, lost, taken = step[0], step[1].lost, taken + 1
    assert taken
    assert 1 - (judge(cars, without(missed)).quality or 0) <= 0.05
    assert judge(cars, without(missed), without(missed), lost=lost).promote
    gained = judge(cars, without(0), without(missed), lost=lost)
    assert (gained.promote, gained.lost) == (True, pytest.approx(0))


def test_what_may_be_chance_is_not_so_again_and_again() -> None:
    new, before = [*[CAR] * 37, *[NONE] * 3], [NONE, NONE, *[CAR] * 38]
    verdict = judge([CAR] * 40, new, before, lost=0.03)
    assert not verdict.promote
    assert "a little worse again, after 0.03 were lost" in verdict.why


def test_figures_are_of_the_images_that_both_were_held_out_from() -> None:
    new, old = [CAR, CAR, NONE, NONE], [CAR, NONE, None, CAR]
    verdict = judge([CAR] * 4, new, old)
    assert verdict.quality == pytest.approx(2 / 3, abs=0.01)
    assert verdict.baseline == pytest.approx(2 / 3, abs=0.01)
    assert verdict.f1 == pytest.approx(0.8)


def test_f1_counts_what_is_shown() -> None:
    verdict = judge([CAR, CAR], [SHY, CAR])
    assert verdict.quality == 1.0
    assert verdict.f1 == pytest.approx(2 / 3)


def test_an_empty_picture_with_a_false_alarm_counts_against_a_model() -> None:
    truth = [*[CAR] * 4, *[NONE] * 4]
    verdict = judge(truth, [*[CAR] * 4, *[AWAY] * 4], [*[CAR] * 4, *[NONE] * 4])
    assert not verdict.promote


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Material, ...]:
    return all_drawn(tmp_path_factory.mktemp("drawn"), 14)


@pytest.fixture(scope="module")
def old(material: tuple[Material, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old") / "model"
    model = trained(material[:6], seed=1)
    model.save(folder)
    write_held_out(folder, dict(zip(keys(material[:6]), model.held_out, strict=True)))
    return folder


class TestRealTrainings:
    """Six good labels make a model; then come eight more."""

    def test_more_good_labels_are_promoted(self, material: Sequence[Material], old: Path) -> None:
        verdict = verdict_on(material, old)
        assert verdict.promote, verdict
        assert verdict.quality is not None
        assert verdict.quality > 0.9

    @pytest.mark.parametrize("spoil", ["misplaced", "swapped"])
    def test_spoiled_labels_are_not(
        self, material: Sequence[Material], old: Path, spoil: str
    ) -> None:
        rng = np.random.default_rng(0)
        more = [
            misplaced(one, rng) if spoil == "misplaced" else swapped(one) for one in material[6:]
        ]
        verdict = verdict_on([*material[:6], *more], old)
        assert not verdict.promote, verdict
        assert "labels that came since" in verdict.why


def trained(material: Sequence[Material], *, seed: int) -> MicroModel:
    return fit(
        [Example(one.picture, one.regions) for one in material],
        budget=Budget(steps=60),
        seed=seed,
        trainers=[ForestTrainer()],
    )


def verdict_on(material: Sequence[Material], old: Path) -> Verdict:
    new = trained(material, seed=2)
    answers, later = old_answers(old, material, new.held_out, seed=0, until=float("inf"))
    assert later == tuple(range(6, 14))
    return judge([one.regions for one in material], new.held_out, answers, later=later)
