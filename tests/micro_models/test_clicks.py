import numpy as np
import pytest

from micro_models.clicks import clicks_to_iou, iou_within, next_click
from micro_models.regions import Box, Click, Mask, Prompt, Segmentation


def blank() -> np.ndarray:
    return np.zeros((40, 60), np.bool_)


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = blank()
    mask[y0:y1, x0:x1] = True
    return mask


def test_first_click_is_the_middle_of_the_object():
    assert next_click(square(10, 5, 21, 16), blank()) == Click(15.5, 10.5)


def test_spurious_area_gets_a_negative_click():
    truth = square(5, 5, 10, 10)
    assert next_click(truth, truth | square(30, 10, 41, 21)) == Click(35.5, 15.5, positive=False)


def test_larger_mistake_wins():
    truth = square(5, 5, 10, 10) | square(30, 10, 41, 21)
    assert next_click(truth, blank()) == Click(35.5, 15.5)
    assert next_click(truth, square(30, 10, 41, 21)) == Click(7.5, 7.5)


def test_image_border_counts_as_an_edge():
    assert next_click(square(0, 0, 11, 11), blank()) == Click(5.5, 5.5)


def test_ignored_pixels_are_no_mistake():
    truth, ignore = square(5, 5, 10, 10), square(30, 10, 41, 21)
    assert next_click(truth, ignore, ignore) == Click(7.5, 7.5)
    assert iou_within(truth, truth | ignore, ignore) == 1.0
    assert iou_within(truth, truth | ignore) < 0.5


def test_no_mistake_and_other_sizes_are_errors():
    with pytest.raises(ValueError, match="no mistake"):
        next_click(blank(), blank())
    with pytest.raises(ValueError, match="one size"):
        next_click(blank(), np.zeros((4, 4), np.bool_))
    with pytest.raises(ValueError, match="one size"):
        iou_within(blank(), blank(), np.zeros((4, 4), np.bool_))


def test_iou_of_empty_masks_is_one():
    assert iou_within(blank(), blank()) == 1.0


class Grower:
    """Answers with a part of the truth that grows by the number of clicks; notes its prompts."""

    def __init__(self, truth: np.ndarray, parts: list[int]) -> None:
        self.truth, self.parts, self.prompts = truth, parts, []

    def __call__(self, prompt: Prompt) -> Segmentation:
        self.prompts.append(prompt)
        mask = self.truth.copy()
        mask[:, self.parts[len(self.prompts) - 1] :] = False
        hint = np.array([[len(self.prompts)]], np.float32)
        return Segmentation(Mask(mask), 0.5, hint)


def test_clicks_are_counted_until_the_last_threshold():
    segment = Grower(square(0, 0, 50, 40), [25, 44, 46, 50])
    curve = clicks_to_iou(segment, segment.truth)
    assert curve.clicks == {0.85: 2, 0.90: 3}
    assert curve.ious == pytest.approx((0.5, 0.88, 0.92))
    assert curve.scores == (0.5, 0.5, 0.5)
    assert [len(prompt.clicks) for prompt in segment.prompts] == [1, 2, 3]


def test_each_hint_is_handed_back():
    segment = Grower(square(0, 0, 50, 40), [25, 44, 46])
    clicks_to_iou(segment, segment.truth)
    hints = [prompt.hint for prompt in segment.prompts]
    assert hints[0] is None
    assert [hint.item() for hint in hints[1:]] == [1, 2]


def test_never_reached_counts_as_the_maximum():
    segment = Grower(square(0, 0, 50, 40), [10] * 5)
    curve = clicks_to_iou(segment, segment.truth, max_clicks=5)
    assert curve.clicks == {0.85: 5, 0.90: 5}
    assert len(curve.ious) == 5


def test_a_box_comes_first_and_is_no_click():
    segment = Grower(square(0, 0, 50, 40), [44, 46])
    box = Box(0, 0, 50, 40)
    curve = clicks_to_iou(segment, segment.truth, box=box)
    assert curve.clicks == {0.85: 0, 0.90: 1}
    assert [prompt.box for prompt in segment.prompts] == [box, box]
    assert segment.prompts[0].clicks == ()
