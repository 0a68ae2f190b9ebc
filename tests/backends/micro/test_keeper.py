from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backends.errors import LabelStudioError, LabelStudioGone, StateError
from backends.interface import Project
from backends.micro.keeper import Keeper
from backends.micro.nouns import ModelVersion
from backends.micro.store import MicroStore
from backends.settings import Settings

A, B = "1.100", "2.200"


@dataclass
class FakeBackground:
    trained: list[str] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    broken: bool = False

    def train(self, project_key: str) -> None:
        if self.broken:
            self.broken = False
            raise StateError("the database is away")
        self.trained.append(project_key)

    def is_training(self, project_key: str) -> bool:
        return project_key in self.busy

    def prelabel(self, project: Project, version: str, task_ids: Sequence[int]) -> None: ...

    def pending(self, project: Project, version: str, task_ids: object) -> list[int]:
        return []

    def refresh(
        self, project: Project, version: str, *, first: Sequence[int] = (), others: bool = True
    ) -> None: ...


@dataclass
class Kept:
    """A keeper and what it asked for."""

    store: MicroStore
    background: FakeBackground
    announced: list[str]
    keeper: Keeper


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return make(tmp_path, train_quiet_s=60.0)


def make(folder: Path, **changed: float) -> Kept:
    settings = Settings(data_dir=folder, database_url=None, **changed)  # type: ignore[arg-type]
    store, background, announced = MicroStore(settings), FakeBackground(), []
    keeper = Keeper(settings, store, background, announced.append)
    return Kept(store, background, announced, keeper)


def test_while_people_submit_nothing_is_trained(kept: Kept) -> None:
    kept.store.note_event([A], submissions=1)
    assert kept.keeper.look()
    assert kept.background.trained == []


def test_after_a_moments_quiet_it_is(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.store.note_event([A], submissions=1)
    # By the clock of the database, which dates the events too.
    monkeypatch.setattr(kept.store, "now", lambda now=kept.store.now(): now + 61)
    assert kept.keeper.look()
    assert kept.background.trained == [A]


@pytest.mark.parametrize(
    ("labels", "since", "is_due"), [(0, 4, False), (0, 5, True), (8, 7, False), (8, 8, True)]
)
def test_without_quiet_the_first_labels_and_every_doubling_train(
    kept: Kept, labels: int, since: int, is_due: bool
) -> None:
    kept.store.note_event([A], submissions=0)
    kept.store.note_seen(kept.store.standing(A), labels=labels)
    for _ in range(since):
        kept.store.note_event([A], submissions=1)
    kept.keeper.look()
    assert kept.background.trained == ([A] if is_due else [])


def test_who_asks_need_not_wait(kept: Kept) -> None:
    kept.store.note_event([A, B], submissions=0)
    kept.store.note_event([B], submissions=0, asked=True)
    kept.keeper.look()
    assert kept.background.trained == [B]


def test_a_project_that_is_being_trained_is_asked_for_when_that_is_over(tmp_path: Path) -> None:
    kept = make(tmp_path, train_quiet_s=0.0)
    began = kept.store.standing(A)
    kept.store.note_event([A], submissions=1)
    kept.background.busy = {A}
    kept.keeper.look()
    assert kept.background.trained == []
    kept.background.busy = set()
    kept.store.note_seen(began, labels=5)  # it had begun before that submit
    kept.keeper.look()
    assert kept.background.trained == [A]
    kept.store.note_seen(kept.store.standing(A), labels=6)
    assert not kept.keeper.look()
    assert kept.background.trained == [A]


def test_of_many_keepers_one_announces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keepers = [make(tmp_path) for _ in range(4)]
    store = keepers[0].store
    store.add_version(ModelVersion("0123456789ab", A, "project", 1.0, 5, "data", "the first"))
    store.promote(A, "project", "0123456789ab")
    announced: list[str] = []

    def announce(key: str) -> None:
        announced.append(key)
        store.note_announced(key, "micro-1", models={"project": "0123456789ab"})

    for one in keepers:
        monkeypatch.setattr(one.keeper, "_announce", announce)
    begin = threading.Barrier(4)

    def look(one: Kept) -> None:
        begin.wait()
        one.keeper.look()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(look, keepers))
    assert announced == [A]


def test_who_ends_while_it_announces_keeps_others_from_it_for_a_while_only(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.store.add_version(ModelVersion("0123456789ab", A, "project", 1.0, 5, "data", "first"))
    kept.store.promote(A, "project", "0123456789ab")
    now = kept.store.now()
    assert kept.store.claim_announcing(A, for_s=30)  # by one who is killed then
    kept.keeper.look()
    assert kept.announced == []
    monkeypatch.setattr("backends.micro.store.clock", lambda _: now + 31)
    kept.keeper.look()
    assert kept.announced == [A]


def test_models_that_predictions_are_not_of_are_announced(kept: Kept) -> None:
    model = ModelVersion("0123456789ab", A, "project", 1.0, 5, "data", "the first model")
    kept.store.add_version(model)
    kept.store.promote(A, "project", model.id)
    kept.background.busy = {A}  # a training does so itself
    kept.keeper.look()
    assert kept.announced == []
    kept.background.busy = set()
    kept.keeper.look()
    assert kept.announced == [A]
    kept.store.note_announced(A, "micro-0123456789", models={"project": model.id})
    kept.keeper.look()
    assert kept.announced == [A]


@pytest.mark.parametrize("error", [LabelStudioError("no answer"), ValueError("a fault")])
def test_a_project_that_cannot_be_announced_holds_up_no_other(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for key in (A, B):
        model = ModelVersion("0123456789ab", key, "project", 1.0, 5, "data", "the first model")
        kept.store.add_version(model)
        kept.store.promote(key, "project", model.id)
    tried: list[str] = []

    def announce(key: str) -> None:
        tried.append(key)
        if key == A:
            raise error
        kept.store.note_announced(B, "micro-0123456789", models={"project": "0123456789ab"})

    monkeypatch.setattr(kept.keeper, "_announce", announce)
    kept.keeper.look()
    kept.keeper.look()
    assert tried == [A, B]
    later_s = 0
    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + later_s)
    for tries in range(1, 10):  # again later and later, but not less often than in 5 minutes
        later_s += min(31 * 2 ** (tries - 1), 301)
        kept.keeper.look()
        kept.keeper.look()
        assert tried == [A, B, *[A] * tries]
    kept.store.note_announced(A, "micro-0123456789", models={"project": "0123456789ab"})
    kept.keeper.look()
    kept.store.drop_scope_pointer(A, "project")  # something else: at once
    kept.keeper.look()
    assert tried == [A, B, *[A] * 10]


def test_a_project_that_is_gone_is_forgotten(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ModelVersion("0123456789ab", A, "project", 1.0, 5, "data", "the first model")
    kept.store.add_version(model)
    kept.store.promote(A, "project", model.id)

    def announce(key: str) -> None:
        raise LabelStudioGone(f"no project {key}")

    monkeypatch.setattr(kept.keeper, "_announce", announce)
    kept.keeper.look()
    assert (kept.store.unannounced(), kept.store.all_versions()) == ([], [])


def test_the_thread_looks_when_woken_and_survives_a_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = make(tmp_path, train_quiet_s=0.0)
    kept.background.broken = True
    kept.keeper.start()
    kept.store.note_event([A], submissions=1)
    kept.keeper.wake()
    deadline = time.monotonic() + 20
    while not kept.background.trained:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kept.keeper.close()
    assert "trainings are not asked for: the database is away" in caplog.text
