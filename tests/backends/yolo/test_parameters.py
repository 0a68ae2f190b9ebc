from __future__ import annotations

import pytest

from backends.errors import BadLabelConfig
from backends.interface import Control
from backends.yolo.parameters import (
    Parameters,
    asks_for_a_model,
    is_skipped,
    listed,
    point_indexes,
    read_parameters,
)


def control(tag: str = "RectangleLabels", **attributes: str) -> Control:
    return Control(tag, "box", "image", ("Car",), attributes)


def test_without_attributes_everything_has_a_default() -> None:
    assert read_parameters(control(), min_score=0.4) == Parameters(min_score=0.4)


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        ({"model_path": "best.pt"}, "model", "best.pt"),
        ({"model_path": " "}, "model", None),
        ({"model_score_threshold": "0.05"}, "min_score", 0.05),
        ({"model_score_threshold": "0"}, "min_score", 0.0),
        ({"model_score_threshold": ""}, "min_score", 0.5),
        ({"score_threshold": "0.1"}, "min_score", 0.1),
        ({"score_threshold": "0.1", "model_score_threshold": "0.2"}, "min_score", 0.2),
        ({"model_conf": "0.3"}, "min_score", 0.3),
        ({"Model_Conf": "0.3"}, "min_score", 0.3),
        ({"model_skip": "true"}, "skip", True),
        ({"model_skip": "1"}, "skip", True),
        ({"model_skip": "Yes"}, "skip", True),
        ({"model_skip": "false"}, "skip", False),
        ({"model_obb": "true"}, "rotated", True),
        ({"model_add_bboxes": "false"}, "add_boxes", False),
        ({"model_point_threshold": "0.95"}, "min_point_score", 0.95),
        ({"model_point_size": "2"}, "point_size_px", 2.0),
        ({"model_iou": "0.45"}, "max_overlap", 0.45),
        ({"model_tracker": "bytetrack"}, "tracker", "bytetrack"),
        ({"model_tracker": "BoTSORT"}, "tracker", "botsort"),
        ({"model_classes": "car, bus ,"}, "classes", ("car", "bus")),
        ({"model_classes": ""}, "classes", None),
        ({"model_imgsz": "1280"}, "image_size_px", 1280),
        ({"model_max_det": "10"}, "max_objects", 10),
        ({"model_agnostic_nms": "true"}, "across_classes", True),
        ({"model_augment": "true"}, "augment", True),
    ],
)
def test_an_attribute(attributes: dict[str, str], field: str, value: object) -> None:
    parameters = read_parameters(control(**attributes), min_score=0.5)
    assert getattr(parameters, field) == value
    assert parameters == Parameters(**{"min_score": 0.5, field: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_score_threshold", "high"),
        ("model_score_threshold", "1.5"),
        ("model_score_threshold", "-0.1"),
        ("model_score_threshold", "nan"),
        ("model_score_threshold", "inf"),
        ("model_iou", "50%"),
        ("model_point_size", "0"),
        ("model_point_size", "1e9"),
        ("model_imgsz", "640x640"),
        ("model_imgsz", "8"),
        ("model_imgsz", "1000000"),
        ("model_imgsz", "640.5"),
        ("model_max_det", "0"),
        ("model_skip", "perhaps"),
        ("model_augment", "2"),
        ("model_tracker", "deepsort"),
        ("model_tracker", "../botsort"),
    ],
)
def test_a_bad_value_names_control_attribute_value_and_cure(name: str, value: str) -> None:
    with pytest.raises(BadLabelConfig) as caught:
        read_parameters(control(**{name: value}), min_score=0.5)
    said = f'<RectangleLabels name="box"> has {name}="{value.lower()}"'
    assert said in caught.value.message.lower().replace("<rectanglelabels", "<RectangleLabels")
    assert caught.value.advice.startswith("write ")


def test_a_video_has_its_own_threshold() -> None:
    clip = control("VideoRectangle")
    assert read_parameters(clip, min_score=0.5).min_score == 0.25
    both = control("VideoRectangle", model_conf="0.3", model_score_threshold="0.8")
    assert read_parameters(both, min_score=0.5).min_score == 0.3


def test_a_trackers_own_attributes() -> None:
    clip = control(
        "VideoRectangle",
        model_tracker="bytetrack",
        bytetrack_track_buffer="60",
        bytetrack_match_thresh=" 0.9",
        botsort_with_reid="true",
    )
    parameters = read_parameters(clip, min_score=0.5)
    assert parameters.tracker == "bytetrack"
    assert parameters.tracker_settings == (("match_thresh", "0.9"), ("track_buffer", "60"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("botsort_trak_buffer", "60", "there is no tracker setting 'trak_buffer'; there are track"),
        ("botsort_track_buffer", "long", "track_buffer is a whole number from 1 to 10000, not 'lo"),
        ("botsort_with_reid", "true", "there is no tracker setting 'with_reid'"),
        ("botsort_model", "evil.pt", "there is no tracker setting 'model'"),
    ],
)
def test_a_bad_setting_of_a_tracker_is_told(name: str, value: str, said: str) -> None:
    with pytest.raises(BadLabelConfig) as caught:
        read_parameters(control("VideoRectangle", **{name: value}), min_score=0.5)
    assert caught.value.message.startswith('<VideoRectangle name="box">: ')
    assert said in caught.value.message
    assert caught.value.advice == f"correct {name} or take it away"


def test_points_of_the_skeleton() -> None:
    points = Control(
        "KeyPointLabels",
        "points",
        "image",
        ("nose", "eyes", "tail", "bad", "long"),
        label_attributes={
            "nose": {"model_index": "0"},
            "eyes": {"model_index": "1, 2"},
            "tail": {},
            "bad": {"model_index": "first"},
            "long": {"model_index": "9" * 5000},
        },
    )
    assert point_indexes(points, "nose") == (0,)
    assert point_indexes(points, "eyes") == (1, 2)
    assert point_indexes(points, "tail") == ()
    with pytest.raises(BadLabelConfig, match='model_index="first" on its label "bad"'):
        point_indexes(points, "bad")
    with pytest.raises(BadLabelConfig, match='model_index="999'):
        point_indexes(points, "long")


def test_what_is_written_for_a_model() -> None:
    assert not asks_for_a_model(control(smart="true"))
    assert asks_for_a_model(control(model_conf="0.5"))
    assert asks_for_a_model(control(score_threshold="0.5"))
    predicted = Control(
        "Labels", "l", "i", ("a",), label_attributes={"a": {"predicted_values": "b"}}
    )
    assert asks_for_a_model(predicted)
    assert is_skipped(control(model_skip="TRUE"))
    assert not is_skipped(control())


def test_lists() -> None:
    assert listed(" a, b c ,,d") == ("a", "b c", "d")
    assert listed("") == ()
