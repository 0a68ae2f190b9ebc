"""One region of an annotation, which may be several results: its shape, its labels, its purpose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.errors import BadLabelConfig, BadRequest
from backends.interface import Control, LabelConfig
from backends.label_studio.config import choose_output, is_background
from backends.label_studio.label_xml import attribute
from backends.label_studio.shapes import Size, read_shape
from micro_models.regions import Box, Point, RotatedBox, Shape

Json = Mapping[str, Any]

# By what a value is known to hold the shape of a tool; others share its id but not its shape.
_HOLDS = {
    "rectangle": "height",
    "ellipse": "radiusX",
    "polygon": "points",
    "brush": "rle",
    "magicwand": "rle",
    "bitmask": "imageDataURL",
    "keypoint": "x",
}
_MORE_THAN_A_POINT = {key for key in _HOLDS.values() if key != "x"}


@dataclass(frozen=True)
class Drawn:
    """The results under one id, each with a type for which `is_drawn`.

    There are two where `<Labels>` stands beside the tool, and where the editor's "Keep label
    selected" has left the prompt's control on the answer. Without an id `id` is a number.
    """

    id: str | int
    items: list[Json] = field(default_factory=list)

    def shape(self, size_px: Size) -> tuple[Json, Shape]:
        """The first result that holds what its type says, and its shape. Errors: `BadRequest`."""
        own = [item for item in self.items if _holds_its_shape(item)]
        for item in own or [item for item in self.items if item["type"] == "labels"]:
            return item, read_shape(item, size_px)
        raise BadRequest(f"it lacks what a {_tool(self.items[0])} has")

    def labels(self, shaped: Json) -> tuple[str, ...]:
        """The labels of the result with the shape and of `<Labels>`, else those of any other."""
        own = [item for item in self.items if item is shaped or item["type"] == "labels"]
        return _written(own) or _written(self.items)


def is_drawn(kind: str) -> bool:
    """Whether results of this type are about a region, such as "rectanglelabels" and "labels"."""
    return kind == "labels" or kind.removesuffix("labels") in _HOLDS


def is_prompt(drawn: Drawn, shape: Shape, config: LabelConfig) -> bool:
    """Whether it was drawn to ask a model; the editor stores what nobody accepted or removed.

    Points are with `is_positive`, or with a label that the config calls background; rectangles
    are if drawn with a `smartOnly` tool whose answers go to another control.
    """
    if isinstance(shape, Point):
        return any(
            isinstance(item.get("is_positive"), bool)
            or any(is_background(config, str(item.get("from_name")), name) for name in names)
            for item in drawn.items
            for names in [_written([item])]
        )
    if not isinstance(shape, Box | RotatedBox):
        return False
    names = {
        item.get("from_name") for item in drawn.items if isinstance(item.get("from_name"), str)
    }
    return any(
        only_asks(control, config, label)
        for control in config.controls
        if control.name in names
        for label in _written(drawn.items)
    )


def only_asks(control: Control, config: LabelConfig, label: str | None) -> bool:
    """Whether all that a control draws is meant for a model, which answers elsewhere.

    A rectangle carries no mark of the tool that it was drawn with, and beside a tool that is merely
    smart there is an ordinary one: to drop those would be to drop what people drew.
    """
    if attribute(control, "smartOnly").lower() != "true":
        return False
    try:
        output = choose_output(config, control.to_name, label, prompt=control.name)
    except BadLabelConfig:
        return True
    return output.control.name != control.name


def _tool(item: Json) -> str:
    return str(item["type"]).removesuffix("labels")


def _holds_its_shape(item: Json) -> bool:
    value, key = item.get("value"), _HOLDS.get(_tool(item))
    if not isinstance(value, Mapping) or key is None or key not in value:
        return False
    return key != "x" or not _MORE_THAN_A_POINT & set(value)


def _written(items: Iterable[Json]) -> tuple[str, ...]:
    """The labels in some results, each once."""
    found: dict[str, None] = {}
    for item in items:
        value = item.get("value")
        for key in (item["type"], "labels"):
            names = value.get(key) if isinstance(value, Mapping) else None
            for name in names if isinstance(names, list) else ():
                if isinstance(name, str) and name:
                    found[name] = None
    return tuple(found)
