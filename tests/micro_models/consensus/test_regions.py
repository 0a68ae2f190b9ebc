"""Regions joined: what belongs together, what is there, where it lies; nobody's day is spoiled."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.consensus.existence import Sightings, existence
from micro_models.consensus.fusing import fused
from micro_models.consensus.grouping import grouped
from micro_models.consensus.joining import join_regions
from micro_models.consensus.spread import spreads
from micro_models.evaluation.overlap import similarity
from micro_models.geometry import ellipse_to_mask, mask_to_polygons
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


def box(x: float, label: str = "Katze", *, size: float = 20, score: float = 1.0) -> Region:
    return Region(label, Box(x, 0, x + size, size), score)


def groups_of(
    *answers: list[Region], model: tuple[Region, ...] = ()
) -> list[tuple[tuple[int, float], ...]]:
    """Each group as (owner, x0), in order."""
    found = grouped(list(enumerate(answers)), model=model, model_owner=9)
    return sorted(
        tuple((found.owners[i], getattr(found.regions[i].shape, "x0", -1.0)) for i in group)
        for group in found.groups
    )


def test_one_of_each_person_and_the_most_alike_first() -> None:
    found = groups_of([box(0), box(4)], [box(1), box(5)])
    assert found == [((0, 0), (1, 1)), ((0, 4), (1, 5))]


def test_the_same_label_comes_before_the_same_place() -> None:
    person, shirt = Region("person", Box(0, 0, 20, 20)), Region("shirt", Box(0, 4, 20, 20))
    found = grouped([(0, [person, shirt]), (1, [Region("person", Box(0, 5, 20, 20))])])
    assert found.groups == ((0, 2), (1,))


def test_a_model_never_joins_what_people_drew_as_two() -> None:
    found = groups_of([box(0)], [box(9)], model=(box(4.5, score=0.9),))
    assert sum(len({owner for owner, _ in group} - {9}) == 2 for group in found) == 0
    assert len(found) == 2


def test_shapes_that_cannot_be_compared_stay_apart_and_nothing_is_nothing() -> None:
    assert len(groups_of([box(0)], [Region("Katze", Point(10, 10))])) == 2
    assert groups_of([], []) == []


def sightings(drew: list[list[int]], *, model: list[int] | None = None) -> Sightings:
    """Things by people: 1 drew it, 0 did not."""
    table = np.array(drew)
    things, people = (part.ravel() for part in np.indices(table.shape))
    bins = np.full(len(table), -1) if model is None else np.array(model)
    return Sightings(
        things,
        people,
        table.ravel().astype(float),
        np.zeros(len(table), np.int64),
        bins,
        table.shape[1],
        1,
    )


def test_who_invents_is_told_from_who_misses() -> None:
    # Twenty things that all drew, five that only the third drew, five that only he missed.
    drew = [[1, 1, 1, 1]] * 20 + [[0, 0, 1, 0]] * 5 + [[1, 1, 0, 1]] * 5
    found = existence(sightings(drew))
    assert found.there[:20].min() > 0.95
    assert found.there[20:25].max() < 0.2
    assert found.there[25:].min() > 0.9
    assert found.false_alarms[2, 0] > 0.1 > found.false_alarms[0, 0]
    assert 1 - found.hits[2, 0] > 1 - found.hits[0, 0]


def test_a_model_that_knows_settles_what_two_people_cannot() -> None:
    drew = [[1, 1]] * 30 + [[1, 0], [0, 1]] * 6
    silent = existence(sightings(drew))
    knows = existence(sightings(drew, model=[4] * 30 + [4] * 6 + [0] * 6))
    assert knows.there[30:36].min() > 0.5 > knows.there[36:].max() + 0.4
    assert 0.5 < silent.there[30] < 0.9
    rng = np.random.default_rng(0)
    guesses = existence(sightings(drew * 5, model=rng.integers(0, 5, 210).tolist()))
    assert np.abs(np.log(guesses.model_lift)).max() < 1.0
    assert np.log(knows.model_lift[4]) > 0


@pytest.mark.parametrize(
    "drew", [np.zeros((0, 2)), np.ones((1, 1)), np.ones((1, 2)), np.eye(2), np.ones((300, 2))]
)
def test_existence_of_little_is_finite(drew: np.ndarray) -> None:
    found = existence(sightings(drew.astype(int).tolist() or [[1, 1]]))
    assert np.isfinite(found.there).all()
    assert ((found.there >= 0) & (found.there <= 1)).all()


def test_spreads_find_who_draws_exactly() -> None:
    rng = np.random.default_rng(0)
    true = np.array([0.02, 0.05, 0.15, 0.1])
    pairs = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)] * 60)
    losses = np.abs(rng.normal(0, np.hypot(true[pairs[:, 0]], true[pairs[:, 1]])))
    found = spreads(pairs[:, 0], pairs[:, 1], losses, 5)
    assert found[:4].argsort().tolist() == true.argsort().tolist()
    assert found[:4] == pytest.approx(true, rel=0.5)
    assert np.isfinite(spreads(pairs[:0, 0], pairs[:0, 1], losses[:0], 2)).all()


TRUTHS: dict[str, Shape] = {
    "box": Box(50, 40, 110, 80),
    "rotated": RotatedBox(80, 60, 60, 30, 170),
    "ellipse": Ellipse(80, 60, 35, 15, 5),
    "mask": ellipse_to_mask(Ellipse(80, 60, 35, 20), width_px=160, height_px=120),
    "polygon": mask_to_polygons(
        ellipse_to_mask(Ellipse(80, 60, 35, 20), width_px=160, height_px=120)
    )[0],
    "point": Point(80, 60),
    "keypoints": Keypoints(
        np.array([[40, 30], [120, 40], [80, 90]], np.float32), np.ones(3, np.float32)
    ),
}


def redrawn(shape: Shape, error_px: float, rng: np.random.Generator) -> Shape:
    """As somebody draws it who is off by this many pixels."""
    dx, dy, da, db = rng.normal(0, error_px, 4)
    match shape:
        case Box():
            return Box(shape.x0 + dx, shape.y0 + dy, shape.x1 + da, shape.y1 + db)
        case RotatedBox():
            turned = rng.integers(2)  # the same box, written the other way round
            sides = shape.width_px + da, shape.height_px + db
            if turned:
                sides = sides[1], sides[0]
            return RotatedBox(
                shape.center_x + dx,
                shape.center_y + dy,
                *sides,
                shape.angle_deg + 90 * turned + 180 * rng.integers(2) + error_px * rng.normal(),
            )
        case Ellipse():
            return Ellipse(
                shape.center_x + dx,
                shape.center_y + dy,
                shape.radius_x + da,
                shape.radius_y + db,
                shape.angle_deg + error_px * rng.normal(),
            )
        case Mask() | Polygon():
            mask = ellipse_to_mask(
                Ellipse(80 + dx, 60 + dy, 35 + da, 20 + db), width_px=160, height_px=120
            )
            return mask if isinstance(shape, Mask) else mask_to_polygons(mask)[0]
        case Point():
            return Point(shape.x + dx, shape.y + dy)
        case Keypoints():
            moved = shape.points + rng.normal(0, error_px, shape.points.shape)
            return Keypoints(moved.astype(np.float32), shape.scores)
        case _:
            return shape


@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("people", [3, 5])
def test_what_is_joined_is_no_worse_than_the_best_single_one(name: str, people: int) -> None:
    rng = np.random.default_rng(11)
    errors = np.linspace(2, 4, people)
    together: list[float] = []
    singles: list[list[float]] = []
    for _ in range(12 if name == "polygon" else 40):
        drawn = [redrawn(TRUTHS[name], error, rng) for error in errors]
        joined = fused(drawn, 1 / errors**2)
        assert type(joined) is type(TRUTHS[name])
        together.append(similarity(joined, TRUTHS[name]))
        singles.append([similarity(one, TRUTHS[name]) for one in drawn])
    assert np.mean(together) > np.mean(singles, axis=0).max()


def test_one_who_is_far_off_is_not_listened_to() -> None:
    near = [Box(0, 0, 100, 50), Box(2, 1, 101, 51), Box(1, -1, 99, 49)]
    joined = fused([*near, Box(0, 0, 190, 50)], [1, 1, 1, 1])
    assert isinstance(joined, Box)
    assert joined.x1 == pytest.approx(100, abs=3)


@pytest.mark.parametrize(
    ("shapes", "weights", "expected"),
    [
        ([Box(0, 0, 10, 10)], [1], Box(0, 0, 10, 10)),
        ([Box(0, 0, 10, 10), Point(5, 5)], [1, 3], Point(5, 5)),
        ([Box(0, 0, 10, 10), Box(0, 0, 20, 10)], [3, 1], Box(0, 0, 12.5, 10)),
        ([Box(5, 5, 5, 5)] * 3, [1, 1, 1], Box(5, 5, 5, 5)),
        ([WholeImage(), WholeImage()], [1, 1], WholeImage()),
    ],
)
def test_odd_ones(shapes: list[Shape], weights: list[float], expected: Shape) -> None:
    assert fused(shapes, weights) == expected


def test_masks_of_nothing_and_of_other_sizes_do_no_harm() -> None:
    empty = Mask(np.zeros((20, 20), np.bool_))
    full = Mask(np.ones((20, 20), np.bool_))
    other = Mask(np.ones((5, 5), np.bool_))
    assert isinstance(fused([empty, empty], [1, 1]), Mask)
    joined = fused([full, full, other], [1, 1, 1])
    assert isinstance(joined, Mask)
    assert joined.area_px == 400
    with pytest.raises(ValueError, match="no shapes"):
        fused([], [])


def test_key_points_are_those_that_most_saw() -> None:
    points = np.array([[0, 0], [50, 0]], np.float32)
    seen = Keypoints(points, np.ones(2, np.float32))
    half = Keypoints(points + 2, np.array([1, 0], np.float32))
    joined = fused([seen, half, half], [1, 1, 1])
    assert isinstance(joined, Keypoints)
    assert joined.scores.tolist() == pytest.approx([1, 0])
    assert joined.points[0].tolist() == pytest.approx([4 / 3, 4 / 3], abs=1.0)


def test_joining_tells_labels_agreement_and_who_is_careless() -> None:
    rng = np.random.default_rng(2)
    answers = []
    for _ in range(40):
        xs = [0.0, 60.0, 120.0]
        careful = [box(x + rng.normal(0, 0.5)) for x in xs]
        also = [box(x + rng.normal(0, 0.5)) for x in xs]
        careless = [
            box(x + rng.normal(0, 3), "Hund" if rng.random() < 0.3 else "Katze")
            for x in xs
            if rng.random() < 0.6
        ]
        answers.append({0: careful, 1: also, 2: [*careless, box(200)]})
    found = join_regions(answers, n_people=3)
    for picture in found.pictures:
        shown = [one for one in picture if one.region.score >= 0.5]
        assert [one.region.label for one in shown] == ["Katze"] * 3
        assert all({0, 1} <= set(one.people) for one in shown)
    good, _, bad = found.annotators
    assert good.agreement is not None
    assert bad.agreement is not None
    assert good.agreement > bad.agreement
    assert good.low < good.agreement < good.high
    assert bad.misses["Katze"] > good.misses["Katze"] + 0.2
    assert bad.false_alarms["Katze"] > 0.2 > good.false_alarms["Katze"]
    assert found.model_lift is None


def test_a_model_is_one_more_annotator() -> None:
    answers = [{0: [box(0)], 1: [box(0), box(100)]} for _ in range(30)]
    sees = [[box(0, score=0.9), box(100, score=0.8)] if at % 2 else None for at in range(30)]
    with_it = join_regions(answers, n_people=2, model=sees)
    assert with_it.model_lift is not None
    judged, silent = with_it.pictures[1][1].region.score, with_it.pictures[0][1].region.score
    assert judged >= silent
    weak = [[box(300, score=0.4)]] * 30
    assert all(len(one) == 2 for one in join_regions(answers, n_people=2, model=weak).pictures)


@pytest.mark.parametrize(
    "answers",
    [[], [{}], [{0: []}], [{0: [], 1: []}], [{0: [box(0)], 1: []}], [{1: [box(0)]}]],
    ids=["none", "nobody", "one, nothing", "two, nothing", "they differ", "one"],
)
def test_few_answers_are_no_trouble(answers: list[dict[int, list[Region]]]) -> None:
    found = join_regions(answers, n_people=2)
    assert len(found.pictures) == len(answers)
    assert len(found.annotators) == 2
    assert all(0 <= one.region.score <= 1 for some in found.pictures for one in some)
    for answer, agreement in zip(answers, found.agreement, strict=True):
        assert (agreement is None) == (len(answer) < 2)
    assert not any(math.isnan(one.low) for one in found.annotators)


def test_classes_of_the_picture_are_voted_too() -> None:
    day, rain = Region("Tag", WholeImage()), Region("Regen", WholeImage())
    found = join_regions([{0: [day, rain], 1: [day], 2: [day]}] * 10, n_people=3)
    shown = [one.region.label for one in found.pictures[0] if one.region.score >= 0.5]
    assert shown == ["Tag"]
