"""`labelpilot embed` and `doctor` beside a real Label Studio, and the first click made warm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from tests.e2e.conftest import CONFIGS, connect, labelpilot
from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = pytest.mark.e2e
IMAGES = 4


@pytest.fixture
def project(label_studio: LabelStudioServer, tmp_path: Path) -> int:
    """A project with a few different images."""
    number = label_studio.add_project((CONFIGS / "to_brush.xml").read_text())
    for index in range(IMAGES):
        file = tmp_path / f"{index}.png"
        cv2.imwrite(str(file), np.full((40 + index, 60, 3), 40 * index, np.uint8))
        label_studio.upload(number, file)
    return number


def run(
    studio: LabelStudioServer, folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.personal_token,
        "LABELPILOT_DATA_DIR": str(folder),
        "LABELPILOT_SAM_MODEL": "grabcut",
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "backends.cli", *arguments]
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_embed_fills_the_cache_and_goes_on_where_it_stopped(
    label_studio: LabelStudioServer, project: int, tmp_path: Path
) -> None:
    done = run(label_studio, tmp_path / "data", "embed", f"--project={project}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{IMAGES} images embedded now" in done.stdout
    assert len(list((tmp_path / "data" / "embeddings").glob("*/*.npz"))) == IMAGES
    again = run(label_studio, tmp_path / "data", "embed", f"--project={project}")
    assert "0 images embedded now, 0 tasks without" in again.stdout


def test_an_opened_task_warms_the_next_ones(
    label_studio: LabelStudioServer, project: int, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    with labelpilot(label_studio, folder, LABELPILOT_SAM_MODEL="grabcut") as url:
        connect(label_studio, project, url)
        # Opening a task without predictions makes Label Studio ask the backend.
        tasks = label_studio.api("GET", f"/api/tasks/?project={project}")["tasks"]
        first = min(task["id"] for task in tasks)
        label_studio.api("GET", f"/api/tasks/{first}/?project={project}")
        deadline = time.monotonic() + 30
        while len(list(folder.glob("embeddings/*/*.npz"))) < IMAGES:
            assert time.monotonic() < deadline, httpx.get(url).text
            time.sleep(0.1)
        # Nothing was stored: an empty prediction would stop later ones.
        assert label_studio.api("GET", f"/api/tasks/{first}/")["predictions"] == []


def test_doctor_finds_a_connected_project_well_and_names_what_is_not(
    label_studio: LabelStudioServer, project: int, tmp_path: Path
) -> None:
    with labelpilot(label_studio, tmp_path / "data", LABELPILOT_SAM_MODEL="grabcut") as url:
        told = ("doctor", f"--project={project}", f"--url={url}")
        before = run(label_studio, tmp_path / "data", *told)
        assert before.returncode == 1
        assert "labelpilot connect" in before.stdout
        connect(label_studio, project, url)
        after = run(label_studio, tmp_path / "data", *told)
        assert after.returncode == 0, after.stdout
        assert "fail" not in after.stdout
