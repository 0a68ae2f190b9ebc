"""Raw scores -> P(right): what many held-out images show, and what is assumed of few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.fitting.calibrating import calibrated_by
from micro_models.fitting.calibration import Calibration, Curve
from micro_models.interface import ModelFileError
from micro_models.regions import Box, Image, Region, WholeImage

IMAGE = Image(np.zeros((4, 4, 3), np.uint8))


def at(x: float, score: float = 1.0, label: str = "car") -> Region:
    return Region(label, Box(x, 0, x + 9, 9), score)


def of(label: str, score: float = 1.0) -> Region:
    return Region(label, WholeImage(), score)


def calibration(
    found: Sequence[Sequence[Region]], truth: Sequence[Sequence[Region]]
) -> Calibration:
    return calibrated_by(found, truth, [Example(IMAGE, one) for one in truth])


@pytest.mark.parametrize(("power", "shift"), [(1.0, 0.0), (2.0, 1.0), (0.5, -1.0)])
def test_many_images_teach_what_a_score_means(power: float, shift: float) -> None:
    """Detections that are right with a known probability, told by another number."""
    rng = np.random.default_rng(0)
    found, truth = [], []
    for _ in range(1500):
        p = rng.uniform(0.05, 0.95)
        raw = 1 / (1 + np.exp(-(np.log(p / (1 - p)) - shift) / power))
        found.append([at(0, float(raw))])
        truth.append([at(0 if rng.random() < p else 100)])
    calibrated = calibration(found[:1000], truth[:1000])
    scores = np.array([calibrated.calibrated(one)[0].score for one in found[1000:]])
    right = np.array([one[0].shape.x0 == 0 for one in truth[1000:]])  # type: ignore[union-attr]
    for low in (0.0, 0.25, 0.5, 0.75):
        some = (scores >= low) & (scores < low + 0.25)
        assert abs(scores[some].mean() - right[some].mean()) < 0.08


def test_few_images_move_it_a_little() -> None:
    few = calibration([[at(0, 0.3)]] * 2, [[at(0)]] * 2)
    many = calibration([[at(0, 0.3)]] * 50, [[at(0)]] * 50)
    before, some, much = (
        one.calibrated([at(0, 0.3)])[0].score for one in (calibration([], []), few, many)
    )
    assert before < some < much < 1


def test_one_more_than_ever_seen_is_doubted() -> None:
    truth = [[at(0)]] * 6
    model = calibration([[at(0, 0.8)]] * 6, truth)
    first, second = model.calibrated([at(0, 0.8), at(50, 0.8)])
    assert first.score > 0.8 > 0.7 > second.score
    two = calibration([[at(0, 0.8), at(50, 0.8)]] * 6, [[at(0), at(50)]] * 6)
    first, second = two.calibrated([at(0, 0.8), at(50, 0.8)])
    assert first.score == second.score > 0.8


def test_order_within_a_label_is_kept() -> None:
    rng = np.random.default_rng(1)
    found = [[at(0, float(rng.random())), at(50, float(rng.random()))] for _ in range(20)]
    wrong_way_round = [[at(0)] if one[0].score < one[1].score else [at(50)] for one in found]
    model = calibration(found, wrong_way_round)
    raw = [at(20.0 * n, n / 10) for n in range(10)]
    told = model.calibrated(raw)
    assert [one.shape for one in told] == [one.shape for one in reversed(raw)]


def test_a_label_that_is_often_wrong_is_told_apart() -> None:
    found = [[at(0, 0.6), at(50, 0.6, "bus")]] * 30
    model = calibration(found, [[at(0), at(200, label="bus")]] * 30)
    scores = {one.label: one.score for one in model.calibrated(found[0])}
    assert scores["car"] > 0.8
    assert scores["bus"] < 0.2


def test_classes_that_exclude_each_other_add_up_to_one() -> None:
    truth = [[of("ant")], [of("bee")]] * 4
    found = [[of("ant", 0.6), of("bee", 0.4)], [of("bee", 0.6), of("ant", 0.4)]] * 4
    told = calibration(found, truth).calibrated(found[0])
    assert sum(one.score for one in told) == pytest.approx(1)
    assert told[0].score > 0.6
    several = calibration(found, [[of("ant"), of("bee")]] * 8).calibrated(found[0])
    assert sum(one.score for one in several) > 1.2


@pytest.mark.parametrize("score", [0.05, 0.3, 0.5, 0.9])
def test_no_raw_score_below_the_least_gets_there(score: float) -> None:
    curve = Curve(1.7, 0.4, -2.0, {"car": 0.3, "bus": -0.5})
    model = Calibration(curve, curve)
    least = model.least_raw(score)
    assert model.calibrated([at(0, least * 0.99)])[0].score < score
    assert model.calibrated([at(0, min(least * 1.01, 1.0))])[0].score >= score


def test_it_is_stored_whole() -> None:
    model = calibration([[at(0, 0.7), of("day", 0.6)]] * 3, [[at(0), of("day")]] * 3)
    assert Calibration.from_dict(model.as_dict()) == model


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {},
        {**Calibration().as_dict(), "located": {}},
        {**Calibration().as_dict(), "most": {"car": "many"}},
        {**Calibration().as_dict(), "located": {**vars(Curve()), "slope": -1.0}},
        {**Calibration().as_dict(), "classes": {**vars(Curve()), "bias": float("nan")}},
    ],
)
def test_nonsense_is_refused(stored: object) -> None:
    with pytest.raises(ModelFileError):
        Calibration.from_dict(stored)


def test_unlabelled_images_tell_where_the_final_models_scores_lie() -> None:
    """The folds' models were surer: what is right scores .7 there, .3 with the final model."""
    truth = [[at(0)]] * 5
    held = [[at(0, 0.7)]] * 4 + [[at(100, 0.6)]]
    final = [[at(0, 0.3), at(50, 0.06)]] * 40
    examples = [Example(IMAGE, one) for one in truth]
    blind, told = (calibrated_by(held, truth, examples, others) for others in ((), final))
    first, second = told.calibrated(final[0])
    assert blind.calibrated(final[0])[0].score < 0.5 < 0.8 < first.score
    assert second.score < 0.1


def test_unlabelled_images_without_objects_are_believed_if_examples_had_few() -> None:
    truth = [[at(0)], [], [], [], [], [], [], []]
    held = [[at(0, 0.7)], *([[at(40, 0.3)]] * 7)]
    final = [[at(0, 0.7)]] * 5 + [[at(40, 0.3)]] * 35
    examples = [Example(IMAGE, one) for one in truth]
    told = calibrated_by(held, truth, examples, final)
    right, wrong = (told.calibrated(final[n])[0].score for n in (0, -1))
    assert wrong < 0.05 < 0.2 < right


def test_many_held_out_images_outweigh_the_count() -> None:
    """Half of the objects cannot be found: the others are not called right for that."""
    truth = [[at(0)]] * 100
    held = [[at(0, 0.8)], [at(50, 0.3)]] * 50
    examples = [Example(IMAGE, one) for one in truth]
    told = calibrated_by(held, truth, examples, held[:40])
    assert told.calibrated(held[0])[0].score > 0.9
    assert told.calibrated(held[1])[0].score < 0.3
