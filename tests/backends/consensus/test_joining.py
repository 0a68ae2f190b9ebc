"""A project's answers joined: regions, one class of several, the model, people's figures."""

from __future__ import annotations

import numpy as np
import pytest

from backends.consensus.joining import joined
from backends.consensus.nouns import Overlap
from backends.consensus.publishing import percent, predictions, version_of
from backends.interface import Project
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from micro_models.regions import Box, Region, WholeImage

CONFIG = parse_label_config(
    """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Kätzchen"/></RectangleLabels>
<Choices name="light" toName="image"><Choice value="hell"/><Choice value="dark"/></Choices>
</View>"""
)
PROJECT = Project("7.1700000000", CONFIG)
LIGHT = [frozenset({"hell", "dark"})]


def box(x: float, score: float = 1.0) -> Region:
    return Region("Kätzchen", Box(x, 0, x + 20, 20), score)


def light(name: str, score: float = 1.0) -> Region:
    return Region(name, WholeImage(), score)


def overlap(task: int, answers: dict[int, list[Region]]) -> Overlap:
    return Overlap(task, (200, 100), {who: tuple(some) for who, some in answers.items()})


def test_careful_people_outvote_a_careless_one_and_the_figures_say_who() -> None:
    rng = np.random.default_rng(0)
    tasks = []
    for task in range(30):
        true = "hell" if task % 2 else "dark"
        near = rng.normal(0, 1, 2)
        tasks.append(
            overlap(
                task,
                {
                    11: [box(50 + near[0]), light(true)],
                    12: [box(50 + near[1]), light(true)],
                    13: [*([box(56)] if task % 3 else []), light("hell")],
                },
            )
        )
    found = joined(tasks, one_of=LIGHT, found=None, names={11: "Änne", 12: "Bo"})
    for one in found.tasks:
        assert [region.label for region in one.regions] == [
            "Kätzchen",
            "hell" if one.task_id % 2 else "dark",
        ]
        assert 0.5 <= one.score <= 1
    good, also, bad = found.people
    assert [one.name for one in found.people] == ["Änne", "Bo", "user 13"]
    assert (good.tasks, good.regions) == (30, 60)
    assert good.agreement is not None
    assert bad.agreement is not None
    assert good.low < good.agreement < good.high
    assert bad.agreement < good.agreement
    assert bad.false_alarms["hell"] == pytest.approx(0.5, abs=0.1)
    assert bad.misses["dark"] > 0.9
    assert bad.misses["Kätzchen"] > 0.1 > also.misses["Kätzchen"]
    assert found.alpha is not None
    assert (found.trust, found.lift) == (None, None)


def test_the_model_decides_where_two_people_differ() -> None:
    rng = np.random.default_rng(1)
    truth = ["hell" if task % 2 else "dark" for task in range(60)]
    tasks, model = [], {}
    for task, true in enumerate(truth):
        wrong = "dark" if true == "hell" else "hell"
        said = [true if rng.random() < 0.75 else wrong for _ in range(2)]
        tasks.append(overlap(task, {1: [light(said[0])], 2: [light(said[1])]}))
        model[task] = [light(true, 0.8), light(wrong, 0.2)]
    alone = joined(tasks, one_of=LIGHT, found=None, names={})
    both = joined(tasks, one_of=LIGHT, found=model, names={})
    right = [
        sum(one.regions[0].label == true for one, true in zip(found.tasks, truth, strict=True))
        for found in (alone, both)
    ]
    assert right[1] > right[0]
    assert both.trust is not None
    assert both.trust > 0.5
    assert both.lift is None  # nobody draws anything here


def test_no_overlap_and_an_empty_model_are_no_trouble() -> None:
    assert joined([], one_of=LIGHT, found=None, names={}).tasks == ()
    assert joined([], one_of=[], found={}, names={}).people == ()
    tasks = [overlap(1, {1: [], 2: []}), overlap(2, {1: [box(0)], 2: []})]
    found = joined(tasks, one_of=LIGHT, found={}, names={})
    assert [one.agreement for one in found.tasks] == [1.0, 0.0]
    assert found.tasks[0].regions == ()


def test_who_chose_nothing_differs_from_who_chose() -> None:
    tasks = [
        overlap(1, {1: [light("hell")], 2: []}),
        overlap(2, {1: [light("hell")], 2: [light("hell")]}),
        overlap(3, {1: [], 2: []}),
    ]
    found = joined(tasks, one_of=LIGHT, found=None, names={}).tasks
    assert [one.agreement for one in found] == [0.0, 1.0, 1.0]
    assert [one.differences for one in found] == [1, 0, 0]


def test_only_what_people_dispute_is_a_difference() -> None:
    def pair(task: int, first: list[Region], second: list[Region]) -> Overlap:
        return overlap(task, {1: first, 2: second})

    named = [Region("Hund", box(10).shape)]
    tasks = [pair(task, [box(10), box(60)], [box(10.5), box(60)]) for task in range(20)]
    tasks += [
        pair(20, [box(10)], [box(16)]),  # drawn otherwise
        pair(21, [box(10)], named),  # called otherwise
        pair(22, [box(10), box(90)], [box(10)]),  # one more
        pair(23, [box(10)], [box(10)]),  # the model sees something else
    ]
    model = {task: [box(150, 0.95)] for task in (23,)}
    found = joined(tasks, one_of=[], found=model, names={}).tasks
    assert all(one.agreement < 1 for one in found[:20])
    assert [one.differences for one in found] == [0] * 20 + [1, 1, 1, 0]


def test_what_is_written_has_its_controls_and_a_version_of_its_own() -> None:
    tasks = [
        overlap(task, {1: [box(10), light("hell")], 2: [box(12), light("hell")]}) for task in (5, 6)
    ]
    found = joined(tasks, one_of=LIGHT, found=None, names={}).tasks
    version = version_of(found, CONFIG)
    made = predictions(PROJECT, found, version)
    encoded = encode_prediction(made[5], CONFIG)
    assert {one["from_name"] for one in encoded["result"]} == {"box", "light"}
    assert encoded["model_version"] == version
    (drawn,) = (one for one in encoded["result"] if one["from_name"] == "box")
    assert drawn["value"]["x"] == pytest.approx(5.5)
    assert version_of(found[:1], CONFIG) != version == version_of(found, CONFIG)


@pytest.mark.parametrize(("agreement", "shown"), [(0.0, 0), (0.5, 50), (0.999, 99), (1.0, 100)])
def test_only_whole_agreement_is_a_hundred(agreement: float, shown: int) -> None:
    assert percent(agreement) == shown
