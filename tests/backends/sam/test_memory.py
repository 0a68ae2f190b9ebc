"""Which object do the open prompts mean? Each test tells a short story of one annotator."""

from __future__ import annotations

import numpy as np
import pytest

from backends.interface import Drawn
from backends.sam.memory import PromptMemory, holds
from backends.sam.pointing import Place, PointedObject
from micro_models.regions import Box, Click, Mask, RotatedBox, Segmentation

SIZE = (200, 100)
PLACE = Place("1.2", 7, "image", "digest")


def point(
    name: str, x: float, y: float, *, positive: bool = True, label: str | None = "Cat"
) -> Drawn:
    return Drawn(name, Click(x, y, positive), label)


def box(name: str, x0: float, y0: float, x1: float, y1: float, label: str = "Cat") -> Drawn:
    return Drawn(name, Box(x0, y0, x1, y1), label)


class Annotator:
    """Draws, and is answered by a mask of the left half of the image."""

    def __init__(self, memory: PromptMemory | None = None) -> None:
        self.memory = memory or PromptMemory()

    def draws(
        self, *drawn: Drawn, accepted: tuple[str, ...] = (), user: str | None = None
    ) -> PointedObject:
        pointed = self.memory.resolve(
            PLACE, drawn, accepted=frozenset(accepted), size_px=SIZE, user=user
        )
        pixels = np.zeros(SIZE[::-1], np.bool_)
        pixels[:, :100] = True
        hint = np.full((2, 2), len(pointed.clicks), np.float32)
        self.memory.remember(PLACE, pointed, Segmentation(Mask(pixels), 0.5, hint), engine="e")
        return pointed


def test_a_second_click_refines_the_same_region_with_the_last_hint() -> None:
    annotator = Annotator()
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("a", 10, 10), point("b", 150, 10, positive=False))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(10, 10), Click(150, 10, positive=False))
    assert first.hint is None
    assert second.hint is not None
    assert second.hint[0, 0] == 1


def test_a_withdrawn_click_is_forgotten_together_with_the_hint_it_made() -> None:
    annotator = Annotator()
    annotator.draws(point("a", 10, 10))
    annotator.draws(point("a", 10, 10), point("b", 50, 10))
    third = annotator.draws(point("a", 10, 10))
    assert third.clicks == (Click(10, 10),)
    assert third.hint is None


def test_a_click_inside_the_open_box_is_used_together_with_it() -> None:
    annotator = Annotator()
    first = annotator.draws(box("b", 0, 0, 80, 80))
    second = annotator.draws(point("a", 40, 40, positive=False))
    assert second.region_id == first.region_id
    assert second.prompt("e").box == Box(0, 0, 80, 80)
    assert second.clicks == (Click(40, 40, positive=False),)


def test_a_box_around_the_open_click_is_used_together_with_it() -> None:
    annotator = Annotator()
    first = annotator.draws(point("a", 40, 40))
    second = annotator.draws(box("b", 0, 0, 80, 80))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(40, 40),)
    assert second.hint is None


def test_the_newest_box_counts() -> None:
    annotator = Annotator()
    first = annotator.draws(box("b", 0, 0, 80, 80))
    second = annotator.draws(box("b", 0, 0, 80, 80), box("c", 100, 0, 150, 50))
    assert second.prompt("e").box == Box(100, 0, 150, 50)
    assert second.region_id == first.region_id


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (box("b", 0, 0, 80, 80), point("a", 150, 50)),
        (point("a", 150, 50), box("b", 0, 0, 80, 80)),
        (point("a", 40, 40), point("c", 140, 40)),
        (box("b", 0, 0, 80, 80), box("c", 0, 0, 80, 80)),
        (box("b", 0, 0, 80, 80), point("a", 40, 40, label="Dog")),
    ],
    ids=["click elsewhere", "box elsewhere", "new click", "new box", "another label"],
)
def test_a_prompt_that_does_not_go_with_the_last_object_starts_a_new_one(
    before: Drawn, now: Drawn
) -> None:
    annotator = Annotator()
    first = annotator.draws(before)
    second = annotator.draws(now)
    assert second.region_id != first.region_id
    assert second.prompt_ids == {now.id}
    assert second.hint is None


def test_an_accepted_object_takes_no_more_prompts_outside_it() -> None:
    annotator = Annotator()
    first = annotator.draws(box("b", 0, 0, 180, 80))
    second = annotator.draws(point("a", 150, 40), accepted=(first.region_id,))
    assert second.region_id != first.region_id


def test_with_auto_accept_a_negative_click_refines_the_region_it_hits() -> None:
    annotator = Annotator()
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("n", 50, 50, positive=False), accepted=(first.region_id,))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(10, 10), Click(50, 50, positive=False))
    third = annotator.draws(point("n", 50, 50, positive=False), point("m", 60, 60, positive=False))
    assert [click.positive for click in third.clicks] == [True, False, False]


def test_a_negative_click_without_any_object_asks_for_nothing() -> None:
    pointed = Annotator().draws(point("n", 50, 50, positive=False))
    assert pointed.clicks == (Click(50, 50, positive=False),)


def test_a_background_label_cuts_from_the_object_of_another_label() -> None:
    annotator = Annotator()
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("n", 50, 50, positive=False, label="Background"))
    assert second.region_id == first.region_id
    assert second.label == "Cat"
    third = annotator.draws(point("a", 10, 10), point("c", 20, 20))
    assert set(third.clicks) == {Click(10, 10), Click(50, 50, positive=False), Click(20, 20)}


def test_a_click_inside_an_accepted_region_refines_it() -> None:
    annotator = Annotator()
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("b", 50, 50), accepted=(first.region_id,))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(10, 10), Click(50, 50))


def test_nobody_knows_what_became_of_the_suggestion_under_a_new_click() -> None:
    """Accepted 2 s ago: the same id doubles nothing. Rejected: its clicks do not return."""
    annotator = Annotator()
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("b", 11, 11))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(11, 11),)
    assert second.hint is None


def test_a_prompt_that_comes_before_the_last_answer_is_not_lost() -> None:
    memory = PromptMemory()
    boxed = memory.resolve(PLACE, [box("b", 0, 0, 80, 80)], accepted=frozenset(), size_px=SIZE)
    clicked = memory.resolve(PLACE, [point("a", 40, 40)], accepted=frozenset(), size_px=SIZE)
    assert clicked.region_id == boxed.region_id
    assert clicked.box == Box(0, 0, 80, 80)
    late = Segmentation(Mask(np.zeros(SIZE[::-1], np.bool_)), 0.5)
    memory.remember(PLACE, boxed, late, engine="e")
    again = memory.resolve(
        PLACE, [point("a", 40, 40), point("c", 41, 41)], accepted=frozenset(), size_px=SIZE
    )
    assert again.clicks == (Click(40, 40), Click(41, 41))


def test_a_stray_background_click_does_not_swallow_the_next_ones() -> None:
    annotator = Annotator()
    annotator.draws(point("s", 150, 50, positive=False, label="Background"))
    first = annotator.draws(point("a", 10, 10))
    second = annotator.draws(point("n", 50, 50, positive=False, label="Background"))
    assert second.region_id == first.region_id


def test_another_users_box_is_not_used() -> None:
    annotator = Annotator()
    annotator.draws(box("b", 0, 0, 80, 80), user="ann")
    assert annotator.draws(point("p", 40, 40), user="bob").box is None
    assert annotator.draws(point("q", 41, 41), user="ann").box == Box(0, 0, 80, 80)


def test_two_annotators_on_one_task_keep_their_own_objects() -> None:
    memory = PromptMemory()
    one, other = Annotator(memory), Annotator(memory)
    first = one.draws(point("a", 10, 10))
    second = other.draws(point("b", 150, 10))
    again = one.draws(point("a", 10, 10), point("c", 20, 10))
    assert first.region_id == again.region_id != second.region_id
    assert again.clicks == (Click(10, 10), Click(20, 10))


def test_region_ids_are_the_same_after_a_restart() -> None:
    assert Annotator().draws(point("a", 1, 1)).region_id == (
        Annotator().draws(point("a", 1, 1)).region_id
    )


def test_old_objects_are_forgotten() -> None:
    now = 0.0
    annotator = Annotator(PromptMemory(keep_s=10, clock=lambda: now))
    first = annotator.draws(box("b", 0, 0, 80, 80))
    now = 11.0
    assert annotator.draws(point("a", 40, 40)).region_id != first.region_id


def test_a_changed_image_starts_anew() -> None:
    memory = PromptMemory()
    first = Annotator(memory).draws(box("b", 0, 0, 80, 80))
    other = Place("1.2", 7, "image", "another digest")
    second = memory.resolve(other, [point("a", 40, 40)], accepted=frozenset(), size_px=SIZE)
    assert second.box is None
    assert second.region_id != first.region_id


@pytest.mark.parametrize(
    ("x", "y", "inside"), [(50, 50, True), (50, 70, True), (69, 69, False), (0, 0, False)]
)
def test_a_rotated_box_holds_what_lies_in_it(x: float, y: float, inside: bool) -> None:
    assert holds(RotatedBox(50, 50, 40, 40, 45), Click(x, y)) is inside
