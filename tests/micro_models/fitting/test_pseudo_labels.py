from __future__ import annotations

import pytest

from micro_models.fitting.pseudo_labels import pseudo_examples
from micro_models.regions import Box, Region, WholeImage


def box(score: float) -> Region:
    return Region("car", Box(0, 0, 10, 10), score)


def classes(**scores: float) -> list[Region]:
    return [Region(label, WholeImage(), score) for label, score in scores.items()]


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ([], None),
        ([box(0.95)], ["car"]),
        ([box(0.9), box(0.1)], ["car"]),  # both beyond doubt
        ([box(0.95), box(0.89)], None),
        ([box(0.95), box(0.2)], None),  # perhaps an object that would be taught as background
        ([box(0.05)], None),
        (classes(ant=0.95, bee=0.05), ["ant"]),
        (classes(ant=0.6, bee=0.4), None),
        ([*classes(ant=0.95), box(0.99)], ["ant", "car"]),
    ],
)
def test_what_is_taken_for_true(found: list[Region], labels: list[str] | None) -> None:
    taken = pseudo_examples([found], ["frame.png"], min_score=0.9)
    if labels is None:
        assert taken == []
    else:
        (example,) = taken
        assert example.picture == "frame.png"
        assert [(r.label, r.score) for r in example.regions] == [(label, 1.0) for label in labels]


def test_each_picture_on_its_own() -> None:
    found = [[box(0.95)], [box(0.5)], [box(0.99)]]
    assert [e.picture for e in pseudo_examples(found, ["a", "b", "c"])] == ["a", "c"]
