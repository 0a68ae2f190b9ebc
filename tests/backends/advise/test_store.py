"""What was measured and advised, in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backends.advise import store as module
from backends.advise.nouns import Advice, Measured
from backends.advise.store import AdviseStore
from backends.advise.targets import Metric
from backends.errors import StateError
from backends.settings import Settings

KEY, SCOPE = "7.1700000000", "label кот\N{SNOWMAN}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[AdviseStore]:
    with closing(AdviseStore(settings)) as made:
        yield made


def point(*train: str, family: str = "forest", score: float = 0.5) -> Measured:
    return Measured(
        family, 3.0, {Metric.MAP50: score}, frozenset(train), frozenset(["t1", "t2"]), 1.5
    )


def test_points_stay(store: AdviseStore, settings: Settings) -> None:
    some = [point("a"), point("a", "b"), point("a", "b", family="tiny")]
    for one in reversed(some):
        store.add_point(KEY, SCOPE, one)
    with closing(AdviseStore(settings)) as other:
        assert other.points(KEY, SCOPE) == some
    assert store.points(KEY, "project") == store.points("8.1", SCOPE) == []


def test_the_same_point_once_more_is_one(store: AdviseStore) -> None:
    store.add_point(KEY, SCOPE, point("a"))
    store.add_point(KEY, SCOPE, point("a", score=0.6))
    assert store.points(KEY, SCOPE) == [point("a", score=0.6)]


def test_points_of_labels_that_changed_go(store: AdviseStore) -> None:
    for one in (point("a"), point("a", "b"), point("c")):
        store.add_point(KEY, SCOPE, one)
        store.add_point(KEY, "project", one)
    store.drop_points(KEY, SCOPE, still=["a", "c", "new", "t1", "t2"])
    assert store.points(KEY, SCOPE) == [point("a"), point("c")]
    store.drop_points(KEY, SCOPE, still=["a", "c", "t1"])
    assert store.points(KEY, SCOPE) == []
    assert len(store.points(KEY, "project")) == 3


def test_points_of_another_release_are_not_taken(
    store: AdviseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_point(KEY, SCOPE, point("a"))
    monkeypatch.setattr(module, "_release", lambda: "99")
    assert store.points(KEY, SCOPE) == []
    store.drop_points(KEY, SCOPE, still=["a", "t1", "t2"])
    monkeypatch.undo()
    assert store.points(KEY, SCOPE) == []


def test_the_newest_plan(store: AdviseStore) -> None:
    assert store.advice(KEY) is None
    store.put_advice(Advice(KEY, SCOPE, 1.0, {"labels": 5}))
    newest = Advice(KEY, "project", store.now(), {"labels": 6, "notes": ["кот"]})
    store.put_advice(newest)
    assert store.advice(KEY) == newest


def test_a_database_that_is_gone_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    wrong = Settings(database_url=f"sqlite:///{tmp_path / 'file' / 'none.db'}")
    with pytest.raises(StateError, match="learning curves"):
        AdviseStore(wrong)
