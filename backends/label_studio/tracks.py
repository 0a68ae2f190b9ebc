"""Tracks as results of `<VideoRectangle>`, and back.

Facts of Label Studio 1.23.2's editor: it counts frames from 1 by the `<Video>` tag's `framerate`
(24 unless set), whatever the file's own is. It shows frame n by seeking to (n - 1) / framerate
plus 2 ms. `time` is n / framerate. A key frame that is not `enabled` is still shown itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.errors import BadRequest
from backends.interface import Clip, Medium
from backends.label_studio.label_xml import attribute
from backends.label_studio.percents import decode_box, encode_boxes
from micro_models.regions import Box, RotatedBox
from micro_models.tracks import KeyFrame, Track, interpolate

Json = dict[str, Any]

DEFAULT_FRAMERATE = 24.0
_SEEK_S = 0.002


@dataclass(frozen=True)
class Timeline:
    """The editor's frames of a clip, 1..`length`, beside those decoded, 0..`clip.frames` - 1."""

    clip: Clip
    framerate: float

    @property
    def duration_s(self) -> float:
        """How long the clip is."""
        return self.clip.frames / self.clip.fps

    @property
    def length(self) -> int:
        """How many frames the editor counts."""
        return max(1, round(self.duration_s * self.framerate))

    def decoded(self, number: int) -> int:
        """The decoded frame that the editor shows as `number`."""
        frame = math.floor(((number - 1) / self.framerate + _SEEK_S) * self.clip.fps)
        return min(max(frame, 0), self.clip.frames - 1)

    def first(self, frame: int) -> int:
        """The first of the editor's frames that shows a decoded frame or a later one."""
        return self._within(1 + math.ceil((frame / self.clip.fps - _SEEK_S) * self.framerate))

    def last(self, frame: int) -> int:
        """The last of the editor's frames that shows a decoded frame or an earlier one."""
        return self._within(math.ceil(((frame + 1) / self.clip.fps - _SEEK_S) * self.framerate))

    def _within(self, number: int) -> int:
        return min(max(number, 1), self.length)


def framerate(video: Medium, data: Mapping[str, Any]) -> float:
    """What the editor makes of a `<Video>`'s `framerate`; `data` is the task's, for `$fps`."""
    text: Any = attribute(video, "framerate")
    if text.startswith("$"):
        text = data.get(text[1:])
    try:
        rate = float(text)
    except (TypeError, ValueError):
        return DEFAULT_FRAMERATE
    if not 0 < rate < 1e6:
        return DEFAULT_FRAMERATE
    return 1 / rate if rate < 1 else rate


def encode_track(track: Track, timeline: Timeline, size_px: tuple[int, int]) -> Json:
    """A result's value without its labels; `size_px` is a frame's (width, height).

    Where the editor's frames are not the decoded ones, each key frame goes to the nearest of the
    editor's on which its object is seen, with the box that belongs there.
    """
    placed: dict[int, tuple[KeyFrame, Box | RotatedBox]] = {}
    latest = 1
    for key in track.key_frames:
        # An object that goes is seen last in the last frame that shows it, not in the next one.
        number = timeline.first(key.frame) if key.enabled else timeline.last(key.frame)
        latest = max(number, latest)
        placed[latest] = key, interpolate(track, timeline.decoded(latest)) or key.box
    boxes = encode_boxes([box for _, box in placed.values()], size_px)
    sequence = [
        {
            "frame": number,
            "enabled": key.enabled,
            **box,
            "time": number / timeline.framerate,
            "score": float(key.score),
        }
        for (number, (key, _)), box in zip(placed.items(), boxes, strict=True)
    ]
    return {
        "framesCount": timeline.length,
        "duration": timeline.duration_s,
        "sequence": sequence,
    }


def decode_track(item: Any, timeline: Timeline, size_px: tuple[int, int]) -> Track:
    """A result of type videorectangle as a track in pixels of decoded frames.

    The label is the first one, "" without. Errors: `BadRequest`.
    """
    try:
        value = item["value"]
        keys: dict[int, KeyFrame] = {}
        for raw in sorted(value["sequence"], key=lambda raw: int(raw["frame"])):
            is_enabled = raw.get("enabled", True) is not False
            frame = timeline.decoded(int(raw["frame"]))
            score = raw.get("score", 1.0)
            keys[frame] = KeyFrame(frame, decode_box(raw, size_px), is_enabled, float(score))
        labels = value.get("labels") or [""]
        score = item.get("score")
        return Track(str(labels[0]), tuple(keys.values()), 1.0 if score is None else float(score))
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"a videorectangle is malformed: {str(error)[:100]}") from None
