"""Blind tasks in a real Label Studio, and what `labelpilot impact` makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from backends.label_studio.blind import is_blind
from tests.e2e.conftest import connect, labelpilot
from tests.e2e.labelled_clip import ClipProject, camera_clip, wait_until
from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SHARE = 0.3
SETTINGS = {
    "LABELPILOT_SAM_MODEL": "grabcut",
    "LABELPILOT_YOLO_MODEL": "off",
    "LABELPILOT_BLIND_SHARE": str(SHARE),
    "LABELPILOT_TRAIN_BUDGET_S": "8",
}


def run(studio: LabelStudioServer, folder: Path, *arguments: str) -> str:
    """What `labelpilot` prints; it has to succeed."""
    environment = os.environ | {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.personal_token,
        "LABELPILOT_DATA_DIR": str(folder),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", *arguments],
        env=environment | SETTINGS,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class BlindProject(ClipProject):
    """A clip whose tasks are blind by lot."""

    def blind(self) -> set[int]:
        key = self.studio.project_key(self.id)
        return {task for task in self.tasks if is_blind(key, task, SHARE)}

    def predicted(self) -> set[int]:
        """Tasks with a prediction of the version that the project goes by, and of no other."""
        version = self.studio.api("GET", f"/api/projects/{self.id}/")["model_version"]
        if not str(version).startswith("micro-"):
            return set()
        each = self.predictions().items()
        return {task for task, some in each if [p["model_version"] for p in some] == [version]}


def test_blind_tasks_stay_blind_and_tell_the_speed_up(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    project = BlindProject(label_studio, "blind", camera_clip(tmp_path / "clip", 70))
    blind, pilot = project.blind(), tmp_path / "pilot"
    shown = [task for task in project.tasks if task not in blind]
    early = shown[:: len(shown) // 9][:9]
    with labelpilot(label_studio, pilot, **SETTINGS) as url:
        connect(label_studio, project.id, url)
        log = pilot / "labelpilot.log"
        for some in (early[:5], early[5:]):  # a first model, and one that takes its place
            for task in some:
                project.submit(task)
            wanted = set(shown) - project.labelled()
            wait_until(lambda wanted=wanted: project.predicted() >= wanted, log.read_text)
        for task in blind:  # Label Studio asks for those that have none
            label_studio.api("GET", f"/api/tasks/{task}/?project={project.id}")
        assert project.predictions().keys() & blind == set()
        page = httpx.get(url).text
        assert f"{len(blind)} blind" in page
    again = run(label_studio, pilot, "prelabel", f"--project={project.id}", "--only-unlabelled")
    assert f"0 stored, 0 skipped, 0 failed, {len(blind)} blind" in again
    assert project.predictions().keys() & blind == set()

    slow = label_studio.api(
        "POST",
        "/api/users/",
        json={"email": "slow@example.com", "username": "slow", "password": "a-password-of-hers"},
    )["id"]
    own = own_id(label_studio)
    rng = np.random.default_rng(0)
    for place, task in enumerate(rng.permutation(sorted(set(project.tasks) - set(early)))):
        is_slow = place % 3 == 0
        seconds = (20.0 if is_slow else 4.0) * float(rng.lognormal(0, 0.2))
        seconds *= 2.5 if task in blind else 1.0
        seconds += 3_600 if place == 7 else 0  # lunch
        who: dict[str, Any] = {"completed_by": slow} if is_slow else {}
        project.submit(int(task), lead_time=seconds, **who)
        project.submit(int(task), lead_time=0.5, **who)  # a second one says nothing
        if place % 5 == 0:
            project.submit(int(task), lead_time=0.1, completed_by=own)
    found = json.loads(run(label_studio, pilot, "impact", f"--project={project.id}", "--json"))
    assert found["blind_tasks"] == len(blind)
    assert found["shown_tasks"] == len(shown) - len(early)
    assert found["covered"] == 1.0
    assert found["speed"]["low"] < 2.5 < found["speed"]["high"]
    assert found["speed"]["ratio"] == pytest.approx(2.5, rel=0.25)
    assert found["speed"]["low"] > 1.5
    assert len(found["by_annotator"]) == 2
    assert found["left_out"] == {
        "by labelpilot's own account": len(range(0, len(project.tasks) - len(early), 5)),
        "from before tasks were served both ways": len(early),
    }
    assert {one["name"] for one in found["shifts"]} >= {"regions", "from the left, %"}
    said = run(label_studio, pilot, "impact", f"--project={project.id}")
    assert "With predictions people are faster" in said
    assert "blind tasks" in said


def own_id(studio: LabelStudioServer) -> int:
    """The id of labelpilot's own account, made as the tools make it."""
    from label_studio_sdk import LabelStudio

    from backends.label_studio.accounts import own_account

    return own_account(LabelStudio(base_url=studio.url, api_key=studio.legacy_token))
