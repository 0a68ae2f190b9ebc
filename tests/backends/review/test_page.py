"""What the page shows of a review: known cases like all others, and an order that stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backends.review import store as store_module
from backends.review.nouns import Case, Review, Tally
from backends.review.page import OPEN_SHOWN, page, told
from backends.review.store import ReviewStore
from micro_models.label_errors import ErrorKind
from tests.backends.review.scenes import suspect

KEY = "7.1795168884"


def put(store: ReviewStore, *cases: Case, host: str = "http://ls/") -> None:
    store.put(Review(KEY, "review-0123456789", 5.0, 9, cases, ("an alarm",), {}, host))


def test_nothing_before_the_first_review(store: ReviewStore) -> None:
    assert page(store, KEY) is None


def test_a_row_says_what_where_and_how_surely(store: ReviewStore) -> None:
    put(store, Case(suspect(31, ErrorKind.LOW_IOU, 0.885)))
    shown = page(store, KEY)
    assert shown is not None
    (row,) = shown.cases
    assert (row.headline, row.details, row.answer) == ("Low IoU: 88.5%", "task 31, IoU 0.50", "")
    assert row.task == "http://ls/projects/7/data?task=31"
    assert row.picture == f"../reviews/{KEY}/{31:016x}.jpg?v=review-0123456789"
    assert (shown.suspects, shown.judged, shown.notes) == (1, 9, ["an alarm"])


def test_known_cases_look_like_all_others(store: ReviewStore) -> None:
    put(store, Case(suspect(1)), Case(suspect(2), known=True), Case(suspect(3), known=False))
    shown = page(store, KEY)
    assert shown is not None
    assert [row.task_id for row in shown.cases] == [1, 2, 3]
    assert "known" not in str(shown.cases)
    assert shown.suspects == 1


@pytest.mark.parametrize("kind", [ErrorKind.WRONG_LABEL, ErrorKind.MISSING])
def test_only_what_is_about_an_iou_tells_one(store: ReviewStore, kind: ErrorKind) -> None:
    put(store, Case(replace(suspect(1, kind), iou=1.0), known=True))
    assert page(store, KEY).cases[0].details == "task 1"  # type: ignore[union-attr]


def test_why_a_label_that_fits_is_one_too_many(store: ReviewStore) -> None:
    put(store, Case(replace(suspect(1, ErrorKind.SPURIOUS), iou=0.934)))
    (row,) = page(store, KEY).cases  # type: ignore[union-attr]
    assert row.details == "task 1, one thing labelled twice: IoU 0.93 with another label"


def test_no_shape_is_decoded_for_a_look(
    store: ReviewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, *(Case(suspect(n)) for n in range(5)))
    monkeypatch.setattr(store_module, "from_json", None)  # a mask is megabytes
    assert len(page(store, KEY).cases) == 5  # type: ignore[union-attr]


def test_a_browser_asks_for_the_picture_of_a_new_suggestion(store: ReviewStore) -> None:
    seen = set()
    for version in ("review-1", "review-2"):
        store.put(Review(KEY, version, 5.0, 9, (Case(suspect(1)),)))
        seen.add(page(store, KEY).cases[0].picture)  # type: ignore[union-attr]
    assert len(seen) == 2


@pytest.mark.parametrize("host", ["", "javascript:alert(1)//", "ftp://ls"])
def test_a_link_runs_nothing(store: ReviewStore, host: str) -> None:
    put(store, Case(suspect(1)), host=host)
    assert page(store, KEY).cases[0].task == ""  # type: ignore[union-attr]


def test_what_is_answered_stays_in_its_place_and_the_next_ones_come(store: ReviewStore) -> None:
    put(store, *(Case(suspect(n)) for n in range(OPEN_SHOWN + 5)))
    store.answer(KEY, f"{0:016x}", verdict=True)
    store.answer(KEY, f"{3:016x}", verdict=False)
    shown = page(store, KEY)
    assert shown is not None
    assert [row.task_id for row in shown.cases] == list(range(OPEN_SHOWN + 2))
    assert [row.answer for row in shown.cases[:4]] == ["wrong", "", "", "right"]
    assert shown.more == 3


def test_the_lines_tell_shares_and_the_corrected_number() -> None:
    lines = told(Tally(100, 60, 50, 10, 50, 0))
    assert lines[0] == "60 of 100 suspects answered were called wrong"
    assert lines[1].startswith("truly wrong among them: about 50 (95% interval ")
    assert lines[2].startswith("of 50 right labels mixed in, 10 were called wrong: 20% (")
    assert lines[3].startswith("of 50 errors mixed in, 0 were called right: 0% (0% to ")


@pytest.mark.parametrize("tally", [Tally(1, 1), Tally(0, 0, 1, 0), Tally(0, 0, 0, 0, 1, 1)])
def test_few_answers_tell_no_number(tally: Tally) -> None:
    assert "cannot be told yet" in told(tally)[1]


def test_no_answer_at_all() -> None:
    assert told(Tally()) == ["no case is answered yet"]
