"""From what models found to cases: nobody is asked twice, and nothing is lost between runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backends.micro.nouns import Scope, ScopeKind
from backends.micro.out_of_fold import OutOfFold
from backends.review.judging import MOST_ASKED, cases, found, suspect_id
from backends.review.nouns import Case
from micro_models.label_errors import ErrorKind
from micro_models.regions import Region, WholeImage
from tests.backends.review.scenes import cat, judged, out_of_fold, suspect


def labelled(folder: Path, *, extra: int = 0) -> OutOfFold:
    """Thirty pictures whose cat a model finds too, and `extra` whose cat nobody labelled."""
    right = [judged(folder, task, [cat(10 + task)]) for task in range(1, 31)]
    wrong = [judged(folder, 100 + n, [], [cat(20, score=0.97)]) for n in range(extra)]
    return out_of_fold(*right, *wrong)


def test_a_missing_label_is_the_surest_suspect(tmp_path: Path) -> None:
    result = found([labelled(tmp_path, extra=1)], min_score=0.0)
    best = result.suspects[0]
    assert (best.kind, best.task_id, best.region.label) == (ErrorKind.MISSING, 100, "Kätzchen")
    assert best.headline.startswith("Missing label: Kätzchen ")
    assert max(result.suspicion, key=lambda task: result.suspicion[task]) == 100
    assert result.suspicion.keys() == {*range(1, 31), 100}


def test_what_scores_less_is_left_out(tmp_path: Path) -> None:
    every = found([labelled(tmp_path, extra=2)], min_score=0.0).suspects
    limit = every[0].score
    surest = tuple(one for one in every if one.score >= limit)
    assert found([labelled(tmp_path, extra=2)], min_score=limit).suspects == surest
    assert found([labelled(tmp_path, extra=2)], min_score=1.0).suspects == ()


def test_of_two_scopes_a_task_has_the_higher_suspicion_and_notes_say_whose(tmp_path: Path) -> None:
    one = labelled(tmp_path, extra=1)
    other = replace(labelled(tmp_path), scope=Scope(ScopeKind.LABEL, ("box",), value="é"))
    alone, both = found([one], min_score=0.0), found([other, one], min_score=0.0)
    assert both.suspicion[100] == alone.suspicion[100]
    assert [s.score for s in both.suspects] == sorted(
        (s.score for s in both.suspects), reverse=True
    )


@pytest.mark.parametrize("scopes", [[], [out_of_fold()]])
def test_nothing_to_judge_is_nothing_found(scopes: list[OutOfFold]) -> None:
    result = found(scopes, min_score=0.0)
    assert result.suspects == ()
    assert cases(result.suspects, scopes, []) == ()


def test_one_picture_without_labels_is_judged_without_a_fault(tmp_path: Path) -> None:
    assert found([out_of_fold(judged(tmp_path, 1, [], []))], min_score=0.0).suspects == ()


def test_an_id_goes_by_the_label_not_by_scores() -> None:
    region = cat(10, score=0.9)
    name = suspect_id(5, ErrorKind.MISSING, region)
    assert name == suspect_id(5, ErrorKind.MISSING, replace(region, score=0.3))
    others = [
        suspect_id(6, ErrorKind.MISSING, region),
        suspect_id(5, ErrorKind.SPURIOUS, region),
        suspect_id(5, ErrorKind.MISSING, cat(11)),
        suspect_id(5, ErrorKind.MISSING, replace(region, label="Hund")),
        suspect_id(5, ErrorKind.MISSING, Region("Kätzchen", WholeImage())),
    ]
    assert len({name, *others}) == 6
    assert len(name) == 16


def test_answers_stay_with_what_they_are_about(tmp_path: Path) -> None:
    scopes = [labelled(tmp_path)]
    before = [
        Case(suspect(1, ErrorKind.MISSING), verdict=False),
        Case(suspect(2, ErrorKind.SPURIOUS), verdict=True),
        Case(replace(suspect(3, ErrorKind.MISSING), id="a" * 16), known=False, verdict=False),
    ]
    drawn_a_little_off = replace(suspect(1), id="b" * 16, suggested=cat(28))
    elsewhere = replace(suspect(1), id="c" * 16, suggested=cat(120))
    of_another_task = replace(suspect(9), id="d" * 16)
    like_a_known_one = replace(suspect(3), id="e" * 16)
    now = [
        drawn_a_little_off, elsewhere, of_another_task, like_a_known_one,
        suspect(2, ErrorKind.SPURIOUS),
    ]  # fmt: skip
    asked = {one.suspect.id: one for one in cases(now, scopes, before) if one.known is None}
    verdicts = {name: one.verdict for name, one in asked.items()}
    assert verdicts == {
        f"{1:016x}": False,
        "c" * 16: None,
        "d" * 16: None,
        "e" * 16: None,
        f"{2:016x}": True,
    }
    assert asked[f"{1:016x}"].suspect.suggested == cat(28)  # what the new model draws


def test_two_suggestions_of_what_was_answered_are_one_case(tmp_path: Path) -> None:
    before = [Case(suspect(1), verdict=True)]
    now = [replace(suspect(1), id=f"{n}" * 16, suggested=cat(25 + n)) for n in (3, 4)]
    real = [one for one in cases(now, [labelled(tmp_path)], before) if one.known is None]
    assert len(real) == 1


def test_known_cases_are_mixed_in_and_the_same_labels_give_the_same_cases(tmp_path: Path) -> None:
    scopes = [labelled(tmp_path)]
    real = [suspect(100 + n, score=0.5 + n / 100) for n in range(40)]
    asked = cases(real, scopes, [])
    known = [one for one in asked if one.known is not None]
    assert len(known) == 10
    assert [one.known for one in known].count(True) == 5
    assert asked == cases(real, scopes, [])
    places = [n for n, one in enumerate(asked) if one.known is not None]
    assert places != list(range(places[0], places[0] + len(places)))
    assert {one.suspect.id for one in known}.isdisjoint(one.id for one in real)


def test_none_of_many_suspects_is_planted_as_right(tmp_path: Path) -> None:
    regions = {n: cat(10 + n % 90, 10 + n // 90) for n in range(MOST_ASKED + 20)}
    scopes = [out_of_fold(*(judged(tmp_path, n, [one]) for n, one in regions.items()))]
    every = [
        replace(suspect(n, ErrorKind.SPURIOUS, 0.9 - n / 1000), given=one)
        for n, one in regions.items()
    ]
    assert [one for one in cases(every, scopes, []) if one.known is not None] == []
