"""Click to mask in a real browser, with every engine, against drawn shapes of known masks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.browser import Editor
from tests.e2e.conftest import NewWork, percent
from tests.e2e.stored import Bools, iou, mask_of
from tests.small_sam import box_of, draw_badge, draw_scene, point_in

pytestmark = pytest.mark.e2e

SCENE_SEED, BADGE_SEED = 1, 1


def scene() -> tuple[np.ndarray, list[Bools]]:
    """A drawn image and its masks, largest first."""
    image, masks = draw_scene(np.random.default_rng(SCENE_SEED), 320, 240)
    return image.pixels, sorted(masks, key=np.sum, reverse=True)


def middle(mask: Bools) -> tuple[float, float]:
    return percent(mask, *point_in(np.random.default_rng(0), mask))


def corners(mask: Bools) -> tuple[float, float, float, float]:
    box = box_of(mask)
    return *percent(mask, box.x0, box.y0), *percent(mask, box.x1, box.y1)


def test_a_click_is_accepted_and_submitted(engine: str, new_work: NewWork, editor: Editor) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    editor.open(work.project, work.task)
    with editor.answered():
        editor.click(*middle(masks[0]), "Cat")
    (suggestion,) = editor.suggestions()
    assert (suggestion["type"], suggestion["labels"]) == ("brushregion", ["Cat"])
    editor.accept()
    assert [region["id"] for region in editor.regions()] == [suggestion["id"]]
    editor.submit()
    (stored,) = work.stored()
    assert (stored["from_name"], stored["value"]["brushlabels"]) == ("brush", ["Cat"])
    assert iou(mask_of(stored), masks[0]) >= 0.9


def test_a_box_becomes_a_mask(engine: str, new_work: NewWork, editor: Editor) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    editor.open(work.project, work.task)
    with editor.answered():
        editor.drag(*corners(masks[1]), "Dog")
    editor.accept()
    editor.submit()
    (stored,) = work.stored()
    assert stored["value"]["brushlabels"] == ["Dog"]
    assert iou(mask_of(stored), masks[1]) >= 0.9


def test_auto_accept_with_two_labels(engine: str, new_work: NewWork, editor: Editor) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    editor.open(work.project, work.task, auto_accept=True)
    for mask, label in zip(masks, ("Cat", "Dog"), strict=False):
        with editor.answered():
            editor.click(*middle(mask), label)
    assert [region["labels"] for region in editor.regions()] == [["Cat"], ["Dog"]]
    editor.submit()
    stored = work.stored()
    assert [each["value"]["brushlabels"] for each in stored] == [["Cat"], ["Dog"]]
    for each, mask in zip(stored, masks, strict=False):
        assert iou(mask_of(each), mask) >= 0.9


def test_a_box_and_clicks_together(engine: str, new_work: NewWork, editor: Editor) -> None:
    drawn, whole, inner = draw_badge(np.random.default_rng(BADGE_SEED), 320, 240)
    work = new_work(engine, drawn.pixels)
    editor.open(work.project, work.task)
    with editor.answered():
        editor.drag(*corners(whole), "Cat")
    (before,) = editor.suggestions()
    with editor.answered():  # inside a box or a region the editor selects it unless Ctrl is held
        editor.click(*middle(whole & ~inner), "Cat", keys=("Control",))
    with editor.answered():
        editor.click(*middle(inner), "Cat", keys=("Control", "Alt"))
    (after,) = editor.suggestions()
    assert after["id"] == before["id"]
    editor.accept()
    editor.submit()
    (stored,) = work.stored()
    assert (mask_of(stored) & inner).sum() < 0.2 * inner.sum()
    assert iou(mask_of(stored), whole & ~inner) >= 0.8


def test_alt_makes_a_click_negative(engine: str, new_work: NewWork, editor: Editor) -> None:
    drawn, whole, inner = draw_badge(np.random.default_rng(BADGE_SEED), 320, 240)
    work = new_work(engine, drawn.pixels)
    editor.open(work.project, work.task)
    with editor.answered():
        editor.click(*middle(whole & ~inner), "Cat")
    with editor.answered():
        editor.click(*middle(inner), "Cat", keys=("Alt",))
    assert len(editor.suggestions()) == 1
    editor.accept()
    editor.submit()
    (stored,) = work.stored()
    assert (mask_of(stored) & inner).sum() < 0.2 * inner.sum()
    assert iou(mask_of(stored), whole & ~inner) >= 0.8


def test_refining_keeps_one_region(engine: str, new_work: NewWork, editor: Editor) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    editor.open(work.project, work.task)
    x, y = middle(masks[0])
    with editor.answered():
        editor.click(x, y, "Cat")
    (first,) = editor.suggestions()
    with editor.answered():
        editor.click(x + 1, y + 1, "Cat")
    assert [each["id"] for each in editor.suggestions()] == [first["id"]]
    with editor.answered():
        editor.drag(*corners(masks[0]), "Cat")
    assert [each["id"] for each in editor.suggestions()] == [first["id"]]
    editor.accept()
    with editor.answered():  # an accepted region takes a click only with Ctrl
        editor.click(x, y, "Cat", keys=("Control",))
    editor.accept()
    assert [each["id"] for each in editor.regions()] == [first["id"]]
    editor.submit()
    (stored,) = work.stored()
    assert iou(mask_of(stored), masks[0]) >= 0.9


def test_refining_what_was_accepted_at_once(engine: str, new_work: NewWork, editor: Editor) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    editor.open(work.project, work.task, auto_accept=True)
    x, y = middle(masks[0])
    with editor.answered():
        editor.click(x, y, "Cat")
    work.wait_for_draft()
    with editor.answered():
        editor.click(x + 1, y, "Cat", keys=("Control",))
    with editor.answered():
        editor.click(*middle(masks[1]), "Cat")
    assert len(editor.regions()) == 2


def test_two_annotators_at_the_same_task(
    engine: str, new_work: NewWork, editor: Editor, second_editor: Editor
) -> None:
    image, masks = scene()
    work = new_work(engine, image)
    for each in (editor, second_editor):
        each.open(work.project, work.task)
    for each, mask in ((editor, masks[0]), (second_editor, masks[1])):
        with each.answered():
            each.click(*middle(mask), "Cat")
    for each in (editor, second_editor):
        each.accept()
        each.submit()
    path = f"/api/tasks/{work.task}/annotations/"
    annotations = sorted(work.studio.api("GET", path), key=lambda one: one["completed_by"])
    for annotation, mask in zip(annotations, masks, strict=False):
        (stored,) = annotation["result"]
        assert iou(mask_of(stored), mask) >= 0.9
