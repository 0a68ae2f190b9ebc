import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

from backends.errors import BadRequest
from backends.interface import EventKind
from backends.label_studio.config import parse_label_config
from backends.label_studio.requests import (
    decode_event,
    decode_interaction,
    decode_predict,
    decode_setup,
)
from micro_models.regions import Box, Click, RotatedBox
from tests.hostile import hostile_variations

PAYLOADS = Path(__file__).parents[2] / "payloads"
CAPTURED = Path(__file__).parents[4] / "shared" / "label-studio" / "payloads"
CONFIG = parse_label_config("""<View><Image name="image" value="$image"/>
  <KeyPointLabels name="kp" toName="image"><Label value="Cat"/>
    <Label value="Bg" labelpilot_background="true"/></KeyPointLabels>
  <RectangleLabels name="rect" toName="image"><Label value="Cat"/></RectangleLabels>
  <Labels name="lab" toName="image"><Label value="Dog"/>
    <Label value="Bg" labelpilot_background="true"/></Labels>
  <KeyPoint name="point" toName="image"/></View>""")


def payload(name):
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def decode_all(body, path):
    """Decode as the server does, down to the prompts."""
    if path == "/setup":
        return decode_setup(body)
    if path == "/webhook":
        return decode_event(body)
    request = decode_predict(body)
    return request, decode_interaction(request.context, CONFIG)


def captured():
    """(file, path, body) of every call that a backend ever got, next to the repository."""
    for file in sorted(CAPTURED.glob("*.json")):
        record = json.loads(file.read_text())
        if "body" in record:
            yield file.stem, "/predict", record["body"]
        for call in record.get("backend_calls", ()):
            if call["path"] in ("/predict", "/setup", "/webhook"):
                yield file.stem, call["path"], call["body"]


@pytest.mark.skipif(not CAPTURED.is_dir(), reason="skipped: no ../shared")
def test_every_captured_body_decodes():
    calls = list(captured())
    assert len(calls) > 20
    for name, path, body in calls:
        assert decode_all(body, path) is not None, name


@pytest.mark.parametrize("file", sorted(PAYLOADS.glob("*.json")), ids=lambda file: file.stem)
def test_a_hostile_body_is_at_worst_a_bad_request(file):
    path = "/" + file.stem.split("-")[0]
    refused = {}
    for where, body in hostile_variations(json.loads(file.read_text())):
        try:
            decode_all(body, path)
        except BadRequest as error:
            refused[where] = str(error)
    assert len(refused) > 30
    assert {where for where, message in refused.items() if not 0 < len(message) < 300} == set()


def test_setup():
    request = decode_setup(payload("setup"))
    assert (request.project_key, request.project_id) == ("1.1795168884", 1)
    assert request.label_config_text.startswith("<View>")
    assert request.hostname == "http://127.0.0.1:18080"
    assert request.access_token
    assert request.access_token not in repr(request)


@pytest.mark.parametrize(
    ("project", "key"),
    [("19.1795169893", "19.1795169893"), ("19", "19"), (19, "19"), (0, "0")],
)
def test_a_project_is_a_key_or_an_id(project, key):
    body = payload("predict-retrieve") | {"project": project}
    assert decode_predict(body).project_key == key
    assert decode_predict(body).project_id == int(key.split(".")[0])


def test_a_null_project_is_that_of_the_tasks():
    body = payload("predict-retrieve") | {"project": None}
    assert decode_predict(body).project_key == "1"
    for task in body["tasks"]:
        del task["project"]
    assert decode_predict(body).project_key == "0"


@pytest.mark.parametrize(
    "project",
    [True, -1, 1.5, "", "x", "1.x", "1;2", "１９", " 1", "1\n", [], {}, 2**80, "9" * 40, math.nan],
)
def test_a_project_of_another_shape_is_a_bad_request(project):
    with pytest.raises(BadRequest, match="project is an id"):
        decode_predict(payload("predict-retrieve") | {"project": project})


@pytest.mark.parametrize(
    "params",
    [None, {}, {"context": None}, {"context": {}}, {"context": {"result": []}},
     {"context": {"result": None}}],
)  # fmt: skip
def test_no_prompts_is_no_interaction(params):
    request = decode_predict(payload("predict-retrieve") | {"params": params})
    assert [task.id for task in request.tasks] == [2, 3, 4, 5]
    assert request.tasks[0].data == {"image": "/data/upload/1/cfcf18d8-upload_1.png"}
    assert decode_interaction(request.context, CONFIG) is None


def test_missing_params_are_no_prompts():
    body = payload("predict-retrieve")
    del body["params"], body["label_config"]
    request = decode_predict(body)
    assert (request.context, request.label_config_text) == ((), None)


def test_stored_regions_are_those_of_annotations_and_drafts():
    body = payload("predict-ui")
    body["tasks"][0]["annotations"] = [{"result": [{"id": "aa"}, {"type": "choices"}]}]
    assert decode_predict(body).tasks[0].stored_regions == {"aa", "dd"}


def interaction(name):
    body = payload(f"predict-{name}")
    return decode_interaction(
        decode_predict(body).context, parse_label_config(body["label_config"])
    )


def test_smart_points_come_oldest_first():
    got = interaction("ui-keypointlabels-pos-keypointlabels-pos-keypointlabels-neg")
    assert (got.to_name, got.width_px, got.height_px) == ("image", 640, 480)
    assert [one.shape.positive for one in got.drawn] == [True, True, False]
    assert {one.label for one in got.drawn} == {"Cat"}
    assert all(one.smart for one in got.drawn)
    assert got.drawn[0].id == "51V7Wh7XA3"
    assert (got.drawn[0].shape.x, got.drawn[0].shape.y) == pytest.approx((191.79, 216.11), abs=0.01)


def test_several_boxes_all_stay():
    got = interaction("ui-rectanglelabels-rectanglelabels")
    assert [one.id for one in got.drawn] == ["HlHmosT4YW", "1Q9-Qcfmwd"]
    box = got.drawn[0].shape
    assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(
        (127.86, 95.98, 255.72, 287.77), abs=0.01
    )


@pytest.mark.parametrize(
    ("name", "shape"), [("ui-keypoint-pos-labels-pos", Click), ("ui-rectangle-labels", Box)]
)
def test_a_pair_with_one_id_is_one_prompt_with_the_label(name, shape):
    got = interaction(name)
    assert [(one.label, type(one.shape)) for one in got.drawn] == [("Dog", shape)]


def test_a_text_span_is_no_prompt():
    assert interaction("ui-labels") is None


def prompt(kind="keypointlabels", /, *, region="r", control=None, **value):
    value = {"x": 25, "y": 50, "width": 1} | value
    return {
        "id": region,
        "type": kind,
        "from_name": control or ("rect" if kind.startswith("rect") else "kp"),
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": value,
    }


def only(*items):
    (drawn,) = decode_interaction(items, CONFIG).drawn
    return drawn


def test_a_point_without_is_positive_is_hand_made():
    drawn = only(prompt(keypointlabels=["Cat"]))
    assert drawn.shape == Click(50, 50, positive=True)
    assert not drawn.smart
    assert only(prompt() | {"is_positive": True}).smart


@pytest.mark.parametrize("is_positive", [None, True, False])
def test_a_background_point_is_negative(is_positive):
    drawn = only(prompt(keypointlabels=["Bg"]) | {"is_positive": is_positive})
    assert not drawn.shape.positive
    assert drawn.label == "Bg"


def test_a_background_label_counts_in_the_pair_form():
    point = prompt("keypoint", control="point", labels=["Bg"]) | {"is_positive": True}
    drawn = only(point, prompt("labels", control="lab", labels=["Bg"]))
    assert (drawn.shape.positive, drawn.label) == (False, "Bg")


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(-3, 104, (0, 100)), (100, 100, (200, 100)), (50.5, -0.001, (101, 0)), (1e4, -1e4, (200, 0))],
)
def test_points_are_clipped_to_the_image(x, y, expected):
    click = only(prompt(x=x, y=y)).shape
    assert (click.x, click.y) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"x": 10, "y": 20, "width": 30, "height": 40}, (20, 20, 80, 60)),
        ({"x": 40, "y": 60, "width": -30, "height": -40}, (20, 20, 80, 60)),
        ({"x": -10, "y": 90, "width": 30, "height": 40, "rotation": 0}, (0, 90, 40, 100)),
        ({"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 360}, (20, 20, 80, 60)),
        ({"x": 200, "y": 20, "width": 30, "height": 40, "rotation": None}, (200, 20, 200, 60)),
        ({"x": 10, "y": 20, "width": 0, "height": 0}, (20, 20, 20, 20)),
    ],
)
def test_boxes_are_clipped_and_may_be_drawn_backwards(value, expected):
    assert only(prompt("rectanglelabels", **value)).shape == Box(*expected)


@pytest.mark.parametrize(
    ("angle", "sides", "corners"),
    [
        # A quarter turn clockwise about (100, 20): the width runs down, the height to the left.
        (90, (30, 20), [(100, 20), (100, 80), (80, 80), (80, 20)]),
        (180, (30, 20), [(100, 20), (40, 20), (40, 0), (100, 0)]),
        (-90, (10, 20), [(100, 20), (100, 0), (120, 0), (120, 20)]),
        (450, (30, 20), [(100, 20), (100, 80), (80, 80), (80, 20)]),
        (45, (10, 20), [(100, 20), (114.14, 34.14), (100, 48.28), (85.86, 34.14)]),
    ],
)
def test_boxes_turn_clockwise_about_their_corner_in_pixels(angle, sides, corners):
    width, height = sides
    value = {"x": 50, "y": 20, "width": width, "height": height, "rotation": angle}
    box = only(prompt("rectanglelabels", **value)).shape
    assert isinstance(box, RotatedBox)
    assert box.corners() == pytest.approx(np.array(corners), abs=0.01)


@pytest.mark.parametrize(
    "extra",
    [
        prompt("brushlabels", control="brush", region="b", format="rle", rle=[1, 2]),
        prompt("polygonlabels", control="poly", region="b", points=[[1, 2]]),
        prompt("ellipselabels", control="e", region="b", radiusX=5, radiusY=5),
        prompt("keypointlabels", region="b", format="rle", rle=[0], keypointlabels=["Cat"]),
        {"type": "choices", "id": "c", "from_name": "c", "to_name": "image", "value": {}},
    ],
)
def test_what_is_neither_point_nor_box_is_passed_over(extra):
    assert only(extra, prompt(keypointlabels=["Cat"])).label == "Cat"
    assert decode_interaction([extra], CONFIG) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"original_width": None}, "original_width of a prompt is a number"),
        ({"original_height": 0}, "1..1000000 pixels"),
        ({"original_height": 10.5}, "1..1000000 pixels"),
        ({"original_width": True}, "number, not True"),
        ({"original_width": "640"}, "number, not '640'"),
        ({"image_rotation": 90}, "turn the image back"),
        ({"is_positive": "yes"}, "true or false"),
        ({"to_name": None}, "to_name of a prompt is text"),
        ({"value": {"x": math.nan, "y": 1}}, "x of a prompt is a number, not nan"),
        ({"value": {"x": 1e200, "y": 1}}, "x of a prompt is a number"),
        ({"value": {"x": 1e9, "y": 1}}, "far outside the image"),
        ({"value": {"y": 1}}, "x of a prompt is a number, not None"),
    ],
)
def test_a_prompt_of_another_shape_says_why(changes, message):
    with pytest.raises(BadRequest, match=message):
        decode_interaction([prompt() | changes], CONFIG)


@pytest.mark.parametrize("changes", [{"original_width": 201}, {"to_name": "other"}])
def test_prompts_on_several_images_are_refused(changes):
    with pytest.raises(BadRequest, match="several images"):
        decode_interaction([prompt(), prompt(region="s") | changes], CONFIG)


EVENTS = {
    "webhook-ann-create": (EventKind.ANNOTATION_CREATED, (1,), (1,)),
    "webhook-ann-cancelled": (EventKind.ANNOTATION_CREATED, (2,), (2,)),
    "webhook-ann-delete": (EventKind.ANNOTATIONS_DELETED, (), (1,)),
    "webhook-pred2ann": (EventKind.ANNOTATIONS_CREATED, (1,), (3,)),
    "webhook-project-update": (EventKind.PROJECT_UPDATED, (), ()),
    "webhook-task-create": (EventKind.TASKS_CREATED, (6,), ()),
    "webhook-train": (EventKind.START_TRAINING, (), ()),
}


@pytest.mark.parametrize(("name", "expected"), EVENTS.items())
def test_events(name, expected):
    event = decode_event(payload(name))
    assert (event.kind, event.task_ids, event.annotation_ids) == expected
    assert event.project_id == 1


def test_an_unknown_action_is_ignored():
    assert decode_event({"action": "LABEL_LINK_CREATED", "anything": [None]}) is None


def test_hostile_variations_leave_the_body_alone():
    body = payload("predict-retrieve")
    before = copy.deepcopy(body)
    assert len(list(hostile_variations(body))) > 1000
    assert body == before
