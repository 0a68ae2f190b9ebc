"""Whole lists of labels in which it is known what is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from micro_models.label_errors import ErrorKind, Findings, LabelError, find_label_errors
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

IMAGES, EACH = 30, 4
Answers = list[list[Region]]


def box(x: float, y: float) -> Box:
    return Box(x - 12, y - 9, x + 12, y + 9)


def turned(x: float, y: float) -> RotatedBox:
    return RotatedBox(x, y, 24, 18, 30)


def ellipse(x: float, y: float) -> Ellipse:
    return Ellipse(x, y, 12, 9, 20)


def polygon(x: float, y: float) -> Polygon:
    corners = [(x - 12, y - 9), (x + 12, y - 9), (x + 8, y + 9), (x - 8, y + 9)]
    return Polygon(np.array(corners, np.float32))


def mask(x: float, y: float) -> Mask:
    pixels = np.zeros((60, 240), np.bool_)
    pixels[max(int(y) - 9, 0) : int(y) + 9, max(int(x) - 12, 0) : int(x) + 12] = True
    return Mask(pixels)


def skeleton(x: float, y: float) -> Keypoints:
    points = np.array([(x - 12, y), (x, y - 9), (x + 12, y)], np.float32)
    return Keypoints(points, np.ones(3, np.float32))


def point(x: float, y: float) -> Point:
    return Point(x, y)


def first(findings: Findings, kind: ErrorKind) -> LabelError:
    return next(one for one in findings.errors if one.kind is kind)


SHAPES = [box, turned, ellipse, polygon, mask, skeleton, point]


def world(made=box, *, seed: int = 0, shy: float = 1.0) -> tuple[Answers, Answers]:
    """Right labels of cars and buses, and a model that finds nearly all of them, and too much."""
    rng = np.random.default_rng(seed)
    given: Answers = []
    found: Answers = []
    for _ in range(IMAGES):
        labels = rng.choice(["car", "bus"], EACH)
        places = [(30 + 60 * n, 30) for n in range(EACH)]
        given.append([Region(str(a), made(*p)) for a, p in zip(labels, places, strict=True)])
        answer = []
        for region, (x, y) in zip(given[-1], places, strict=True):
            dx, dy = rng.normal(0, 0.4 if made is skeleton else 1.2, 2)
            sure = rng.uniform(0.7, 0.97) if rng.random() < 0.95 else rng.uniform(0.1, 0.3)
            answer.append(Region(region.label, made(x + dx, y + dy), shy * float(sure)))
        if rng.random() < 0.3:
            answer.append(Region("car", made(60, 50), shy * float(rng.uniform(0.05, 0.3))))
        found.append(sorted(answer, key=lambda one: -one.score))
    return given, found


@pytest.mark.parametrize("made", SHAPES, ids=lambda made: made.__name__)
def test_every_kind_of_error_in_every_shape_is_found(made) -> None:
    given, found = world(made)
    for answer, labels in zip(found[:4], given[:4], strict=True):
        answer[:] = [replace(one, score=0.96) for one in labels]
    gone = given[0].pop(1)
    given[1].append(Region("car", made(215, 8) if made is not mask else made(225, 10)))
    shift = {point: 13, skeleton: 4}.get(made, 7)
    given[2][2] = replace(given[2][2], shape=made(30 + 120 + shift, 30))
    right = given[3][0]
    given[3][0] = replace(right, label="bus" if right.label == "car" else "car")

    findings = find_label_errors(given, found)

    missing, spurious = first(findings, ErrorKind.MISSING), first(findings, ErrorKind.SPURIOUS)
    assert (missing.example, missing.index, missing.given) == (0, None, None)
    assert missing.suggested is not None
    assert missing.suggested.label == gone.label
    assert (spurious.example, spurious.index, spurious.suggested) == (1, EACH, None)
    low = first(findings, ErrorKind.LOW_IOU)
    assert (low.example, low.index) == (2, 2)
    assert low.iou is not None
    assert 0.1 <= low.iou < 0.75
    wrong = first(findings, ErrorKind.WRONG_LABEL)
    assert (wrong.example, wrong.index) == (3, 0)
    assert wrong.suggested is not None
    assert wrong.suggested.label == right.label
    # One list: the four planted ones come before what is right.
    assert {one.example for one in findings.errors[:4]} == {0, 1, 2, 3}
    assert np.argsort(findings.suspicion)[-4:].min() < 4


def test_right_labels_are_not_accused() -> None:
    given, found = world()
    findings = find_label_errors(given, found)
    assert all(one.score < 0.5 for one in findings.errors)
    assert findings.notes == ()


@pytest.mark.parametrize("shy", [1.0, 0.5, 0.1])
def test_shy_models_rank_as_well(shy: float) -> None:
    given, found = world(shy=shy)
    del given[7][0]
    found[7] = [Region(found[7][0].label, box(30, 30), 0.97 * shy)]
    given[7] = given[7][:0]
    best = find_label_errors(given, found).errors[0]
    assert (best.kind, best.example) == (ErrorKind.MISSING, 7)
    assert best.score > 0.2


def test_a_picture_without_labels_is_judged() -> None:
    given, found = world()
    given[5] = []
    findings = find_label_errors(given, found)
    assert int(np.argmax(findings.suspicion)) == 5
    some = [one for one in findings.errors if one.example == 5]
    assert {one.kind for one in some} == {ErrorKind.MISSING}


def test_a_kind_that_a_picture_lacks_altogether_was_left_out() -> None:
    given, found = world()
    lacking = [5, 11]
    for number in lacking:
        found[number] = [replace(one, label="car", score=0.45) for one in found[number]]
        found[number] += [Region("car", box(30 + 60 * n, 8), 0.45) for n in range(EACH)]
        given[number] = []
    suspicion = np.array(find_label_errors(given, found).suspicion)
    assert sorted(np.argsort(-suspicion)[:2].tolist()) == lacking


def test_errors_are_sorted_and_each_region_is_accused_once() -> None:
    given, found = world()
    given[3][1] = replace(given[3][1], label="van")
    findings = find_label_errors(given, found)
    scores = [one.score for one in findings.errors]
    assert scores == sorted(scores, reverse=True)
    places = [(o.example, o.index) for o in findings.errors if o.index is not None]
    assert len(places) == len(set(places))
    for example, told in enumerate(findings.suspicion):
        expected = sum(one.score**2 for one in findings.errors if one.example == example)
        assert told == pytest.approx(expected / (1 + expected))


@pytest.mark.parametrize(
    "empty",
    [
        Box(5, 5, 5, 9),
        RotatedBox(5, 5, 0, 9, 45),
        Ellipse(5, 5, 0, 3),
        Polygon(np.array([[0, 0], [5, 5], [9, 9]], np.float32)),
        Mask(np.zeros((60, 240), np.bool_)),
        Keypoints(np.zeros((3, 2), np.float32), np.zeros(3, np.float32)),
    ],
    ids=lambda shape: type(shape).__name__,
)
def test_what_has_no_extent_is_spurious(empty: Shape) -> None:
    given, found = world()
    given[2].insert(1, Region("car", empty))
    findings = find_label_errors(given, found)
    best = findings.errors[0]
    assert (best.kind, best.example, best.index) == (ErrorKind.SPURIOUS, 2, 1)
    assert best.given is given[2][1]
    # The indices of the others are those of the whole list.
    assert all(one.given is given[one.example][one.index] for one in findings.errors if one.given)


def test_one_of_two_labels_of_one_thing_is_spurious() -> None:
    given, found = world()
    twin = given[4][2]
    given[4].append(replace(twin, shape=box(30 + 120 + 1, 31)))
    best = find_label_errors(given, found).errors[0]
    assert (best.kind, best.example) == (ErrorKind.SPURIOUS, 4)
    assert best.index in (2, EACH)
    assert "labelled twice" in best.reason
    assert best.iou is not None
    assert best.iou >= 0.7


def test_pairs_are_no_twins_where_things_come_in_pairs() -> None:
    given, found = world()
    pairs = [
        [*some, *(replace(one, shape=box(*_middle(one, 2))) for one in some)] for some in given
    ]
    answers = [
        [*some, *(replace(one, shape=box(*_middle(one, 2))) for one in some)] for some in found
    ]
    errors = find_label_errors(pairs, answers).errors
    assert all(one.score < 0.5 for one in errors)


def _middle(region: Region, away: float) -> tuple[float, float]:
    shape = region.shape
    assert isinstance(shape, Box)
    return (shape.x0 + shape.x1) / 2 + away, (shape.y0 + shape.y1) / 2


def test_constant_scores_are_an_alarm() -> None:
    given, found = world()
    same = [[replace(one, score=0.5) for one in some] for some in found]
    notes = find_label_errors(given, same).notes
    assert any("same score" in note and "car" in note for note in notes)
    assert not any("same score" in note for note in find_label_errors(given, found).notes)


def test_scores_that_mislead_are_an_alarm() -> None:
    given, found = world()
    mislead = [[replace(one, score=1 - one.score) for one in some] for some in found]
    assert any("surer the model is of car" in n for n in find_label_errors(given, mislead).notes)
    assert find_label_errors(given, found).notes == ()


def test_a_model_that_finds_nothing_is_an_alarm_and_accuses_nobody() -> None:
    given, _ = world()
    findings = find_label_errors(given, [[] for _ in given])
    assert any("finds only 0 of" in note for note in findings.notes)
    assert all(one.score < 0.2 for one in findings.errors)


def test_what_was_not_looked_at_is_not_judged() -> None:
    given, found = world()
    findings = find_label_errors(given, [None, *found[1:]])
    assert findings.suspicion[0] == 0
    assert any("not looked at" in note for note in findings.notes)


def test_few_labels_are_said_to_be_few() -> None:
    given, found = world()
    given[0][0] = replace(given[0][0], label="Köter 🐕")
    assert any("only 1 Köter 🐕" in note for note in find_label_errors(given, found).notes)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], []),
        ([[]], [[]]),
        ([[]], [None]),
        ([[Region("car", box(30, 30))]], [[]]),
        ([[]], [[Region("car", box(30, 30), 0.9)]]),
        ([[Region("car", box(30, 30))]], [[Region("car", box(30, 30), 0.9)]]),
        ([[Region("day", WholeImage())]], [[Region("day", WholeImage(), 0.9)]]),
        ([[Region("day", WholeImage())], []], [None, [Region("day", WholeImage(), 0.9)]]),
    ],
)
def test_next_to_nothing_is_judged_without_a_word_too_many(given: Answers, found: Answers) -> None:
    findings = find_label_errors(given, found)
    assert len(findings.suspicion) == len(given)
    assert all(one.score < 0.6 for one in findings.errors)


def test_lists_have_to_fit() -> None:
    with pytest.raises(ValueError, match="2 examples need as many answers"):
        find_label_errors([[], []], [[]])


def test_the_same_question_gets_the_same_answer() -> None:
    given, found = world(seed=3)
    assert find_label_errors(given, found) == find_label_errors(given, found)


def test_a_given_region_comes_with_its_index() -> None:
    with pytest.raises(ValueError, match="index"):
        LabelError(ErrorKind.SPURIOUS, 0, 0.5, Region("a", Point(1, 1)), None, None, None, "")


def test_a_part_of_what_is_labelled_is_not_missing() -> None:
    rng = np.random.default_rng(0)
    given = [[Region("car", box(30 + 60 * n, 30)) for n in range(EACH)] for _ in range(IMAGES)]
    found = [[replace(one, score=float(rng.uniform(0.7, 0.97))) for one in some] for some in given]
    for number, answer in enumerate(found):
        # Half of what is labelled, found once more.
        x = 30 + 60 * (number % EACH)
        half = replace(box(x, 30), x1=float(x - 1))
        answer.append(Region("car", half, float(rng.uniform(0.7, 0.97))))
    del given[7][0]
    missing = find_label_errors(given, found).errors
    assert (missing[0].kind, missing[0].example) == (ErrorKind.MISSING, 7)
    assert missing[0].suggested == found[7][0]
    assert all(one.score < missing[0].score / 2 for one in missing[1:])


def test_labels_that_overlap_each_other_may_still_be_missing() -> None:
    given, found = world()
    found[7] = [replace(one, score=0.96) for one in given[7]]
    pairs, answers = ([[*some, *map(_half_off, some)] for some in all_] for all_ in (given, found))
    gone = pairs[7].pop(EACH)
    best = find_label_errors(pairs, answers).errors[0]
    assert (best.kind, best.example) == (ErrorKind.MISSING, 7)
    assert best.suggested == replace(gone, score=0.96)


def _half_off(region: Region) -> Region:
    x, y = _middle(region, 0)
    return replace(region, shape=box(x + 12, y))


def test_what_is_small_is_often_overlooked_and_what_is_large_is_not() -> None:
    rng = np.random.default_rng(0)
    halves = (14, 15, 3, 4)
    given = [[_car(30 + 60 * n, half) for n, half in enumerate(halves)] for _ in range(80)]
    found = [[*some[:2], *(one for one in some[2:] if rng.random() < 0.6)] for some in given]
    given[9].append(_car(60, 16))
    given[11].append(_car(60, 2))
    best, *others = find_label_errors(given, found).errors
    assert (best.kind, best.example, best.index) == (ErrorKind.SPURIOUS, 9, EACH)
    assert all(one.score < best.score / 2 for one in others)


def _car(x: float, half_px: float) -> Region:
    return Region("car", Box(x - half_px, 30 - half_px, x + half_px, 30 + half_px), 0.9)
