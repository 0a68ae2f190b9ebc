import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backends.label_studio.config import parse_label_config
from backends.label_studio.truth import MAX_COMPARED, Truth, read_truth
from micro_models.regions import Mask
from tests.backends.label_studio.annotated import (
    CHOICES,
    SIZE_PX,
    box,
    choice,
    config,
    key_point,
    point,
    rectangle,
    whole,
)
from tests.hostile import hostile_variations

CAT, DOG = rectangle("Кот"), rectangle("Dog")
CONFIG = config(
    "Rectangle", "KeyPoint", f'<Choices name="choices" toName="image">{CHOICES}</Choices>'
)


def made(*results, by=1, minute=0, number=None, **more):
    """An annotation as the API gives it."""
    at = f"2026-11-20T10:{minute:02}:18.080050Z"
    return {
        "id": number or 100 + minute,
        "completed_by": by,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-11-20T09:00:00.000000Z",
        "updated_at": at,
    } | more


TRUTHS = {
    "nobody": ([], None),
    "one": ([made(CAT)], [box("Кот")]),
    "nothing here": ([made()], []),
    "skipped": ([made(CAT, was_cancelled=True)], None),
    "one skipped it, one did not": ([made(was_cancelled=True, minute=5), made(CAT, by=2)],
                                    [box("Кот")]),
    "an empty draft": ([made(result=None)], None),
    "a draft": ([made(CAT, was_postponed=False)], None),
    "the newest of a person": ([made(CAT, minute=5), made(DOG, minute=3)], [box("Кот")]),
    "the newest says that there is nothing": ([made(CAT), made(minute=3)], []),
    "of the same minute the later": ([made(CAT, number=7), made(DOG, number=8)], [box("Dog")]),
    "by date of creation where nothing else is said": (
        [made(CAT, updated_at=None), made(DOG, updated_at="?", created_at="2026-11-20")],
        [box("Кот")],
    ),
    "people as objects": (
        [made(CAT, by={"id": 1, "email": "a@b.c"}), made(DOG, minute=3, by=1)], [box("Dog")]
    ),
    "two of three": (
        [made(DOG, by=1, minute=9), made(CAT, by=2), made(CAT, by=3)], [box("Кот")]
    ),
    "two who disagree": ([made(DOG, by=1, minute=9), made(CAT, by=2)], [box("Dog")]),
    "two who disagree whether there is anything": ([made(by=1, minute=9), made(CAT, by=2)], []),
    "the truth": (
        [made(DOG, by=1, minute=9), made(DOG, by=2), made(CAT, by=3, ground_truth=True)],
        [box("Кот")],
    ),
    "the truth was skipped": (
        [made(DOG, by=1), made(by=3, ground_truth=True, was_cancelled=True)], [box("Dog")]
    ),
    "two truths": (
        [made(DOG, by=1, ground_truth=True), made(CAT, by=2, minute=3, ground_truth=True)],
        [box("Кот")],
    ),
    "choices of which one is right": (
        [made(choice("night"), by=1, minute=9), made(choice("day"), by=2), made(by=3)],
        [whole("night")],
    ),
    "points as far from each other as the eye tells": (
        [made(key_point("Dog", y=20 + 4 * i), by=i, minute=i) for i in range(3)],
        [point("Dog", y=24)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTHS)
def test_the_truth_of_a_task(name):
    annotations, regions = TRUTHS[name]
    expected = None if regions is None else tuple(regions)
    for order in (annotations, annotations[::-1]):
        assert read_truth(order, CONFIG, size_px=SIZE_PX) == Truth(expected, ())


PROMPT = key_point("Dog", is_positive=True)


def test_a_prompt_is_not_the_word_that_nothing_is_here():
    truth = read_truth([made(PROMPT)], CONFIG, size_px=SIZE_PX)
    assert truth == Truth(None, ('annotation 100: region "p": it is an open prompt',))


def test_of_whom_the_newest_cannot_be_read_an_older_one_counts():
    annotations = [made(CAT), made(PROMPT, minute=7), made("?", by=2, minute=5, ground_truth=True)]
    truth = read_truth(annotations, CONFIG, size_px=SIZE_PX)
    assert truth.regions == (box("Кот"),)
    assert [line.split(":")[0] for line in truth.problems] == ["annotation 105", "annotation 107"]


def test_clicks_of_several_people_are_as_exact_as_the_picture_is_large():
    annotations = [made(key_point("Dog", x=10 + i / 10), by=i, minute=i) for i in range(3)]
    truth = read_truth(annotations, CONFIG, size_px=(100_000, 100))
    assert truth.regions == (point("Dog", 10_100.0),)


def test_of_too_many_regions_to_compare_those_of_the_newest_count():
    crowd = [key_point("Dog", name=str(i), x=i / 30) for i in range(MAX_COMPARED + 1)]
    people = [made(*crowd, by=1), made(CAT, by=2, minute=2), made(DOG, by=3, minute=1)]
    truth = read_truth(people, CONFIG, size_px=(10_000, 100))
    assert truth.regions == (box("Кот", 1_000, 20, 4_000, 60),)
    assert read_truth(people[1:], CONFIG, size_px=SIZE_PX).regions == (box("Кот"),)


def test_what_is_no_list_is_told():
    assert read_truth(None, CONFIG, size_px=SIZE_PX) == Truth(
        None, ("the annotations are no list",)
    )


def test_hostile_annotations_never_raise():
    annotations = [made(CAT), made(choice("day"), by={"id": 2}, minute=3)]
    for where, changed in hostile_variations(annotations):
        assert isinstance(read_truth(changed, CONFIG, size_px=SIZE_PX), Truth), where


def payload(shared: Path, name: str):
    return json.loads((shared / "label-studio" / "payloads" / f"{name}.json").read_text())


def called(shared: Path, name: str):
    """What a webhook told: the annotations, and the label config."""
    body = payload(shared, name)["backend_calls"][-1]["body"]
    found = body["annotation"]
    label_config = parse_label_config(body["project"]["label_config"])
    return found if isinstance(found, list) else [found], label_config


@pytest.mark.parametrize(
    ("name", "regions"),
    [
        ("ann-create", (box("Cat", 64, 48, 192, 144),)),
        ("ann-update", ()),
        ("ann-cancelled", None),
        ("pred2ann", (box("Dog", 32, 24, 96, 72),)),
    ],
)
def test_annotations_of_a_real_label_studio(name, regions, shared):
    annotations, label_config = called(shared, name)
    assert read_truth(annotations, label_config, size_px=(640, 480)) == Truth(regions)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("ui-keypointlabels-pos", "open prompt"),
        ("ui-keypointlabels-pos-keypointlabels-neg", "open prompt"),
        ("ui-keypoint-pos-labels-pos", "open prompt"),
        ("ui-rectanglelabels", None),
    ],
)
def test_prompts_of_a_real_editor_left_in_an_annotation(name, left_out, shared):
    body = payload(shared, name)["body"]
    label_config = parse_label_config(body["label_config"])
    prompts = body["params"]["context"]["result"]
    truth = read_truth([made(*prompts)], label_config, size_px=(640, 480))
    if left_out is None:  # what tells a rectangle from one that somebody drew is nowhere
        assert [region.label for region in truth.regions] == ["Cat"]
    else:
        assert truth.regions is None
        assert all(left_out in problem for problem in truth.problems)


FRONTEND = {
    "image_bbox": {"Box"},
    "image_ellipses": {"Ellipse", "WholeImage"},
    "image_keypoints": {"Point"},
    "image_list": {"Box"},
    "image_magic_wand": {"Mask"},
    "image_multilabel": {"Box", "WholeImage"},
    "image_polygons": {"Polygon"},
}


@pytest.mark.parametrize("name", FRONTEND)
def test_the_editors_own_examples(name, shared):
    folder = shared / "data" / "label-studio" / "frontend-examples" / name
    label_config = parse_label_config((folder / "config.xml").read_text())
    (file,) = (folder / "annotations").glob("*.json")
    annotations = json.loads(file.read_text())["annotations"]
    size_px = (1500, 1430) if name == "image_magic_wand" else (800, 501)
    truth = read_truth(annotations, label_config, size_px=size_px)
    assert {type(region.shape).__name__ for region in truth.regions} == FRONTEND[name]
    assert truth.problems == ()


EXPORTED = {
    ("test_export_yolo", "data_keypoints", "label_config_keypoints"): {"Keypoints": 1},
    ("test_export_yolo", "data_obb", "label_config_obb"): {"RotatedBox": 1},
    ("test_export_yolo", "data_polygons", "label_config_polygons"): {"Polygon": 1},
    ("test_export_yolo", "data", "label_config"): {"Box": 4},
    ("test_export_coco", "data", "label_config"): {"Box": 1, "Polygon": 1, "Point": 2},
}


@pytest.mark.parametrize("name", EXPORTED, ids="/".join)
def test_exports_of_a_real_label_studio(name, shared):
    folder = shared / "data" / "label-studio" / "sdk-converter" / "data" / name[0]
    label_config = parse_label_config((folder / f"{name[2]}.xml").read_text())
    shapes = Counter()
    for task in json.loads((folder / f"{name[1]}.json").read_text()):
        truth = read_truth(task["annotations"], label_config, size_px=(597, 768))
        shapes.update(type(region.shape).__name__ for region in truth.regions or ())
        # Two tasks of one export have labels in another case than their config.
        assert all("Butterfly" in line or "more" in line for line in truth.problems)
        assert (truth.regions is None) == bool(truth.problems)
    assert shapes == EXPORTED[name]


def test_an_exported_skeleton_has_its_points_in_their_places(shared):
    folder = shared / "data" / "label-studio" / "sdk-converter" / "data" / "test_export_yolo"
    label_config = parse_label_config((folder / "label_config_keypoints.xml").read_text())
    (task,) = json.loads((folder / "data_keypoints.json").read_text())
    (region,) = read_truth(task["annotations"], label_config, size_px=(216, 174)).regions
    assert region.label == "person"
    assert np.flatnonzero(region.shape.scores).tolist() == [0, 1, 2]
    assert region.shape.points[0] == pytest.approx([0.64444 * 216, 0.39291 * 174], abs=0.01)


def test_a_brush_of_four_megapixels(shared):
    folder = shared / "data" / "label-studio" / "frontend-examples" / "image_segmentation"
    label_config = parse_label_config((folder / "config.xml").read_text())
    annotations = json.loads((folder / "annotations" / "1.json").read_text())["annotations"]
    truth = read_truth(annotations, label_config, size_px=(2242, 2802))
    assert {type(region.shape) for region in truth.regions} == {Mask}
    assert all(0 < region.shape.area_px < 2242 * 2802 for region in truth.regions)
