"""Known cases: their answers are certain, and nothing but the answer tells them from suspects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.micro.out_of_fold import Judged
from backends.review.nouns import Case
from backends.review.planting import known_cases
from micro_models.evaluation.overlap import bounds, similarity
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Ellipse, Mask, Point, Polygon, Region, RotatedBox, WholeImage
from tests.backends.review.scenes import SIZE, cat, judged, suspect

RIGHT = {
    "box": Box(60, 50, 100, 80),
    "turned": RotatedBox(80, 70, 40, 20, 30),
    "ellipse": Ellipse(80, 70, 20, 12),
    "polygon": Polygon(np.array([[60, 50], [100, 50], [80, 85]], np.float32)),
    "mask": Mask(np.pad(np.ones((30, 40), np.bool_), ((50, 70), (60, 100)))),
    "point": Point(80, 70),
}


def pictures(folder: Path, *, count: int = 12) -> list[tuple[str, Judged]]:
    return [
        ("project", judged(folder, task, [cat(20 + task), cat(120, 90, label="Hund")]))
        for task in range(1, count + 1)
    ]


def made(
    some: list[tuple[str, Judged]], kind: ErrorKind, *, number: int = 8, seed: int = 0
) -> list[Case]:
    rng = np.random.default_rng(seed)
    like = [suspect(900 + n, kind, 0.5 + n / 10) for n in range(4)]
    return known_cases(some, like, number=number, rng=rng)


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_half_of_them_are_errors_of_the_kind_that_is_looked_for(
    tmp_path: Path, kind: ErrorKind
) -> None:
    some = pictures(tmp_path)
    given = {one.task_id: one.given for _, one in some}
    found = made(some, kind)
    assert [one.known for one in found] == [True, False] * 4
    for case in found:
        one, is_wrong = case.suspect, case.known
        right = given[one.task_id]
        assert one.kind is kind
        assert 0.5 <= one.score <= 0.8
        match kind:
            case ErrorKind.MISSING:
                assert one.given is None
                assert (one.suggested in right) is is_wrong
            case ErrorKind.SPURIOUS:
                assert one.suggested is None
                assert (one.given in right) is not is_wrong
            case _:
                assert one.given is not None
                assert one.suggested is not None
                assert (one.given in right) is not is_wrong
                assert (one.suggested in right) is is_wrong
        if kind is ErrorKind.LOW_IOU:
            assert one.iou is not None
            assert 0.2 < one.iou < 0.8
        else:
            assert one.iou is None  # 1.00 would tell that it is planted


@pytest.mark.parametrize("kind", [ErrorKind.MISSING, ErrorKind.SPURIOUS])
def test_what_is_put_on_empty_ground_touches_nothing_and_is_in_the_picture(
    tmp_path: Path, kind: ErrorKind
) -> None:
    some = pictures(tmp_path)
    seen = {one.task_id: [*one.given, *one.found] for _, one in some}
    for case in made(some, kind, number=20):
        if case.known is (kind is ErrorKind.SPURIOUS):
            box = bounds(case.suspect.region.shape)
            others = [r.shape for r in seen[case.suspect.task_id]]
            assert all(similarity(box, other) == 0 for other in others)
            assert box.x0 >= 0 <= box.y0
            assert (box.x1, box.y1) <= SIZE


@pytest.mark.parametrize("shape", RIGHT.values(), ids=RIGHT)
@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_shape_can_be_planted(tmp_path: Path, shape: Box, kind: ErrorKind) -> None:
    labels = ["a", "b"] * 4
    some = [
        ("project", judged(tmp_path, n, [Region(label, shape)])) for n, label in enumerate(labels)
    ]
    found = made(some, kind, number=4)
    assert len(found) == 4
    assert {type(one.suspect.region.shape) for one in found} == {type(shape)}


def test_of_classes_the_label_is_what_can_be_wrong(tmp_path: Path) -> None:
    some = [
        ("project", judged(tmp_path, n, [Region(label, WholeImage())]))
        for n, label in enumerate(["ant", "bee"] * 6)
    ]
    found = made(some, ErrorKind.WRONG_LABEL, number=6)
    for case in found:
        one = case.suspect
        assert one.given is not None
        truth = ["ant", "bee"][one.task_id % 2]
        assert (one.given.label != truth) is case.known
    assert len(found) == 6
    assert made(some, ErrorKind.LOW_IOU) == []  # a class lies nowhere


@pytest.mark.parametrize(
    "found",
    [[], [cat(120, 90)], [cat(21, score=0.2)], [cat(21, label="Hund", score=0.9)]],
    ids=["nothing", "elsewhere", "unsure", "something else"],
)
def test_what_model_and_people_do_not_agree_on_is_not_certain(
    tmp_path: Path, found: list[Region]
) -> None:
    assert made([("project", judged(tmp_path, 1, [cat(21)], found))], ErrorKind.MISSING) == []


def test_what_is_under_suspicion_is_not_certain(tmp_path: Path) -> None:
    doubted = suspect(1, ErrorKind.SPURIOUS)
    assert doubted.given is not None
    some = [("project", judged(tmp_path, 1, [doubted.given]))]
    assert known_cases(some, [doubted], number=4, rng=np.random.default_rng(0)) == []


def test_what_is_doubted_but_not_asked_about_yet_is_not_certain(tmp_path: Path) -> None:
    doubted = suspect(1, ErrorKind.SPURIOUS)
    assert doubted.given is not None
    some = [("project", judged(tmp_path, 1, [doubted.given]))]
    asked, rng = [suspect(9, ErrorKind.MISSING)], np.random.default_rng(0)
    assert len(known_cases(some, asked, number=1, rng=rng)) == 1
    assert known_cases(some, asked, number=1, rng=rng, doubted=[doubted]) == []


def test_one_label_alone_cannot_be_another(tmp_path: Path) -> None:
    some = [("project", judged(tmp_path, n, [cat(20)])) for n in range(6)]
    assert made(some, ErrorKind.WRONG_LABEL) == []


def test_a_picture_that_is_gone_costs_only_what_needs_it(tmp_path: Path) -> None:
    gone = [("project", Judged(n, tmp_path / "gone.png", (cat(20),), (cat(20, score=0.9),)))
            for n in range(6)]  # fmt: skip
    assert [one.known for one in made(gone, ErrorKind.MISSING)] == [True]
    assert made(gone, ErrorKind.LOW_IOU) == []
