"""Labelled data as people have it on their disks, read into examples."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import cv2
import defusedxml.ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException

from micro_models.examples import Example
from micro_models.pictures import upright_size
from micro_models.regions import Box, Keypoints, Mask, Region, WholeImage

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class NoData(ValueError):
    """A folder or file that does not hold what was asked for; the message says what is missing."""


@dataclass(frozen=True)
class Dataset:
    """`pool`: what labels are drawn from. `test`: what is measured on; None: the rest of it."""

    name: str
    pool: tuple[Example, ...]
    test: tuple[Example, ...] | None = None


def read_clip(frames: Path, boxes: Path) -> list[Example]:
    """The frames of a clip in order, with their boxes.

    `boxes` is a CSV with the columns file, x, y, w, h in pixels (x, y: the upper left corner) and
    perhaps label; a frame without the object has empty ones, one with several has several rows.
    What a box has beyond its frame is cut off: no annotator can see or draw that.
    """
    found: dict[str, list[Region]] = {}
    for number, row in enumerate(_rows(boxes, ("file", "x", "y", "w", "h")), start=2):
        regions = found.setdefault(row["file"], [])
        if not row["x"].strip():
            continue
        try:
            x, y, w, h = (float(row[name]) for name in "xywh")
            shape = Box(x, y, x + w, y + h)
        except ValueError as error:
            raise NoData(f"{boxes}, line {number}: {error}") from error
        regions.append(Region(row.get("label") or "object", shape))
    if not found:
        raise NoData(f"{boxes} names no frame")
    paths = {name: _file(frames / name) for name in found}
    return [Example(paths[name], _visible(found[name], paths[name])) for name in found]


def read_voc(folder: Path) -> Dataset:
    """Pascal VOC: Annotations/*.xml, JPEGImages/, and ImageSets/{trainval,test}.txt if there.

    Boxes without an area are left out.
    """
    names = [path.stem for path in sorted((folder / "Annotations").glob("*.xml"))]
    if not names:
        raise NoData(f"{folder}/Annotations has no .xml file")
    tested = _image_set(folder, "test")
    drawn = _image_set(folder, "trainval") or [name for name in names if name not in tested]
    pool, test = (tuple(_voc_example(folder, name) for name in part) for part in (drawn, tested))
    return Dataset(folder.name, pool, test or None)


def read_instances(folder: Path) -> Dataset:
    """Instance masks: images/ and, under the same names, labels/*.png: 0 background, then 1, 2, ...

    All objects get the folder's name as label.
    """
    examples = []
    for path in _pictures(folder / "images"):
        numbers = _map(folder / "labels" / f"{path.stem}.png")
        masks = [Mask(numbers == number) for number in np.unique(numbers[numbers > 0])]
        examples.append(Example(path, [Region(folder.name, mask) for mask in masks]))
    return Dataset(folder.name, tuple(examples))


def read_keypoints(folder: Path) -> Dataset:
    """Key points: one COCO .json in the folder, pictures beside it or in images/."""
    files = sorted(folder.glob("*.json"))
    if len(files) != 1:
        raise NoData(f"{folder} needs exactly one COCO .json file, it has {len(files)}")
    try:
        coco = json.loads(files[0].read_text("utf-8"))
        labels = {kind["id"]: kind["name"] for kind in coco["categories"]}
        regions: dict[int, list[Region]] = {image["id"]: [] for image in coco["images"]}
        for found in coco["annotations"]:
            regions[found["image_id"]].append(
                Region(labels[found["category_id"]], _skeleton(found["keypoints"]))
            )
        names = [(image["file_name"], regions[image["id"]]) for image in coco["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise NoData(f"{files[0]} is no COCO key point file: {error!r}") from error
    places = [folder / "images", folder]
    return Dataset(folder.name, tuple(Example(_file(name, places), seen) for name, seen in names))


def read_classes(folder: Path) -> Dataset:
    """Classes by folder: train/<class>/ and val/<class>/ or test/<class>/, or <class>/ alone."""
    if not (folder / "train").is_dir():
        return Dataset(folder.name, _class_folders(folder))
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    tested = None if test is None else _class_folders(test)
    return Dataset(folder.name, _class_folders(folder / "train"), tested)


READERS: dict[str, Callable[[Path], Dataset]] = {
    "voc": read_voc,
    "nuclei": read_instances,
    "keypoints": read_keypoints,
    "classes": read_classes,
}


def draw(pool: Sequence[Example], count: int, rng: np.random.Generator) -> list[int]:
    """Indices of `count` examples by lot, the classes of whole images evenly."""
    order = [int(index) for index in rng.permutation(len(pool))]
    if all(_class_of(example) for example in pool):
        seen: dict[str, int] = {}
        turns = {}
        for index in order:
            label = _class_of(pool[index])
            turns[index] = seen[label] = seen.get(label, 0) + 1
        order.sort(key=turns.__getitem__)  # stable: first one of each class, then the second
    return order[:count]


def _class_of(example: Example) -> str:
    labels = [r.label for r in example.regions if isinstance(r.shape, WholeImage)]
    return labels[0] if labels else ""


def _rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise NoData(f"{path} is no file")
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, restval="")
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise NoData(f"{path} has no column {', '.join(missing)}")
        return list(reader)


def _visible(regions: Sequence[Region], path: Path) -> list[Region]:
    """The boxes cut off at the picture's edges; those beyond are left out."""
    width, height = upright_size(path)
    visible = []
    for region in regions:
        box = region.shape
        if isinstance(box, Box) and box.x0 < width and box.y0 < height and min(box.x1, box.y1) > 0:
            cut = Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, width), min(box.y1, height))
            visible.append(Region(region.label, cut))
    return visible


def _file(name: Path | str, places: Sequence[Path] = (Path(),)) -> Path:
    for place in places:
        if (place / name).is_file():
            return place / name
    raise NoData(f"{places[0] / name} is missing")


def _pictures(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in PICTURES]
    if not files:
        raise NoData(f"{folder} has no pictures")
    return files


def _image_set(folder: Path, name: str) -> list[str]:
    for place in (folder / "ImageSets", folder / "ImageSets" / "Main"):
        if (place / f"{name}.txt").is_file():
            return (place / f"{name}.txt").read_text("utf-8").split()
    return []


def _voc_example(folder: Path, name: str) -> Example:
    path = folder / "Annotations" / f"{name}.xml"
    if not path.is_file():
        raise NoData(f"{path} is missing")
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except (ParseError, DefusedXmlException) as error:
        raise NoData(f"{path} is no whole XML: {error}") from error
    regions = []
    for found in root.iter("object"):
        edges = (found.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
        try:
            x0, y0, x1, y1 = (float(edge or "") for edge in edges)
        except ValueError as error:
            raise NoData(f"{path}: a box is incomplete") from error
        if x1 > x0 and y1 > y0:
            # VOC counts pixels from 1 and includes the last.
            shape = Box(max(x0 - 1, 0), max(y0 - 1, 0), x1, y1)
            regions.append(Region((found.findtext("name") or "object").strip(), shape))
    places = [folder / "JPEGImages", folder / "images", folder]
    return Example(_file(root.findtext("filename") or f"{name}.jpg", places), regions)


def _map(path: Path) -> np.ndarray:
    numbers = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if numbers is None or numbers.ndim != 2:
        raise NoData(f"{path} is missing or no grey image of object numbers")
    return numbers


def _skeleton(flat: list[Any]) -> Keypoints:
    """COCO's x, y, v, x, y, v, ...; v: 0 not labelled, 1 hidden, 2 seen."""
    rows = np.array(flat, np.float32).reshape(-1, 3)
    return Keypoints(rows[:, :2].copy(), (rows[:, 2] > 0).astype(np.float32))


def _class_folders(folder: Path) -> tuple[Example, ...]:
    places = [place for place in sorted(folder.glob("*")) if place.is_dir()]
    if not places:
        raise NoData(f"{folder} has no folder per class")
    return tuple(
        Example(path, [Region(place.name, WholeImage())])
        for place in places
        for path in _pictures(place)
    )
