from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.errors import LabelStudioError, MediaError
from backends.interface import ImageFile, LabelledTask, Project
from backends.label_studio.brush import encode_rle
from backends.label_studio.label_xml import parse_label_config
from backends.micro import examples as module
from backends.micro.examples import data_hash, examples
from backends.micro.exchange import Material
from backends.micro.nouns import Scope, ScopeKind
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    WholeImage,
)

LABELS = '<Label value="Кот"/><Label value="Dog"/>'
PROJECT = Project(
    "1.5",
    parse_label_config(
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="box" toName="image">{LABELS}</RectangleLabels>'
        f'<BrushLabels name="brush" toName="image">{LABELS}</BrushLabels></View>'
    ),
)
ALL = Scope(ScopeKind.PROJECT, ("box", "brush"))
BOXES = Scope(ScopeKind.PROJECT, ("box",))
DOGS = Scope(ScopeKind.LABEL, ("box", "brush"), labels=frozenset({"Dog"}), value="Dog")
NIGHT = Scope(ScopeKind.FIELD, ("box", "brush"), field="scene", value="night")


def box(label: str, x: int = 10) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": [label]}
    return {"from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": value}


def brush(label: str, count: int = 1) -> list[dict[str, Any]]:
    pixels = np.zeros((100, 200), np.bool_)
    pixels[10:50, 20:90] = True
    value = {"format": "rle", "rle": encode_rle(pixels), "brushlabels": [label]}
    common = {"from_name": "brush", "to_name": "image", "type": "brushlabels", "value": value}
    return [{**common, "id": str(n)} for n in range(count)]


def labelled(number: int, *result: Any, at: str = "2024", by: int = 1, **data: Any):
    annotation = {"id": number, "completed_by": by, "result": list(result), "updated_at": at}
    return LabelledTask(number, at, {"image": f"{number}.jpg", **data}, (annotation,))


def locate(task: LabelledTask) -> ImageFile:
    return ImageFile(Path("/cache") / f"d{task.id}", f"d{task.id}", 200, 100)


def gathered(scope: Scope, *tasks: LabelledTask, locate=locate, go_on=lambda: None):
    return examples(scope, PROJECT, tasks, locate, go_on=go_on)


def labels(found) -> dict[int, list[str]]:
    return {one.task_id: [region.label for region in one.regions] for one in found.material}


def test_a_scope_learns_its_own_and_the_rest_is_background() -> None:
    tasks = [
        labelled(3, box("Dog"), box("Кот", 50), scene="night"),
        labelled(1, *brush("Dog"), scene="day"),
        labelled(2, scene="night"),
        LabelledTask(4, "2024", {"scene": "night"}, ()),  # nobody labelled it
        labelled(5, box("gone"), scene="night"),
    ]
    for scope, expected in [
        (ALL, {1: ["Dog"], 2: [], 3: ["Dog", "Кот"]}),
        (BOXES, {1: [], 2: [], 3: ["Dog", "Кот"]}),
        (DOGS, {1: ["Dog"], 2: [], 3: ["Dog"]}),
        (NIGHT, {2: [], 3: ["Dog", "Кот"]}),
    ]:
        found = gathered(scope, *tasks)
        assert labels(found) == expected
        assert list(labels(found)) == sorted(expected)
        assert list(found.problems) == [5]
    assert "gone" in found.problems[5]
    assert found.material[1].regions[0] == Region("Dog", Box(20, 20, 80, 60))
    assert found.material[1].picture == Path("/cache/d3")


def test_a_picture_that_cannot_be_fetched_costs_only_itself() -> None:
    def some(task: LabelledTask) -> ImageFile:
        if task.id == 2:
            raise MediaError("it is not there", advice="upload it again")
        if task.id == 3:
            raise KeyError("/secret/place")
        return locate(task)

    found = gathered(ALL, *(labelled(n, box("Dog")) for n in (1, 2, 3, 4)), locate=some)
    assert labels(found) == {1: ["Dog"], 4: ["Dog"]}
    assert "upload" in found.problems[2]
    assert "KeyError" in found.problems[3]
    assert "secret" not in found.problems[3]


def test_a_label_studio_that_is_down_ends_it() -> None:
    def dead(task: LabelledTask) -> ImageFile:
        raise LabelStudioError("it cannot be reached")

    with pytest.raises(LabelStudioError):
        gathered(ALL, labelled(1, box("Dog")), locate=dead)


def test_it_can_be_stopped() -> None:
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        gathered(ALL, *(labelled(n, box("Dog")) for n in range(50)), go_on=stop)


def test_of_very_many_the_newest_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EXAMPLES", 3)
    tasks = [labelled(n, box("Dog"), at=f"20{50 - n}") for n in range(10)]
    assert list(labels(gathered(ALL, *tasks))) == [0, 1, 2]


def test_masks_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MASK_BYTES", 50_000)  # two and a half masks
    tasks = [labelled(n, *brush("Dog"), at=f"202{n}") for n in range(4)]
    found = gathered(ALL, *tasks, labelled(9, box("Dog")))
    assert list(labels(found)) == [2, 3, 9]
    assert sorted(found.problems) == [0, 1]


def test_the_hash_knows_every_number() -> None:
    mask = np.zeros((4, 5), np.bool_)
    other = mask.copy()
    other[1, 1] = True
    points = np.array([(0, 0), (9, 0), (9, 9)], np.float32)
    shapes = [
        Box(1, 2, 3, 4),
        Box(1, 2, 3, 4.000001),
        RotatedBox(1, 2, 3, 4, 5),
        Ellipse(1, 2, 3, 4, 5),
        Ellipse(1, 2, 3, 4, 6),
        Polygon(points),
        Polygon(points + np.float32(0.001)),
        Keypoints(points, np.ones(3, np.float32)),
        Keypoints(points, np.zeros(3, np.float32)),
        Mask(mask),
        Mask(mask.reshape(5, 4)),
        Mask(other),
        Point(1, 2),
        WholeImage(),
    ]
    one = Material(1, Path("/a/d1"), ())
    every = [
        one,
        replace(one, task_id=2),
        replace(one, picture=Path("/a/d2")),
        replace(one, frame=0),
    ]
    every += [replace(one, regions=(Region("car", shape),)) for shape in shapes]
    every += [replace(one, regions=(Region("Кот", shapes[0]),))]
    assert len({data_hash([some]) for some in every}) == len(every)
    assert data_hash([]) != data_hash([one])


def test_the_hash_does_not_know_the_order_or_the_folder() -> None:
    car, bus = Region("car", Box(1, 2, 3, 4)), Region("bus", Box(1, 2, 3, 4))
    one, other = Material(1, Path("/a/d1"), (car, bus)), Material(2, Path("/a/d2"), ())
    again = Material(1, Path("/b/d1"), (bus, car))
    assert data_hash([one, other]) == data_hash([other, again])
    assert data_hash([one]) != data_hash([one, other])
