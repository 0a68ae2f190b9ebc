"""What the attributes of a control ask of its model, read once and checked."""

from __future__ import annotations

from dataclasses import dataclass

from backends.errors import BadLabelConfig
from backends.interface import Control
from backends.label_studio.label_xml import attribute
from micro_models.engines.yolo_tracker import read_setting

VIDEO_MIN_SCORE = 0.25
TRACKERS = ("botsort", "bytetrack")
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")
_THRESHOLDS = ("model_score_threshold", "score_threshold", "model_conf")
# A video's threshold has a name of its own in the configs that people already have.
_VIDEO_THRESHOLDS = ("model_conf", "model_score_threshold", "score_threshold")


@dataclass(frozen=True)
class Parameters:
    """How a control wants to be pre-labelled; docs/reference/yolo.md tells each attribute.

    `model`: what `model_path` names, None for the default. Scores and overlaps are 0..1.
    `tracker_settings`: names and values that are the tracker's own.
    """

    model: str | None = None
    min_score: float = 0.5
    skip: bool = False
    rotated: bool = False
    add_boxes: bool = True
    min_point_score: float = 0.0
    point_size_px: float = 1.0
    max_overlap: float = 0.7
    tracker: str = "botsort"
    tracker_settings: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] | None = None
    image_size_px: int | None = None
    max_objects: int = 300
    across_classes: bool = False
    augment: bool = False


def read_parameters(control: Control, *, min_score: float) -> Parameters:
    """The parameters of a control; `min_score` stands where no attribute does.

    An empty attribute is none. Errors: `BadLabelConfig` naming control, attribute and value.
    """
    is_video = control.tag == "VideoRectangle"
    tracker = _choice(control, "model_tracker", TRACKERS)
    threshold = next(
        (name for name in (_VIDEO_THRESHOLDS if is_video else _THRESHOLDS) if _said(control, name)),
        _THRESHOLDS[0],
    )
    return Parameters(
        model=_said(control, "model_path"),
        min_score=_number(control, threshold, VIDEO_MIN_SCORE if is_video else min_score),
        skip=_flag(control, "model_skip", default=False),
        rotated=_flag(control, "model_obb", default=False),
        add_boxes=_flag(control, "model_add_bboxes", default=True),
        min_point_score=_number(control, "model_point_threshold", 0.0),
        point_size_px=_number(control, "model_point_size", 1.0, above=0.0, most=1000.0),
        max_overlap=_number(control, "model_iou", 0.7),
        tracker=tracker,
        tracker_settings=_tracker_settings(control, tracker),
        classes=listed(attribute(control, "model_classes")) or None,
        image_size_px=_whole(control, "model_imgsz", None, least=32, most=4096),
        max_objects=_whole(control, "model_max_det", 300, least=1, most=3000) or 300,
        across_classes=_flag(control, "model_agnostic_nms", default=False),
        augment=_flag(control, "model_augment", default=False),
    )


def _tracker_settings(control: Control, tracker: str) -> tuple[tuple[str, str], ...]:
    """`botsort_track_buffer="60"` is the setting "track_buffer" of BoT-SORT.

    Errors: `BadLabelConfig` for what it is not, or cannot be.
    """
    found: list[tuple[str, str]] = []
    for attribute_name, text in sorted(control.attributes.items()):
        name = attribute_name.removeprefix(f"{tracker}_")
        if name == attribute_name:
            continue
        try:
            read_setting(tracker, name, text)
        except ValueError as error:
            raise BadLabelConfig(
                f'<{control.tag} name="{control.name}">: {error}',
                advice=f"correct {attribute_name[:80]} or take it away",
            ) from error
        found.append((name, text.strip()))
    return tuple(found)


def asks_for_a_model(control: Control) -> bool:
    """Whether anything on the control or its labels was written for a model."""
    names = [name.lower() for name in control.attributes]
    return any(name.startswith("model_") or name == "score_threshold" for name in names) or any(
        attributes.get("predicted_values") or attributes.get("model_index")
        for attributes in control.label_attributes.values()
    )


def is_skipped(control: Control) -> bool:
    """Whether the control says that no model shall fill it."""
    return (_said(control, "model_skip") or "").lower() in _YES


def listed(text: str) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def point_indexes(control: Control, label: str) -> tuple[int, ...]:
    """Which points of the skeleton a label is, by `model_index`; () where it does not say.

    Errors: `BadLabelConfig`.
    """
    text = control.label_attributes.get(label, {}).get("model_index", "")
    # Python reads no number of thousands of digits.
    if not all(word.isdecimal() and len(word) < 9 for word in listed(text)):
        raise _bad(control, f'model_index="{text}" on its label "{label}"', 'numbers such as "5"')
    return tuple(int(word) for word in listed(text))


def _said(control: Control, name: str) -> str | None:
    return attribute(control, name).strip() or None


def _number(
    control: Control, name: str, default: float, *, above: float | None = None, most: float = 1.0
) -> float:
    text = _said(control, name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number <= most and (number >= 0 if above is None else number > above):
        return number
    raise _bad(control, f'{name}="{text}"', f'a number from 0 to {most:g}, such as "0.25"')


def _whole(
    control: Control, name: str, default: int | None, *, least: int, most: int
) -> int | None:
    text = _said(control, name)
    if text is None:
        return default
    if text.isdecimal() and len(text) < 9 and least <= int(text) <= most:
        return int(text)
    raise _bad(control, f'{name}="{text}"', f"a whole number from {least} to {most}")


def _flag(control: Control, name: str, *, default: bool) -> bool:
    text = (_said(control, name) or ("true" if default else "false")).lower()
    if text in (*_YES, *_NO):
        return text in _YES
    raise _bad(control, f'{name}="{text}"', '"true" or "false"')


def _choice(control: Control, name: str, known: tuple[str, ...]) -> str:
    text = (_said(control, name) or known[0]).lower()
    if text in known:
        return text
    raise _bad(control, f'{name}="{text}"', " or ".join(f'"{word}"' for word in known))


def _bad(control: Control, what: str, wanted: str) -> BadLabelConfig:
    return BadLabelConfig(
        f'<{control.tag} name="{control.name}"> has {what[:200]}', advice=f"write {wanted}"
    )
