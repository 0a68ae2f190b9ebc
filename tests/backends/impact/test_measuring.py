"""What is measured of annotations whose people are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from backends.impact.measuring import measured
from backends.impact.nouns import Gathered, Impact, Served
from micro_models.regions import Region, WholeImage
from tests.backends.impact.annotated import People, served


def of(some: tuple[Served, ...], *, share: float = 0.1, worth: float = 1.2) -> Impact:
    return measured(Gathered(some), project_key="7.17", made_at=5.0, share=share, worth=worth)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_the_speed_up_is_that_of_the_people(factor: float) -> None:
    found = of(served(np.random.default_rng(0), 1_200, People(factor)))
    assert found.speed.low < factor < found.speed.high
    assert found.speed.ratio == pytest.approx(factor, rel=0.15)
    assert found.speed.is_known == (factor == 2.0)
    assert found.by_annotator.keys() == {0, 1}
    assert all(one.low < factor < one.high for one in found.by_annotator.values())
    assert found.blind_tasks + found.shown_tasks == 1_200
    assert found.covered == 1.0
    assert found.missing("speed") == 0
    assert found.notes == ()


def test_people_who_let_no_mistake_pass_shift_nothing() -> None:
    found = of(served(np.random.default_rng(1), 1_500))
    assert found.shifted == ()
    assert found.standing["all"].low <= 0 <= found.standing["all"].high
    assert {"regions", "regions: cat", "regions: собака"} <= {one.name for one in found.shifts}


def test_mistakes_left_standing_are_counted_by_kind() -> None:
    found = of(served(np.random.default_rng(2), 3_000, People(left=0.6)))
    assert found.standing.keys() == {"all", "spurious", "missing"}
    for one in found.standing.values():
        assert one.low < 0.6 < one.high
        assert one.share == pytest.approx(0.6, abs=0.15)


def test_a_model_that_invents_shifts_the_number_of_regions() -> None:
    people = People(left=1.0)
    some = [
        replace(one, regions=(*one.regions, *(one.found or ())[-1:])) if not one.blind else one
        for one in served(np.random.default_rng(3), 1_500, people)
    ]
    found = of(tuple(some))
    assert "regions" in {one.name for one in found.shifted}


def test_classes_of_pictures_are_measures_too() -> None:
    rng = np.random.default_rng(4)
    some = [
        replace(one, found=None, regions=(Region(name, WholeImage()),))
        for one in served(rng, 800)
        for name in ["day" if one.blind or rng.random() < 0.3 else "night"]
    ]
    found = of(tuple(some))
    assert [one.name for one in found.shifted] == ["class: night", "class: day"]
    assert found.standing == {}


class TestSince:
    def test_what_came_before_the_first_prediction_is_left_out(self) -> None:
        some = served(np.random.default_rng(5), 400)
        early = tuple(replace(one, had_prediction=False) for one in some[:100])
        found = of((*early, *some[100:]))
        first = next(one.at for one in some[100:] if one.had_prediction)
        assert found.since == first
        assert found.left_out["from before tasks were served both ways"] >= 100

    def test_blind_tasks_of_before_they_were_blind_mark_the_beginning(self) -> None:
        some = served(np.random.default_rng(6), 1_000)
        before = tuple(replace(one, had_prediction=True) for one in some[:600])
        late = replace(some[900], blind=True, had_prediction=True)
        found = of((*before, *some[600:900], late, *some[901:]))
        assert 1_550 < found.since <= 1_600
        assert found.left_out["of blind tasks that had a prediction from before they were blind"]
        assert found.blind_tasks == sum(one.blind for one in (*some[600:900], *some[901:]))

    def test_without_any_prediction_there_is_nothing_to_compare(self) -> None:
        some = served(np.random.default_rng(7), 50, People(had_prediction=0.0))
        found = of(some)
        assert (found.blind_tasks, found.shown_tasks, found.since) == (0, 0, math.inf)
        assert "nobody has labelled a task that had a prediction" in found.notes[0]
        assert found.speed.ratio is None


def test_nothing_at_all_is_no_error() -> None:
    found = of(())
    assert (found.shifts, found.standing, found.by_annotator) == ((), {}, {})
    assert found.missing("speed") == found.needed["speed"] > 20


def test_no_blind_task_is_told() -> None:
    some = tuple(
        one for one in served(np.random.default_rng(8), 200, People(share=0.05)) if not one.blind
    )
    found = of(some, share=0.0)
    assert found.missing("speed") is None
    assert found.notes == ("no task is blind: LABELPILOT_BLIND_SHARE is 0",)
    later = of(some, share=0.05)
    assert later.notes == ()
    assert later.missing("shifts") == later.needed["shifts"] > 50


def test_fewer_tasks_show_what_is_worth_more() -> None:
    some = served(np.random.default_rng(9), 100)
    assert of(some, worth=2.0).needed["speed"] < of(some, worth=1.1).needed["speed"]
    assert (of(some, worth=1.1).missing("speed") or 0) > 0


def test_blind_tasks_that_come_last_are_an_alarm() -> None:
    some = sorted(served(np.random.default_rng(10), 300), key=lambda one: one.blind)
    late = tuple(replace(one, at=1_000.0 + place) for place, one in enumerate(some))
    (note,) = of(late).notes
    assert "labelled later than others" in note
    assert "Uncertainty sampling" in note


def test_few_predictions_are_told() -> None:
    found = of(served(np.random.default_rng(11), 600, People(had_prediction=0.5)))
    assert found.covered == pytest.approx(0.5, abs=0.06)
    assert any("had a prediction" in note for note in found.notes)


def test_the_same_labels_give_the_same_answer() -> None:
    some = served(np.random.default_rng(12), 300, People(left=0.3))
    assert of(some) == of(some)
