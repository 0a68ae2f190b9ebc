"""Decode what Label Studio sends: /setup, /predict and /webhook bodies, and open prompts.

Every function takes parsed JSON of any shape and raises nothing but `BadRequest`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.errors import BadRequest
from backends.interface import AnnotationEvent, Drawn, EventKind, Interaction, LabelConfig, Task
from backends.label_studio.config import is_background
from backends.label_studio.label_xml import MAX_CONFIG_CHARS
from micro_models.regions import Box, Click, RotatedBox

Json = Mapping[str, Any]

UNKNOWN_PROJECT = "0"
_MAX_ID = 2**63 - 1
_MAX_SIDE_PX = 1_000_000
# Drawn shapes may leave the image, but not by a thousand times its size.
_MAX_PERCENT = 100_000.0
# Labels, names and ids; what is kept in memory and shown must not grow without bound.
_MAX_TEXT = 2_000
_PROJECT_KEY = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)


@dataclass(frozen=True)
class SetupRequest:
    """The body of /setup. `access_token` is the project creator's legacy token."""

    project_key: str
    label_config_text: str
    hostname: str | None = None
    access_token: str | None = field(default=None, repr=False)
    extra_params: Any = None

    @property
    def project_id(self) -> int:
        """The id that Label Studio's API takes."""
        return int(self.project_key.split(".")[0])


@dataclass(frozen=True)
class PredictRequest:
    """The body of /predict. `context`: the open prompts, for `decode_interaction`."""

    project_key: str
    label_config_text: str | None
    tasks: tuple[Task, ...]
    context: tuple[Json, ...] = ()

    @property
    def project_id(self) -> int:
        """The id that Label Studio's API takes."""
        return int(self.project_key.split(".")[0])


def decode_setup(body: Any) -> SetupRequest:
    """Decode a /setup body. Errors: `BadRequest`."""
    body = _object(body, "the body")
    return SetupRequest(
        project_key=_project_key(body.get("project")),
        label_config_text=_config(body.get("schema"), "schema"),
        hostname=_optional_text(body.get("hostname"), "hostname") or None,
        access_token=_optional_text(body.get("access_token"), "access_token") or None,
        extra_params=body.get("extra_params"),
    )


def decode_predict(body: Any) -> PredictRequest:
    """Decode a /predict body; a null `project` becomes the tasks', else "0". Errors: `BadRequest`.

    The prompts in `context` stay raw, since decoding them takes the label config.
    """
    body = _object(body, "the body")
    items = [_object(task, "a task") for task in _list(body.get("tasks"), "tasks")]
    if not items:
        raise BadRequest("tasks is empty: there is nothing to predict")
    project = body.get("project")
    if project is None:
        project = items[0].get("project")
    params = _object(body.get("params") or {}, "params")
    context = _object(params.get("context") or {}, "params.context")
    prompts = _optional_list(context.get("result"), "params.context.result")
    return PredictRequest(
        project_key=_project_key(project),
        label_config_text=_config(body.get("label_config") or "", "label_config") or None,
        tasks=tuple(_task(item) for item in items),
        context=tuple(_object(prompt, "a prompt") for prompt in prompts),
    )


def decode_event(body: Any) -> AnnotationEvent | None:
    """Decode a /webhook body; None for an action that nothing here needs. Errors: `BadRequest`."""
    body = _object(body, "the body")
    action = _text(body.get("action"), "action")
    if action not in EventKind.__members__:
        return None
    project = _id(_object(body.get("project"), "project").get("id"), "project.id")
    annotations = _items(body, "annotation") + _items(body, "annotations")
    tasks = [_id(task.get("id"), "task.id") for task in _items(body, "task")]
    tasks += [_id(task.get("id"), "tasks.id") for task in _items(body, "tasks")]
    for annotation in annotations:
        if annotation.get("task") is not None:
            tasks.append(_id(annotation["task"], "annotation.task"))
    return AnnotationEvent(
        kind=EventKind(action),
        project_id=project,
        task_ids=tuple(dict.fromkeys(tasks)),
        annotation_ids=tuple(_id(item.get("id"), "annotation.id") for item in annotations),
    )


def decode_interaction(items: Sequence[Json], config: LabelConfig) -> Interaction | None:
    """Decode the open prompts, oldest first; None when none of them is a point or a box.

    Points and upright boxes are clipped to the image. A point whose label the config calls
    background is negative; it keeps that label. A prompt that is not a point or a box (a brush
    stroke, a text span, the rle left over by "Keep label selected") is passed over.
    Errors: `BadRequest`, also when the prompts lie on images of different size or name.
    """
    labels = _labels_by_id(items)
    shapes = [item for item in items if _is_prompt(item)]
    if not shapes:
        return None
    sizes = {_size(item) for item in shapes}
    names = {_text(item.get("to_name"), "to_name of a prompt") for item in shapes}
    if len(sizes) > 1 or len(names) > 1:
        raise BadRequest(
            f"the prompts lie on several images: {len(names)} names, {len(sizes)} sizes",
            advice="prompt one image at a time",
        )
    (size,), (to_name,) = sizes, names
    drawn: dict[str, Drawn] = {}
    for item in shapes:
        one = _drawn(item, labels, config, size)
        drawn.setdefault(one.id, one)
    return Interaction(tuple(drawn.values()), to_name, *size)


def _is_prompt(item: Json) -> bool:
    value = _object(item.get("value"), "value of a prompt")
    kind = _text(item.get("type"), "type of a prompt")
    is_point_or_box = kind.removesuffix("labels") in ("keypoint", "rectangle")
    return is_point_or_box and "rle" not in value and "points" not in value


def _labels_by_id(items: Sequence[Json]) -> dict[str, tuple[str, str | None]]:
    """The control and the label of each region id; in the pair form `<Labels>` has both."""
    labels: dict[str, tuple[str, str | None]] = {}
    for item in items:
        region = _text(item.get("id"), "id of a prompt")
        control = _text(item.get("from_name"), "from_name of a prompt")
        label = _label(item)
        if region not in labels or labels[region][1] is None or item.get("type") == "labels":
            labels[region] = (control, label)
    return labels


def _label(item: Json) -> str | None:
    kind = _text(item.get("type"), "type of a prompt")
    value = _object(item.get("value"), "value of a prompt")
    names = _optional_list(value.get(kind if kind in value else "labels"), f"{kind} of a prompt")
    return _text(names[0], "a prompt's label") if names else None


def _drawn(
    item: Json,
    labels: Mapping[str, tuple[str, str | None]],
    config: LabelConfig,
    size: tuple[int, int],
) -> Drawn:
    control, label = labels[item["id"]]
    value = item["value"]
    if item["type"].startswith("rectangle"):
        return Drawn(item["id"], _box(value, size), label, control=item["from_name"])
    is_positive = item.get("is_positive")
    if is_positive is not None and not isinstance(is_positive, bool):
        raise BadRequest(f"is_positive of a prompt is true or false, not {_shown(is_positive)}")
    background = is_background(config, control, label)
    click = Click(
        _clip(_percent(value, "x")) * size[0] / 100,
        _clip(_percent(value, "y")) * size[1] / 100,
        positive=is_positive is not False and not background,
    )
    smart = is_positive is not None
    return Drawn(item["id"], click, label, smart=smart, control=item["from_name"])


def _box(value: Json, size: tuple[int, int]) -> Box | RotatedBox:
    """Percent to pixels; the editor turns a rectangle clockwise about its top-left corner."""
    x, y = _percent(value, "x"), _percent(value, "y")
    width, height = _percent(value, "width"), _percent(value, "height")
    angle_deg = _percent(value, "rotation") if value.get("rotation") is not None else 0.0
    across, down = size[0] / 100, size[1] / 100
    if angle_deg % 360 == 0:
        left, right = sorted((_clip(x), _clip(x + width)))
        top, bottom = sorted((_clip(y), _clip(y + height)))
        return Box(left * across, top * down, right * across, bottom * down)
    return rotated_about_corner(x * across, y * down, width * across, height * down, angle_deg)


def rotated_about_corner(
    x: float, y: float, width: float, height: float, angle_deg: float
) -> RotatedBox:
    """The box with top-left corner x, y, turned clockwise about that corner; all in pixels.

    Negative sides reach to the left or up, as while a box is drawn backwards.
    """
    angle = math.radians(angle_deg % 360)
    cos, sin = math.cos(angle), math.sin(angle)
    center_x = x + width / 2 * cos - height / 2 * sin
    center_y = y + width / 2 * sin + height / 2 * cos
    return RotatedBox(center_x, center_y, abs(width), abs(height), angle_deg % 360)


def _size(item: Json) -> tuple[int, int]:
    if item.get("image_rotation") not in (None, 0, 360):
        raise BadRequest(
            "the image is turned in the editor, smart tools then point to the wrong place",
            advice="turn the image back to upright before prompting",
        )
    return _side(item, "original_width"), _side(item, "original_height")


def _side(item: Json, key: str) -> int:
    side = _number(item.get(key), f"{key} of a prompt")
    if side != int(side) or not 1 <= side <= _MAX_SIDE_PX:
        raise BadRequest(f"{key} of a prompt is 1..{_MAX_SIDE_PX} pixels, not {_shown(side)}")
    return int(side)


def _clip(percent: float) -> float:
    return min(100.0, max(0.0, percent))


def _percent(value: Json, key: str) -> float:
    number = _number(value.get(key), f"{key} of a prompt")
    if abs(number) > _MAX_PERCENT:
        raise BadRequest(f"{key} of a prompt is far outside the image: {_shown(number)} percent")
    return number


def _task(item: Json) -> Task:
    regions = {
        region["id"]
        for key in ("annotations", "drafts")
        for stored in _items(item, key)
        for region in _items(stored, "result")
        if isinstance(region.get("id"), str)
    }
    users = [draft.get("user") for draft in _items(item, "drafts")]
    user = next((user for user in users if isinstance(user, str)), None)
    task_id = None if item.get("id") is None else _id(item["id"], "task id")
    data = _object(item.get("data"), "data of a task")
    return Task(task_id, data, frozenset(regions), user)


def _items(parent: Json, key: str) -> list[Json]:
    """The objects under a key that holds none, one or a list of them."""
    found = parent.get(key)
    if found is None:
        return []
    return [_object(item, key) for item in (found if isinstance(found, list) else [found])]


def _project_key(project: Any) -> str:
    if project is None:
        return UNKNOWN_PROJECT
    key = str(project) if isinstance(project, int) and abs(project) <= _MAX_ID else project
    if isinstance(project, bool) or not isinstance(key, str) or not _PROJECT_KEY.fullmatch(key):
        raise BadRequest(f'project is an id such as "19.1795169893" or 19, not {_shown(project)}')
    return key


def _id(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_ID:
        raise BadRequest(f"{where} is a whole number, not {_shown(value)}")
    return value


def _number(value: Any, where: str) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not abs(value) <= 1e15:  # neither NaN nor infinity is <= anything
        raise BadRequest(f"{where} is a number, not {_shown(value)}")
    return float(value)


def _text(value: Any, where: str, *, longest: int = _MAX_TEXT) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{where} is text, not {_shown(value)}")
    if len(value) > longest:
        raise BadRequest(f"{where} has {len(value)} characters, more than {longest}")
    return value


def _config(value: Any, where: str) -> str:
    return _text(value, where, longest=MAX_CONFIG_CHARS)


def _optional_text(value: Any, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise BadRequest(f"{where} is an object, not {_shown(value)}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{where} is a list, not {_shown(value)}")
    return value


def _optional_list(value: Any, where: str) -> list[Any]:
    return [] if value is None else _list(value, where)


def _shown(value: Any) -> str:
    """A few characters of the value: enough to recognise it, safe to log."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) > _MAX_ID:
        return "a huge number"
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:40] + "..."
