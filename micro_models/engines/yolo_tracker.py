"""ByteTrack and BoT-SORT as a `Tracker`, from ultralytics.

ByteTrack: Zhang et al., ECCV 2022; BoT-SORT: Aharon et al., 2022, here without its ReID network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from micro_models.detections import Detection, Tracker
from micro_models.engines.ultralytics_runtime import module
from micro_models.regions import Image

log = logging.getLogger(__name__)

TRACKERS = ("bytetrack", "botsort")
# The frame rate that ultralytics' numbers of frames are meant for.
_USUAL_FPS = 30.0
_LONGEST_FRAMES = 10_000
_CAMERA_MOTION = {name.lower(): name for name in ("sparseOptFlow", "orb", "sift", "ecc", "none")}

Value = bool | int | float | str


def _share(text: str) -> float:
    number = float(text)
    if 0 <= number <= 1:
        return number
    raise ValueError


def _frames(text: str) -> int:
    number = float(text)
    if 1 <= number <= _LONGEST_FRAMES and number.is_integer():
        return int(number)
    raise ValueError


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
        text.lower()
    ]


def _motion(text: str) -> str:
    return _CAMERA_MOTION[text.lower()]


_Kind = tuple[Callable[[str], Value], str]
_SHARE: _Kind = _share, "a number from 0 to 1"
_BYTETRACK: Mapping[str, _Kind] = {
    "track_high_thresh": _SHARE,
    "track_low_thresh": _SHARE,
    "new_track_thresh": _SHARE,
    "track_buffer": (_frames, f"a whole number from 1 to {_LONGEST_FRAMES}"),
    "match_thresh": _SHARE,
    "fuse_score": (_flag, "true or false"),
}
# What strangers may set, in a label config say. Never the ReID network: its file is a pickle, which
# runs code when it is read.
SETTINGS: Mapping[str, Mapping[str, _Kind]] = {
    "bytetrack": _BYTETRACK,
    "botsort": {
        **_BYTETRACK,
        "gmc_method": (_motion, f"one of {', '.join(_CAMERA_MOTION.values())}"),
        "proximity_thresh": _SHARE,
        "appearance_thresh": _SHARE,
    },
}


def read_setting(kind: str, name: str, text: str) -> Value:
    """The value of a setting of "bytetrack" or "botsort". Errors: ValueError."""
    known = SETTINGS[kind]
    if name not in known:
        raise ValueError(f"there is no tracker setting {name[:80]!r}; there are {', '.join(known)}")
    read, wanted = known[name]
    try:
        return read(text.strip())
    except (KeyError, ValueError):
        raise ValueError(f"the tracker setting {name} is {wanted}, not {text[:80]!r}") from None


class UltralyticsTracker:
    """A `Tracker` over one of ultralytics' trackers; for one clip, and one thread at a time."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._results = module("engine.results")
        self._classes: dict[str, int] = {}

    def update(self, detections: Sequence[Detection], frame: Image) -> list[tuple[int, Detection]]:
        """The next frame's detections with their objects' numbers, 1 and up; boxless ones never.

        Turned boxes are linked as such if all detections have one. A detection that no known
        object explains is given back from the next frame on that shows it again.
        """
        boxed = [one for one in detections if one.box is not None]
        tracked = self._tracker.update(
            self._seen(boxed, frame), np.ascontiguousarray(frame.pixels[..., ::-1])
        )
        # The last columns are: object, score, class, index among the detections.
        return [(int(row[-4]), boxed[int(row[-1])]) for row in tracked]

    def _seen(self, detections: Sequence[Detection], frame: Image) -> Any:
        turned = bool(detections) and all(one.rotated is not None for one in detections)
        rows = np.zeros((len(detections), 7 if turned else 6), np.float32)
        for row, one in zip(rows, detections, strict=True):
            kind = self._classes.setdefault(one.label, len(self._classes))
            if turned and (box := one.rotated):
                angle = np.radians(box.angle_deg)
                row[:5] = box.center_x, box.center_y, box.width_px, box.height_px, angle
            elif one.box is not None:
                row[:4] = one.box.x0, one.box.y0, one.box.x1, one.box.y1
            row[-2:] = one.score, kind
        kept = self._results.OBB if turned else self._results.Boxes
        return kept(rows, (frame.height_px, frame.width_px))


def make_tracker(
    kind: str | Path,
    *,
    fps: float,
    min_score: float | None = None,
    settings: Mapping[str, str] | None = None,
) -> Tracker:
    """A tracker for one clip: "bytetrack" or "botsort" (also with ".yaml"), or a file's settings.

    A string is only ever a name; a `Path` is a file of ultralytics' tracker settings. `fps`: of
    the frames that it will get, so that an object is looked for as long in any clip. From
    `min_score` on a detection starts an object, None for the settings' own threshold. `settings`
    are those of `SETTINGS`, as text, and go before all others: {"track_buffer": "60"}.

    Errors: ValueError for an unknown name or setting and an unusable file, `CheckpointError` where
    ultralytics is not installed.
    """
    if fps <= 0:
        raise ValueError(f"a frame rate is more than 0, got {fps}")
    name = kind.removesuffix(".yaml").lower() if isinstance(kind, str) else None
    given = _read(kind) if isinstance(kind, Path) else {"tracker_type": name}
    name = str(given.get("tracker_type"))
    if name not in TRACKERS:
        raise ValueError(f"there is no tracker {name!r}; choose one of: {', '.join(TRACKERS)}")
    defaults = _defaults(name)
    options = SimpleNamespace(**_checked(given, defaults))
    options.track_buffer = max(1, round(options.track_buffer * fps / _USUAL_FPS))
    if getattr(options, "with_reid", False):
        log.warning("%s runs without its ReID network", name)
    if min_score is not None:
        # The weaker of two scores would else keep a box from being linked however well it fits.
        options.fuse_score = options.fuse_score and min_score >= options.track_high_thresh
        options.track_high_thresh = options.new_track_thresh = min_score
        options.track_low_thresh = min(options.track_low_thresh, min_score)
    chosen = {key: read_setting(name, key, text) for key, text in (settings or {}).items()}
    vars(options).update(chosen)
    options.with_reid = False
    trackers = module("trackers")
    return UltralyticsTracker(
        {"bytetrack": trackers.BYTETracker, "botsort": trackers.BOTSORT}[name](options)
    )


def _defaults(name: str) -> dict[str, Any]:
    utils = module("utils")
    settings: dict[str, Any] = utils.YAML.load(utils.ROOT / "cfg" / "trackers" / f"{name}.yaml")
    return settings


def _read(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"the tracker settings {path.name} cannot be read as YAML") from error
    if not isinstance(given, dict):
        raise ValueError(f"the tracker settings {path.name} are no YAML of names and values")
    return given


def _checked(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `defaults`; each value of the kind that its default is."""
    for key, default in defaults.items():
        value = given.get(key, default)
        number = isinstance(default, int | float) and not isinstance(default, bool)
        fits = isinstance(value, int | float) if number else isinstance(value, type(default))
        if not fits:
            raise ValueError(f"the tracker setting {key} is like {default!r}, not {value!r}")
    return {**defaults, **given}
