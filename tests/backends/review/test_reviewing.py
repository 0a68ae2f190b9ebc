"""A review put together: what was answered, what is left out, whom it does not look at."""

from __future__ import annotations

from pathlib import Path

from backends.interface import Project
from backends.label_studio.label_xml import parse_label_config
from backends.review.judging import Found, found
from backends.review.reviewing import made_review, open_suspicion, without_audits
from backends.review.store import ReviewStore
from tests.backends.review.scenes import cat, judged, out_of_fold, suspect

KEY = "7.1795168884"
PICTURES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Kätzchen"/></RectangleLabels></View>"""
BOTH = PICTURES.replace(
    "</View>",
    '<Video name="v" value="$v"/><VideoRectangle name="r" toName="v"/>'
    '<Labels name="l" toName="v"><Label value="a"/></Labels></View>',
)


def project(config: str = PICTURES) -> Project:
    return Project(KEY, parse_label_config(config))


def test_it_counts_tasks_once_and_tells_what_was_not_judged(
    store: ReviewStore, tmp_path: Path
) -> None:
    scopes = [
        out_of_fold(judged(tmp_path, 1, [cat(20)]), judged(tmp_path, 2, []), problems={5: "gone"}),
        out_of_fold(judged(tmp_path, 1, [cat(90)]), problems={5: "gone too", 6: "away"}),
    ]
    made = made_review(project(BOTH), scopes, found(scopes, min_score=0.5), store, host="http://ls")
    assert (made.judged, made.problems) == (2, {5: "gone", 6: "away"})
    assert any("clips are not reviewed" in note for note in made.notes)
    assert made.version.startswith("review-")


def test_an_answer_changes_what_is_written_and_its_version(store: ReviewStore) -> None:
    result = Found((suspect(1), suspect(2)), {1: 0.5, 2: 0.4})
    first = made_review(project(), [out_of_fold()], result, store, host="")
    store.put(first)
    assert open_suspicion(result, first) == {1: 0.5, 2: 0.4}
    store.answer(KEY, suspect(1).id, verdict=False)
    store.answer(KEY, suspect(2).id, verdict=True)
    second = made_review(project(), [out_of_fold()], result, store, host="")
    assert [one.id for one in second.suspects] == [suspect(2).id]
    assert open_suspicion(result, second) == {2: 0.4}
    assert second.version != first.version
    assert made_review(project(), [out_of_fold()], result, store, host="").version == second.version


def test_audits_are_neither_asked_about_nor_planted(store: ReviewStore, tmp_path: Path) -> None:
    right = [judged(tmp_path, task, [cat(10 + task)]) for task in range(1, 31)]
    wrong = [judged(tmp_path, 100 + n, [], [cat(20, score=0.97)]) for n in range(2)]
    every = [out_of_fold(*right, *wrong)]
    audits = {100, *range(1, 16)}
    scopes, notes = without_audits(every, audits)
    made = made_review(project(), scopes, found(scopes, min_score=0.0), store, host="")
    assert {case.suspect.task_id for case in made.cases}.isdisjoint(audits)
    assert 101 in {one.task_id for one in made.suspects}
    assert made.judged == 16
    assert notes == ("16 tasks of audits and spot checks left out: they are to stay blind",)
    assert without_audits(every, {999}) == (every, ())
