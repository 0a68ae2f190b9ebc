from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backends.interface import PlacedRegion, Prediction
from backends.label_studio.annotations import read_annotation
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from backends.micro.controls import MIN_POINT_SCORE, Controls, placed_tracks
from backends.micro.nouns import Scope, ScopeKind
from micro_models.evaluation.overlap import similarity
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
from micro_models.tracks import KeyFrame, Track

SIZE_PX = (200, 100)
TOOLS = ("Rectangle", "Brush", "Bitmask", "Polygon", "Ellipse", "KeyPoint")
LABELS = '<Label value="Кот"/><Label value="Dog"/>'
BOX = Box(20, 20, 80, 60)


def config(*controls: str):
    body = "".join(
        f'<{one}Labels name="{one.lower()}" toName="image">{LABELS}</{one}Labels>'
        if one in TOOLS
        else f'<{one} name="{one.lower()}" toName="image"/>'
        if one.islower()
        else one
        for one in controls
    )
    return parse_label_config(f'<View><Image name="image" value="$image"/>{body}</View>')


BONES = (
    '<KeyPointLabels name="bones" toName="image">'
    '<Label value="nose"/><Label value="ear"/><Label value="tail"/></KeyPointLabels>'
)
DAY = '<Choices name="day" toName="image"><Choice value="Dog"/><Choice value="night"/></Choices>'
TREE = (
    '<Taxonomy name="tree" toName="image"><Choice value="Animals"><Choice value="Кот"/></Choice>'
    '<Choice value="x"/></Taxonomy>'
)


def there_and_back(found, regions, size_px=SIZE_PX):
    placed = Controls(found).placed(regions, task_key="7", size_px=size_px)
    prediction = Prediction(tuple(placed), 0.5, "micro-1", *size_px)
    item = encode_prediction(prediction, found)
    reading = read_annotation(item["result"], found, size_px=size_px)
    assert reading.problems == ()
    return reading.regions


def mask(x0: int, x1: int) -> Mask:
    pixels = np.zeros((SIZE_PX[1], SIZE_PX[0]), np.bool_)
    pixels[10:50, x0:x1] = True
    return Mask(pixels)


def skeleton(*scores: float) -> Keypoints:
    points = np.array([(30, 30), (60, 33), (45, 70)], np.float32)
    return Keypoints(points, np.array(scores, np.float32))


@pytest.mark.parametrize(
    ("controls", "shape"),
    [
        (["Rectangle"], BOX),
        (["Brush", "Rectangle"], BOX),
        (["Rectangle"], RotatedBox(90, 50, 60, 30, 25)),
        (["Brush"], mask(20, 90)),
        (["Bitmask"], mask(20, 90)),
        (["Polygon"], Polygon(np.array([(10, 10), (90, 15), (50, 80)], np.float32))),
        (["Ellipse"], Ellipse(90, 50, 40, 20, 30)),
        (["KeyPoint"], Point(33, 44)),
        (["Rectangle", BONES], skeleton(1, 1, 1)),
        ([BONES, "Rectangle"], skeleton(1, 0, 1)),
        (["Rectangle", BONES], skeleton(0, 1, 0)),
        (['<Rectangle name="r" toName="image"/>', f'<Labels name="l" toName="image">{LABELS}</Labels>'], BOX),  # noqa: E501
        (['<Brush name="r" toName="image"/>', f'<Labels name="l" toName="image">{LABELS}</Labels>'], mask(5, 9)),  # noqa: E501
        ([DAY], WholeImage()),
    ],
)  # fmt: skip
def test_what_is_answered_is_read_again(controls: list[str], shape: Shape) -> None:
    (back,) = there_and_back(config(*controls), [Region("Dog", shape, 0.75)])
    assert back.label == "Dog"
    assert type(back.shape) is type(shape)
    if isinstance(shape, Keypoints) and isinstance(back.shape, Keypoints):
        np.testing.assert_array_equal(back.shape.scores, shape.scores)
        seen = shape.scores > 0
        np.testing.assert_allclose(back.shape.points[seen], shape.points[seen], atol=1e-3)
    else:
        assert similarity(back.shape, shape) > 0.999


def test_several_of_all_kinds_come_back() -> None:
    every = config(*TOOLS, BONES, DAY, TREE)
    regions = [
        Region("Кот", BOX),
        Region("Dog", Box(100, 20, 150, 90)),
        Region("Dog", mask(20, 40)),
        Region("Кот", mask(60, 90)),
        Region("Кот", Point(5, 5)),
        Region("Dog", skeleton(1, 1, 0)),
        Region("night", WholeImage()),
        Region("Animals/Кот", WholeImage()),
        Region("x", WholeImage()),
    ]
    back = there_and_back(every, regions)
    kinds = sorted((one.label, type(one.shape).__name__) for one in regions)
    assert sorted((one.label, type(one.shape).__name__) for one in back) == kinds


def test_of_classes_that_exclude_each_other_the_best_is_given() -> None:
    found = [Region("Dog", WholeImage(), 0.6), Region("night", WholeImage(), 0.8)]
    assert [one.label for one in there_and_back(config(DAY), found)] == ["night"]
    many = config(DAY.replace('toName="image"', 'toName="image" choice="multiple"'))
    assert len(there_and_back(many, found)) == 2
    assert Controls(config(DAY)).one_of(["Dog", "night", "other"]) == [{"Dog", "night"}]
    assert Controls(many).one_of(["Dog", "night"]) == []


@pytest.mark.parametrize(
    "shape",
    [
        Box(-30, 10, -5, 50),
        Box(10, 10, 10, 50),
        RotatedBox(20, 20, 0, 9, 5),
        Mask(np.zeros((100, 200), np.bool_)),
        Ellipse(300, 50, 9, 9),
        Point(-3, 5),
        skeleton(0, 0.1, 0),
        Keypoints(np.ones((4, 2), np.float32), np.ones(4, np.float32)),  # nobody has four points
    ],
)
def test_what_nobody_could_see_is_left_out(shape: Shape) -> None:
    every = Controls(config(*TOOLS, BONES))
    assert every.placed([Region("Dog", shape)], task_key="1", size_px=SIZE_PX) == []


def test_what_no_control_knows_is_left_out() -> None:
    only_boxes = Controls(config("Rectangle"))
    for region in (Region("bird", BOX), Region("Dog", mask(1, 9)), Region("Dog", WholeImage())):
        assert only_boxes.holder(region) is None
        assert only_boxes.placed([region], task_key="1", size_px=SIZE_PX) == []


def test_points_that_are_doubtful_or_off_the_image() -> None:
    bones = Controls(config("Rectangle", BONES))
    points = np.array([(-4, 30), (60, 30), (500, 500)], np.float32)
    scores = np.array([0.9, MIN_POINT_SCORE, MIN_POINT_SCORE - 0.01], np.float32)
    whole, nose, ear = bones.placed(
        [Region("Dog", Keypoints(points, scores))], task_key="1", size_px=SIZE_PX
    )
    assert (nose.region.label, nose.region.shape) == ("nose", Point(0, 30))
    assert ear.region.label == "ear"
    assert nose.parent == ear.parent == whole.id
    assert whole.control == "rectangle"
    box = whole.region.shape
    assert isinstance(box, Box)
    assert (box.x0, box.x1) == (0, pytest.approx(66.4))


def test_an_answer_that_is_repeated_has_the_same_ids() -> None:
    every = Controls(config(*TOOLS, BONES))
    regions = [Region("Dog", BOX), Region("Dog", BOX), Region("Dog", skeleton(1, 1, 1))]

    def ids(key: str) -> list[str]:
        return [one.id for one in every.placed(regions, task_key=key, size_px=SIZE_PX)]

    assert ids("1") == ids("1")
    assert len(set(ids("1") + ids("2"))) == 2 * len(ids("1")) == 12


def test_what_is_smart_is_there_to_ask_with() -> None:
    smart = '<RectangleLabels name="ask" toName="image" smart="true"><Label value="Dog"/></RectangleLabels>'  # noqa: E501
    region = Region("Dog", BOX)
    plain = Controls(config(smart, "Rectangle")).holder(region)
    alone = Controls(config(smart, "Brush")).holder(region)
    assert plain is not None
    assert alone is not None
    assert (plain.name, alone.name) == ("rectangle", "ask")
    only = config(smart.replace("smart=", "smartOnly="), "Brush")
    assert Controls(only).holder(region) is None


def test_a_model_learns_what_its_controls_hold() -> None:
    every = Controls(config(*TOOLS, DAY))
    boxes = Scope(ScopeKind.PROJECT, ("rectangle", "day"))
    dogs = replace(boxes, kind=ScopeKind.LABEL, labels=frozenset({"Dog"}))
    table = [
        (Region("Dog", BOX), True, True),
        (Region("Кот", BOX), True, False),
        (Region("Dog", WholeImage()), True, True),
        (Region("Dog", mask(1, 9)), False, False),
        (Region("bird", BOX), False, False),
    ]
    for region, in_boxes, in_dogs in table:
        assert every.belongs(region, boxes) is in_boxes
        assert every.belongs(region, dogs) is in_dogs


def test_the_second_image_is_not_meant() -> None:
    two = parse_label_config(
        '<View><Image name="a" value="$a"/><Image name="b" value="$b"/>'
        f'<RectangleLabels name="box" toName="b,a">{LABELS}</RectangleLabels></View>'
    )
    (placed,) = Controls(two).placed([Region("Dog", BOX)], task_key="1", size_px=SIZE_PX)
    assert placed == PlacedRegion(placed.id, Region("Dog", BOX), "box", to_name="a")
    item = encode_prediction(Prediction((placed,), 1.0, "micro-1", *SIZE_PX), two)
    assert item["result"][0]["to_name"] == "a"


def test_tracks_go_to_their_control() -> None:
    video = parse_label_config(
        '<View><Video name="v" value="$v"/><VideoRectangle name="t" toName="v"/>'
        f'<Labels name="l" toName="v">{LABELS}</Labels></View>'
    )
    tracks = [Track(label, (KeyFrame(0, BOX),)) for label in ("Dog", "bird", "Кот")]
    placed = placed_tracks(tracks, video, to_name="v", task_key="3")
    assert [(one.track.label, one.control) for one in placed] == [("Dog", "t"), ("Кот", "t")]
    assert placed == placed_tracks(tracks, video, to_name="v", task_key="3")
    assert placed_tracks(tracks, video, to_name="other", task_key="3") == []
