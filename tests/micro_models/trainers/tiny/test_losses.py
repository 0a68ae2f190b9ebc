from __future__ import annotations

import pytest
import torch

from micro_models.trainers.tiny.losses import (
    class_loss,
    dice_loss,
    focal_loss,
    side_loss,
    soft_focal_loss,
    total,
)

ONES = torch.ones(1, 1, 4, 4)


def heat_with_peak():
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 1, 2], heat[0, 0, 1, 1] = 1.0, 0.6
    return heat


def logits(chances):
    return torch.logit(chances.clamp(1e-4, 1 - 1e-4))


@pytest.mark.parametrize("loss", [focal_loss, soft_focal_loss])
def test_a_heat_map_that_is_right_costs_less_than_one_that_is_not(loss):
    heat = heat_with_peak()
    right = loss(logits(heat), heat, ONES)
    flat = loss(logits(torch.full_like(heat, 0.05)), heat, ONES)
    moved = loss(logits(heat.flip(2)), heat, ONES)
    assert right < flat < moved


def test_close_to_a_peak_a_wrong_answer_costs_less():
    heat = heat_with_peak()
    close, far = heat.clone(), heat.clone()
    close[0, 0, 1, 1] = far[0, 0, 3, 0] = 0.9
    assert focal_loss(logits(close), heat, ONES) < focal_loss(logits(far), heat, ONES)


@pytest.mark.parametrize("loss", [focal_loss, soft_focal_loss])
def test_what_is_ignored_costs_nothing(loss):
    heat = torch.zeros(1, 1, 4, 4)
    assert loss(logits(heat + 0.9), heat, ONES * 0).item() == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((1, 1, 1, 1), 0.0), ((2, 1, 2, 1), 0.5), ((0.5, 0.5, 0.5, 0.5), 0.75), ((3, 1, 1, 1), 0.5)],
)
def test_sides_cost_what_their_boxes_do_not_share(answer, expected):
    sides = torch.tensor(answer, dtype=torch.float32).reshape(1, 4, 1, 1)
    loss = side_loss(sides, torch.ones(1, 4, 1, 1), torch.ones(1, 1, 1, 1))
    assert loss.item() == pytest.approx(expected)


def test_dice_is_least_for_the_same_cover():
    cover = torch.zeros(1, 1, 8, 8)
    cover[..., 2:6, 2:6] = 1
    weight = torch.ones_like(cover)
    assert dice_loss(cover, cover, weight).item() == pytest.approx(0)
    assert dice_loss(1 - cover, cover, weight) > 0.9


def test_classes_exclude_each_other_or_not():
    target = torch.tensor([[1.0, 0.0]])
    both = torch.tensor([[9.0, 9.0]])
    assert class_loss(both, target, exclusive=True).item() == pytest.approx(0.693, abs=1e-3)
    assert class_loss(both, target, exclusive=False).item() == pytest.approx(4.5, abs=0.01)


def test_a_head_that_is_not_asked_costs_nothing():
    outputs = {"classes": torch.zeros(1, 2), "heat": logits(heat_with_peak())}
    asked = {"heat": heat_with_peak(), "heat_weight": ONES}
    expected = focal_loss(outputs["heat"], asked["heat"], ONES)
    assert total(outputs, asked, exclusive=True) == expected
