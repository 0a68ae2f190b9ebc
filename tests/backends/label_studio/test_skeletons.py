import pytest

from backends.label_studio.annotations import read_annotation
from backends.label_studio.config import parse_label_config
from micro_models.regions import Box, Keypoints, Point
from tests.backends.label_studio.annotated import (
    SIZE_PX,
    box,
    config,
    key_point,
    point,
    rectangle,
)

POSE = ("nose", "eye", "ear")
SKELETON = config(
    '<RectangleLabels name="rectangle" toName="image"><Label value="Dog"/></RectangleLabels>'
    '<KeyPointLabels name="keypoint" toName="image">'
    + "".join(f'<Label value="{name}"/>' for name in POSE)
    + "</KeyPointLabels>"
)


def hung(label, x, parent="r", **more):
    return key_point(label, name=f"{label}{x}", x=x, y=20, **more) | {"parentID": parent}


def test_points_that_hang_on_a_rectangle_are_its_skeleton():
    results = [hung("ear", 30), hung("nose", 10), hung("nose", 10), rectangle("Dog"),
               rectangle("Dog", name="bare", x=50), hung("eye", 60, parent="nobody")]  # fmt: skip
    reading = read_annotation(results, SKELETON, size_px=SIZE_PX)
    skeleton, bare, eye = reading.regions
    assert (skeleton.label, bare, eye) == ("Dog", box("Dog", 100, 20, 160, 60), point("eye", 120))
    assert isinstance(skeleton.shape, Keypoints)
    assert skeleton.shape.points.tolist() == [[20, 20], [0, 0], [60, 20]]
    assert skeleton.shape.scores.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "results",
    [
        [hung("nose", 10), hung("nose", 20)],
        [hung("nose", 10) | {"from_name": "other"}],
    ],
)
def test_points_that_are_no_skeleton_stay_points(results):
    reading = read_annotation([rectangle("Dog"), *results], SKELETON, size_px=SIZE_PX)
    assert [type(region.shape) for region in reading.regions] == [Box] + [Point] * len(results)


def test_a_control_with_one_label_has_no_skeleton():
    results = [rectangle("Dog"), hung("nose", 10)]
    label_config = parse_label_config(SKELETON.text.replace('<Label value="eye"/>', "")
                                      .replace('<Label value="ear"/>', ""))  # fmt: skip
    reading = read_annotation(results, label_config, size_px=SIZE_PX)
    assert reading.regions == (box("Dog"), point("nose"))
