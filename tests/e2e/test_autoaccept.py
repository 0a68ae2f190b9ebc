"""Pictures in a real Label Studio: audits, a certificate, accepted tasks, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from micro_models.regions import Box, Region
from tests.e2e.labelled_clip import LABEL, ClipProject, Frame
from tests.e2e.pilot import Pilot
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
PICTURES, LABELS = 90, 8
TERMS = ("--max-error=0.3", "--confidence=0.8")
OWN_EMAIL = "labelpilot@labelpilot.invalid"


class Acceptor(Pilot):
    """`labelpilot autoaccept`, and what goes before it."""

    def accept(self, *arguments: str) -> Json:
        """`labelpilot autoaccept --json`."""
        found: Json = self.figures("autoaccept", *TERMS, *arguments)
        return found


def pictures(folder: Path) -> list[Frame]:
    """Small pictures of one bright square, which a busy machine learns too."""
    rng, found = np.random.default_rng(0), []
    folder.mkdir()
    for number in range(PICTURES):
        pixels = rng.integers(90, 110, (72, 96, 3)).astype(np.uint8)
        x, y = int(rng.integers(2, 68)), int(rng.integers(2, 44))
        pixels[y : y + 24, x : x + 24] = (230, 40, 40)
        path = folder / f"{number:03}.png"
        PIL.Image.fromarray(pixels).save(path)
        found.append(Frame(path, (Region(LABEL, Box(x, y, x + 24, y + 24)),)))
    return found


def annotations(clip: ClipProject) -> dict[int, list[Json]]:
    return {int(task["id"]): task["annotations"] for task in clip.studio.tasks(clip.id)}


def own_account(studio: LabelStudioServer) -> int:
    users = studio.api("GET", "/api/users/")
    return next(int(one["id"]) for one in users if one["email"] == OWN_EMAIL)


def answered(clip: ClipProject, pilot: Acceptor) -> Json:
    """People label audits until there is a certificate, which is printed and not used."""
    for _ in range(4):
        tasks = clip.studio.tasks(clip.id)
        drawn = [int(one["id"]) for one in tasks if "labelpilot_audit" in one["data"]]
        still_open = [task for task in drawn if task not in clip.labelled()]
        assert not clip.predictions().keys() & set(still_open)
        for task in still_open:
            clip.submit(task)
        found = pilot.accept("--dry-run")
        assert found["certificate"], found["notes"]
        if found["certificate"]["threshold"] is not None:
            return found
        pilot.accept()
    raise AssertionError(found)


def test_audits_certify_what_is_accepted_and_all_is_taken_back(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    clip = ClipProject(label_studio, "autoaccept", pictures(tmp_path / "pictures"))
    pilot = Acceptor(
        label_studio,
        clip.id,
        tmp_path / "data",
        LABELPILOT_TRAIN_BUDGET_S="30",
        LABELPILOT_BLIND_SHARE="0",
    )
    by_hand = {task: clip.submit(task) for task in clip.spread(LABELS)}
    assert "promoted" in pilot("train")
    pilot("prelabel", "--only-unlabelled")
    assert len(clip.predictions()) == PICTURES - LABELS

    # Audits are drawn into a tab, and lose their predictions.
    first = pilot.accept()
    assert first["drawn"] == first["open"] > 5
    assert first["certificate"] is None
    views = label_studio.api("GET", f"/api/dm/views/?project={clip.id}")
    (tab,) = [one for one in views if one["data"].get("title") == "Audit these"]
    assert tab["id"] == first["tab"]
    listed = label_studio.api("GET", f"/api/tasks/?view={tab['id']}&project={clip.id}")["tasks"]
    places = [one["data"]["labelpilot_audit"] for one in listed]
    assert places == list(range(1, first["drawn"] + 1))
    assert first["open"] == pilot.accept()["open"]  # nothing new until they are answered

    dry = answered(clip, pilot)
    people = {task: [one["id"] for one in some] for task, some in annotations(clip).items()}
    assert dry["acceptable"] > 10
    assert dry["accepted"]["accepted"] == 0

    # Accepted tasks are annotated by an account of labelpilot's own.
    done = pilot.accept("--keep-checking=0.1")
    own = own_account(label_studio)
    ours = {
        task: one
        for task, some in annotations(clip).items()
        for one in some
        if one["completed_by"] == own
    }
    assert len(ours) == done["accepted"]["accepted"] > 0
    assert len(ours) + done["accepted"]["checked"] == dry["acceptable"]
    assert not any(people[task] for task in ours)
    for one in ours.values():
        for region in one["result"]:
            assert f"certificate {done['id']}" in region["meta"]["text"][-1]
    assert pilot.accept()["accepted"] == {"accepted": 0, "checked": 0, "changed": 0}
    log = pilot.figures("autoaccept", "--log")
    assert {(one["task"], one["annotation"]) for one in log} == {
        (task, one["id"]) for task, one in ours.items()
    }

    # They are no labels, and audits are not learned from.
    told = pilot("train")
    assert "labelled audits are not learned from" in told
    assert "nothing has changed since" in told

    # What a person changed stays; all else is as it was.
    changed = min(ours)
    label_studio.api(
        "PATCH",
        f"/api/annotations/{ours[changed]['id']}/",
        json={"result": clip.drawn(changed), "lead_time": 3.0},
    )
    assert "1 that people changed stay" in pilot("autoaccept", "--undo")
    left = {task: [one["id"] for one in some] for task, some in annotations(clip).items()}
    assert left == {**people, changed: [ours[changed]["id"]]}
    assert all(by_hand[task] in left[task] for task in by_hand)
    tasks = label_studio.tasks(clip.id)
    assert not any("labelpilot_audit" in task["data"] for task in tasks)
    views = label_studio.api("GET", f"/api/dm/views/?project={clip.id}")
    assert "Audit these" not in [one["data"].get("title") for one in views]
    assert "taken back: 0 annotations" in pilot("autoaccept", "--undo")
