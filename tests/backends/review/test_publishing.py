"""What a prediction of a review shows, and that its version says when that changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.interface import Prediction, Project
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_prediction
from backends.label_studio.suggestions import Put
from backends.micro.controls import Controls
from backends.review import publishing
from backends.review.nouns import FIELD, Suspect
from backends.review.publishing import publish, suggestion, version_of
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Keypoints, Mask, Region, WholeImage
from tests.backends.review.scenes import cat, judged, out_of_fold, suspect

CONFIG = parse_label_config(
    """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Kätzchen"/><Label value="Hund"/>
<Label value="Maus"/></RectangleLabels>
<BrushLabels name="brush" toName="image"><Label value="Kätzchen"/></BrushLabels>
<KeyPointLabels name="bones" toName="image"><Label value="nose"/><Label value="tail"/>
</KeyPointLabels>
<Choices name="kind" toName="image" choice="multiple"><Choice value="day"/><Choice value="rain"/>
<Choice value="snow"/></Choices></View>"""
)
SIZE = (200, 150)
CONTROLS = Controls(CONFIG)


def shown(*suspects: Suspect, given: tuple[Region, ...] = ()) -> list[dict[str, object]]:
    """Results as Label Studio gets them, each with its note."""
    placed, notes = suggestion(CONTROLS, given, suspects, size_px=SIZE)
    encoded = encode_prediction(Prediction(tuple(placed), 0.5, "review-1", *SIZE), CONFIG)
    return [{**one, "note": notes.get(one["id"], "")} for one in encoded["result"]]


@pytest.mark.parametrize(
    ("kind", "label", "left", "note"),
    [
        (ErrorKind.MISSING, "Kätzchen", 12.5, "Missing label: Kätzchen 90.0%. why"),
        (ErrorKind.SPURIOUS, "Kätzchen", 5.0, "Spurious label: Kätzchen 90.0%. why"),
        (ErrorKind.LOW_IOU, "Kätzchen", 12.5, "Low IoU: 90.0%. why"),
        (ErrorKind.WRONG_LABEL, "Hund", 5.0, "Wrong label: Kätzchen, not Hund? 90.0%. why"),
    ],
)
def test_the_suggestion_is_shown_and_what_should_not_be_there(
    kind: ErrorKind, label: str, left: float, note: str
) -> None:
    (one,) = shown(suspect(1, kind))
    value = one["value"]
    assert isinstance(value, dict)
    assert (value["rectanglelabels"], value["x"]) == ([label], pytest.approx(left))
    assert (one["score"], one["note"]) == (0.9, note)


def test_several_of_a_task_have_ids_of_their_own() -> None:
    several = suspect(1), replace(suspect(2), suggested=cat(90)), suspect(3, ErrorKind.SPURIOUS)
    found = shown(*several)
    assert len({one["id"] for one in found}) == 3
    assert all(one["note"] for one in found)
    assert found == shown(*several)


def test_masks_and_skeletons_are_shown_too() -> None:
    mask = Region("Kätzchen", Mask(np.pad(np.ones((30, 40), np.bool_), ((50, 70), (60, 100)))))
    bones = Keypoints(np.array([[20, 20], [60, 60]], np.float32), np.ones(2, np.float32))
    found = shown(
        replace(suspect(1), suggested=mask), replace(suspect(2), suggested=Region("Maus", bones))
    )
    types = [one["type"] for one in found]
    assert sorted(map(str, types)) == [
        "brushlabels", "keypointlabels", "keypointlabels", "rectanglelabels",
    ]  # fmt: skip
    assert sum(bool(one["note"]) for one in found) == 2


@pytest.mark.parametrize("region", [Region("Wal", Box(1, 2, 30, 40)), cat(500)])
def test_what_no_control_holds_or_is_off_is_left_out(region: Region) -> None:
    assert shown(replace(suspect(1), suggested=region)) == []


def test_of_classes_those_show_that_would_be_right() -> None:
    day, rain, snow = (Region(name, WholeImage()) for name in ("day", "rain", "snow"))
    missing = replace(suspect(1), suggested=snow)
    spurious = replace(suspect(2, ErrorKind.SPURIOUS), given=rain)
    (one,) = shown(missing, spurious, given=(day, rain))
    assert one["value"] == {"choices": ["day", "snow"]}
    assert shown(spurious, given=(rain,)) == []


def test_the_version_changes_with_what_is_written() -> None:
    one = suspect(1)
    other_config = parse_label_config(CONFIG.text.replace("snow", "hail"))
    versions = [
        version_of([one], CONFIG),
        version_of([], CONFIG),
        version_of([one], other_config),
        version_of([replace(one, score=0.5)], CONFIG),
        version_of([replace(one, suggested=cat(26))], CONFIG),
        version_of([one, suspect(2)], CONFIG),
    ]
    assert len(set(versions)) == len(versions)
    assert version_of([suspect(1)], CONFIG) == versions[0]


@dataclass
class Studio:
    """What is written of a review."""

    fields: dict[int, float] = field(default_factory=dict)
    tabs: list[str] = field(default_factory=list)

    def put_fields(self, _client: object, _id: int, values: Mapping[int, Any], **_: object) -> Any:
        self.fields = {task: one[FIELD] for task, one in values.items()}
        return set(values)

    def put_tab(self, _client: object, _id: int, title: str, **_: object) -> int:
        self.tabs.append(title)
        return 12

    def drop_tab(self, _client: object, _id: int, _title: str) -> bool:
        self.tabs.clear()
        return True


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    studio = Studio()
    for name in ("put_fields", "put_tab", "drop_tab"):
        monkeypatch.setattr(publishing, name, getattr(studio, name))
    for name in ("drop_predictions", "drop_fields"):
        monkeypatch.setattr(publishing, name, lambda *_, **__: 0)
    monkeypatch.setattr(publishing, "put_predictions", lambda *_, **__: Put(frozenset({1}), {}))
    return studio


def published(folder: Path, *suspects: Suspect, suspicion: Mapping[int, float]) -> int | None:
    scopes = [out_of_fold(judged(folder, 1, [cat(10)]))]
    client: Any = None
    return publish(
        client, Project("7.1", CONFIG), scopes, suspects, suspicion,
        tell=lambda *_: None, go_on=lambda: None,
    ).tab  # fmt: skip


def test_a_review_that_finds_nothing_leaves_no_tab(studio: Studio, tmp_path: Path) -> None:
    assert published(tmp_path, suspect(1), suspicion={}) == 12
    assert published(tmp_path, suspicion={}) is None
    assert studio.tabs == []


def test_a_task_does_not_rise_when_one_of_its_suspects_is_called_right(
    studio: Studio, tmp_path: Path
) -> None:
    doubts = [replace(suspect(1, score=0.4), id=f"{n}" * 16) for n in range(2)]
    both = sum(one.score**2 for one in doubts)
    published(tmp_path, *doubts, suspicion={1: both / (1 + both)})
    before = studio.fields[1]
    published(tmp_path, doubts[0], suspicion={})
    assert 0 < studio.fields[1] < before
