import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BadLabelConfig, BadRegion, BadRequest
from backends.interface import PlacedRegion, Prediction
from backends.label_studio.config import parse_label_config
from backends.label_studio.results import decode_region, encode_prediction, encode_region
from micro_models.geometry import iou, polygon_to_mask, rotated_box_to_mask
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
)
from tests.hostile import hostile_variations

EXPORTS = Path(__file__).parents[4] / "shared" / "data" / "label-studio"
TAGS = ("Brush", "Bitmask", "Polygon", "Ellipse", "Rectangle", "KeyPoint")
CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    + "".join(
        f'<{tag}Labels name="{tag.lower()}" toName="image" smart="false">'
        f'<Label value="Кот"/></{tag}Labels>'
        for tag in TAGS
    )
    + "</View>"
)
PAIRS = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<Labels name="lab" toName="image"><Label value="Cat"/></Labels>'
    + "".join(f'<{tag} name="{tag.lower()}" toName="image" smart="false"/>' for tag in TAGS)
    + "</View>"
)

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))
shares = st.floats(0, 1, width=32)
angles = st.floats(-720, 720, width=32)


@st.composite
def placed_shapes(draw):
    """(control, shape, size in pixels) for every kind of shape."""
    width, height = draw(sizes)
    x, y, across, down = (draw(shares) for _ in range(4))
    kind = draw(st.sampled_from([tag.lower() for tag in TAGS]))
    if kind in ("brush", "bitmask"):
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        return kind, Mask(rng.random((height, width)) < draw(shares)), (width, height)
    if kind == "polygon":
        points = draw(st.lists(st.tuples(shares, shares), min_size=3, max_size=9))
        return kind, Polygon(np.float32(points) * np.float32([width, height])), (width, height)
    if kind == "keypoint":
        return kind, Point(x * width, y * height), (width, height)
    if kind == "ellipse":
        ellipse = Ellipse(x * width, y * height, across * width, down * height, draw(angles))
        return kind, ellipse, (width, height)
    if draw(st.booleans()):
        x0, x1 = sorted((x * width, across * width))
        y0, y1 = sorted((y * height, down * height))
        return kind, Box(x0, y0, x1, y1), (width, height)
    # As large as it may be without leaving the image at any angle.
    reach = 2 * min(x, 1 - x) * width, 2 * min(y, 1 - y) * height
    slope = across * math.pi / 2
    long, wide = min(reach) * math.cos(slope), min(reach) * math.sin(slope)
    turned = RotatedBox(x * width, y * height, long * down, wide * down, draw(angles))
    return kind, turned, (width, height)


def numbers(shape):
    """The shape as numbers in pixels that may be compared; a turn of 360 degrees is none."""
    if isinstance(shape, Mask):
        return shape.pixels
    if isinstance(shape, Polygon):
        return shape.points
    if isinstance(shape, RotatedBox):
        return shape.corners()
    if isinstance(shape, Point):
        return np.array([shape.x, shape.y])
    if isinstance(shape, Ellipse):
        angle = math.radians(shape.angle_deg)
        center = (shape.center_x, shape.center_y, shape.radius_x, shape.radius_y)
        return np.array([*center, math.cos(angle), math.sin(angle)])
    return np.array([(shape.x0, shape.y0), (shape.x1, shape.y0), (shape.x1, shape.y1),
                     (shape.x0, shape.y1)])  # fmt: skip


def alike(a, b):
    """Whether two shapes are the same; a turned box may start at any of its corners."""
    turns = range(4) if isinstance(a, RotatedBox | Box) else range(1)
    a, b = numbers(a), numbers(b)
    return any(np.allclose(np.roll(a, turn, axis=0), b, atol=1e-3) for turn in turns)


def leaves(node):
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from leaves(child)
    if isinstance(node, int | float):
        yield node


@settings(deadline=None)  # a busy machine is no error
@given(placed_shapes(), st.floats(0, 1))
def test_decode_is_the_inverse_of_encode(placed, score):
    control, shape, size_px = placed
    region = PlacedRegion("r1", Region("Кот", shape, score), control)
    (item,) = encode_region(region, CONFIG, size_px=size_px)
    item = json.loads(json.dumps(item, allow_nan=False))
    assert item["id"] == "r1"
    assert (item["from_name"], item["to_name"]) == (control, "image")
    assert item["type"] == control + "labels"
    assert item["value"][item["type"]] == ["Кот"]
    assert (item["original_width"], item["original_height"]) == size_px
    back = decode_region(item)
    assert (back.label, back.score) == ("Кот", score)
    assert alike(shape, back.shape)


@settings(deadline=None)  # a busy machine is no error
@given(placed_shapes())
def test_percents_are_0_to_100(placed):
    control, shape, size_px = placed
    if not isinstance(shape, Ellipse | Mask):
        (item,) = encode_region(
            PlacedRegion("r", Region("Кот", shape), control), CONFIG, size_px=size_px
        )
        value = item["value"] | {"rotation": 0}
        assert all(0 <= leaf <= 100 for leaf in leaves(value))


def test_boxes_and_polygons_are_clipped_to_the_image():
    def value(shape, control):
        placed = PlacedRegion("r", Region("Кот", shape), control)
        return encode_region(placed, CONFIG, size_px=(10, 20))[0]["value"]

    box = value(Box(-5, 5, 15, 30), "rectangle")
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 25, 100, 75)
    points = value(Polygon(np.float32([[-1, 0], [11, 0], [5, 30]])), "polygon")["points"]
    assert points == [[0, 0], [100, 0], [50, 100]]


def test_a_rotated_box_has_its_corner_where_the_editor_turns_it():
    # 40 x 20 about (50, 50), a quarter turn clockwise: its top-left corner comes to (60, 30).
    placed = PlacedRegion("r", Region("Кот", RotatedBox(50, 50, 40, 20, 90)), "rectangle")
    value = encode_region(placed, CONFIG, size_px=(200, 100))[0]["value"]
    assert value["x"] == pytest.approx(30)
    assert value["y"] == pytest.approx(30)
    assert (value["width"], value["height"], value["rotation"]) == (20, 20, 90)


@pytest.mark.parametrize("tag", TAGS)
def test_the_pair_form_is_two_results_with_one_id(tag):
    shape = {
        "Polygon": Polygon(np.float32([[0, 0], [3, 0], [3, 3]])),
        "Ellipse": Ellipse(2, 2, 1, 1),
        "Rectangle": Box(0, 0, 2, 2),
        "KeyPoint": Point(1, 2),
    }.get(tag, Mask(np.eye(4, dtype=bool)))
    placed = PlacedRegion("r", Region("Cat", shape), tag.lower())
    first, second = encode_region(placed, PAIRS, size_px=(4, 4))
    assert (first["type"], first["from_name"]) == (tag.lower(), tag.lower())
    assert (second["type"], second["from_name"], second["id"]) == ("labels", "lab", first["id"])
    assert second["value"] == first["value"] | {"labels": ["Cat"]}
    assert "labels" not in first["value"]
    assert decode_region(first).label == ""
    assert decode_region(second).label == "Cat"


def test_a_prediction_never_lacks_what_label_studio_needs():
    mask = Mask(np.eye(4, dtype=bool))
    regions = (
        PlacedRegion("a", Region("Кот", mask, 0.5), "brush"),
        PlacedRegion("b", Region("Кот", Box(0, 0, 1, 1), 0.25), "rectangle"),
    )
    item = encode_prediction(Prediction(regions, np.float32(0.5), "v1", 4, 4), CONFIG)
    item = json.loads(json.dumps(item))
    assert set(item) == {"result", "score", "model_version"}
    assert (item["score"], item["model_version"]) == (0.5, "v1")
    assert [result["id"] for result in item["result"]] == ["a", "b"]
    empty = encode_prediction(Prediction((), 0.0, "v1", 4, 4), CONFIG)
    assert empty == {"result": [], "score": 0.0, "model_version": "v1"}


@pytest.mark.parametrize(
    ("control", "shape", "error"),
    [
        ("brush", Box(0, 0, 1, 1), BadRegion),
        ("rectangle", Mask(np.eye(4, dtype=bool)), BadRegion),
        ("brush", Mask(np.eye(5, dtype=bool)), BadRegion),
        ("keypoint", Keypoints(np.zeros((1, 2), "f4"), np.ones(1, "f4")), BadRegion),
        ("nothing", Box(0, 0, 1, 1), BadLabelConfig),
    ],
)
def test_a_shape_that_the_control_cannot_hold_is_refused(control, shape, error):
    with pytest.raises(error):
        encode_region(PlacedRegion("r", Region("Кот", shape), control), CONFIG, size_px=(4, 4))


@pytest.mark.parametrize(
    ("box", "size_px"),
    [
        (RotatedBox(310, 120, 200, 60, -75), (320, 240)),  # its first corner lies below
        (RotatedBox(0, 120, 100, 60, 30), (320, 240)),  # its first corner lies to the left
        (RotatedBox(50, 400, 700, 40, 90), (100, 800)),  # 700 % as wide as the image
        (RotatedBox(160, 120, 400, 400, 45), (320, 240)),  # no corner lies on the image
        (RotatedBox(-50, -50, 20, 20, 45), (320, 240)),  # nothing does
    ],
)
def test_a_rotated_box_that_leaves_the_image_is_cut_to_what_is_seen_of_it(box, size_px):
    placed = PlacedRegion("r", Region("Кот", box), "rectangle")
    (item,) = encode_region(placed, CONFIG, size_px=size_px)
    sides = [item["value"][key] for key in ("x", "y", "width", "height")]
    assert all(0 <= side <= 100 for side in sides)

    def pixels(shape):
        if isinstance(shape, Box):
            corners = numbers(shape).astype(np.float32)
            return polygon_to_mask(Polygon(corners), width_px=size_px[0], height_px=size_px[1])
        return rotated_box_to_mask(shape, width_px=size_px[0], height_px=size_px[1])

    seen, back = pixels(box).pixels, pixels(decode_region(item).shape).pixels
    assert not (seen & ~back).sum() > 0.01 * seen.sum()


def test_parts_know_their_whole():
    box = PlacedRegion("box", Region("Кот", Box(0, 0, 9, 9)), "rectangle")
    eye = PlacedRegion("eye", Region("Кот", Point(3, 4), 0.5), "keypoint", "box", 0.7)
    lone = PlacedRegion("lone", Region("Кот", Point(30, -4), 0.5), "keypoint", "gone")
    made = Prediction((box, eye, lone), 0.5, "v1", 10, 20)
    whole, part, other = encode_prediction(made, CONFIG)["result"]
    assert part["parentID"] == whole["id"]
    assert part["meta"] == whole["meta"] == {"text": ["box"]}
    assert part["value"] == {"x": 30, "y": 20, "width": 0.7, "keypointlabels": ["Кот"]}
    assert not {"parentID", "meta"} & set(other)
    assert (other["value"]["x"], other["value"]["y"]) == (100, 0)
    assert 0 < other["value"]["width"] <= 100  # the editor cannot open a point without one


def test_a_bad_region_costs_none_but_itself(caplog):
    good = PlacedRegion("good", Region("Кот", Box(0, 0, 1, 1)), "rectangle")
    bad = [
        PlacedRegion("1", Region("Пёс", Box(0, 0, 1, 1)), "rectangle"),
        PlacedRegion("2", Region("Кот", Box(0, 0, 1, 1)), "brush"),
        PlacedRegion("3", Region("Кот", Mask(np.eye(9, dtype=bool))), "brush"),
        PlacedRegion("4", Region("Кот", Box(0, 0, 1, 1)), "nothing"),
    ]
    made = Prediction((*bad, good), 0.5, "v1", 4, 4)
    assert [item["id"] for item in encode_prediction(made, CONFIG)["result"]] == ["good"]
    assert len(caplog.records) == 4
    assert 'has no label "Пёс"' in caplog.text
    with pytest.raises(BadRegion, match='has no label "Пёс"'):
        encode_prediction(Prediction(tuple(bad), 0.5, "v1", 4, 4), CONFIG)


def test_a_pair_whose_labels_lack_the_label_is_refused():
    placed = PlacedRegion("r", Region("Zebra", Box(0, 0, 1, 1)), "rectangle")
    with pytest.raises(BadRegion, match='<Labels name="lab"> has no label "Zebra"'):
        encode_region(placed, PAIRS, size_px=(4, 4))


@pytest.mark.parametrize("control", [tag.lower() for tag in TAGS])
def test_a_hostile_result_is_at_worst_a_bad_request(control):
    shape = {
        "polygon": Polygon(np.float32([[0, 0], [3, 0], [3, 3]])),
        "ellipse": Ellipse(2, 2, 1, 1),
        "rectangle": RotatedBox(2, 2, 1, 1, 30),
        "keypoint": Point(1, 2),
    }.get(control, Mask(np.eye(4, dtype=bool)))
    (item,) = encode_region(
        PlacedRegion("r", Region("Кот", shape), control), CONFIG, size_px=(4, 4)
    )
    for where, changed in hostile_variations(item):
        try:
            region = decode_region(changed)
        except BadRequest:
            continue
        assert isinstance(region, Region), where


def test_a_brush_without_the_size_of_its_image_says_so():
    placed = PlacedRegion("r", Region("Кот", Mask(np.eye(4, dtype=bool))), "brush")
    (item,) = encode_region(placed, CONFIG, size_px=(4, 4))
    del item["original_width"]
    with pytest.raises(BadRequest, match=r"original_width.*give both in pixels"):
        decode_region(item)


def exported():
    """(file, result) of every region with an area in the exports beside the repository."""
    kinds = {"labels", "magicwand"} | {t.lower() + s for t in TAGS for s in ("", "labels")}
    for file in sorted(EXPORTS.rglob("*.json")):
        stack = [json.loads(file.read_text())]
        while stack:
            node = stack.pop()
            stack.extend(node.values() if isinstance(node, dict) else [])
            stack.extend(node if isinstance(node, list) else [])
            is_result = isinstance(node, dict) and isinstance(node.get("value"), dict)
            is_area = is_result and {"rle", "points", "radiusX", "height"} & set(node["value"])
            if is_area and node.get("type") in kinds:
                yield file.stem, node


@pytest.mark.skipif(not EXPORTS.is_dir(), reason="skipped: no ../shared")
def test_real_exports_decode():
    shapes = Counter()
    without_size = 0
    for file, item in exported():
        if "original_width" not in item:
            without_size += 1
            with pytest.raises(BadRequest, match="give both in pixels"):
                decode_region(item)
            item = item | {"original_width": 2242, "original_height": 2802}
            if "rle" in item["value"]:
                continue
        region = decode_region(item)
        shapes[type(region.shape).__name__] += 1
        if isinstance(region.shape, Mask):
            assert 0 < region.shape.area_px < region.shape.pixels.size, file
    assert without_size > 5
    assert {"Mask", "Polygon", "Ellipse", "Box", "RotatedBox"} <= set(shapes)


def test_pixels_of_a_decoded_rotated_box_are_those_of_its_outline():
    box = RotatedBox(20, 15, 18, 9, 33)
    corners = Polygon(box.corners())
    one = rotated_box_to_mask(box, width_px=40, height_px=30)
    assert iou(one, polygon_to_mask(corners, width_px=40, height_px=30)) == 1
