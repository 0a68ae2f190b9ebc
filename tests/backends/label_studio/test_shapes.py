import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BadRequest
from backends.interface import PlacedRegion
from backends.label_studio.annotations import read_annotation
from backends.label_studio.brush import encode_png, encode_rle
from backends.label_studio.results import encode_region
from backends.label_studio.shapes import read_shape
from micro_models.evaluation.overlap import similarity
from micro_models.geometry import polygon_to_mask, rotated_box_to_mask
from micro_models.regions import Box, Ellipse, Mask, Point, Polygon, Region, RotatedBox
from tests.backends.label_studio.annotated import LABELS, SIZE_PX, TAGS, config, rectangle, result

PAIRS = config(
    f'<Labels name="l" toName="image">{LABELS}</Labels>',
    *(f'<{tag} name="{tag.lower()}" toName="image"/>' for tag in TAGS),
)
parts = st.floats(0.05, 0.95)


@st.composite
def drawn(draw):
    """(control, shape) of every kind, inside a picture of 200 x 100."""
    control = draw(st.sampled_from([tag.lower() for tag in TAGS]))
    x, y, across, down = (draw(parts) for _ in range(4))
    turn = draw(st.floats(1, 359))
    match control:
        case "brush" | "bitmask":
            rng = np.random.default_rng(draw(st.integers(0, 2**32)))
            return control, Mask(rng.random((100, 200)) < across)
        case "polygon":
            # Around a point in the middle, so that it has an area.
            angles = np.cumsum([1, *draw(st.lists(st.floats(0.3, 1.5), min_size=3, max_size=4))])
            corners = np.stack([100 + 90 * x * np.cos(angles), 50 + 45 * y * np.sin(angles)], 1)
            return control, Polygon(corners.astype(np.float32))
        case "ellipse":
            return control, Ellipse(x * 200, y * 100, across * 100, down * 50, turn)
        case "keypoint":
            return control, Point(x * 200, y * 100)
    if draw(st.booleans()):
        return control, Box(x * 100, y * 50, 100 + across * 100, 50 + down * 50)
    return control, RotatedBox(100, 50, across * 80, down * 40, turn)


@pytest.mark.parametrize("label_config", [config(), PAIRS], ids=["labelled", "pairs"])
@settings(deadline=None, max_examples=60)  # a busy machine is no error
@given(drawn())
def test_what_is_written_is_read(label_config, placed):
    control, shape = placed
    region = PlacedRegion("r", Region("Кот", shape, 0.3), control)
    results = json.loads(json.dumps(encode_region(region, label_config, size_px=SIZE_PX)))
    reading = read_annotation(results, label_config, size_px=SIZE_PX)
    (back,) = reading.regions
    assert reading.problems == ()
    assert (back.label, back.score, type(back.shape)) == ("Кот", 1.0, type(shape))
    # Of points the distance counts, so that 0.5 would be ten pixels.
    assert similarity(back.shape, shape) > (0.9999 if isinstance(shape, Point) else 0.99)


def painted(mask, *, size_px, kind="brush"):
    value = {"rle": encode_rle(mask)} if kind == "brush" else {"imageDataURL": encode_png(mask)}
    item = result(kind, "Dog", **value)
    return item | {"original_width": size_px[0], "original_height": size_px[1]}


@pytest.mark.parametrize("kind", ["brush", "bitmask"])
@pytest.mark.parametrize("size_px", [(50, 25), (51, 25), (200, 100), (320, 160)])
def test_a_mask_of_another_rendition_is_scaled(kind, size_px):
    width, height = size_px
    mask = np.zeros((height, width), bool)
    mask[height // 5 : height // 5 * 3, : width // 2] = True
    shape = read_shape(painted(mask, size_px=size_px, kind=kind), SIZE_PX)
    assert shape.pixels.shape == (100, 200)
    assert similarity(shape, Box(0, 20, 100, 60)) > 0.93


def test_a_mask_without_a_size_is_as_large_as_the_picture():
    item = painted(np.eye(100, 200, dtype=bool), size_px=SIZE_PX)
    del item["original_width"], item["original_height"]
    assert read_shape(item, SIZE_PX).area_px == 100


RLE = encode_rle(np.eye(100, 200, dtype=bool))
PNG = encode_png(np.eye(100, 200, dtype=bool))
TRIANGLE = [[10, 10], [90, 10], [50, 90]]
ELLIPSE = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}
BROKEN = {
    "text for a number": rectangle("Dog", x="10"),
    "true for a number": rectangle("Dog", width=True),
    "NaN": rectangle("Dog", x=math.nan),
    "infinity": rectangle("Dog", height=math.inf),
    "huge": rectangle("Dog", width=10**400),
    "far outside": rectangle("Dog", x=5_000),
    "reaching far": rectangle("Dog", width=5_000),
    "beside the picture": rectangle("Dog", x=101),
    "above a corner": rectangle("Dog", x=-20, y=-20, width=22, height=22, rotation=45),
    "no width": rectangle("Dog", width=0),
    "no height, turned": rectangle("Dog", height=0, rotation=30),
    "no angle": rectangle("Dog", rotation=[]),
    "no value": result("rectangle", "Dog") | {"value": None},
    "an ellipse without a radius": result("ellipse", "Dog", x=50, y=50, radiusX=10),
    "a flat ellipse": result("ellipse", "Dog", **ELLIPSE | {"radiusY": 0}),
    "an ellipse of many pictures": result("ellipse", "Dog", **ELLIPSE | {"radiusX": 300}),
    "two points": result("polygon", "Dog", points=TRIANGLE[:2]),
    "points on a line": result("polygon", "Dog", points=[[1, 1], [2, 2], [3, 3]]),
    "a point of text": result("polygon", "Dog", points=[*TRIANGLE[:2], ["1", "2"]]),
    "a point of three": result("polygon", "Dog", points=[*TRIANGLE, [1, 2, 3]]),
    "points that are none": result("polygon", "Dog", points="abc"),
    "a polygon not closed": result("polygon", "Dog", points=TRIANGLE, closed=False),
    "a polygon outside": result("polygon", "Dog", points=[[-9, 10], [-1, 10], [-5, 99]]),
    "a polygon around a corner": result("polygon", "Dog", points=[[-20, 9], [9, -20], [-20, -20]]),
    "a point outside": result("keypoint", "Dog", x=102, y=50, width=1),
    "rle of nothing": result("brush", "Dog", rle=encode_rle(np.zeros((100, 200), bool))),
    "rle that ends early": result("brush", "Dog", rle=RLE[:-30]),
    "rle of another size": result("brush", "Dog", rle=encode_rle(np.ones((9, 9), bool))),
    "a number as rle": result("brush", "Dog", rle=10**12),
    "rle of text": result("brush", "Dog", rle=["1"] * 20),
    "a turned mask": painted(np.ones((200, 100), bool), size_px=(100, 200)),
    "a mask of no size": painted(np.ones((100, 200), bool), size_px=(200, None)),
    "a mask of a huge size": result("brush", "Dog", rle=RLE) | {"original_width": 40_000,
                                                                "original_height": 20_000},
    "a PNG of another size": result("bitmask", "Dog", imageDataURL=encode_png(np.eye(9) > 0)),
    "a PNG cut off": result("bitmask", "Dog", imageDataURL=PNG[:80]),
    "no PNG": result("bitmask", "Dog", imageDataURL="data:image/png;base64,AAAA"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_or_not_there_is_refused_cheaply(name):
    tracemalloc.start()
    try:
        with pytest.raises(BadRequest) as told:
            read_shape(BROKEN[name], SIZE_PX)
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()
    assert 10 < len(str(told.value)) < 200


def test_a_turned_box_is_cut_at_the_edge_with_its_angle():
    shape = read_shape(rectangle("Dog", x=90, y=-10, width=50, height=80, rotation=30), SIZE_PX)
    whole = RotatedBox(180 + 50 * math.cos(math.pi / 6) - 40 * 0.5,
                       -10 + 50 * 0.5 + 40 * math.cos(math.pi / 6), 100, 80, 30)  # fmt: skip
    seen = rotated_box_to_mask(whole, width_px=200, height_px=100).pixels
    cut = rotated_box_to_mask(shape, width_px=200, height_px=100).pixels
    assert shape.angle_deg == pytest.approx(30)
    assert shape.width_px < 100
    assert not (seen & ~cut).any()


def test_a_polygon_is_cut_at_the_edges_as_the_picture_cuts_it():
    rng = np.random.default_rng(0)
    for _ in range(50):
        points = rng.uniform(-60, 160, (rng.integers(3, 9), 2))
        whole = Polygon((points * (2, 1)).astype(np.float32))
        seen = polygon_to_mask(whole, width_px=200, height_px=100).pixels
        try:
            shape = read_shape(result("polygon", "Dog", points=points.tolist()), SIZE_PX)
        except BadRequest:
            assert not seen.any()
            continue
        cut = polygon_to_mask(shape, width_px=200, height_px=100).pixels
        assert (shape.points >= 0).all()
        assert (shape.points <= SIZE_PX).all()
        assert (seen != cut).sum() <= 2  # a pixel whose centre lies on an edge


def test_an_ellipse_keeps_what_leaves_the_picture():
    shape = read_shape(result("ellipse", "Dog", x=0, y=50, radiusX=-10, radiusY=20), SIZE_PX)
    assert shape == Ellipse(0, 50, 20, 20, 0)


def test_a_point_beside_the_edge_is_on_it():
    item = result("keypoint", "Dog", x=100.4, y=-0.4, width=1)
    assert read_shape(item, SIZE_PX) == Point(200, 0)


# Drawn in a real Label Studio 1.23.2 on a picture of 600 x 300 pixels, the view turned by 90
# degrees: the rectangle from 10, 10 to 40, 30 percent of the upright picture, and so on.
TURNED_VIEW = {
    Box(60, 30, 240, 90): {
        "x": 9.987669543773123, "y": 9.98766954377312,
        "width": 29.963008631319354, "height": 19.975339087546242, "rotation": 0,
    },
    Ellipse(420, 180, 60, 60): {
        "x": 70.03699136868065, "y": 60.04932182490753,
        "radiusX": 9.987669543773109, "radiusY": 19.97533908754624, "rotation": 0,
    },
    Point(540, 60): {"x": 90.01233045622689, "y": 20.098643649815056, "width": 0.2466091245376079},
}  # fmt: skip


@pytest.mark.parametrize("shape", TURNED_VIEW, ids=lambda shape: type(shape).__name__)
def test_turning_the_view_turns_no_shape(shape):
    item = result("rectangle", "Dog", **TURNED_VIEW[shape])
    item |= {"original_width": 600, "original_height": 300, "image_rotation": 90}
    assert similarity(read_shape(item, (600, 300)), shape) > 0.98
