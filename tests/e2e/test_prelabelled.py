"""Every kind of prediction in the real editor: shown, without an error, stored back unchanged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backends.interface import PlacedRegion, Prediction
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from micro_models.regions import Box, Mask, Point, Polygon, Region, RotatedBox, Shape, WholeImage
from tests.e2e.browser import Editor
from tests.e2e.test_clicks import scene
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e

LABELS = '<Label value="Cat"/><Label value="Dog" alias="d0g"/>'
SIZE_PX = (320, 240)

Json = dict[str, Any]


def config(*tags: str) -> str:
    return f'<View><Image name="image" value="$image"/>{"".join(tags)}</View>'


def control(tag: str, extra: str = "", labels: str = LABELS) -> str:
    return f'<{tag} name="{tag.lower()}" toName="image" {extra}>{labels}</{tag}>'


PAIRS = config(
    control("Labels"),
    *(control(tag, 'smart="false"', "") for tag in ("Rectangle", "Polygon", "Brush", "KeyPoint")),
)
TREE = """<Choice value="Animals"><Choice value="dog" alias="hound"/><Choice value="cat"/></Choice>
  <Choice value="Cars"/>"""


def mask() -> Mask:
    return Mask(scene()[1][0])


def polygon() -> Polygon:
    return Polygon(np.float32([[10, 10], [100.5, 20], [90, 200], [50, 120], [12, 90]]))


def region(
    name: str, control: str, label: str, shape: Shape, score: float = 0.75, **more: Any
) -> PlacedRegion:
    return PlacedRegion(name, Region(label, shape, score), control, **more)


@dataclass(frozen=True)
class Case:
    """A label config and what a backend found; what the editor then shows of it.

    `shown`: type and labels of the regions; `chosen`: of whole images. `is_importable`: whether
    Label Studio's import takes it, which drops without a word what its own editor writes.
    """

    name: str
    config: str
    found: Sequence[PlacedRegion]
    shown: Sequence[tuple[str, list[str]]] = ()
    chosen: Sequence[Any] = ()
    is_importable: bool = True


def skeleton() -> list[PlacedRegion]:
    points = [(60.25, 50.5), (100, 100), (319.5, 0.0)]
    return [
        region("box", "rectanglelabels", "Cat", Box(40, 30, 200, 220)),
        *(
            region(f"p{i}", "keypointlabels", "d0g", Point(*point), parent="box", width_percent=0.7)
            for i, point in enumerate(points)
        ),
    ]


CASES = [
    Case(
        "boxes",
        config(control("RectangleLabels")),
        [
            region("a1", "rectanglelabels", "Cat", Box(10.4, 20, 200, 239.9)),
            region("a2", "rectanglelabels", "d0g", Box(-5, -5, 400, 100), 0.31),
            region("a3", "rectanglelabels", "Cat", RotatedBox(150, 120, 100, 40, 33)),
            region("a4", "rectanglelabels", "Cat", RotatedBox(310, 120, 200, 60, -75)),
        ],
        [("rectangleregion", ["Cat"]), ("rectangleregion", ["d0g"])]
        + 2 * [("rectangleregion", ["Cat"])],
    ),
    Case(
        "polygons",
        config(control("PolygonLabels")),
        [region("b1", "polygonlabels", "Cat", polygon())],
        [("polygonregion", ["Cat"])],
    ),
    Case(
        "brush",
        config(control("BrushLabels", 'smart="false"')),
        [region("c1", "brushlabels", "Cat", mask())],
        [("brushregion", ["Cat"])],
    ),
    Case(
        "bitmask",
        config(control("BitmaskLabels", 'smart="false"')),
        [region("d1", "bitmasklabels", "Cat", mask())],
        [("bitmaskregion", ["Cat"])],
    ),
    Case(
        "skeleton",
        config(control("RectangleLabels"), control("KeyPointLabels")),
        skeleton(),
        [("rectangleregion", ["Cat"])] + 3 * [("keypointregion", ["d0g"])],
    ),
    Case(
        "key points alone",
        config(control("KeyPointLabels")),
        [region("e1", "keypointlabels", "Cat", Point(100, 77.7))],
        [("keypointregion", ["Cat"])],
    ),
    Case(
        "pairs",
        PAIRS,
        [
            region("f1", "rectangle", "Cat", Box(10, 20, 200, 220)),
            region("f2", "polygon", "d0g", polygon()),
            region("f3", "brush", "Cat", mask()),
            region("f4", "keypoint", "d0g", Point(33, 44)),
        ],
        [
            ("rectangleregion", ["Cat"]), ("polygonregion", ["d0g"]),
            ("brushregion", ["Cat"]), ("keypointregion", ["d0g"]),
        ],
    ),
    Case(
        "one choice",
        config(control("Choices", "", '<Choice value="cat"/><Choice value="dog" alias="d"/>')),
        [
            region("g1", "choices", "cat", WholeImage(), 0.2),
            region("g2", "choices", "d", WholeImage(), 0.7),
        ],
        chosen=["d"],
    ),
    Case(
        "several choices",
        config(
            control("Choices", 'choice="multiple"', '<Choice value="cat"/><Choice value="dog"/>')
        ),
        [
            region("h1", "choices", "dog", WholeImage(), 0.9),
            region("h2", "choices", "cat", WholeImage(), 0.7),
        ],
        chosen=["cat", "dog"],
    ),
    Case(
        "nested choices",
        config(control("Choices", 'choice="multiple" allowNested="true"', TREE)),
        [
            region("i1", "choices", "Animals/hound", WholeImage(), 0.9),
            region("i2", "choices", "Cars", WholeImage(), 0.9),
        ],
        chosen=[["Animals", "hound"], ["Cars"]],
        is_importable=False,
    ),
    Case(
        "taxonomy",
        config(control("taxonomy", "", TREE)),
        [
            region("j1", "taxonomy", "Animals/hound", WholeImage(), 0.9),
            region("j2", "taxonomy", "Cars", WholeImage(), 0.9),
        ],
        chosen=[["Animals", "hound"], ["Cars"]],
    ),
    Case(
        "one taxon",
        config(control("Taxonomy", 'maxUsages="1"', TREE)),
        [
            region("k1", "taxonomy", "Animals", WholeImage(), 0.4),
            region("k2", "taxonomy", "Animals/cat", WholeImage(), 0.9),
        ],
        chosen=[["Animals", "cat"]],
    ),
]  # fmt: skip


def prediction(case: Case) -> Json:
    """As it goes over the wire."""
    made = Prediction(tuple(case.found), 0.5, "v1", *SIZE_PX)
    encoded = encode_prediction(made, parse_label_config(case.config))
    return dict(json.loads(json.dumps(encoded, allow_nan=False)))


def store(
    studio: LabelStudioServer, project: int, task: int, sent: Json, *, by_import: bool
) -> None:
    """Store a prediction through the bulk door if it takes it, else through that for one."""
    answer = studio.api(
        "POST", f"/api/projects/{project}/import/predictions", json=[{"task": task, **sent}]
    )
    assert answer == {"created": 1 if by_import else 0}
    if not by_import:
        studio.api("POST", "/api/predictions/", json={"task": task, **sent})


def comparable(results: list[Json]) -> list[Json]:
    """What the annotator's Submit must leave as it is."""
    kept = ("id", "from_name", "to_name", "type", "value", "score", "parentID", "meta", "origin")
    return [{key: result[key] for key in kept if key in result} for result in results]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_prediction_is_shown_and_stored_back(
    case: Case, label_studio: LabelStudioServer, editor: Editor, tmp_path: Path
) -> None:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), scene()[0][..., ::-1])
    project = label_studio.add_project(case.config)
    label_studio.api("POST", "/api/dm/views/", json={"project": project, "data": {}})
    (task,) = label_studio.upload(project, file)
    sent = prediction(case)
    store(label_studio, project, task["id"], sent, by_import=case.is_importable)
    editor.show(project, task["id"])
    assert [(each["type"], each["labels"]) for each in editor.regions()] == list(case.shown)
    assert editor.chosen() == list(case.chosen)
    editor.submit()
    (annotation,) = label_studio.api("GET", f"/api/tasks/{task['id']}/annotations/")
    assert comparable(annotation["result"]) == comparable(sent["result"])
    assert editor.errors == []
