"""An outline is a small mask of a large image: enlarged it lies where it lay."""

from __future__ import annotations

import numpy as np
import pytest

from micro_models.detections import Outline, sampled
from micro_models.regions import Box


def disc(height: int, width: int, *, center: tuple[float, float], radius: float) -> np.ndarray:
    """Log-odds of a disc whose center and radius are parts of the image's width and height."""
    rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    inside = radius**2 - (columns[None] - center[0]) ** 2 - (rows[:, None] - center[1]) ** 2
    return 60 * inside


def outline(odds: np.ndarray, width: int, height: int) -> Outline:
    return Outline((1 / (1 + np.exp(-odds))).astype(np.float32), width, height)


@pytest.mark.parametrize("size", [(4000, 3000), (640, 480), (50, 40), (97, 1203)])
def test_an_enlarged_mask_keeps_its_place_to_a_pixel(size: tuple[int, int]) -> None:
    width, height = size
    small = outline(disc(120, 160, center=(0.4, 0.55), radius=0.25), width, height)
    mask = small.mask(Box(0, 0, width, height)).pixels
    rows, columns = np.nonzero(mask)
    # A cell of the small mask is a fraction of the disc, so its curve is a little flattened.
    slack_x, slack_y = 1 + 0.003 * width, 1 + 0.003 * height
    assert abs(columns.mean() + 0.5 - 0.4 * width) < slack_x / 2
    assert abs(rows.mean() + 0.5 - 0.55 * height) < slack_y / 2
    assert abs(columns.min() - 0.15 * width) < slack_x
    assert abs(columns.max() + 1 - 0.65 * width) < slack_x
    assert abs(rows.min() - 0.30 * height) < slack_y
    assert abs(rows.max() + 1 - 0.80 * height) < slack_y


def test_a_straight_edge_lies_to_a_pixel_where_the_log_odds_say() -> None:
    # 0 at a third of the image: 1000 px of 3000, between two of the 160 values.
    odds = np.tile(np.linspace(0.5 / 160, 1 - 0.5 / 160, 160) - 1 / 3, (120, 1)) * 100
    mask = outline(odds, 3000, 2250).mask(Box(0, 0, 3000, 2250)).pixels
    assert (np.abs(mask.argmax(axis=1) - 1000) <= 1).all()


def test_nothing_lies_outside_the_box() -> None:
    full = Outline(np.ones((4, 4), np.float32), 100, 80)
    mask = full.mask(Box(10.2, 20.7, 30.0, 40.4)).pixels
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 29, 21, 39)
    assert mask.sum() == 20 * 19


@pytest.mark.parametrize("box", [Box(-50, -50, -1, -1), Box(200, 200, 300, 300), Box(5, 5, 5, 5)])
def test_a_box_outside_or_without_an_area_gives_an_empty_mask(box: Box) -> None:
    assert Outline(np.ones((4, 4), np.float32), 100, 80).mask(box).area_px == 0


def test_an_outline_of_one_value() -> None:
    assert Outline(np.ones((1, 1), np.float32), 3, 2).mask(Box(0, 0, 3, 2)).area_px == 6


@pytest.mark.parametrize("values", [np.ones((2, 2)), np.ones((0, 2), np.float32), np.float32([1])])
def test_an_outline_cannot_have_a_wrong_shape(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an outline is"):
        Outline(values, 10, 10)


def test_sampling_between_and_beyond_the_middles_of_cells() -> None:
    values = np.float32([[0, 10], [20, 30]])
    rows, columns = np.array([0.0, 0.5, 1.0, 1.5, 9.0]), np.array([0.5, 1.0, 2.0])
    expected = [[0, 5, 10], [0, 5, 10], [10, 15, 20], [20, 25, 30], [20, 25, 30]]
    np.testing.assert_allclose(sampled(values, rows, columns), expected)
