from __future__ import annotations

from dataclasses import replace

import pytest

from backends.interface import Control
from backends.yolo.targets import Kind, find_targets
from tests.backends.yolo.fakes import project

IMAGE = '<Image name="image" value="$image"/>'
LABEL = '<Label value="Car" model_index="0"/>'


def found(xml: str):
    return find_targets(project(xml).config, min_score=0.5)


def names(xml: str) -> list[str]:
    return [target.control.name for target in found(xml).targets]


def tag(name: str, attributes: str = "", kind: str = "RectangleLabels") -> str:
    return f'<{kind} name="{name}" toName="image" {attributes}>{LABEL}</{kind}>'


@pytest.mark.parametrize(
    ("control", "kind"),
    [
        ("RectangleLabels", Kind.BOX),
        ('RectangleLabels model_obb="true"', Kind.ROTATED_BOX),
        ("PolygonLabels", Kind.POLYGON),
        ("BrushLabels", Kind.MASK),
        ("BitmaskLabels", Kind.MASK),
        ("KeyPointLabels", Kind.POINTS),
    ],
)
def test_what_a_control_holds(control: str, kind: Kind) -> None:
    name = control.split()[0]
    xml = f'{IMAGE}<{control} name="c" toName="image">{LABEL}</{name}>'
    (target,) = found(xml).targets
    assert target.kind == kind
    assert target.labels is target.control


@pytest.mark.parametrize("control", ["Choices", "Taxonomy"])
def test_classes(control: str) -> None:
    xml = f'{IMAGE}<{control} name="c" toName="image"><Choice value="cat"/></{control}>'
    assert [target.kind for target in found(xml).targets] == [Kind.CLASS]


@pytest.mark.parametrize("shape", ["Rectangle", "Polygon", "Brush", "Bitmask"])
def test_a_pair_of_shape_and_labels(shape: str) -> None:
    xml = f"""{IMAGE}<{shape} name="s" toName="image" model_score_threshold="0.3"/>
    <Labels name="l" toName="image">{LABEL}</Labels>"""
    (target,) = found(xml).targets
    assert (target.control.name, target.labels.name) == ("s", "l")
    assert target.parameters.min_score == 0.3


def test_a_video_with_labels() -> None:
    xml = f"""<Video name="v" value="$v"/><VideoRectangle name="r" toName="v"/>
    <Labels name="l" toName="v">{LABEL}</Labels>"""
    (target,) = found(xml).targets
    assert (target.kind, target.labels.name, target.medium.data_key) == (Kind.TRACK, "l", "v")


def test_a_control_to_be_skipped() -> None:
    assert names(IMAGE + tag("a", 'model_skip="true"') + tag("b")) == ["b"]


def plain(name: str, attributes: str = "", kind: str = "RectangleLabels") -> str:
    """A control with nothing on it for a model."""
    return tag(name, attributes, kind).replace(' model_index="0"', "")


def test_a_prompt_tool_is_not_filled_beside_another_control() -> None:
    prompt = plain("prompt", 'smart="true"')
    assert names(IMAGE + prompt + tag("brush", kind="BrushLabels")) == ["brush"]
    assert names(IMAGE + prompt) == ["prompt"]  # nothing else could show what was found
    asked = tag("prompt", 'smart="true" model_score_threshold="0.3"')
    assert names(IMAGE + asked + tag("brush", kind="BrushLabels")) == ["prompt", "brush"]
    # Smart is the default: only the written attribute tells.
    assert names(IMAGE + tag("a") + tag("b", kind="BrushLabels")) == ["a", "b"]
    point = plain("point", 'smart="true"', "KeyPointLabels")
    assert names(IMAGE + point + prompt + tag("out", 'smart="false"')) == ["out"]


def test_points_that_are_no_skeletons_need_no_model() -> None:
    xml = IMAGE + plain("point", kind="KeyPointLabels") + tag("box")
    assert names(xml) == ["box"]
    assert found(xml).findings == ()
    xml = IMAGE + plain("point", 'model_path="pose.pt"', "KeyPointLabels")
    assert "no label says which point of the skeleton it is" in found(xml).findings[0]
    xml = IMAGE + tag("point", kind="KeyPointLabels").replace('"0"', '"nose"') + tag("box")
    assert names(xml) == ["box"]
    assert 'has model_index="nose" on its label "Car"' in found(xml).findings[0]


@pytest.mark.parametrize("control", ["Choices", "Taxonomy"])
def test_classes_of_single_regions_are_for_people(control: str) -> None:
    choices = f'<{control} name="c" toName="image" perRegion="true"><Choice value="a"/></{control}>'
    assert names(IMAGE + choices + tag("box")) == ["box"]


def test_where_the_boxes_around_points_go() -> None:
    points = tag("points", kind="KeyPointLabels")
    (target,) = found(IMAGE + points).targets
    assert target.boxes is None
    own = IMAGE + points + tag("points_bbox")
    assert names(own) == ["points"]  # no other model fills it
    assert found(own).targets[0].boxes.name == "points_bbox"
    skipped = IMAGE + points + tag("people", 'model_skip="true"')
    assert found(skipped).targets[0].boxes.name == "people"
    assert found(IMAGE + points + tag("cars")).targets[0].boxes is None
    without = tag("points", 'model_add_bboxes="false"', "KeyPointLabels")
    assert found(IMAGE + without + tag("points_bbox")).targets[0].boxes is None


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", 'add <Image name="image" value="$image"/>'),
        (IMAGE, 'add a control that YOLO can fill, such as <RectangleLabels name="box"'),
        (IMAGE + '<Rectangle name="r" toName="image"/>', 'add <Labels name="label" toName="image"'),
        (IMAGE + '<RectangleLabels name="r" toName="image"/>', "takes its labels from the tasks"),
        (IMAGE + '<Choices name="c" toName="image" value="$c"/>', "has no choices of its own"),
        (IMAGE + tag("b", 'model_imgsz="big"'), 'has model_imgsz="big": it is not pre-labelled'),
    ],
)
def test_what_keeps_a_control_empty_is_told_with_its_cure(xml: str, said: str) -> None:
    answer = found(xml)
    assert answer.targets == ()
    assert said in " ".join(answer.findings)


def test_a_bad_attribute_costs_only_its_control() -> None:
    xml = IMAGE + tag("a", 'model_iou="x"') + tag("b")
    assert names(xml) == ["b"]
    assert len(found(xml).findings) == 1


def test_thousands_of_controls_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Controls(tuple):
        walks = 0

        def __iter__(self):
            Controls.walks += 1
            return super().__iter__()

    def refuse(self: Control, other: object) -> bool:
        raise AssertionError("a comparison of all with all")

    monkeypatch.setattr(Control, "__eq__", refuse)
    config = project(
        IMAGE
        + "".join(tag(f"r{index}") for index in range(50))
        + "".join(f'<Rectangle name="p{index}" toName="image"/>' for index in range(50))
        + "".join(tag(f"k{index}", kind="KeyPointLabels") for index in range(50))
        + f'<Labels name="l" toName="image">{LABEL}</Labels>'
    ).config
    many = replace(config, controls=Controls(config.controls))
    assert len(find_targets(many, min_score=0.5).targets) == 150
    assert Controls.walks < 10
