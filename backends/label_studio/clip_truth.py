"""What people drew in a video: results of `<VideoRectangle>` -> tracks in pixels.

Reading never fails. What cannot be read is left out and told in a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backends.errors import BadRequest
from backends.interface import LabelConfig, Medium, VideoFile
from backends.label_studio.annotations import MAX_RESULTS
from backends.label_studio.tracks import Timeline, decode_track, framerate
from backends.label_studio.truth import submitted
from micro_models.tracks import Track

Json = Mapping[str, Any]

MAX_KEY_FRAMES = 100_000
_MAX_PROBLEMS = 20
_KIND = "videorectangle"


@dataclass(frozen=True)
class TrackTruth:
    """The tracks of a task's video, () where people found nothing, None where nobody labelled.

    `problems`: a line for people about each thing in its annotations that was left out.
    """

    tracks: tuple[Track, ...] | None
    problems: tuple[str, ...] = ()


def read_tracks(
    annotations: Any,
    config: LabelConfig,
    *,
    video: VideoFile,
    medium: Medium,
    data: Mapping[str, Any],
) -> TrackTruth:
    """The tracks that people drew in `medium`, whose file is `video`; `data` is the task's.

    Annotations count as in `truth.read_truth`, but of several people the newest decides: tracks
    cannot be agreed on key frame by key frame. A track with several labels is one track each. Left
    out and told: tracks without a label or with one that the config lacks, and what is broken.
    """
    if not isinstance(annotations, list):
        return TrackTruth(None, ("the annotations are no list",))
    timeline = Timeline(video.clip, framerate(medium, data))
    size_px = (video.width_px, video.height_px)
    told: list[str] = []
    for one in [one for some in submitted(annotations) for one in some]:
        problems: list[str] = []
        tracks = _tracks(one["result"], config, medium.name, timeline, size_px, problems)
        told += [f"annotation {str(one.get('id'))[:20]}: {problem}" for problem in problems]
        if tracks or not problems:
            return TrackTruth(tuple(tracks), _told(told))
    return TrackTruth(None, _told(told))


def _tracks(
    result: Any,
    config: LabelConfig,
    name: str,
    timeline: Timeline,
    size_px: tuple[int, int],
    problems: list[str],
) -> list[Track]:
    if not isinstance(result, list):
        problems.append("the result is no list")
        return []
    if len(result) > MAX_RESULTS:
        problems.append(f"of {len(result)} results the first {MAX_RESULTS} are read")
    items = [item for item in result[:MAX_RESULTS] if isinstance(item, Mapping)]
    known = _known(config, name)
    tracks: list[Track] = []
    for item in items:
        if item.get("type") != _KIND or item.get("to_name", name) != name:
            continue
        try:
            track = _track(item, timeline, size_px)
            labels = _labels(item, items)
            if not labels:
                raise BadRequest("it has no label")
            strangers = [label for label in labels if known and label not in known]
            if strangers:
                problems.append(_line(item, f'the config has no label "{strangers[0][:40]}"'))
            tracks += [replace(track, label=label) for label in labels if label not in strangers]
        except BadRequest as error:
            problems.append(_line(item, error.message))
    return tracks


def _track(item: Json, timeline: Timeline, size_px: tuple[int, int]) -> Track:
    value = item.get("value")
    sequence = value.get("sequence") if isinstance(value, Mapping) else None
    if isinstance(sequence, list) and len(sequence) > MAX_KEY_FRAMES:
        raise BadRequest(f"it has {len(sequence)} key frames")
    # A person's track is sure, whatever was stored with it when a model drew it.
    track = decode_track({**item, "score": 1.0}, timeline, size_px)
    keys = tuple(replace(key, score=1.0) for key in track.key_frames)
    return replace(track, key_frames=keys)


def _labels(item: Json, items: Sequence[Json]) -> list[str]:
    """Those of the track, and of the `<Labels>` result under its id."""
    found: dict[str, None] = {}
    own_id = item.get("id")
    others = [
        other
        for other in items
        if own_id is not None and other.get("id") == own_id and other.get("type") == "labels"
    ]
    for one in (item, *others):
        value = one.get("value")
        names = value.get("labels") if isinstance(value, Mapping) else None
        for label in names if isinstance(names, list) else ():
            if isinstance(label, str) and label:
                found[label] = None
    return list(found)


def _known(config: LabelConfig, name: str) -> frozenset[str]:
    """The labels that a track may have; empty if they come from the task."""
    controls = [one for one in config.controls if one.to_name == name and one.tag == "Labels"]
    if not all(control.labels for control in controls):
        return frozenset()
    return frozenset(label for control in controls for label in control.labels)


def _line(item: Json, message: str) -> str:
    return f'track "{str(item.get("id"))[:40]}": {message}'


def _told(problems: Sequence[str]) -> tuple[str, ...]:
    more = len(problems) - _MAX_PROBLEMS
    return (*problems[:_MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else []))
