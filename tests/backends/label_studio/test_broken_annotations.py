import json

import numpy as np
import pytest

from backends.interface import PlacedRegion
from backends.label_studio import annotations
from backends.label_studio.annotations import MAX_RESULTS, Reading, read_annotation
from backends.label_studio.results import encode_region
from micro_models.evaluation.overlap import bounds
from micro_models.regions import Box, Ellipse, Mask, Point, Polygon, Region, RotatedBox
from tests.backends.label_studio.annotated import (
    CHOICES,
    SIZE_PX,
    box,
    choice,
    config,
    key_point,
    rectangle,
)
from tests.hostile import hostile_variations


def test_a_bad_region_costs_none_but_itself():
    results = [rectangle("Dog", x="10"), rectangle("Dog", name="s"), rectangle(name="t")]
    reading = read_annotation(results, config(), size_px=SIZE_PX)
    assert reading.regions == (box("Dog"),)
    assert reading.is_complete
    assert [line[:11] for line in reading.problems] == ['region "r":', 'region "t":']


def test_few_lines_tell_of_many_problems_and_not_at_length():
    results = [rectangle("x" * 9_999, name="y" * 9_999 + str(i)) for i in range(1_000)]
    problems = read_annotation(results, config(), size_px=SIZE_PX).problems
    assert problems[-1] == "and 980 more"
    assert len(problems) == 21
    assert max(map(len, problems)) < 300


def test_there_is_an_end_to_results_and_to_masks(monkeypatch):
    many = [rectangle("Dog", x=i / 1e3, name=str(i)) for i in range(MAX_RESULTS + 5)]
    reading = read_annotation(many, config(), size_px=(100_000, 100))
    assert len(reading.regions) == MAX_RESULTS
    assert reading.problems == (f"of {MAX_RESULTS + 5} results the first {MAX_RESULTS} are read",)
    monkeypatch.setattr(annotations, "MAX_MASK_PX", 2 * 200 * 100)
    rng = np.random.default_rng(0)
    masks = [Region("Dog", Mask(rng.random((100, 200)) < 0.5)) for _ in range(3)]
    results = [written(region, "brush", f"m{i}") for i, region in enumerate(masks)]
    reading = read_annotation(results, config(), size_px=SIZE_PX)
    assert len(reading.regions) == 2
    assert reading.problems == ('region "m2": too many masks on one picture',)


def written(region, control, name="r"):
    placed = PlacedRegion(name, region, control)
    (item,) = encode_region(placed, config(), size_px=SIZE_PX)
    return json.loads(json.dumps(item))


SHAPES = {
    "rectangle": Box(3, 4, 50, 60),
    "turned": RotatedBox(100, 50, 60, 20, 30),
    "ellipse": Ellipse(100, 50, 30, 20, 40),
    "polygon": Polygon(np.float32([[3, 4], [90, 10], [50, 80]])),
    "keypoint": Point(7, 8),
    "brush": Mask(np.arange(20_000).reshape(100, 200) % 7 == 0),
    "bitmask": Mask(np.arange(20_000).reshape(100, 200) % 5 == 0),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_broken_result_is_at_worst_left_out(name):
    item = written(Region("Dog", SHAPES[name]), name.replace("turned", "rectangle"))
    if name == "brush":  # of its many numbers the first and the last ones say it all
        (item,) = [{**item, "value": {**item["value"], "rle": item["value"]["rle"][:40]}}]
    for where, changed in hostile_variations(item):
        reading = read_annotation([changed, rectangle("Кот", name="good")], config(),
                                  size_px=SIZE_PX)  # fmt: skip
        assert reading.regions[-1].label == "Кот", where
        for region in reading.regions:
            assert region.label in ("Dog", "Кот"), where
            around = bounds(region.shape)
            margin = 100 if isinstance(region.shape, Ellipse | RotatedBox) else 0
            assert min(around.x0, around.y0) >= -margin, where
            assert max(around.x1 - 200, around.y1 - 100) <= margin, where


def test_a_hostile_result_or_task_never_raises():
    results = [rectangle("Dog"), key_point("Dog") | {"parentID": "r"}, choice("day")]
    classes = config("Rectangle", f'<Choices name="choices" toName="image">{CHOICES}</Choices>')
    for where, changed in hostile_variations(results):
        assert isinstance(read_annotation(changed, classes, size_px=SIZE_PX), Reading), where
