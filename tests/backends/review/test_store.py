"""What is kept of reviews: whole, in order, and answers through everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.errors import StateError
from backends.review.nouns import Case, Review, Suspect, Tally
from backends.review.store import ReviewStore
from backends.settings import Settings
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Region
from tests.backends.review.scenes import suspect

KEY, OTHER = "7.1795168884", "8.1795168884"


def review(*cases: Case, key: str = KEY, made_at: float = 5.0) -> Review:
    notes, problems = ("an alarm ☂",), {3: "no picture"}
    return Review(key, "review-0123456789", made_at, 9, cases, notes, problems, "http://ls")


@pytest.fixture
def store(any_store: ReviewStore) -> ReviewStore:
    return any_store


def case(name: int, *, known: bool | None = None, kind: ErrorKind = ErrorKind.SPURIOUS) -> Case:
    return Case(suspect(name, kind), known)


def name(number: int) -> str:
    return f"{number:016x}"


def test_a_review_comes_back_whole_and_in_its_order(store: ReviewStore) -> None:
    odd = Suspect(
        "f" * 16, 10**6, "label \0\n<b>é", ErrorKind.LOW_IOU, 0.123, "\0 ☂",
        Region("\ud800", Box(0.1, 0.2, 0.3, 0.4), 0.5), Region("", Box(1, 2, 3, 4)), 0.25,
    )  # fmt: skip
    kinds = [case(n, kind=kind) for n, kind in enumerate(ErrorKind)]
    stored = review(case(99, known=True), *kinds, Case(odd, known=False))
    store.put(stored)
    assert store.review(KEY) == stored
    assert store.review(OTHER) is None


def test_none_of_many_is_lost(store: ReviewStore) -> None:
    stored = review(*(case(n) for n in range(1501)))
    store.put(stored)
    assert store.review(KEY) == stored


def test_a_review_without_suspects_is_one(store: ReviewStore) -> None:
    store.put(review())
    assert store.review(KEY) == review()


def test_answers_are_kept_changed_and_taken_back(store: ReviewStore) -> None:
    store.put(review(case(1), case(2)))
    assert store.answer(KEY, name(1), verdict=True)
    assert [one.verdict for one in store.review(KEY).cases] == [True, None]  # type: ignore[union-attr]
    assert store.answer(KEY, name(1), verdict=False)
    assert store.case(KEY, name(1)) == replace(case(1), verdict=False)
    assert store.answer(KEY, name(1), verdict=None)
    assert store.answered(KEY) == []


@pytest.mark.parametrize(
    ("key", "case_id"),
    [(KEY, name(9)), (OTHER, name(1)), (KEY, ""), (KEY, name(1) + "0"), (KEY, "%"), ("", name(1))],
)
def test_what_is_not_asked_cannot_be_answered(store: ReviewStore, key: str, case_id: str) -> None:
    store.put(review(case(1)))
    assert not store.answer(key, case_id, verdict=True)
    assert store.case(key, case_id) is None
    assert store.answered(KEY) == []


def test_a_new_review_replaces_all_but_answers(store: ReviewStore) -> None:
    store.put(review(case(1), case(2), case(3), key=OTHER))
    store.put(review(case(1), case(2), case(3)))
    store.answer(KEY, name(1), verdict=True)
    store.answer(KEY, name(2), verdict=False)
    moved = replace(case(1), suspect=replace(case(1).suspect, score=0.1))
    store.put(review(case(4), moved, made_at=6.0))
    found = store.review(KEY)
    assert found is not None
    assert found.made_at == 6.0
    assert found.cases == (case(4), replace(moved, verdict=True))
    assert {one.suspect.id: one.verdict for one in store.answered(KEY)} == {
        name(1): True,
        name(2): False,
    }
    assert not store.answer(KEY, name(2), verdict=True)  # it is asked no more
    assert store.case(KEY, name(3)) is None
    assert len(store.review(OTHER).cases) == 3  # type: ignore[union-attr]


def test_what_is_dropped_is_gone_but_for_answers(store: ReviewStore) -> None:
    store.put(review(case(1), case(2)))
    store.answer(KEY, name(1), verdict=True)
    assert store.drop(KEY)
    assert not store.drop(KEY)
    assert store.review(KEY) is None
    assert [one.suspect.id for one in store.answered(KEY)] == [name(1)]
    store.put(review(case(1)))
    assert store.review(KEY).cases[0].verdict is True  # type: ignore[union-attr]


def test_the_tally_counts_suspects_of_the_last_review_and_known_cases_of_all(
    store: ReviewStore,
) -> None:
    known = [case(10 + n, known=n % 2 == 0) for n in range(6)]
    store.put(review(*(case(n) for n in range(4)), *known))
    assert store.tally(KEY) == Tally()
    for number, verdict in {
        0: True,
        1: True,
        2: False,
        10: True,
        12: False,
        11: True,
        13: False,
    }.items():
        store.answer(KEY, name(number), verdict=verdict)
    assert store.tally(KEY) == Tally(3, 2, 2, 1, 2, 1)
    store.put(review(case(1)))
    assert store.tally(KEY) == Tally(1, 1, 2, 1, 2, 1)
    assert store.tally(OTHER) == Tally()


def test_a_summary_has_the_next_and_the_last_answered_in_their_order(store: ReviewStore) -> None:
    assert store.summary(KEY, unanswered=2, answered=2) is None
    store.put(review(*(case(n) for n in range(8)), case(8, known=True)))
    for number in (0, 2, 4, 8):
        store.answer(KEY, name(number), verdict=number > 2)
    found = store.summary(KEY, unanswered=2, answered=2)
    assert found is not None
    assert [(one.task_id, one.verdict) for one in found.lines] == [
        (1, None), (3, None), (4, True), (8, True),
    ]  # fmt: skip
    assert (found.suspects, found.unanswered, found.judged, found.host) == (8, 5, 9, "http://ls")
    assert found.notes == ("an alarm ☂",)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_a_line_says_what_its_suspect_does(store: ReviewStore, kind: ErrorKind) -> None:
    one = suspect(3, kind)
    store.put(review(Case(one)))
    found = store.summary(KEY, unanswered=2, answered=2)
    assert found is not None
    (line,) = found.lines
    assert (line.headline, line.kind, line.iou) == (one.headline, kind, one.iou)


def test_two_stores_share_a_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    one, other = ReviewStore(settings), ReviewStore(settings)
    one.put(review(case(1)))
    assert other.answer(KEY, name(1), verdict=True)
    assert one.tally(KEY) == Tally(1, 1)
    one.close()
    other.close()


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    from pydantic import SecretStr

    url = "postgresql+psycopg://user:secret@127.0.0.1:1/x"
    with pytest.raises(StateError) as caught:
        ReviewStore(Settings(data_dir=tmp_path, database_url=SecretStr(url)))
    assert "secret" not in str(caught.value)


def test_scores_of_numpy_are_stored(store: ReviewStore) -> None:
    odd = replace(suspect(1), score=np.float64(0.5), iou=np.float64(0.25))
    store.put(review(Case(odd)))
    assert store.review(KEY).cases[0].suspect == odd  # type: ignore[union-attr]
