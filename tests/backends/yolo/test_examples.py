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
