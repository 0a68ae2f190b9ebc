"""Every kind of answer in a real editor: shown, accepted, stored, and in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.browser import Editor
from tests.e2e.conftest import NewWork
from tests.e2e.stored import Bools, iou, mask_of
from tests.e2e.test_clicks import corners, middle, scene
from tests.small_sam import box_of

pytestmark = pytest.mark.e2e


def boxed(mask: Bools) -> Bools:
    """The mask's tight box, filled."""
    box, filled = box_of(mask), np.zeros_like(mask)
    filled[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return filled


@pytest.mark.parametrize(
    ("config", "kind", "at_least"),
    [
        ("to_polygon", "polygonlabels", 0.9),
        ("to_rectangle", "rectanglelabels", 0.9),
        ("to_bitmask", "bitmasklabels", 0.9),
        ("to_ellipse", "ellipselabels", 0.75),  # the drawn shape is no ellipse
        ("labels_pair", "brush", 0.9),
    ],
)
@pytest.mark.parametrize("auto_accept", [False, True], ids=["accept", "auto-accept"])
def test_output(
    config: str,
    kind: str,
    at_least: float,
    auto_accept: bool,
    sam_server: str,
    new_work: NewWork,
    editor: Editor,
) -> None:
    image, masks = scene()
    work = new_work(sam_server, image, config)
    editor.open(work.project, work.task, auto_accept=auto_accept)
    with editor.answered():
        editor.click(*middle(masks[0]), "Cat")
    if not auto_accept:
        assert [each["labels"] for each in editor.suggestions()] == [["Cat"]]
        editor.accept()
    assert [each["labels"] for each in editor.regions()] == [["Cat"]]
    editor.submit()
    shape, *labels = work.stored()
    assert shape["type"] == kind
    assert (labels[0] if labels else shape)["value"][labels[0]["type"] if labels else kind] == [
        "Cat"
    ]
    truth = boxed(masks[0]) if config == "to_rectangle" else masks[0]
    assert iou(mask_of(shape), truth) >= at_least


def test_a_box_with_labels_apart_from_shapes(
    sam_server: str, new_work: NewWork, editor: Editor
) -> None:
    image, masks = scene()
    work = new_work(sam_server, image, "labels_pair")
    editor.open(work.project, work.task)
    with editor.answered():
        editor.drag(*corners(masks[0]), "Dog", group=0)
    editor.accept()
    editor.submit()
    shape, label = work.stored()
    assert (shape["type"], label["value"]["labels"]) == ("brush", ["Dog"])
    assert iou(mask_of(shape), masks[0]) >= 0.9
