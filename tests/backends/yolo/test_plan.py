from __future__ import annotations

import pytest

from backends.yolo.plan import Run, plan, prepare
from backends.yolo.targets import find_targets
from micro_models.detections import DetectorTask
from tests.backends.yolo.fakes import FakeDetector, project

IMAGE = '<Image name="image" value="$image"/>'
DEFAULTS = {
    DetectorTask.DETECT: "detect.pt",
    DetectorTask.SEGMENT: "segment.pt",
    DetectorTask.POSE: "pose.pt",
    DetectorTask.OBB: "obb.pt",
    DetectorTask.CLASSIFY: "classify.pt",
}


def tag(name: str, attributes: str = "", kind: str = "RectangleLabels", to: str = "image") -> str:
    label = "Choice" if kind == "Choices" else "Label"
    return (
        f'<{kind} name="{name}" toName="{to}" {attributes}><{label} value="person" '
        f'model_index="0"/></{kind}>'
    )


def runs(xml: str, defaults=DEFAULTS.get) -> list[Run]:
    return plan(find_targets(project(xml).config, min_score=0.5).targets, defaults)


def told(xml: str) -> list[tuple[str, list[str]]]:
    return [(run.model, [target.control.name for target in run.targets]) for run in runs(xml)]


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (tag("a"), [("detect.pt", ["a"])]),
        (tag("a") + tag("b", 'model_score_threshold="0.1"'), [("detect.pt", ["a", "b"])]),
        (tag("a") + tag("b", 'model_max_det="5"'), [("detect.pt", ["a", "b"])]),
        (tag("a") + tag("b", 'model_classes="car"'), [("detect.pt", ["a", "b"])]),
        (tag("a") + tag("b", 'model_iou="0.5"'), [("detect.pt", ["a"]), ("detect.pt", ["b"])]),
        (tag("a") + tag("b", 'model_imgsz="320"'), [("detect.pt", ["a"]), ("detect.pt", ["b"])]),
        (
            tag("a") + tag("b", 'model_augment="true"'),
            [("detect.pt", ["a"]), ("detect.pt", ["b"])],
        ),
        (
            tag("a", 'model_agnostic_nms="true" model_classes="car"')
            + tag("b", 'model_agnostic_nms="true" model_classes="dog"'),
            [("detect.pt", ["a"]), ("detect.pt", ["b"])],
        ),
        (
            tag("a", 'model_path="x.pt"') + tag("b", 'model_path="y.pt"'),
            [("x.pt", ["a"]), ("y.pt", ["b"])],
        ),
        # one segmentation model gives boxes as well
        (
            tag("a") + tag("b", kind="PolygonLabels") + tag("c", kind="BrushLabels"),
            [("segment.pt", ["a", "b", "c"])],
        ),
        (
            tag("a", 'model_path="x.pt"')
            + tag("b", 'model_path="x.pt"', "PolygonLabels")
            + tag("c", 'model_path="x.pt"', "BitmaskLabels"),
            [("x.pt", ["a", "b", "c"])],
        ),
        # but not one that somebody chose for other controls
        (
            tag("a") + tag("b", 'model_path="x.pt"', "PolygonLabels"),
            [("detect.pt", ["a"]), ("x.pt", ["b"])],
        ),
        (
            tag("a", 'model_obb="true"')
            + tag("k", kind="KeyPointLabels")
            + tag("c", kind="Choices"),
            [("obb.pt", ["a"]), ("pose.pt", ["k"]), ("classify.pt", ["c"])],
        ),
        (
            '<Image name="other" value="$other"/>' + tag("a") + tag("b", to="other"),
            [("detect.pt", ["a"]), ("detect.pt", ["b"])],
        ),
    ],
)
def test_as_few_runs_as_fill_all_controls(xml: str, expected: list) -> None:
    assert told(IMAGE + xml) == expected


def test_without_defaults_only_what_names_a_model_is_filled() -> None:
    xml = IMAGE + tag("a") + tag("b", 'model_path="x.pt"')
    assert [run.model for run in runs(xml, lambda _: None)] == ["x.pt"]


def test_one_run_is_asked_for_what_any_control_wants() -> None:
    (run,) = runs(
        IMAGE
        + tag("a", 'model_score_threshold="0.6" model_classes="person"')
        + tag("b", 'model_score_threshold="0.2" model_max_det="1000"').replace("person", "car")
    )
    options = prepare(run, FakeDetector(())).options
    assert options.min_score == 0.1  # half the lowest threshold: near misses tell how sure it is
    assert options.classes == {"person", "car"}
    assert options.max_objects == 1000


def test_a_classifier_tells_of_every_class() -> None:
    (run,) = runs(IMAGE + tag("c", kind="Choices"))
    options = prepare(run, FakeDetector((), task=DetectorTask.CLASSIFY)).options
    assert (options.classes, options.min_score) == (None, 0.0)


def test_a_video_is_tracked_at_its_own_threshold() -> None:
    video = '<Video name="v" value="$v"/><Labels name="l" toName="v"><Label value="car"/></Labels>'
    xml = video + "".join(
        f'<VideoRectangle name="{name}" toName="v" model_conf="{conf}"/>'
        for name, conf in (("a", 0.3), ("b", 0.6))
    )
    prepared = [prepare(run, FakeDetector(())) for run in runs(xml)]
    assert [one.options.min_score for one in prepared] == [0.3, 0.6]


@pytest.mark.parametrize(
    ("task", "fit"),
    [
        (DetectorTask.DETECT, ["a"]),
        (DetectorTask.SEGMENT, ["a", "b"]),
        (DetectorTask.POSE, ["a", "k"]),
        (DetectorTask.OBB, ["a", "o"]),
        (DetectorTask.CLASSIFY, ["c"]),
    ],
)
def test_a_model_fills_what_it_can(task: DetectorTask, fit: list[str]) -> None:
    (run,) = runs(
        IMAGE
        + tag("a", 'model_path="x.pt"')
        + tag("o", 'model_path="x.pt" model_obb="true"')
        + tag("b", 'model_path="x.pt"', "PolygonLabels")
        + tag("k", 'model_path="x.pt"', "KeyPointLabels")
        + tag("c", 'model_path="x.pt"', "Choices")
    )
    fillings = prepare(run, FakeDetector((), task=task)).fillings
    assert [filling.target.control.name for filling in fillings] == fit
