"""The tracks of a clip on disk, beside the model that found them.

With each new model of a clip the version of its project is another one, and all its clips are
answered again: those whose own model and drawings are the same need not be tracked again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

from backends.micro.exchange import write_json
from micro_models.regions import Box, Region, RotatedBox
from micro_models.tracks import KeyFrame, Track

# To be raised when the same model would find other tracks.
_FORMAT = 1

Found = tuple[list[Track], float]


def tracks_file(
    folder: Path, digest: str, known: Mapping[int, tuple[Region, ...]], *settings: float
) -> Path:
    """Where the tracks lie of a video with this digest in which people drew what is `known`."""
    parts = (_FORMAT, digest, sorted(known.items()), settings)
    return folder / f"tracks-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.json"


def read_tracks_file(path: Path) -> Found | None:
    """The tracks and how sure they are; None if nobody wrote them, or not as we do."""
    try:
        stored = json.loads(path.read_bytes())
        tracks = [
            Track(label, tuple(_key_frame(*key) for key in keys), score)
            for label, score, keys in stored["tracks"]
        ]
        return tracks, float(stored["certainty"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


def write_tracks_file(path: Path, tracks: Sequence[Track], certainty: float) -> None:
    """Keep them. Errors: `OSError`."""
    stored = [
        [
            track.label,
            track.score,
            [[key.frame, astuple(key.box), key.enabled, key.score] for key in track.key_frames],
        ]
        for track in tracks
    ]
    write_json(path, {"tracks": stored, "certainty": certainty})


def _key_frame(frame: int, box: Sequence[float], enabled: bool, score: float) -> KeyFrame:  # noqa: FBT001
    shape = Box(*box) if len(box) == 4 else RotatedBox(*box)
    return KeyFrame(frame, shape, enabled, score)
