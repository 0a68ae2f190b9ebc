"""Label configs and results of annotations as the editor writes them."""

from __future__ import annotations

from typing import Any

from backends.label_studio.config import parse_label_config
from micro_models.regions import Box, Point, Region, WholeImage

SIZE_PX = (200, 100)
TAGS = ("Brush", "Bitmask", "Polygon", "Ellipse", "Rectangle", "KeyPoint")
LABELS = '<Label value="Кот"/><Label value="Dog"/>'
CHOICES = '<Choice value="day"/><Choice value="night"/>'


def config(*controls: str):
    """A label config with an image; `config("Rectangle")` has RectangleLabels."""
    tags = {tag: f'<{tag}Labels name="{tag.lower()}" toName="image">{LABELS}</{tag}Labels>'
            for tag in TAGS}  # fmt: skip
    body = "".join(tags.get(control, control) for control in controls or TAGS)
    return parse_label_config(f'<View><Image name="image" value="$image"/>{body}</View>')


def result(tool: str, *labels: str, name: str = "r", **value: Any) -> dict[str, Any]:
    """A result of a ...Labels control."""
    return {
        "id": name,
        "from_name": tool,
        "to_name": "image",
        "type": f"{tool}labels",
        "original_width": SIZE_PX[0],
        "original_height": SIZE_PX[1],
        "image_rotation": 0,
        "value": {**value, f"{tool}labels": list(labels)},
    }


def rectangle(*labels: str, name: str = "r", x=10, y=20, width=30, height=40, rotation=0):
    """By default the box (20, 20, 80, 60) in pixels of `SIZE_PX`."""
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return result("rectangle", *labels, name=name, **place)


def key_point(*labels: str, name: str = "p", x=10, y=20, **extra: Any):
    """By default the point (20, 20) in pixels of `SIZE_PX`."""
    return result("keypoint", *labels, name=name, x=x, y=y, width=0.5) | extra


def choice(*labels: str, name: str = "c", control: str = "choices", kind: str = "choices"):
    """A result of Choices or Taxonomy."""
    value = {kind: list(labels)}
    return {"id": name, "from_name": control, "to_name": "image", "type": kind, "value": value}


def box(label: str, x0=20.0, y0=20.0, x1=80.0, y1=60.0) -> Region:
    return Region(label, Box(x0, y0, x1, y1))


def point(label: str, x=20.0, y=20.0) -> Region:
    return Region(label, Point(x, y))


def whole(label: str) -> Region:
    return Region(label, WholeImage())
