"""Classes of whole images, one each or any number."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.label_errors import ErrorKind, class_errors, find_label_errors
from micro_models.regions import Box, Region, WholeImage


def told(**probabilities: float) -> list[Region]:
    return [Region(label, WholeImage(), p) for label, p in probabilities.items()]


def is_(*labels: str) -> list[Region]:
    return [Region(label, WholeImage()) for label in labels]


def test_the_surest_contradiction_is_the_greatest_error() -> None:
    p = np.array([[0.97, 0.03], [0.03, 0.97], [0.6, 0.4], [0.03, 0.97]])
    scores = class_errors(np.array([0, 1, 1, 0]), p)
    assert scores[3] > 0.4 > 0.1 > scores[2] > scores[0]


def test_a_model_that_does_not_know_accuses_nobody() -> None:
    torn = np.array([[0.3, 0.3, 0.4]] * 20)
    assert (class_errors(np.arange(20) % 3, torn) < 0.5).all()


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([0], np.zeros((2, 2))), ([0], np.ones((1, 1))), ([2], np.zeros((1, 2))), ([0], np.zeros(1))],
)
def test_arrays_have_to_fit(labels: list[int], probabilities: np.ndarray) -> None:
    with pytest.raises(ValueError):
        class_errors(np.array(labels), probabilities)


def test_no_labels_have_no_errors() -> None:
    assert class_errors(np.zeros(0, int), np.zeros((0, 3))).shape == (0,)


def test_exclusive_classes_are_wrong() -> None:
    given = [*(is_("ant") for _ in range(10)), *(is_("bee") for _ in range(10))]
    found = [told(ant=0.9, bee=0.1)] * 10 + [told(bee=0.9, ant=0.1)] * 9
    found.append(told(ant=0.95, bee=0.05))
    findings = find_label_errors(given, found)
    (error,) = findings.errors
    assert (error.kind, error.example, error.index) == (ErrorKind.WRONG_LABEL, 19, 0)
    assert error.suggested == Region("ant", WholeImage(), 0.95)
    assert error.reason == "the model says ant (95%), not bee (5%)"


def test_tags_are_missing_or_spurious() -> None:
    given = [is_("wet", "dark")] * 10 + [is_()] * 10 + [is_("wet"), is_("dark")]
    found = [told(wet=0.9, dark=0.9)] * 10 + [told(wet=0.1, dark=0.1)] * 10
    found += [told(wet=0.95, dark=0.96), told(wet=0.03, dark=0.04)]
    first, second = sorted(find_label_errors(given, found).errors, key=lambda one: one.example)
    assert (first.kind, first.example, first.index) == (ErrorKind.MISSING, 20, None)
    assert first.suggested == Region("dark", WholeImage(), 0.96)
    assert (second.kind, second.example, second.index) == (ErrorKind.SPURIOUS, 21, 0)


def test_classes_beside_boxes_keep_their_places() -> None:
    car = Region("car", Box(1, 1, 20, 20))
    given = [[car, *is_("day")]] * 12 + [[car, *is_("night")]] * 12 + [[car, *is_("night")]]
    seen = Region("car", Box(1, 1, 20, 20), 0.9)
    found = [[seen, *told(day=0.9, night=0.1)]] * 12 + [[seen, *told(day=0.1, night=0.9)]] * 12
    found.append([seen, *told(day=0.97, night=0.03)])
    best = find_label_errors(given, found).errors[0]
    assert (best.kind, best.example, best.index) == (ErrorKind.WRONG_LABEL, 24, 1)
    assert best.given == given[24][1]


def test_one_picture_that_nobody_classed_does_not_turn_classes_into_tags() -> None:
    given = [is_("ant")] * 10 + [is_("bee")] * 10 + [is_("bee"), is_()]
    found = [told(ant=0.9, bee=0.1)] * 10 + [told(ant=0.1, bee=0.9)] * 10
    found += [told(ant=0.97, bee=0.03), told(ant=0.96, bee=0.04)]
    wrong, missing = sorted(find_label_errors(given, found).errors, key=lambda one: one.example)
    assert (wrong.kind, wrong.example) == (ErrorKind.WRONG_LABEL, 20)
    assert wrong.suggested == Region("ant", WholeImage(), 0.97)
    assert (missing.kind, missing.example, missing.index) == (ErrorKind.MISSING, 21, None)


def test_one_tag_that_many_pictures_lack_stays_a_tag() -> None:
    given = [is_("wet")] * 12 + [is_()] * 9 + [is_("wet"), is_()]
    found = [told(wet=0.9)] * 12 + [told(wet=0.1)] * 9 + [told(wet=0.03), told(wet=0.97)]
    kinds = {one.example: one.kind for one in find_label_errors(given, found).errors}
    assert (kinds[21], kinds[22]) == (ErrorKind.SPURIOUS, ErrorKind.MISSING)
