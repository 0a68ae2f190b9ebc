from __future__ import annotations

from pathlib import Path

import pytest

from backends.micro.tracked import read_tracks_file, tracks_file, write_tracks_file
from micro_models.regions import Box, Region, RotatedBox
from micro_models.tracks import KeyFrame, Track

KNOWN = {3: (Region("car", Box(1, 2, 3, 4)),), 9: ()}
TRACKS = [
    Track("Кот", (KeyFrame(0, Box(1.5, 2, 3, 4)), KeyFrame(8, Box(2, 2, 3, 5), False, 0.25)), 0.5),
    Track("car", (KeyFrame(2, RotatedBox(5, 6, 7, 8, 30.0)),)),
]


def test_written_and_read_they_are_the_same(tmp_path: Path) -> None:
    path = tracks_file(tmp_path, "digest", KNOWN, 0.5, 0.8)
    assert read_tracks_file(path) is None
    write_tracks_file(path, TRACKS, 0.75)
    assert read_tracks_file(path) == (TRACKS, 0.75)


def test_what_would_change_them_changes_the_file(tmp_path: Path) -> None:
    paths = [
        tracks_file(tmp_path, "digest", KNOWN, 0.5, 0.8),
        tracks_file(tmp_path, "other", KNOWN, 0.5, 0.8),
        tracks_file(tmp_path, "digest", {3: KNOWN[3]}, 0.5, 0.8),
        tracks_file(tmp_path, "digest", KNOWN, 0.6, 0.8),
    ]
    assert len(set(paths)) == len(paths)
    turned = dict(reversed(KNOWN.items()))
    assert tracks_file(tmp_path, "digest", turned, 0.5, 0.8) == paths[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"tracks": [[1]], "certainty": 1}',
        '{"tracks": [["a", 1, []]], "certainty": 1}',
    ],
)
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "tracks.json").write_text(text)
    assert read_tracks_file(tmp_path / "tracks.json") is None
