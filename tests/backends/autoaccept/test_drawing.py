"""Audits are drawn from all over a project, however large it is, and from nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from backends.autoaccept import drawing
from backends.autoaccept.drawing import newest, random_tasks
from tests.backends.autoaccept.conftest import World
from tests.backends.autoaccept.studio import Model, Studio


@pytest.fixture
def large(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """So large that ids are guessed: every third id is a task, of which a few are labelled."""
    monkeypatch.setattr(drawing, "_LISTED", 50)
    world.studio, world.model = Studio(range(1000, 1600, 3)), Model({})
    for task_id in (1000, 1300, 1597):
        world.studio.label(task_id, "Käse")
    world.studio.label(1003, was_cancelled=True)
    return world


def test_each_is_a_task_that_nobody_labelled_and_drawn_once(large: World) -> None:
    found = random_tasks(large.desk(), 40, up_to=1500, apart={1006})
    assert len(found) == len(set(found)) == 40
    assert set(found) <= set(range(1000, 1501, 3)) - {1000, 1003, 1006, 1300}
    assert found != sorted(found)


def test_where_too_few_are_hit_all_are_listed(
    large: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_GUESSES", 0)
    found = random_tasks(large.desk(), 1000, up_to=1500, apart={1006})
    assert set(found) == set(range(1000, 1501, 3)) - {1000, 1003, 1006, 1300}
    assert found != sorted(found)


@pytest.mark.parametrize("guesses", [0, 40])
def test_all_are_equally_likely(
    large: World, monkeypatch: pytest.MonkeyPatch, guesses: int
) -> None:
    monkeypatch.setattr(drawing, "_GUESSES", guesses)
    first = []
    for seed in range(60):
        large.seed = seed
        first += random_tasks(large.desk(), 10, up_to=1600, apart=())
    halves = np.mean([task_id < 1300 for task_id in first])
    assert 0.4 < halves < 0.6  # 600 draws of about 100 and 100 tasks: 5 standard deviations


def test_the_newest_of_those_without_labels(large: World) -> None:
    assert newest(large.desk()) == 1594
    large.studio.found.clear()
    assert newest(large.desk()) == 0
    assert random_tasks(large.desk(), 5, up_to=0, apart=()) == []
