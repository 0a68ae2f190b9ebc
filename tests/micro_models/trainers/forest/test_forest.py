"""What the forest finds after a few trees on drawn pictures."""

import numpy as np
import pytest

from micro_models.budget import Budget, Progress
from micro_models.evaluation.overlap import similarity
from micro_models.examples import Example
from micro_models.geometry import ellipse_to_mask, polygon_to_mask, rotated_box_to_mask
from micro_models.interface import ModelFileError, State
from micro_models.regions import (
    Box,
    Ellipse,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.trainers.forest import ForestTrainer, trees
from micro_models.trainers.forest.objects import kinds_of, objects_of
from micro_models.trainers.forest.sight import sight_for
from micro_models.trainers.forest.views import View

WIDTH, HEIGHT = 96, 80
FEW = Budget(steps=12)


def shape_at(kind: str, x: float, y: float) -> Shape:
    corners = np.array([[x - 12, y - 9], [x + 12, y - 9], [x, y + 12]], np.float32)
    size = {"width_px": WIDTH, "height_px": HEIGHT}
    match kind:
        case "Box":
            return Box(x - 12, y - 9, x + 12, y + 9)
        case "RotatedBox":
            return RotatedBox(x, y, 26, 14, 30)
        case "Ellipse":
            return Ellipse(x, y, 14, 9, 20)
        case "Polygon":
            return Polygon(corners)
        case "Mask":
            return polygon_to_mask(Polygon(corners), **size)
        case "Point":
            return Point(x, y)
        case _:
            return Keypoints(corners, np.ones(3, np.float32))


def picture(kind: str, x: float, y: float, *, seed: int) -> Example:
    shape = shape_at(kind, x, y)
    pixels = np.random.default_rng(seed).integers(90, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    size = {"width_px": WIDTH, "height_px": HEIGHT}
    match shape:
        case Box():
            pixels[int(shape.y0) : int(shape.y1), int(shape.x0) : int(shape.x1)] = (200, 60, 40)
        case RotatedBox():
            pixels[rotated_box_to_mask(shape, **size).pixels] = (200, 60, 40)
        case Ellipse():
            pixels[ellipse_to_mask(shape, **size).pixels] = (200, 60, 40)
        case Polygon():
            pixels[polygon_to_mask(shape, **size).pixels] = (200, 60, 40)
        case Mask():
            pixels[shape.pixels] = (200, 60, 40)
        case Point():
            pixels[ellipse_to_mask(Ellipse(x, y, 4, 4), **size).pixels] = (200, 60, 40)
        case Keypoints():
            for (px, py), colour in zip(shape.points, np.eye(3) * 230, strict=True):
                pixels[ellipse_to_mask(Ellipse(px, py, 4, 4), **size).pixels] = colour
    return Example(Image(pixels), [Region("thing", shape)])


KINDS = ["Box", "RotatedBox", "Ellipse", "Polygon", "Mask", "Point", "Keypoints"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_shape_is_found_where_it_was_not_before(kind):
    places = [(30, 30), (60, 40), (40, 55), (66, 26)]
    examples = [picture(kind, x, y, seed=n) for n, (x, y) in enumerate(places)]
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    unseen = picture(kind, 50, 36, seed=9)
    best = model.detect([unseen.picture])[0][0]
    assert best.label == "thing"
    assert type(best.shape).__name__ == kind
    assert similarity(best.shape, unseen.regions[0].shape) > 0.6


def by_colour(colours: dict[str, tuple[int, int, int]], seed: int) -> Image:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 120, (32, 40, 3)).astype(np.uint8)
    for number, colour in enumerate(colours.values()):
        pixels[8 * number : 8 * number + 8] = colour
    return Image(pixels)


RED, BLUE = {"red": (220, 30, 30)}, {"blue": (30, 30, 220)}


def of_classes(*all_colours: dict[str, tuple[int, int, int]]) -> list[Example]:
    return [
        Example(by_colour(colours, seed), [Region(label, WholeImage()) for label in colours])
        for seed, colours in enumerate(all_colours)
    ]


def chances(examples: list[Example], image: Image) -> dict[str, float]:
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    return {region.label: region.score for region in model.detect([image])[0]}


def test_exclusive_classes_share_one():
    found = chances(of_classes(RED, RED, BLUE, BLUE), by_colour(RED, 9))
    assert found["red"] > 0.6
    assert sum(found.values()) == pytest.approx(1)


def test_classes_that_were_seen_together_are_told_apart_one_by_one():
    examples = of_classes(RED, BLUE, RED | BLUE, {}, RED, BLUE, RED | BLUE, {})
    both, none = chances(examples, by_colour(RED | BLUE, 9)), chances(examples, by_colour({}, 9))
    assert min(both.values()) > 0.5 > max(none.values())


def test_a_class_without_another_is_as_likely_as_it_was():
    assert chances(of_classes(RED, RED), by_colour(BLUE, 9)) == {"red": pytest.approx(5 / 6)}


def test_pictures_without_a_class_are_examples_of_none():
    found = chances(of_classes(RED, RED, {}, BLUE, BLUE, {}), by_colour({}, 9))
    assert max(found.values()) < 0.5


def test_every_class_is_given_however_unlikely():
    examples = of_classes(RED, RED, BLUE, BLUE)
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    found = model.detect([by_colour(RED, 9)], min_score=0.9)[0]
    assert {region.label for region in found} == {"red", "blue"}


def arrow(label: str, seed: int, *, whole: bool) -> Example:
    """A triangle that points to the left or to the right."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 120, (48, 64, 3)).astype(np.uint8)
    x, y = rng.integers(16, 20, 2) if whole else (rng.integers(0, 36), rng.integers(0, 24))
    for column in range(20):
        half = 10 * (20 - column if label == "right" else column + 1) // 20
        pixels[y + 12 - half : y + 12 + half, x + 4 + column] = (230, 220, 40)
    shape = WholeImage() if whole else Box(x + 4, y + 2, x + 24, y + 22)
    return Example(Image(pixels), [Region(label, shape)])


@pytest.mark.parametrize("whole", [True, False])
def test_labels_that_are_mirror_images_are_told_apart(whole):
    examples = [arrow(("left", "right")[n % 2], n, whole=whole) for n in range(10)]
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    unseen = [arrow(("left", "right")[n % 2], 50 + n, whole=whole) for n in range(10)]
    found = model.detect([example.picture for example in unseen])
    best = [max(regions, key=lambda region: region.score).label for regions in found]
    assert best == [example.labels[0] for example in unseen]


@pytest.mark.parametrize("kinds", [["Box", "Class", "Class"], ["Class", "Box", "Box"]])
def test_a_label_is_answered_in_one_kind_of_shape(kinds):
    boxed = picture("Box", 30, 30, seed=0)
    regions = [
        boxed.regions[0] if kind == "Box" else Region("thing", WholeImage()) for kind in kinds
    ]
    model = ForestTrainer().fit([Example(boxed.picture, regions)], budget=FEW, seed=0)
    found = {type(region.shape) for region in model.detect([boxed.picture])[0]}
    assert found == {WholeImage if kinds[0] == "Box" else Box}


def test_skeletons_without_points_are_found_as_such():
    boxed = picture("Box", 30, 30, seed=0)
    bare = Region("thing", Keypoints(np.zeros((0, 2), np.float32), np.zeros(0, np.float32)))
    examples = [Example(boxed.picture, [*boxed.regions, bare, bare])]
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    best = model.detect([boxed.picture])[0][0]
    assert isinstance(best.shape, Keypoints)
    assert len(best.shape.points) == 0


def test_who_writes_into_a_state_does_not_change_the_model():
    examples = [picture("Box", 30, 30, seed=0), *of_classes(RED, BLUE)]
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    for array in model.state().arrays.values():
        array[...] = 0
    assert all(array.any() for array in model.state().arrays.values())


def test_of_many_pictures_it_looks_at_as_many_as_there_is_time_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("micro_models.budget.time.monotonic", lambda: now[0])

    def takes(seconds, work):
        def slow(*given, **named):
            now[0] += seconds
            return work(*given, **named)

        return slow

    monkeypatch.setattr(View, "image", takes(0.01, View.image))
    monkeypatch.setattr(trees, "grown", takes(0.02, trees.grown))
    examples = [picture("Box", 30, 30, seed=n) for n in range(60)]
    examples[7] = Example(examples[7].picture, [Region("rare", Box(40, 40, 60, 60))])
    model = ForestTrainer().fit(examples, budget=Budget(seconds=0.5), seed=0)
    assert model.labels == ("rare", "thing")
    assert len(model.state().arrays["located.roots"]) > 5
    assert 0.4 < now[0] <= 0.55


def test_same_seed_and_steps_give_the_same_arrays():
    examples = [picture("Box", 30, 30, seed=0), picture("Box", 60, 40, seed=1)]
    first, same, other = (
        ForestTrainer().fit(examples, budget=FEW, seed=seed).state().arrays for seed in (3, 3, 4)
    )
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not np.array_equal(first["located.threshold"], other["located.threshold"])


def test_restored_model_finds_the_same():
    examples = [picture("Mask", 30, 30, seed=0), *of_classes(RED, BLUE)]
    model = ForestTrainer().fit(examples, budget=FEW, seed=0)
    again = ForestTrainer().restore(model.state())
    images = [example.picture for example in examples]
    scores = [
        [(region.label, region.score) for region in found]
        for each in (model, again)
        for found in each.detect(images)
    ]
    assert scores[:3] == scores[3:]
    assert again.labels == ("blue", "red", "thing")


def test_a_step_is_a_tree():
    told: list[Progress] = []
    examples = [picture("Box", 30, 30, seed=0)]
    for steps in (1, 5):
        told.clear()
        ForestTrainer().fit(examples, budget=Budget(steps=steps), seed=0, told=told.append)
        assert [progress.step for progress in told] == list(range(1, steps + 1))


def test_it_stops_when_told_to():
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ForestTrainer().fit([picture("Box", 30, 30, seed=0)], budget=FEW, seed=0, told=stop)


def test_without_any_time_it_has_a_tree_all_the_same():
    budget = Budget(seconds=1e-9)
    model = ForestTrainer().fit([picture("Box", 30, 30, seed=0)], budget=budget, seed=0)
    assert len(model.state().arrays["located.roots"]) == 1


def broken(state: State, part: str, **settings: object) -> State:
    return State({**state.settings, part: {**state.settings[part], **settings}}, state.arrays)


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        ("located", {"kinds": []}),
        ("located", {"kinds": [["thing", "Blob", 0]]}),
        ("located", {"kinds": [["thing", "Box", 0], ["more", "Box", 0]]}),
        ("located", {"cell_px": 0}),
        ("located", {"cell_px": float("nan")}),
        ("located", {"margin": 1}),
        ("located", {"margin": "wide"}),
        ("whole", {"labels": ["red"]}),
        ("whole", {"exclusive": None}),
    ],
)
def test_settings_that_no_training_made_are_refused(part, settings):
    examples = [picture("Box", 30, 30, seed=0), *of_classes(RED, BLUE)]
    state = ForestTrainer().fit(examples, budget=Budget(steps=1), seed=0).state()
    with pytest.raises(ModelFileError):
        ForestTrainer().restore(broken(state, part, **settings))


def test_a_state_of_something_else_is_refused():
    for state in (State({}, {}), State({"forest": 1, "located": 3}, {})):
        with pytest.raises(ModelFileError, match="no state of a forest"):
            ForestTrainer().restore(state)


def test_cells_are_small_enough_for_the_smallest_label():
    pixels = np.zeros((480, 640, 3), np.uint8)
    large = [Region("large", Box(x, 100, x + 100, 200)) for x in (0, 100, 200, 300, 400, 500)]
    some = [large, [*large, Region("small", Box(50, 300, 90, 340))]]
    examples = [Example(Image(pixels), regions) for regions in some]
    cells = [
        sight_for([objects_of(one.picture, one.regions, kinds_of([one]))]).cell(640, 480)
        for one in examples
    ]
    assert cells[1] <= 40 / 5 < cells[0]


def test_a_speck_on_forty_megapixels_keeps_the_cells_few():
    pixels = np.zeros((5200, 7700, 3), np.uint8)
    example = Example(Image(pixels), [Region("speck", Box(100, 100, 103, 103))])
    objects = objects_of(example.picture, example.regions, kinds_of([example]))
    cell = sight_for([objects]).cell(7700, 5200)
    assert 5200 * 7700 / cell**2 < 2e6
