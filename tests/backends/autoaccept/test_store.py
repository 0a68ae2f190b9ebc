"""What is kept of accepting comes back, whoever else writes at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.autoaccept.nouns import Check, Entry, Fate, Issued, Standing
from backends.autoaccept.store import AutoacceptStore
from backends.label_studio.audits import AuditBook, Drawn, Withheld
from backends.settings import Settings
from micro_models.certificates import Certificate
from micro_models.regions import Box, Mask, Region

KEY, OTHER = "7.1700000000", "8.1700000000"
MADE = Certificate(
    max_error=0.02, confidence=0.9, threshold=0.8, audited=200, above=150, errors=1, upper=0.019,
    accepted=700, share=0.7, missing=0, why="Würde gehen",
)  # fmt: skip
ISSUED = Issued("c0ffee", KEY, "micro-1", replace(MADE, groups={"Käse": MADE, "": MADE}))
ENTRY = Entry(5, "c0ffee", "micro-1", 0.97)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, database_url=None)


@pytest.fixture
def store(settings: Settings) -> Iterator[AutoacceptStore]:
    with closing(AutoacceptStore(settings)) as made:
        yield made


def test_a_standing_comes_back_and_nothing_is_known_of_others(store: AutoacceptStore) -> None:
    store.note(KEY, audits_to=90, suspended="too many wrong")
    store.note(KEY, last='{"open": 3}')
    assert store.standing(KEY) == Standing(90, "too many wrong", 0.0)
    assert store.last(KEY) == {"open": 3}
    assert (store.standing(OTHER), store.last(OTHER)) == (Standing(), {})


def test_the_same_certificate_is_issued_once(store: AutoacceptStore) -> None:
    first = store.issue(ISSUED)
    assert replace(first, made_at=0.0) == ISSUED
    assert first.made_at > 0
    store.withdraw(KEY)
    (withdrawn,) = store.certificates(KEY)
    assert withdrawn.withdrawn_at is not None
    assert store.issue(replace(ISSUED, version="micro-2")) == first
    store.withdraw(OTHER)
    assert store.certificates(KEY) == [first]


def test_what_is_intended_is_written_down_once_and_its_fate_told(store: AutoacceptStore) -> None:
    assert store.intend(KEY, ENTRY)
    assert not store.intend(KEY, ENTRY)
    assert store.intend(OTHER, ENTRY)
    store.note_stored(KEY, ENTRY, 77, stored_at="2026-01-01T12:00:00+00:00", digest="ab")
    store.drop_intent(KEY, ENTRY)  # it is one no more
    store.drop_intent(OTHER, ENTRY)
    (one,) = store.log(KEY)
    assert (one.annotation_id, one.fate, one.digest) == (77, Fate.ACCEPTED, "ab")
    assert store.log(OTHER) == []
    store.note_fate(KEY, one, Fate.TAKEN_BACK)
    assert store.counts(KEY) == {Fate.TAKEN_BACK: 1}
    assert store.log(KEY, fate=Fate.ACCEPTED) == []


def test_two_at_once_do_not_both_intend(settings: Settings) -> None:
    with closing(AutoacceptStore(settings)) as store, ThreadPoolExecutor(4) as threads:
        entries = [replace(ENTRY, task_id=n // 4) for n in range(40)]
        done = list(threads.map(lambda one: store.intend(KEY, one), entries))
        assert sum(done) == 10


def test_a_lease_is_held_by_one_until_it_is_left_or_old(store: AutoacceptStore) -> None:
    assert store.take(KEY, "a", for_s=60)
    assert store.take(KEY, "a", for_s=60)
    assert not store.take(KEY, "b", for_s=60)
    assert store.take(OTHER, "b", for_s=60)
    store.leave(KEY, "b")
    assert not store.take(KEY, "b", for_s=60)
    store.leave(KEY, "a")
    assert store.take(KEY, "b", for_s=-1)
    assert store.take(KEY, "a", for_s=60)


def test_looks_are_counted_until_the_audits_are_others(store: AutoacceptStore) -> None:
    assert [store.look(KEY, name) for name in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert store.look(OTHER, "z") == 1
    store.forget_looks(KEY)
    assert store.look(KEY, "c") == 1


def test_checks_come_back_with_their_regions_in_the_order_of_verdicts(
    store: AutoacceptStore,
) -> None:
    regions = (
        Region("Größe", Box(1, 2, 3.5, 4), 0.9),
        Region("b", Mask(np.eye(4, dtype=np.bool_))),
    )
    for task_id in (1, 2, 3):
        store.add_check(KEY, Check(task_id, "c0ffee", "micro-1", 0.9, regions, (64, 48)))
    store.note_judged(KEY, {3: True, 1: False})
    store.note_judged(KEY, {3: False})  # what was said first counts
    found = store.checks(KEY)
    assert [(one.task_id, one.wrong) for one in found] == [(3, True), (1, False), (2, None)]
    assert found[0].size_px == (64, 48)
    assert found[0].regions[0] == regions[0]
    store.drop_checks(KEY, [1, 2, 99])
    assert [one.task_id for one in store.checks(KEY)] == [3]


class TestAuditBook:
    def test_audits_are_blind_and_untaught_checks_only_blind(self, settings: Settings) -> None:
        with closing(AuditBook(settings)) as book, closing(AuditBook(settings)) as elsewhere:
            assert elsewhere.blind(OTHER) == frozenset()
            drawn = [Drawn(5, Withheld.AUDIT, 2, 1.0), Drawn(6, Withheld.CHECK, 1, 1.0)]
            book.draw(KEY, drawn)
            book.draw(KEY, [Drawn(5, Withheld.CHECK, 9, 9.0)])  # it stays what it is
            assert book.drawn(KEY) == [drawn[1], drawn[0]]
            assert book.blind(KEY) == {5, 6}
            assert book.untaught(KEY) == {5}
            assert elsewhere.blind(KEY) == {5, 6}
            book.release(KEY, [5, 99])
            assert book.blind(KEY) == {6}
            book.release(KEY)
            assert book.drawn(KEY) == []

    def test_an_audit_is_spent_once(self, settings: Settings) -> None:
        with closing(AuditBook(settings)) as book:
            book.draw(KEY, [Drawn(n, Withheld.AUDIT, n, 1.0) for n in (1, 2)])
            book.spend(KEY, [1], "first")
            book.spend(KEY, [1, 2], "second")
            assert [one.spent_on for one in book.drawn(KEY)] == ["first", "second"]

    def test_what_is_vouched_for(self, settings: Settings) -> None:
        with closing(AuditBook(settings)) as book:
            book.certify(KEY, {1: 10, 2: 20})
            book.certify(OTHER, {1: 11})
            book.certify(KEY, {2: 20, 3: 30})
            assert book.certified(KEY) == {2: 20, 3: 30}
            book.certify(KEY, None)
            assert (book.certified(KEY), book.certified(OTHER)) == ({}, {1: 11})
