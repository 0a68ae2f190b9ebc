"""What is kept of training on submit, in both databases, with many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from backends.database import close_database, open_database
from backends.errors import StateError
from backends.jobs.store import JobStore
from backends.label_studio.audits import AuditBook
from backends.micro import version_store
from backends.micro.nouns import Acceptance, LabelledTask, ModelVersion, Shown, Step
from backends.micro.store import MicroStore
from backends.serving.project_page import ToolStores
from backends.settings import Settings
from micro_models.regions import Box, Mask, Region

KEY = "7.1700000000"
Make = Callable[[], MicroStore]


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").add_database()
    return Settings(_env_file=None, data_dir=tmp_path, database_url=url)


@pytest.fixture
def make(settings: Settings) -> Make:
    return lambda: MicroStore(settings)


@pytest.fixture
def store(make: Make) -> Iterator[MicroStore]:
    with closing(make()) as made:
        yield made


def task(number: int, at: str = "a", **data: Any) -> LabelledTask:
    return LabelledTask(number, at, data, ({"id": number, "result": [{"rle": [1, 2, 3]}]},))


def trained(version_id: str, *, scope: str = "project", made_at: float = 1.0) -> ModelVersion:
    return ModelVersion(version_id, KEY, scope, made_at, 5, "hash", "first", report={"f1": 0.5})


class TestStandings:
    def test_what_came_during_a_training_is_news_after_it(self, store: MicroStore) -> None:
        store.note_event([KEY, "8.1"], submissions=1)
        store.note_event([KEY], submissions=4, asked=True)
        began = store.standing(KEY)
        assert (began.changes, began.since, began.asked, began.tasks_came) == (2, 5, True, False)
        store.note_event([KEY], submissions=2, tasks_came=True)
        for _ in range(2):  # a training that is done again says the same again
            store.note_seen(began, labels=5)
            after = store.standing(KEY)
            assert (after.changes, after.seen, after.since, after.labels) == (3, 2, 2, 5)
            assert (after.asked, after.tasks_came) == (False, True)
        store.note_seen(after, labels=7)
        assert [one.project_key for one in store.waiting()] == ["8.1"]
        assert store.standing(KEY).tasks_came is False

    def test_asked_while_it_trains_is_asked_again(self, store: MicroStore) -> None:
        store.note_event([KEY], submissions=0, asked=True)
        began = store.standing(KEY)
        store.note_event([KEY], submissions=0, asked=True)
        store.note_seen(began, labels=0)
        assert store.standing(KEY).asked

    def test_the_longest_quiet_waits_first(self, store: MicroStore) -> None:
        for key in ("9.1", "8.1", "7.1", "9.1"):
            store.note_event([key], submissions=1)
        assert [one.project_key for one in store.waiting()] == ["8.1", "7.1", "9.1"]

    def test_events_are_dated_by_the_databases_clock(self, store: MicroStore) -> None:
        before = store.now()
        store.note_event([KEY], submissions=1)
        assert before <= store.standing(KEY).touched_at <= store.now()

    def test_notes(self, store: MicroStore) -> None:
        step = Step("label Käse", "learning", 0.5, 12, None, 3.25)
        store.note(KEY, "waits\0 for labels")
        store.note_failure(KEY, "no memory")
        store.note_step(KEY, step)
        store.note_announced(KEY, "micro-1", models={})
        found = store.standing(KEY)
        assert (found.note, found.failure, found.step) == ("waits for labels", "no memory", step)
        assert (found.announced, found.changes) == ("micro-1", 0)
        store.note_step(KEY, None)
        assert store.standings() == [replace(found, step=None)]

    def test_many_at_once_lose_nothing(self, make: Make) -> None:
        def note(number: int) -> None:
            with closing(make()) as own:
                for _ in range(10):
                    own.note_event([KEY, "8.1"] if number % 2 else ["8.1", KEY], submissions=1)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(note, range(4)))
        with closing(make()) as store:
            assert [(one.changes, one.since) for one in store.standings()] == [(40, 40)] * 2


class TestLabelled:
    def test_tasks_are_kept_changed_and_dropped(self, store: MicroStore) -> None:
        many = [task(number, scene="Nacht\0") for number in range(120, 0, -1)]
        accepted = {3: Acceptance(4, 3, 21.0), 5: Acceptance(1, 0, 0.0)}
        store.put_labelled(KEY, many, accepted)
        store.put_labelled("8.1", [task(3)], accepted)
        assert store.labelled(KEY) == many[::-1]
        assert store.acceptance(KEY) == Acceptance(5, 3, 21.0)
        store.put_labelled(KEY, [task(5, "b")], {5: Acceptance(1, 1, 7.0)})
        store.drop_labelled(KEY, [3, *range(6, 1_000)])
        assert store.known(KEY) == {1: "a", 2: "a", 4: "a", 5: "b"}
        assert store.acceptance(KEY) == Acceptance(1, 1, 7.0)
        assert store.known("8.1") == {3: "a"}

    def test_nothing_is_known_of_a_new_project(self, store: MicroStore) -> None:
        store.put_labelled(KEY, [], {})
        store.drop_labelled(KEY, [])
        assert (store.labelled(KEY), store.known(KEY)) == ([], {})
        assert store.acceptance(KEY) == Acceptance()


class TestVersions:
    def test_one_of_each_scope_is_current(self, store: MicroStore) -> None:
        for made_at, scope in enumerate(("label a", "label b", "label a")):
            store.add_version(trained(f"{made_at:012d}", scope=scope, made_at=float(made_at)))
        assert store.current(KEY) == {}
        store.promote(KEY, "label a", "0" * 12)
        store.promote(KEY, "label b", f"{1:012d}")
        store.promote(KEY, "label a", f"{2:012d}")
        current = store.current(KEY)
        assert {scope: one.id[-1] for scope, one in current.items()} == {
            "label a": "2",
            "label b": "1",
        }
        newest, _, oldest = store.versions(KEY)
        assert (newest.is_current, oldest.is_current) == (True, False)
        assert oldest.promoted_at is not None
        assert newest.promoted_at is not None
        assert oldest.promoted_at <= newest.promoted_at
        assert [one.id[-1] for one in store.versions(KEY, "label a")] == ["2", "0"]
        store.drop_scope_pointer(KEY, "label a")
        assert list(store.current(KEY)) == ["label b"]

    def test_of_a_version_that_is_there_measures_are_renewed_but_not_its_history(
        self, store: MicroStore
    ) -> None:
        first = trained("abc123abc123")
        store.add_version(first)
        store.promote(KEY, "project", first.id)
        again = replace(first, why="again", labels=9, made_at=2.0, parent="else", lost=0.25)
        store.add_version(again)
        found = store.current(KEY)["project"]
        assert found.promoted_at is not None
        assert found == replace(
            again,
            parent=first.parent,
            is_current=True,
            promoted_at=found.promoted_at,
        )

    def test_only_what_it_was_compared_with_is_replaced(self, store: MicroStore) -> None:
        for name in ("a", "b", "c"):
            store.add_version(trained(name))

        def answers(version_id: str, instead_of: str | None) -> tuple[bool, str | None]:
            done = store.promote(KEY, "project", version_id, instead_of=instead_of)
            found = store.current(KEY).get("project")
            return done, found and found.id

        assert answers("a", "c") == (False, None)
        assert answers("a", None) == (True, "a")
        assert answers("b", None) == (False, "a")
        assert answers("b", "c") == (False, "a")
        assert answers("b", "a") == (True, "b")
        assert answers("b", "b") == (True, "b")  # trained to the same again
        assert {one.id for one in store.versions(KEY) if one.promoted_at} == {"a", "b"}

    def test_reports_are_read_only_where_they_are_told(self, store: MicroStore) -> None:
        store.add_version(trained("abc"))
        store.promote(KEY, "project", "abc")
        lists = (store.versions(KEY), store.all_versions(), store.all_current())
        assert [[one.report for one in some] for some in lists] == [[{}]] * 3
        (found,) = store.version_by_id("ab")
        assert found == store.current(KEY)["project"]
        assert found.report == {"f1": 0.5}

    def test_the_oldest_are_forgotten(
        self, store: MicroStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(version_store, "KEPT", 3)
        for number in range(6):
            store.add_version(trained(f"a{number}", made_at=10.0 + number))
        store.add_version(trained("b0", scope="label b", made_at=1.0))
        store.add_version(replace(trained("c0"), project_key="8.1"))
        store.promote(KEY, "project", "a1")
        store.forget_old()
        assert [one.id for one in store.versions(KEY)] == ["a5", "a4", "a3", "a1", "b0"]
        assert [one.id for one in store.versions("8.1")] == ["c0"]

    def test_found_by_the_beginning_of_its_id(self, store: MicroStore) -> None:
        for version_id in ("abc123abc123", "abd000000000", "a_c000000000"):
            store.add_version(trained(version_id))
        assert {one.id for one in store.version_by_id("ab")} == {"abc123abc123", "abd000000000"}
        assert [one.id for one in store.version_by_id("a_")] == ["a_c000000000"]
        assert store.version_by_id("b") == []
        assert len(store.all_versions()) == 3

    def test_files_that_are_gone(self, store: MicroStore) -> None:
        first = trained("abc123abc123")
        other = replace(first, scope="label a")  # the same model of another scope
        for one in (first, other):
            store.add_version(one)
        store.note_gone([first, trained("unknown")])
        assert not store.versions(KEY, "project")[0].is_on_disk
        assert store.versions(KEY, "label a")[0].is_on_disk

    def test_an_unknown_version_is_not_promoted(self, store: MicroStore) -> None:
        store.add_version(trained("abc123abc123"))
        store.promote(KEY, "project", "abc123abc123")
        with pytest.raises(StateError, match="there is no model"):
            store.promote(KEY, "project", "abc")
        assert store.current(KEY)["project"].id == "abc123abc123"

    def test_who_promotes_is_announced_once(self, store: MicroStore) -> None:
        for version_id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            store.add_version(trained(version_id))
        store.note_event([KEY, "8.1"], submissions=1)
        assert store.unannounced() == []
        for version_id in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
            store.promote(KEY, "project", version_id)
            assert store.unannounced() == [KEY]
            models = {scope: one.id for scope, one in store.current(KEY).items()}
            store.note_announced(KEY, f"micro-{version_id}", models=models)
            assert store.unannounced() == []
        store.drop_scope_pointer(KEY, "project")
        assert store.unannounced() == [KEY]


def test_what_is_shown_is_replaced(store: MicroStore) -> None:
    mask = Mask(np.eye(40, 30, dtype=bool))
    shown = [
        Shown(5, 0.25, (Region("Käse", Box(1, 2, 3, 4.5), 0.5),)),
        Shown(2, 0.5, (Region("b", mask, 0.75),)),
    ]
    assert store.shown(KEY) == []
    store.put_shown(KEY, "micro-0", [Shown(1, 0.1, ())])
    store.put_shown(KEY, "micro-1", shown)
    found = store.shown(KEY)
    assert found[0] == shown[0]
    assert (found[1].task_id, found[1].score) == (2, 0.5)
    assert np.array_equal(found[1].regions[0].shape.pixels, mask.pixels)  # type: ignore[union-attr]


def test_a_project_that_is_gone_is_forgotten(store: MicroStore) -> None:
    for key in (KEY, "8.1"):
        store.note_event([key], submissions=1)
        store.put_labelled(key, [task(1)], {})
        store.add_version(replace(trained("abc123abc123"), project_key=key))
        store.promote(key, "project", "abc123abc123")
        store.put_shown(key, "micro-1", [Shown(1, 0.1, ())])
    store.forget(KEY)
    assert store.standing(KEY).changes == 0
    assert (store.labelled(KEY), store.versions(KEY), store.shown(KEY)) == ([], [], [])
    assert store.current(KEY) == {}
    assert store.unannounced() == ["8.1"]
    assert len(store.labelled("8.1")) == len(store.versions("8.1")) == 1


def test_what_tools_keep_of_a_project_that_is_gone_is_forgotten(
    store: MicroStore, settings: Settings
) -> None:
    with closing(ToolStores.of(settings)), closing(AuditBook(settings)):
        JobStore(settings).close()
    engine = open_database(settings)
    there = sa.MetaData()
    there.reflect(engine)
    tables = [one for one in there.tables.values() if "project_key" in one.columns]
    with engine.begin() as connection:
        for table in tables:
            for number, key in enumerate((KEY, "8.1")):
                values = {column.name: _some(column, number) for column in table.columns}
                connection.execute(sa.insert(table).values(values | {"project_key": key}))
    store.forget(KEY)
    with engine.connect() as connection:
        left = {
            table.name: list(connection.execute(sa.select(table.c.project_key)).scalars())
            for table in tables
        }
    close_database(engine)
    assert {"audits", "job_unshown", "impacts", "reviews", "autoaccept_log"} < left.keys()
    assert {name for name, keys in left.items() if keys != ["8.1"]} == {"jobs", "job_tasks"}


def _some(column: sa.Column[Any], number: int) -> Any:
    """A value that the column takes, another one for each number."""
    kind = column.type.python_type
    return b"x" if kind is bytes else kind(number)


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql+psycopg://user:secret@127.0.0.1:1/x"
    with pytest.raises(StateError, match="LABELPILOT_DATABASE_URL") as caught:
        MicroStore(Settings(_env_file=None, data_dir=tmp_path, database_url=url))
    assert "secret" not in str(caught.value)
