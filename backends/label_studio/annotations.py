"""What people labelled: results of an annotation -> regions in pixels of the upright picture.

Reading never fails. What cannot be read, or is no label at all, is left out and told in a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from backends.errors import BadRequest
from backends.interface import Control, LabelConfig
from backends.label_studio.classes import CLASS_TAGS, decode_classes
from backends.label_studio.drawn import Drawn, is_drawn, is_prompt
from backends.label_studio.label_xml import attribute
from backends.label_studio.shapes import Size
from backends.label_studio.skeletons import Part, joined
from micro_models.regions import Keypoints, Mask, Polygon, Region, WholeImage

Json = Mapping[str, Any]

MAX_RESULTS = 10_000
# All masks of an annotation together; each is as large as its picture, a byte a pixel.
MAX_MASK_PX = 2**30
_MAX_PROBLEMS = 20
_CLASS_TYPES = tuple(tag.lower() for tag in CLASS_TAGS)


@dataclass(frozen=True)
class Reading:
    """The regions of one picture, and a line for people about each thing that was left out."""

    regions: tuple[Region, ...]
    problems: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether no region means that nothing is there, not that nothing could be read."""
        return bool(self.regions) or not self.problems


def read_annotation(
    result: Any, config: LabelConfig, *, size_px: Size, to_name: str | None = None
) -> Reading:
    """The regions that an annotation's `result` holds on the picture `to_name`, each once.

    `to_name` None stands for the config's first `<Image>`; `size_px` is that picture's (width,
    height). A region with several labels is one region each; points in a labelled rectangle
    become its skeleton (`skeletons.joined`). All scores are 1: people said so.

    Left out and told: regions without a label or with one that the config lacks, what is broken
    or not on the picture, and open prompts. Those are points with `is_positive` or a background
    label, and rectangles of a `smartOnly` tool whose answers go to another control. Left out
    without a word: what is no region (relations, texts, ratings), choices about a region, and
    other pictures.
    """
    picture = to_name or first_image(config)
    if not isinstance(result, list):
        return Reading((), ("the result is no list",))
    if picture is None:
        return Reading((), ("the label config has no image",))
    problems: list[str] = []
    if len(result) > MAX_RESULTS:
        problems.append(f"of {len(result)} results the first {MAX_RESULTS} are read")
    drawn, classes = _sorted(result[:MAX_RESULTS], config, picture, problems)
    regions = joined(_parts(drawn.values(), config, picture, size_px, problems), config)
    per_region = {c.name for c in config.controls if attribute(c, "perRegion").lower() == "true"}
    for item in classes:
        if _text(item, "from_name") not in per_region and _text(item, "id") not in drawn:
            regions += _classes(item, _known(config, picture, _is_class), problems)
    return Reading(tuple(_once(regions)), _told(problems))


def first_image(config: LabelConfig) -> str | None:
    """The name of the first `<Image>`; None without."""
    return next((medium.name for medium in config.media if medium.tag == "Image"), None)


def _sorted(
    result: Sequence[Any], config: LabelConfig, picture: str, problems: list[str]
) -> tuple[dict[str | int, Drawn], list[Json]]:
    """What was drawn, by its id, and the classes of the whole picture."""
    drawn: dict[str | int, Drawn] = {}
    classes: list[Json] = []
    media = {medium.name for medium in config.media}
    for index, item in enumerate(result):
        kind = item.get("type") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(kind, str):
            problems.append(f"result {index} is no object with a type")
        elif _text(item, "to_name") in media - {picture} or item.get("item_index") not in (None, 0):
            continue
        elif kind in _CLASS_TYPES:
            classes.append(item)
        elif is_drawn(kind):
            key = _text(item, "id") or index
            drawn.setdefault(key, Drawn(key)).items.append(item)
        elif kind.endswith("labels") or kind == "vector":
            problems.append(f"result {index} is of type {kind[:40]}, which no micro-model learns")
    return drawn, classes


def _parts(
    drawn: Iterable[Drawn],
    config: LabelConfig,
    picture: str,
    size_px: Size,
    problems: list[str],
) -> Iterator[Part]:
    """Each region that can be read, with its labels."""
    known, mask_px = _known(config, picture, _names_regions), 0
    for one in drawn:
        try:
            if any(item.get("to_name", picture) != picture for item in one.items):
                raise BadRequest("it is on no picture")
            item, shape = one.shape(size_px)
            if is_prompt(one, shape, config):
                raise BadRequest("it is an open prompt")
            labels = one.labels(item)
            if not labels:
                raise BadRequest("it has no label")
            strangers = [label for label in labels if known and label not in known]
            if strangers:
                problems.append(_line(one, f'the label config has no label "{strangers[0][:40]}"'))
            mask_px += shape.pixels.size if isinstance(shape, Mask) else 0
            if mask_px > MAX_MASK_PX:
                raise BadRequest("too many masks on one picture")
        except BadRequest as error:
            problems.append(_line(one, error.message))
            continue
        kept = tuple(label for label in labels if label not in strangers)
        if kept:
            control, parent = _text(item, "from_name"), _text(item, "parentID")
            yield Part(one.id, kept, shape, control, parent or None)


def _classes(item: Json, known: frozenset[str], problems: list[str]) -> list[Region]:
    try:
        labels = [region.label for region in decode_classes(item)]
    except BadRequest as error:
        problems.append(error.message)
        return []
    strangers = [label for label in labels if known and label not in known]
    problems.extend(f'the label config has no choice "{label[:40]}"' for label in strangers)
    return [Region(label, WholeImage()) for label in labels if label not in strangers]


def _known(config: LabelConfig, picture: str, fits: Callable[[Control], bool]) -> frozenset[str]:
    """The labels of the controls that fit; empty if any takes its labels from the task."""
    controls = [c for c in config.controls if c.to_name == picture and fits(c)]
    if not all(control.labels for control in controls):
        return frozenset()
    return frozenset(label for control in controls for label in control.labels)


def _is_class(control: Control) -> bool:
    return control.tag in CLASS_TAGS


def _names_regions(control: Control) -> bool:
    return control.tag.endswith("Labels")


def _once(regions: Iterable[Region]) -> list[Region]:
    """The regions without those that repeat label and shape, to a hundredth of a pixel."""
    found: dict[tuple[object, ...], Region] = {}
    for region in regions:
        found.setdefault(_fingerprint(region), region)
    return list(found.values())


def _fingerprint(region: Region) -> tuple[object, ...]:
    shape = region.shape
    match shape:
        case Mask():
            place: object = sha256(np.packbits(shape.pixels).tobytes()).digest()
        case Polygon() | Keypoints():
            place = (shape.points.round(2) + 0.0).tobytes()  # 0.0 and -0.0 are the same
        case _:
            place = tuple(round(number, 2) for number in astuple(shape))
    return region.label, type(shape), place


def _told(problems: Sequence[str]) -> tuple[str, ...]:
    more = len(problems) - _MAX_PROBLEMS
    return (*problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


def _line(one: Drawn, message: str) -> str:
    return f'region "{str(one.id)[:40]}": {message}'


def _text(item: Json, key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""
