"""The label configs that people copy do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.label_studio.label_xml import parse_label_config
from backends.yolo.plan import plan, prepare
from backends.yolo.targets import find_targets
from micro_models.detections import DetectorTask
from tests.backends.yolo.fakes import FakeDetector

FOLDER = Path(__file__).parents[3] / "examples" / "label_configs"
COCO = ("person", "car", "truck", "bus", "motorcycle")
CLASSES = {
    DetectorTask.DETECT: COCO,
    DetectorTask.SEGMENT: COCO,
    DetectorTask.POSE: ("person",),
    DetectorTask.OBB: ("plane", "ship"),
    DetectorTask.CLASSIFY: (
        *("beagle", "collie", "Border_collie"),
        *("tabby", "Persian_cat", "Siamese_cat"),
    ),
}
EXPECTED = {
    "yolo_boxes": [(DetectorTask.DETECT, ["box"])],
    "yolo_oriented_boxes": [(DetectorTask.OBB, ["box"])],
    "yolo_masks": [(DetectorTask.SEGMENT, ["box", "polygon", "brush"])],
    "yolo_points": [(DetectorTask.POSE, ["points"])],
    "yolo_classes": [(DetectorTask.CLASSIFY, ["kind", "tree"])],
    "yolo_video": [(DetectorTask.DETECT, ["way"])],
    "yolo_pair": [(DetectorTask.SEGMENT, ["polygon", "box"])],
    "yolo_and_clicks": [(DetectorTask.SEGMENT, ["brush"])],
}


def test_every_example_is_expected() -> None:
    assert {path.stem for path in FOLDER.glob("yolo_*.xml")} == set(EXPECTED)


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_an_example_fills_its_controls(name: str, expected: list) -> None:
    found = find_targets(parse_label_config((FOLDER / f"{name}.xml").read_text()), min_score=0.5)
    assert found.findings == ()
    runs = plan(found.targets, lambda task: task.value)
    assert [
        (run.model, [target.control.name for target in run.targets]) for run in runs
    ] == expected
    for run in runs:
        task = DetectorTask(run.model)
        ready = prepare(run, FakeDetector((), task=task, labels=CLASSES[task]))
        assert len(ready.fillings) == len(run.targets)
        for filling in ready.fillings:
            assert filling.labels.labels_without_class == ()
            assert filling.labels.ambiguous == ()


PEERS = {
    "boxes": (
        """<Image name="image" value="$image"/>
        <RectangleLabels name="label" toName="image" score_threshold="0.25" opacity="0.1">
          <Label value="Person" background="red"/>
          <Label value="Car" background="blue" predicted_values="jeep,cab,limousine,truck"/>
        </RectangleLabels>""",
        [(DetectorTask.DETECT, {"person": "Person", "car": "Car", "truck": "Car"})],
    ),
    "skeletons": (
        """<RectangleLabels name="keypoints_bbox" toName="image" model_skip="true">
          <Label value="person"/>
        </RectangleLabels>
        <KeyPointLabels name="keypoints" toName="image" model_score_threshold="0.75"
          model_point_threshold="0.5" model_add_bboxes="true" model_point_size="1">
          <Label value="nose" predicted_values="person" model_index="0" background="red"/>
          <View><Label value="left_eye" predicted_values="person" model_index="1"/></View>
        </KeyPointLabels><Image name="image" value="$image"/>""",
        [(DetectorTask.POSE, {"person": "nose, left_eye"})],
    ),
    "tracks": (
        """<Video name="video" value="$video"/>
        <VideoRectangle name="box" toName="video" model_tracker="botsort" model_conf="0.25"
          model_iou="0.7" botsort_track_buffer="30"/>
        <Labels name="label" toName="video"><Label value="Person"/><Label value="Car"/></Labels>""",
        [(DetectorTask.DETECT, {"person": "Person", "car": "Car"})],
    ),
    "boxes and classes of two images": (
        """<Image name="image1" value="$image"/>
        <RectangleLabels name="label" toName="image1" model_score_threshold="0.1">
          <Label value="person"/><Label value="car"/></RectangleLabels>
        <Image name="image2" value="$image"/>
        <Choices name="choice" toName="image2" model_score_threshold="0.1">
          <Choice value="tabby"/><Choice value="dog" predicted_values="beagle,collie"/>
        </Choices>""",
        [
            (DetectorTask.DETECT, {"person": "person", "car": "car"}),
            (DetectorTask.CLASSIFY, {"tabby": "tabby", "beagle": "dog", "collie": "dog"}),
        ],
    ),
}


@pytest.mark.parametrize(("xml", "expected"), PEERS.values(), ids=PEERS)
def test_configs_as_written_for_the_peer_work_unchanged(xml: str, expected: list) -> None:
    found = find_targets(parse_label_config(f"<View>{xml}</View>"), min_score=0.5)
    assert found.findings == ()
    filled = []
    for run in plan(found.targets, lambda task: task.value):
        task = DetectorTask(run.model)
        ready = prepare(run, FakeDetector((), task=task, labels=CLASSES[task]))
        filled += [(task, dict(filling.labels.labels)) for filling in ready.fillings]
    assert filled == expected
