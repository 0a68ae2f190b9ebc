"""What people left unchanged of a prediction; the payload is from the real editor."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest

from backends.micro import acceptance
from backends.micro.acceptance import accepted
from backends.micro.nouns import Acceptance

PAYLOAD = Path(__file__).with_name("annotation_accepted.json")
# Everything that the editor makes of a prediction when an annotator presses Submit.
EDITOR = json.loads(PAYLOAD.read_text())


def result(kind: str, name: str = "a", **value: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "from_name": kind[:4], "to_name": "image", "value": value}


BOX = result("rectanglelabels", x=10, y=20, width=30, height=40, rotation=0,
             rectanglelabels=["car"])  # fmt: skip
MASK = result("brushlabels", format="rle", rle=[0, 1, 2], brushlabels=["car"])
TRACK = result(
    "videorectangle",
    sequence=[{"frame": frame, "x": 1.0, "enabled": True} for frame in (1, 9, 20)],
    labels=["car"],
)
UNTOUCHED = {"origin": "prediction"}
PAIR = [result("rectangle", x=1, y=2, width=3, height=4), result("labels", labels=["car"])]


def changed(one: dict[str, Any], **value: Any) -> dict[str, Any]:
    return {**one, "value": {**one["value"], **value}}


def test_the_docstrings_hold() -> None:
    assert doctest.testmod(acceptance).failed == 0


def test_what_the_editor_submits_untouched_is_accepted() -> None:
    assert len({one["id"] for one in EDITOR["prediction"]}) == 9
    found = accepted(EDITOR["prediction"], EDITOR["annotation"])
    expected = 3 * 7 + 3 * 79 + 2.4 + 2 * 1
    assert found == Acceptance(9, 9, pytest.approx(expected))


@pytest.mark.parametrize("number", range(9))
def test_each_kind_of_region_may_be_changed(number: int) -> None:
    moved = {"x": 60, "points": [[1, 1], [2, 2], [3, 1]], "choices": ["bad"], "taxonomy": [["b"]]}
    moved |= {"rle": [1], "imageDataURL": "data:,"}
    now = [dict(one) for one in EDITOR["annotation"]]
    key = next(key for key in moved if key in now[number]["value"])
    now[number] = changed(now[number], **{key: moved[key]}) | {"origin": "prediction-changed"}
    assert accepted(EDITOR["prediction"], now).unchanged == 8


@pytest.mark.parametrize(
    ("predicted", "now", "expected"),
    [
        ([BOX], [changed(BOX, x=10.004)], Acceptance(1, 1, 7.0)),
        ([BOX], [changed(BOX, x=10.5)], Acceptance(1, 0, 0.0)),
        ([BOX], [changed(BOX, rectanglelabels=["dog"])], Acceptance(1, 0, 0.0)),
        ([BOX], [changed(BOX, rectanglelabels=["car", "dog"])], Acceptance(1, 0, 0.0)),
        ([BOX], [{**BOX, "id": "b"}], Acceptance(1, 0, 0.0)),  # drawn anew
        ([BOX], [], Acceptance(1, 0, 0.0)),
        ([], [BOX], Acceptance(0, 0, 0.0)),
        # What a person adds to a region, and the double that "Keep label selected" leaves.
        ([BOX], [BOX, result("choices", choices=["rusty"])], Acceptance(1, 1, 7.0)),
        ([MASK], [{**MASK, "type": "keypointlabels"}, MASK], Acceptance(1, 1, 79.0)),
        (PAIR, PAIR, Acceptance(1, 1, 7.0)),
        (PAIR, [PAIR[0], changed(PAIR[1], labels=["dog"])], Acceptance(1, 0, 0.0)),
        (PAIR, PAIR[:1], Acceptance(1, 0, 0.0)),
        # The bytes of a mask may differ where nobody touched it.
        ([MASK], [changed(MASK, rle=[9]) | UNTOUCHED], Acceptance(1, 1, 79.0)),
        ([MASK], [changed(MASK, rle=[9]) | {"origin": "manual"}], Acceptance(1, 0, 0.0)),
        ([TRACK], [TRACK], Acceptance(1, 1, 21.0)),
        # The prediction was renewed while an annotator had it open, and submitted what was there.
        ([BOX], [changed(BOX, x=60) | UNTOUCHED], Acceptance(1, 1, 7.0)),
        ([BOX], [changed(BOX, x=60) | {"origin": "prediction-changed"}], Acceptance(1, 0, 0)),
        ([BOX], [BOX | UNTOUCHED, {**MASK, "id": "b"} | UNTOUCHED], Acceptance(2, 2, 86.0)),
        ([], [BOX | UNTOUCHED, {**BOX, "id": "b", "origin": "manual"}], Acceptance(1, 1, 7.0)),
        ([TRACK], [changed(TRACK, sequence=[]) | UNTOUCHED], Acceptance(1, 0, 0)),
        ([TRACK], [changed(TRACK, sequence=TRACK["value"]["sequence"][:2])], Acceptance(1, 0, 0)),
        ([result("textarea", text=["a"])], [result("textarea", text=["a"])], Acceptance(1, 1, 0)),
        # What is broken counts as nothing.
        ([{"id": "a"}, {"value": {}}, None, {"id": 3, "value": 4}], [BOX], Acceptance(0, 0, 0)),
        (None, "x", Acceptance(0, 0, 0)),
        ([BOX], [{**BOX, "value": None}, {"type": "relation"}], Acceptance(1, 0, 0)),
    ],
)
def test_what_counts(predicted: Any, now: Any, expected: Acceptance) -> None:
    assert accepted(predicted, now) == expected
