from __future__ import annotations

import numpy as np
import pytest

from micro_models.active_learning.augmentation_disagreement import View, augmentation_disagreement
from micro_models.active_learning.detection_disagreement import detection_disagreement
from micro_models.active_learning.detection_uncertainty import (
    detection_uncertainty,
    missing_suspicion,
)
from micro_models.active_learning.query_by_committee import committee_disagreement
from micro_models.regions import Box, Image, Region, WholeImage


def box(x: float, score: float = 1.0, label: str = "car") -> Region:
    return Region(label, Box(x, 0, x + 10, 10), score)


def ant(score: float) -> Region:
    return Region("ant", WholeImage(), score)


def bee(score: float) -> Region:
    return Region("bee", WholeImage(), score)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([], [], 0.0),
        ([box(0)], [box(0)], 0.0),
        ([box(0)], [], 1.0),
        ([box(0)], [box(50)], 1.0),
        ([box(0)], [box(0, label="bus")], 1.0),
        ([box(0)], [box(0, 0.5)], 1 / 3),
        ([box(0)], [Region("car", Box(0, 0, 10, 8))], 0.2),
        ([box(0, 0.1)], [], 0.1),  # a weak candidate hardly counts
        ([box(0), box(50, 0.1)], [box(0)], 0.1 / 2.1),
    ],
)
def test_two_answers(one: list[Region], other: list[Region], expected: float) -> None:
    assert detection_disagreement(one, other) == pytest.approx(expected)
    assert detection_disagreement(other, one) == pytest.approx(expected)


def test_a_committee_of_three_is_the_mean_of_its_pairs() -> None:
    members = [[[box(0)], []], [[box(0)], []], [[], []]]
    assert committee_disagreement(members) == pytest.approx([2 / 3, 0.0])
    assert committee_disagreement(members[:1]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("found", "expected", "uncertainty"),
    [
        ([], 0.0, 0.0),
        ([], 1.0, 0.5),
        ([box(0)], 1.0, 0.0),
        ([box(0, 0.5)], 0.0, 1.0),
        ([box(0), box(50, 0.375)], 1.0, 0.5),  # a near miss beside an object
        ([box(0), box(50, 0.1)], 1.0, 0.0),
        ([box(0)], 4.0, 0.375),
        ([ant(0.6), bee(0.4)], 1.0, 0.8),
        ([ant(0.99), bee(0.98)], 0.0, 0.04),  # both are there
        ([ant(0.01)], 0.0, 0.0),  # it is not there
        ([box(0, 0.75), ant(0.9)], 0.0, 0.5),
    ],
)
def test_the_decision_most_worth_a_look(
    found: list[Region], expected: float, uncertainty: float
) -> None:
    assert detection_uncertainty(found, expected=expected) == pytest.approx(uncertainty)


@pytest.mark.parametrize(
    ("found", "uncertainty"),
    [
        ([ant(0.6), bee(0.4)], 0.8),
        ([ant(0.9), bee(0.1)], 0.2),
        ([ant(0.99)], 0.01),
        ([], 1.0),  # one of the classes is right: the model did not dare
        ([box(0), ant(0.9), bee(0.1)], 0.2),
        ([box(0, 0.5), ant(1.0)], 1.0),
    ],
)
def test_of_classes_that_exclude_each_other_one_is_right(
    found: list[Region], uncertainty: float
) -> None:
    assert detection_uncertainty(found, exclusive=True) == pytest.approx(uncertainty)


def test_more_found_than_expected_is_nothing_missing() -> None:
    assert missing_suspicion([box(0), box(50)], expected=1) == 0.0


def bright_box(images) -> list[list[Region]]:
    """A detector of what is brighter than 128."""
    answers: list[list[Region]] = []
    for image in images:
        rows, columns = np.nonzero(image.pixels[..., 0] > 128)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else ()
        answers.append([Region("light", Box(*map(float, edges)))] if edges else [])
    return answers


@pytest.mark.parametrize(
    ("brightness", "views", "expected"),
    [
        (250, [View(zoom=2.0), View(zoom=0.5), View(gain=0.9)], 0.0),
        (140, [View(gain=0.5)], 1.0),  # gone when a little darker
        (140, [View(gain=0.5), View(gain=0.95)], 0.5),
    ],
)
def test_what_changes_with_the_view_is_unsure(brightness, views, expected: float) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:20, 20:40] = brightness
    images = [Image(pixels), Image(np.zeros((1, 1, 3), np.uint8))]
    scores = augmentation_disagreement(bright_box, images, views=views)
    assert scores == pytest.approx([expected, 0.0], abs=0.06)
