from __future__ import annotations

import numpy as np
import pytest

from backends.interface import Drawn, Interaction
from backends.sam.model import prompts, scaled, shapes_of
from micro_models.regions import Box, Click, Ellipse, Mask, Polygon, RotatedBox


def two_parts() -> Mask:
    pixels = np.zeros((60, 80), np.bool_)
    pixels[10:40, 10:40] = True
    pixels[50:58, 60:70] = True
    return Mask(pixels)


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("brush", [Mask]),
        ("bitmask", [Mask]),
        ("polygon", [Polygon, Polygon]),
        ("rectangle", [Box]),
        ("ellipse", [Ellipse]),
    ],
)
def test_a_mask_becomes_shapes_of_the_wanted_kind(kind: str, types: list[type]) -> None:
    shapes = shapes_of(two_parts(), kind, tolerance_px=1)
    assert [type(shape) for shape in shapes] == types
    assert shapes_of(Mask(np.zeros((5, 5), np.bool_)), kind, tolerance_px=1) == []


def test_the_rectangle_is_tight() -> None:
    assert shapes_of(two_parts(), "rectangle", tolerance_px=1) == [Box(10, 10, 70, 58)]


def test_prompts_are_scaled_to_the_image_as_it_is_here() -> None:
    drawn = (
        Drawn("a", Click(10, 20, positive=False), "Cat"),
        Drawn("b", Box(0, 0, 10, 20)),
        Drawn("c", RotatedBox(10, 20, 4, 6, 30)),
    )
    interaction = Interaction(drawn, "image", 100, 50)
    assert scaled(interaction, (100, 50)) == drawn
    click, box, rotated = (one.shape for one in scaled(interaction, (200, 100)))
    assert click == Click(20, 40, positive=False)
    assert box == Box(0, 0, 20, 40)
    assert rotated == RotatedBox(20, 40, 8, 12, 30)


def test_points_set_by_hand_are_no_prompts_beside_smart_ones() -> None:
    by_hand = Drawn("a", Click(1, 1), "Nose", smart=False)
    smart = Drawn("b", Click(2, 2), "Cat")
    assert prompts([by_hand, smart]) == [smart]
    assert prompts([by_hand]) == [by_hand]
