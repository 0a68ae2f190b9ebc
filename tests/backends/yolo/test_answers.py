from __future__ import annotations

import numpy as np
import pytest

from backends.interface import PlacedRegion
from backends.yolo.answers import certainty, regions, track_certainty, tracks
from backends.yolo.plan import Filling, plan, prepare
from backends.yolo.targets import find_targets
from micro_models.detections import Detection, DetectorTask, Outline
from micro_models.regions import Box, Keypoints, Mask, Point, Polygon, RotatedBox, WholeImage
from micro_models.tracks import KeyFrame, Track
from tests.backends.yolo.fakes import FakeDetector, box, project

IMAGE = '<Image name="image" value="$image"/>'
SIZE = (100, 60)


def filling(
    xml: str, task: DetectorTask = DetectorTask.DETECT, control: str | None = None
) -> Filling:
    targets = find_targets(project(IMAGE + xml).config, min_score=0.5).targets
    (run,) = plan(targets, lambda _: "x.pt")
    found = prepare(run, FakeDetector((), task=task)).fillings
    return next(one for one in found if control in (None, one.target.control.name))


def placed(one: Filling, *seen: Detection, key: str = "1") -> list[PlacedRegion]:
    return regions(one, seen, task_key=key, size_px=SIZE, tolerance_px=1.0)


def labels(tag: str, attributes: str = "") -> str:
    return (
        f'<{tag} name="c" toName="image" {attributes}><Label value="Person"/>'
        f'<Label value="Car"/></{tag}>'
    )


def test_boxes_are_cut_at_the_edge_and_dropped_off_it() -> None:
    found = placed(
        filling(labels("RectangleLabels")),
        box("person", 0.9, -5, -5, 20, 70),
        box("car", 0.8, 120, 0, 150, 30),
        box("car", 0.7, 30, 30, 30, 50),
    )
    assert [(one.region.label, one.region.shape) for one in found] == [
        ("Person", Box(0, 0, 20, 60))
    ]


def test_weak_ones_and_other_classes_are_left_out() -> None:
    found = placed(
        filling(labels("RectangleLabels", 'model_classes="car" model_max_det="1"')),
        box("person", 0.9),
        box("car", 0.8),
        box("car", 0.7),
        box("car", 0.4),
    )
    assert [(one.region.label, one.region.score) for one in found] == [("Car", 0.8)]


def test_ids_are_stable_and_differ() -> None:
    one = filling(labels("RectangleLabels"))
    first = [region.id for region in placed(one, box("car", 0.9), box("car", 0.8))]
    assert len(set(first)) == 2
    assert [region.id for region in placed(one, box("car", 0.9), box("car", 0.8))] == first
    assert {region.id for region in placed(one, box("car", 0.9), key="2")}.isdisjoint(first)


def test_oriented_boxes() -> None:
    turned = RotatedBox(50, 30, 40, 10, 30)
    seen = (
        Detection("car", 0.9, rotated=turned),
        Detection("car", 0.8, rotated=RotatedBox(50, 90, 40, 10, 30)),
        Detection("car", 0.7, rotated=RotatedBox(50, 30, 0, 10, 30)),
    )
    oriented = filling(labels("RectangleLabels", 'model_obb="true"'), DetectorTask.OBB)
    assert [one.region.shape for one in placed(oriented, *seen)] == [turned]
    upright = filling(labels("RectangleLabels"), DetectorTask.OBB)
    shape = placed(upright, seen[0])[0].region.shape
    assert (shape.x0, shape.y1) == pytest.approx((30.18, 44.33), abs=0.01)


def blob(*boxes: tuple[int, int, int, int]) -> Detection:
    values = np.zeros((60, 100), np.float32)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 1
    return Detection("car", 0.9, Box(0, 0, 100, 60), outline=Outline(values, *SIZE))


def test_masks_and_polygons_in_parts() -> None:
    seen = blob((10, 10, 30, 30), (50, 10, 60, 20))
    polygons = placed(filling(labels("PolygonLabels"), DetectorTask.SEGMENT), seen)
    assert [type(one.region.shape) for one in polygons] == [Polygon, Polygon]
    assert len({one.id for one in polygons}) == 2
    for tag in ("BrushLabels", "BitmaskLabels"):
        (whole,) = placed(filling(labels(tag), DetectorTask.SEGMENT), seen)
        assert isinstance(whole.region.shape, Mask)
        assert whole.region.shape.area_px == 500
    assert placed(filling(labels("BrushLabels"), DetectorTask.SEGMENT), blob()) == []
    assert placed(filling(labels("PolygonLabels"), DetectorTask.SEGMENT), blob()) == []
    boxes = placed(filling(labels("RectangleLabels"), DetectorTask.SEGMENT), seen)
    assert [one.region.shape for one in boxes] == [Box(0, 0, 100, 60)]


POINTS = """<KeyPointLabels name="points" toName="image" model_point_threshold="0.5"
model_point_size="2"><Label value="nose" predicted_values="person" model_index="0"/>
<Label value="hand" predicted_values="person" model_index="2"/></KeyPointLabels>"""
PERSON = Detection(
    "person",
    0.9,
    Box(10, 10, 40, 50),
    keypoints=Keypoints(
        np.array([[20, 15], [25, 15], [130, 30]], np.float32),
        np.array([0.8, 0.9, 0.6], np.float32),
    ),
)


def around_box(label: str) -> str:
    rectangles = 'RectangleLabels name="points_bbox" toName="image"'
    return f'<{rectangles}><Label value="{label}"/></RectangleLabels>'


def test_points_hang_on_their_box() -> None:
    around, nose, hand = placed(filling(POINTS + around_box("Person"), DetectorTask.POSE), PERSON)
    assert (around.control, around.region.label, around.region.score) == (
        "points_bbox",
        "Person",
        0.9,
    )
    assert around.region.shape == Box(10, 10, 40, 50)
    assert (nose.region.label, nose.region.shape, nose.parent) == ("nose", Point(20, 15), around.id)
    assert nose.region.score == pytest.approx(0.8)
    assert nose.width_percent == 2.0  # of 100 px
    assert hand.region.shape == Point(100, 30)  # on the image


def test_a_point_is_never_wider_than_its_image() -> None:
    wide = POINTS.replace('model_point_size="2"', 'model_point_size="1000"')
    found = placed(filling(wide, DetectorTask.POSE), PERSON)
    assert [one.width_percent for one in found] == [100.0, 100.0]


def test_points_without_a_box_for_them() -> None:
    for xml in (POINTS, POINTS + around_box("dog")):
        found = placed(filling(xml, DetectorTask.POSE), PERSON)
        assert [(one.region.label, one.parent) for one in found] == [("nose", None), ("hand", None)]


def test_points_that_are_not_seen_are_left_out() -> None:
    hidden = Detection(
        "person",
        0.9,
        Box(10, 10, 40, 50),
        keypoints=Keypoints(np.zeros((3, 2), np.float32), np.array([0, 1, 0.4], np.float32)),
    )
    assert placed(filling(POINTS, DetectorTask.POSE), hidden) == []
    no_threshold = POINTS.replace('model_point_threshold="0.5"', "")
    assert len(placed(filling(no_threshold, DetectorTask.POSE), hidden)) == 1
    weak = Detection("person", 0.4, PERSON.box, keypoints=PERSON.keypoints)
    assert placed(filling(POINTS, DetectorTask.POSE), weak) == []


def choices(attributes: str = "") -> Filling:
    return filling(
        f'<Choices name="c" toName="image" {attributes}><Choice value="Human" '
        'predicted_values="person"/><Choice value="Vehicle" predicted_values="car,traffic light"/>'
        "</Choices>",
        DetectorTask.CLASSIFY,
    )


def classes(**scores: float) -> list[Detection]:
    return [Detection(name.replace("_", " "), score) for name, score in scores.items()]


def test_one_choice_is_the_best_one() -> None:
    found = placed(choices(), *classes(person=0.3, car=0.6, traffic_light=0.55))
    assert [(one.region.label, one.region.score) for one in found] == [("Vehicle", 0.6)]
    assert isinstance(found[0].region.shape, WholeImage)
    assert placed(choices(), *classes(person=0.45, car=0.4)) == []


def test_many_choices_are_all_above_the_threshold_each_once() -> None:
    found = placed(choices('choice="multiple"'), *classes(traffic_light=0.8, person=0.6, car=0.7))
    assert [(one.region.label, one.region.score) for one in found] == [
        ("Vehicle", 0.8),
        ("Human", 0.6),
    ]


def test_how_sure_boxes_are() -> None:
    one = filling(labels("RectangleLabels"))
    assert certainty(one, []) == 1.0
    assert certainty(one, [box("car", 0.75), box("person", 1.0)]) == pytest.approx(0.5)
    assert certainty(one, [box("car", 0.45)]) == pytest.approx(0.2)  # a near miss
    assert certainty(one, [box("traffic light", 0.5)]) == 1.0  # nobody asked for it


def test_how_sure_a_choice_is() -> None:
    # Two classes of one label do not compete with each other.
    assert certainty(choices(), classes(car=0.5, traffic_light=0.4, person=0.1)) == pytest.approx(
        0.4
    )
    assert certainty(choices(), classes(car=0.5, dog=0.45)) == pytest.approx(0.05)
    many = choices('choice="multiple"')
    assert certainty(many, classes(car=0.9, person=0.55)) == pytest.approx(0.1)


def test_tracks_under_the_projects_labels() -> None:
    xml = """<Video name="v" value="$v"/><VideoRectangle name="way" toName="v"/>
    <Labels name="l" toName="v"><Label value="Car"/></Labels>"""
    one = filling(xml)
    key = (KeyFrame(0, Box(0, 0, 5, 5)),)
    found = [Track("car", key, 0.625), Track("person", key, 0.3)]
    (way,) = tracks(one, found, task_key="1")
    assert (way.track.label, way.control) == ("Car", "way")
    assert track_certainty(one, found) == pytest.approx(0.5)
    assert track_certainty(one, []) == 1.0
