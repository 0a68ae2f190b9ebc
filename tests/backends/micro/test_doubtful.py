from __future__ import annotations

from backends.micro.doubtful import KEPT, Doubtful
from micro_models.regions import Box, Region

CAR = Region("car", Box(1, 2, 3, 4), 0.5)


def test_the_least_sure_are_kept_in_order() -> None:
    least = Doubtful().of("1.100", "micro-a")
    for task in range(20):
        least.add(task, abs(task - 10) / 10, [CAR] * (task % 2))
    news = least.news()
    assert news is not None
    assert len(news) == KEPT
    assert [(one.task_id, one.score) for one in news] == [
        (10, 0.0),
        (9, 0.1),
        (11, 0.1),
        (8, 0.2),
        (12, 0.2),
    ]
    assert [one.regions for one in news[:2]] == [(), (CAR,)]
    assert least.news() is None
    least.add(30, 0.05, [])
    assert [one.task_id for one in least.news() or ()][:2] == [10, 30]


def test_a_task_that_is_answered_again_is_there_once() -> None:
    least = Doubtful().of("1.100", "micro-a")
    least.add(1, 0.1, [])
    least.add(1, 0.9, [CAR])
    assert [(one.task_id, one.score) for one in least.news() or ()] == [(1, 0.9)]


def test_another_version_begins_anew_and_projects_are_apart() -> None:
    doubtful = Doubtful()
    doubtful.of("1.100", "micro-a").add(1, 0.1, [])
    assert doubtful.of("1.100", "micro-a").news() is not None
    assert doubtful.of("2.100", "micro-a").news() is None
    assert doubtful.of("1.100", "micro-b").news() is None
