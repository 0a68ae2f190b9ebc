"""GrabCut on real photos whose objects can be told by brightness, so that the truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from tests.e2e.browser import Editor
from tests.e2e.conftest import NewWork
from tests.e2e.stored import Bools, iou, mask_of
from tests.e2e.test_clicks import corners, middle

pytestmark = pytest.mark.e2e


def largest(mask: Bools) -> Bools:
    """The largest connected part of a mask."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return numbers == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])


def retina() -> tuple[np.ndarray, Bools]:
    """The eye's disc on black."""
    image = cv2.resize(data.retina(), (480, 480), interpolation=cv2.INTER_AREA)
    image = np.pad(image, ((40, 40), (120, 120), (0, 0)))  # a box cannot begin at the very edge
    return image, largest(image.max(axis=-1) > 40)


def coin() -> tuple[np.ndarray, Bools]:
    """One light coin on dark ground."""
    gray = data.coins()
    light = cv2.morphologyEx((gray > 110).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    window = np.zeros_like(light)
    window[10:80, 310:375] = light[10:80, 310:375]
    return np.repeat(gray[..., None], 3, axis=-1), largest(window > 0)


def test_a_click_on_a_photo(grabcut_server: str, new_work: NewWork, editor: Editor) -> None:
    image, mask = coin()
    work = new_work(grabcut_server, image)
    editor.open(work.project, work.task, auto_accept=True)
    with editor.answered():
        editor.click(*middle(mask), "Cat")
    editor.submit()
    (stored,) = work.stored()
    assert iou(mask_of(stored), mask) >= 0.8


@pytest.mark.parametrize("photo", [retina, coin])
def test_a_box_on_a_photo(
    photo: object, grabcut_server: str, new_work: NewWork, editor: Editor
) -> None:
    image, mask = photo()  # type: ignore[operator]
    work = new_work(grabcut_server, image)
    editor.open(work.project, work.task)
    with editor.answered():
        editor.drag(*corners(mask), "Cat")
    editor.accept()
    editor.submit()
    (stored,) = work.stored()
    assert iou(mask_of(stored), mask) >= 0.85
