"""Encode predictions as Label Studio's results, and decode results into regions.

The two are inverse in pixels. The values of results are made in `percents` (shapes), `classes`
(Choices, Taxonomy) and `tracks` (videos).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends.errors import BadRegion, BadRequest, LabelpilotError
from backends.interface import Control, LabelConfig, PlacedRegion, PlacedTrack, Prediction
from backends.label_studio.classes import CLASS_TAGS, chosen, encode_classes, score_of
from backends.label_studio.config import find_control, labels_control
from backends.label_studio.percents import decode_shape, encode_shape
from backends.label_studio.tracks import Timeline, encode_track, framerate
from micro_models.regions import Region, WholeImage

log = logging.getLogger(__name__)

Json = dict[str, Any]


def encode_prediction(
    prediction: Prediction,
    config: LabelConfig,
    *,
    to_name: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> Json:
    """An item of a /predict answer's `results`.

    `to_name` matters only where a control has several targets; `data` is the task's, which a
    `<Video framerate="$fps">` may refer to. A region that cannot be encoded is left out and named
    in the log. Errors: that of the first region if none can be encoded.
    """
    size_px = (prediction.width_px, prediction.height_px)
    result: list[Json] = []
    errors: list[LabelpilotError] = []
    for unit in _units(prediction.regions):
        try:
            if isinstance(unit, PlacedTrack):
                result.append(_track_item(unit, prediction, config, data or {}))
            elif isinstance(unit, PlacedRegion):
                own_size, own_name = unit.size_px or size_px, unit.to_name or to_name
                result += encode_region(unit, config, size_px=own_size, to_name=own_name)
            else:
                result.append(_class_item(unit, config, unit[0].to_name or to_name))
        except LabelpilotError as error:
            errors.append(error)
    if errors and not result:
        raise errors[0]
    for message in dict.fromkeys(str(error) for error in errors):
        log.warning("a region is left out: %s", message)
    return {
        "result": _linked(result),
        "score": float(prediction.score),
        "model_version": prediction.version,
    }


def encode_region(
    placed: PlacedRegion,
    config: LabelConfig,
    *,
    size_px: tuple[int, int],
    to_name: str | None = None,
) -> list[Json]:
    """A region as results of the control that it names; `size_px` is the image's (width, height).

    Usually one result; two with the same id where a `<Labels>` tag holds the label. What leaves
    the image is cut off. Errors: `BadLabelConfig` for a control that is not there, `BadRegion` for
    a shape or a label that it cannot hold or a mask of another size.
    """
    if isinstance(placed.region.shape, WholeImage):
        return [_class_item([placed], config, to_name)]
    control = find_control(config, placed.control, to_name)
    tool = control.tag.lower().removesuffix("labels")
    value = encode_shape(placed.region.shape, tool, size_px)
    if placed.width_percent is not None and tool == "keypoint":
        value["width"] = float(placed.width_percent)
    common = {
        **_common(placed.id, control, placed.region.score),
        "original_width": size_px[0],
        "original_height": size_px[1],
        "image_rotation": 0,
        **({} if placed.parent is None else {"parentID": placed.parent}),
    }
    return [
        {**common, "from_name": from_name, "type": kind, "value": {**value, **labels}}
        for from_name, kind, labels in _named(config, control, placed.region.label)
    ]


def decode_region(item: Any) -> Region:
    """A result of an annotation, prediction or export as a region in pixels.

    The label is the first one, "" where there is none (the half of a pair that holds only the
    shape). Errors: `BadRequest` for what is no region of an image, or lacks the image's size.
    """
    value = item.get("value") if isinstance(item, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadRequest("a result is an object with a value")
    size_px = _size_px(item)
    try:
        shape = decode_shape(value, size_px)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        kind = str(item.get("type"))[:40]
        raise BadRequest(f"a result of type {kind} is malformed: {str(error)[:100]}") from None
    return Region(_label(item, value), shape, score_of(item))


def region_id(*parts: object) -> str:
    """An id that is the same for the same parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:10]


def _units(
    regions: Sequence[PlacedRegion | PlacedTrack],
) -> Iterator[PlacedTrack | PlacedRegion | list[PlacedRegion]]:
    """What becomes results together: the classes that one control holds, else each by itself."""
    classes: dict[tuple[str, str | None], list[PlacedRegion]] = {}
    for placed in regions:
        if isinstance(placed, PlacedRegion) and isinstance(placed.region.shape, WholeImage):
            classes.setdefault((placed.control, placed.to_name), []).append(placed)
        else:
            yield placed
    yield from classes.values()


def _class_item(placed: Sequence[PlacedRegion], config: LabelConfig, to_name: str | None) -> Json:
    """One result for all classes that a control holds; its score is their mean."""
    control = find_control(config, placed[0].control, to_name)
    if control.tag not in CLASS_TAGS:
        raise BadRegion(f"<{control.tag}> holds no class of a whole image")
    known = [each.region for each in placed if _knows(control, each.region.label)]
    if not known:
        raise _unknown(control, placed[0].region.label)
    regions = chosen(control, known)
    return {
        **_common(placed[0].id, control, sum(each.score for each in regions) / len(regions)),
        "from_name": control.name,
        "type": control.tag.lower(),
        "value": encode_classes(control, [region.label for region in regions]),
    }


def _track_item(
    placed: PlacedTrack, prediction: Prediction, config: LabelConfig, data: Mapping[str, Any]
) -> Json:
    control = find_control(config, placed.control)
    video = next((medium for medium in config.media if medium.name == control.to_name), None)
    if control.tag != "VideoRectangle" or video is None or prediction.clip is None:
        raise BadRegion(f"<{control.tag}> holds no track: it takes a VideoRectangle and a clip")
    timeline = Timeline(prediction.clip, framerate(video, data))
    size_px = (prediction.width_px, prediction.height_px)
    value = encode_track(placed.track, timeline, size_px)
    _, _, labels = _named(config, control, placed.track.label)[-1]
    return {  # one result: here alone the editor merges shape and label
        **_common(placed.id, control, placed.track.score),
        "from_name": control.name,
        "type": "videorectangle",
        "original_width": size_px[0],
        "original_height": size_px[1],
        "value": {**value, **labels},
    }


def _common(region_id: str, control: Control, score: float) -> Json:
    return {
        "id": region_id,
        "to_name": control.to_name,
        "score": float(score),
        "origin": "prediction",
        "readonly": False,
    }


def _named(config: LabelConfig, control: Control, label: str) -> list[tuple[str, str, Json]]:
    """Control, type and label of each result for a region."""
    kind = control.tag.lower()
    beside = labels_control(config, control, label or None)
    holder = beside or labels_control(config, control, None) or control
    if label and not _knows(holder, label):
        raise _unknown(holder, label)
    if kind.endswith("labels"):
        return [(control.name, kind, {kind: [label]} if label else {})]
    named: list[tuple[str, str, Json]] = [(control.name, kind, {})]
    if beside is not None and label:
        named.append((beside.name, "labels", {"labels": [label]}))
    return named


def _knows(control: Control, label: str) -> bool:
    """Whether the control may hold the label; one whose labels the task brings may hold any."""
    return not control.labels or label in control.labels


def _unknown(control: Control, label: str) -> BadRegion:
    # Label Studio drops a whole imported prediction for one such label, and says nothing.
    return BadRegion(f'<{control.tag} name="{control.name}"> has no label "{label[:50]}"')


def _linked(result: list[Json]) -> list[Json]:
    """Write below each part and its whole, for people to see, which they are."""
    ids = {item["id"] for item in result}
    parents = {item["parentID"] for item in result if item.get("parentID") in ids}
    linked = []
    for item in result:
        parent = item.get("parentID")
        if parent is not None and parent not in ids:  # its whole was left out
            item = {key: value for key, value in item.items() if key != "parentID"}
        elif parent is not None or item["id"] in parents:
            item = {**item, "meta": {"text": [parent or item["id"]]}}
        linked.append(item)
    return linked


def _label(item: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    for key in (item.get("type"), "labels"):
        labels = value.get(key) if isinstance(key, str) else None
        if isinstance(labels, list) and labels and isinstance(labels[0], str):
            return labels[0]
    return ""


def _size_px(item: Mapping[str, Any]) -> tuple[int, int]:
    size = item.get("original_width"), item.get("original_height")
    if not all(isinstance(side, int | float) and 1 <= side <= 1e6 for side in size):
        raise BadRequest(
            f"a result has original_width and original_height {size}, no image size",
            advice="give both in pixels: percents and brush strokes mean nothing without them",
        )
    return int(size[0]), int(size[1])  # type: ignore[arg-type]
