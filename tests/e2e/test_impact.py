"""Blind tasks in a real Label Studio, and what `labelpilot impact` makes of them."""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from label_studio_sdk import LabelStudio

from backends.autoaccept.nouns import Issued
from backends.autoaccept.store import AutoacceptStore
from backends.jobs.jobs import Jobs
from backends.label_studio.accounts import own_account
from backends.label_studio.blind import is_blind
from backends.settings import Settings
from micro_models.certificates import Certificate
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import project as project_of
from tests.backends.jobs.conftest import until
from tests.backends.jobs.studios import RealStudio
from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SHARE, TASKS = 0.3, 80
OLD, NEW = "micro-aaaaaaaaaa", "micro-bbbbbbbbbb"
Json = dict[str, Any]


def run(studio: LabelStudioServer, folder: Path, *arguments: str) -> str:
    """What `labelpilot` prints; it has to succeed."""
    variables = {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.personal_token,
        "LABELPILOT_DATA_DIR": str(folder),
        "LABELPILOT_BLIND_SHARE": str(SHARE),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", *arguments],
        env=os.environ | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refreshed(jobs: Jobs, key: str, version: str, micro: BoxLabeller) -> None:
    """Bring all predictions to a version, and wait for that."""
    micro.present_version = version
    jobs.refresh(project_of(key), version)
    until(lambda: not jobs._store.any_open(), 240, lambda: str(jobs.recent_jobs()))


def submit(studio: LabelStudioServer, task: int, result: list[Json], **more: Any) -> None:
    path = f"/api/tasks/{task}/annotations/"
    studio.api("POST", path, json={"result": result, **more})


def test_blind_tasks_stay_blind_and_tell_what_predictions_do(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    studio, micro = RealStudio(label_studio), BoxLabeller(OLD)
    key = studio.add_project(CONFIG)
    ids = studio.add_tasks(key, ["x"] * TASKS)
    blind = {task for task in ids if is_blind(key, task, SHARE)}
    settings = Settings(
        data_dir=tmp_path,
        label_studio_url=studio.url,
        label_studio_api_key=studio.token,  # type: ignore[arg-type]
        blind_share=SHARE,
    )
    early, old, *_ = sorted(set(ids) - blind)
    some = sorted(blind)
    studio.predict(some[0], OLD)  # from before it was blind
    studio.predict(some[1], "imported-by-a-person")
    submit(label_studio, early, [], lead_time=100.0)
    with jobs_of(settings, BoxLabeller(), micro=micro) as jobs:
        refreshed(jobs, key, OLD, micro)
        refreshed(jobs, key, NEW, micro)
        assert {task for task, found in studio.versions(key).items() if not found} == (
            blind - {some[1]} | {early}
        )
        assert studio.versions(key)[some[1]] == ["imported-by-a-person"]
        assert studio.versions(key)[old] == [NEW]
        assert {job.blind for job in jobs.recent_jobs()} == {len(blind), len(blind) - 1}
        assert jobs.unshown(key).keys() == blind

    annotate_all(label_studio, {task: task in blind for task in ids if task != early})
    number = project_of(key).id
    found = json.loads(run(label_studio, tmp_path, "impact", f"--project={number}", "--json"))
    assert (found["blind_tasks"], found["shown_tasks"]) == (len(blind), TASKS - len(blind) - 1)
    assert found["covered"] == 1.0
    speed = found["speed"]
    assert 1.5 < speed["low"] < 2.5 < speed["high"]
    assert speed["ratio"] == pytest.approx(2.5, rel=0.25)
    assert len(found["by_annotator"]) == 2
    assert found["left_out"] == {
        "by labelpilot's own account": 1,
        "from before tasks were served both ways": 1,
    }
    # People who are shown the model's box keep it; who is not draws it in half of the tasks.
    assert found["standing"]["spurious"]["share"] == 1.0
    (shift,) = [one for one in found["shifts"] if one["name"] == "regions"]
    assert shift["p_of_all"] < 0.05
    assert shift["difference"] == pytest.approx(0.5, abs=0.15)
    with closing(AutoacceptStore(settings)) as kept:
        kept.issue(certificate(key))
    submit(label_studio, old, [], lead_time=9.0, completed_by=somebody(label_studio))
    said = run(label_studio, tmp_path, "impact", f"--project={number}")
    assert "left out: 1 from after tasks were accepted without people" in said
    assert "With predictions people are faster" in said
    assert "regions that are not there 100% were left standing" in said
    assert "more blind tasks" in said or "blind tasks are enough" in said


def annotate_all(studio: LabelStudioServer, tasks: dict[int, bool]) -> None:
    """Two people, one slower, label tasks, by whether they are blind; it takes 2.5 times as long
    where they are. The first one is not: what is blind before says nothing.
    """
    slow = somebody(studio)
    with httpx.Client(timeout=30, trust_env=False) as http:
        token = studio.legacy_token
        own = own_account(LabelStudio(base_url=studio.url, api_key=token, httpx_client=http))
    drawn, done = [False], Counter[tuple[bool, bool]]()
    order = np.random.default_rng(0).permutation(sorted(tasks)).tolist()
    order.insert(0, order.pop(next(n for n, task in enumerate(order) if not tasks[task])))
    for place, task in enumerate(order):
        is_slow, is_blind_task = place % 3 == 0, tasks[task]
        # Spread evenly, the same for each person and kind: there is no chance but in the lot.
        spread = done[is_slow, is_blind_task] * 0.618 % 1 - 0.5
        seconds = (20.0 if is_slow else 4.0) * math.exp(0.7 * spread)
        done[is_slow, is_blind_task] += 1
        seconds *= 2.5 if is_blind_task else 1.0
        seconds += 3_600.0 if place == 7 else 0.0  # left open over lunch
        result = [] if is_blind_task and drawn[-1] else [BOX]
        drawn += [bool(result)] if is_blind_task else []
        who: Json = {"completed_by": slow} if is_slow else {}
        submit(studio, task, result, lead_time=seconds, **who)
        if place < 3:
            submit(studio, task, [], lead_time=0.5, **who)  # a second one says nothing
    submit(studio, task, [], lead_time=0.1, completed_by=own)


def somebody(studio: LabelStudioServer) -> int:
    """The id of a new account."""
    name = secrets.token_hex(6)
    made = {"email": f"{name}@example.com", "username": name, "password": "a-password-of-hers"}
    found: int = studio.api("POST", "/api/users/", json=made)["id"]
    return found


def certificate(key: str) -> Issued:
    """One under which tasks were accepted."""
    made = Certificate(
        max_error=0.05,
        confidence=0.9,
        threshold=0.9,
        audited=60,
        above=60,
        errors=0,
        upper=0.04,
        accepted=5,
        share=0.5,
        missing=0,
        why="",
    )
    return Issued(id="one", project_key=key, version=NEW, certificate=made)


BOX: Json = {
    "id": "drawn",
    "from_name": "rect",
    "to_name": "image",
    "type": "rectanglelabels",
    "original_width": 100,
    "original_height": 100,
    "image_rotation": 0,
    "value": {
        "x": 10,
        "y": 20,
        "width": 50,
        "height": 60,
        "rotation": 0,
        "rectanglelabels": ["Cat"],
    },
}
