"""What is read from Label Studio, and what is left out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from backends.errors import LabelStudioError
from backends.impact import gathering
from backends.impact.gathering import Lots, gathered
from backends.impact.nouns import Gathered, Served
from backends.interface import Project
from backends.jobs.unshown import Unshown
from backends.label_studio.accounts import OWN_EMAIL
from backends.label_studio.blind import is_blind
from backends.label_studio.label_xml import parse_label_config

KEY = "7.1700000000"
CONFIG = """<View><Image name="image" value="$image"/><Video name="video" value="$clip"/>
<RectangleLabels name="rect" toName="image"><Label value="Кот"/></RectangleLabels></View>"""
PROJECT = Project(KEY, parse_label_config(CONFIG))
SHARE = 0.3
BLIND = [n for n in range(1, 200) if is_blind(KEY, n, SHARE)]
SHOWN = [n for n in range(1, 200) if not is_blind(KEY, n, SHARE)]
OWN = 99


def box(label: str = "Кот", x: float = 10.0) -> dict[str, Any]:
    value = {"x": x, "y": 10, "width": 20, "height": 20, "rectanglelabels": [label]}
    return {
        "id": "a",
        "from_name": "rect",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 100,
        "value": value,
    }


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"


def annotation(number: int, second: int = 30, *, by: Any = 1, **values: Any) -> dict[str, Any]:
    made = {"id": number, "result": [box()], "completed_by": by, "lead_time": 7.5}
    return made | {"created_at": at(second), "was_cancelled": False} | values


def prediction(number: int, second: int, version: str = "micro-0123456789", **values: Any) -> Any:
    made = {"id": number, "model_version": version, "created_at": at(second), "result": [box()]}
    return made | values


@dataclass
class Studio:
    """As much of the SDK as is asked; each task has `annotations`, and perhaps `predictions`."""

    known: dict[int, dict[str, Any]]
    asked: list[int] = field(default_factory=list)
    dead: bool = False

    def __post_init__(self) -> None:
        self.tasks = SimpleNamespace(list=self.list)
        own = SimpleNamespace(id=OWN, email=OWN_EMAIL)
        self.users = SimpleNamespace(list=lambda: [own])

    def list(self, *, query: str, page_size: int, **_: Any) -> Any:
        if self.dead:
            raise httpx.ConnectError("away")
        wanted = json.loads(query)
        after = max(
            (one["value"] for one in wanted["filters"]["items"] if one["filter"].endswith(":id")),
            default=0,
        )
        included = wanted.get("selectedItems", {}).get("included")
        if included is not None:
            self.asked += included
        ids = [n for n in sorted(self.known) if n > after and (not included or n in included)]
        return SimpleNamespace(items=[self._task(n) for n in ids[:page_size]])

    def _task(self, number: int) -> Any:
        values = {"data": {"image": "x.jpg"}, "annotations": [], "predictions": []}
        return SimpleNamespace(id=number, updated_at=at(50), **(values | self.known[number]))


def read(
    studio: Studio,
    *,
    share: float = SHARE,
    audits: Sequence[int] = (),
    unshown: dict[int, Unshown] | None = None,
    until: float = math.inf,
) -> Gathered:
    lots = Lots(share, set(audits), unshown or {}, until)
    return gathered(studio, PROJECT, lots, tell=lambda text, part: None)  # type: ignore[arg-type]


def only(found: Gathered) -> Served:
    (one,) = found.served
    return one


def test_a_blind_task_comes_with_what_was_withheld() -> None:
    studio = Studio({BLIND[0]: {"annotations": [annotation(1)]}})
    one = only(read(studio, unshown={BLIND[0]: Unshown("micro-0123456789", (box(x=50.0),))}))
    assert (one.task_id, one.annotator, one.blind, one.had_prediction) == (BLIND[0], 1, True, False)
    assert (one.seconds, one.size_px) == (7.5, (200, 100))
    assert [region.label for region in one.regions] == ["Кот"]
    assert one.found is not None
    assert one.found[0].shape != one.regions[0].shape
    assert only(read(studio)).found is None


def test_another_task_comes_with_what_was_shown() -> None:
    ours = [prediction(5, 3, result=[]), prediction(6, 5, result=[box(), box(x=50)]),
            prediction(7, 55)]  # fmt: skip
    others = [prediction(8, 1, "mine"), prediction(9, 1, "yolo-v8-import")]
    studio = Studio({SHOWN[0]: {"annotations": [annotation(1)], "predictions": ours + others}})
    one = only(read(studio))
    assert (one.blind, one.had_prediction) == (False, True)
    assert len(one.found or ()) == 1  # the same id twice is one region
    studio.known[SHOWN[0]]["annotations"] = [annotation(1, parent_prediction=5)]
    assert only(read(studio)).found == ()
    studio.known[SHOWN[0]]["predictions"] = others
    one = only(read(studio))
    assert (one.had_prediction, one.found) == (False, None)


def test_of_each_person_the_first_annotation_counts() -> None:
    some = [
        annotation(4, 40, lead_time=1.0),
        annotation(2, 20, lead_time=2.0, was_cancelled=True),
        annotation(3, 30, lead_time=3.0),
        annotation(5, 25, by={"id": 2, "email": "b@example.com"}, lead_time=4.0),
        annotation(6, 10, by=3, lead_time=None),
        annotation(7, 10, by=OWN, lead_time=9.0),
        annotation(8, 10, by=None, lead_time=5.0),
    ]
    found = read(Studio({SHOWN[0]: {"annotations": some}}))
    assert {one.annotator: one.seconds for one in found.served} == {1: 3.0, 2: 4.0, -1: 5.0}
    assert dict(found.left_out) == {gathering._OWN: 1, gathering._NO_TIME: 1}


def test_tasks_whose_part_is_not_clear_are_left_out() -> None:
    audit, was_blind = SHOWN[:2]
    studio = Studio(
        {
            audit: {"annotations": [annotation(1)]},
            was_blind: {"annotations": [annotation(2)]},
            BLIND[0]: {"annotations": [annotation(3)]},
            BLIND[1]: {"annotations": [annotation(4)], "data": {"clip": "a.mp4"}},
        }
    )
    kept = Unshown("micro-0123456789", ())
    found = read(studio, audits=[audit, BLIND[0]], unshown={was_blind: kept, audit: kept})
    assert only(found).task_id == BLIND[0]
    assert dict(found.left_out) == {
        gathering._AUDIT: 1,
        gathering._WAS_BLIND: 1,
        gathering._CLIP: 1,
    }


def test_once_tasks_are_accepted_without_people_the_lot_tells_nothing() -> None:
    both = [annotation(1, 30), annotation(2, 40, by=2)]
    some = {n: {"annotations": both} for n in (BLIND[0], SHOWN[0])}
    found = read(Studio(some), until=datetime.fromisoformat(at(35)).timestamp())
    assert [(one.task_id, one.annotator) for one in found.served] == [
        (n, 1) for n in sorted((BLIND[0], SHOWN[0]))
    ]
    assert dict(found.left_out) == {gathering._ACCEPTED: 2}


def test_where_blindness_was_switched_off_the_tasks_that_were_blind_still_tell() -> None:
    studio = Studio({n: {"annotations": [annotation(n)]} for n in (BLIND[0], SHOWN[0])})
    kept = {BLIND[0]: Unshown("micro-0123456789", (box(),))}
    found = read(studio, share=0.0, unshown=kept)
    assert {one.task_id: one.blind for one in found.served} == {BLIND[0]: True, SHOWN[0]: False}


def test_of_very_many_tasks_all_blind_ones_are_read_and_a_sample_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "_FEW", 20)
    monkeypatch.setattr(gathering, "_OTHERS", 1)
    studio = Studio({n: {"annotations": [annotation(n)]} for n in range(1, 200)})
    found = read(studio)
    assert found.sampled == 199
    assert {one.task_id for one in found.served if one.blind} == set(BLIND)
    others = [one.task_id for one in found.served if not one.blind]
    assert len(others) == len(BLIND)
    assert max(others) > 150
    assert len(studio.asked) == 2 * len(BLIND)


def test_broken_results_are_no_regions_and_no_fault() -> None:
    odd = [{"type": "rectanglelabels"}, "x", box("Unknown"), box() | {"value": None}]
    studio = Studio({SHOWN[0]: {"annotations": [annotation(1, result=odd)]}})
    one = only(read(studio))
    assert (one.regions, one.size_px) == ((), (200, 100))
    studio.known[SHOWN[0]]["annotations"] = [annotation(1, result=[])]
    assert only(read(studio)).size_px == (1_000, 1_000)


def test_an_empty_project_and_a_dead_label_studio() -> None:
    assert read(Studio({})) == Gathered((), {})
    with pytest.raises(LabelStudioError):
        read(Studio({1: {}}, dead=True))
