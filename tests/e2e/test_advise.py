"""Advice on a real Label Studio: a curve is measured, kept, and goes on with more labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = pytest.mark.e2e

PICTURES, LABELLED = 32, 20
CLASSES = ("clair à droite", "dunkel")
CONFIG = f"""<View><Image name="image" value="$image"/><Choices name="kind" toName="image">
{"".join(f'<Choice value="{one}"/>' for one in CLASSES)}</Choices></View>"""


def advise(
    studio: LabelStudioServer, folder: Path, project: int, *, budget_s: int = 90
) -> tuple[Any, str]:
    """`labelpilot advise` as people run it; its figures, and what it told."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "backends.cli", "advise", "--project", str(project)),
            *("--target", "accuracy=0.9", "--budget-s", str(budget_s), "--json"),
        ],
        env=os.environ
        | {
            "LABELPILOT_DATA_DIR": str(folder),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.legacy_token,
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr


def labelled(studio: LabelStudioServer, tasks: list[int], kinds: list[str]) -> None:
    for task, kind in zip(tasks, kinds, strict=True):
        result = {"from_name": "kind", "to_name": "image", "type": "choices"}
        studio.api(
            "POST",
            f"/api/tasks/{task}/annotations/",
            json={"result": [{**result, "value": {"choices": [kind]}}]},
        )


@pytest.mark.timeout(900)
def test_a_plan_of_a_project(label_studio: LabelStudioServer, tmp_path: Path) -> None:
    studio, name = label_studio, "advice"
    folder = studio.files / name
    folder.mkdir()
    kinds = []
    for number in range(PICTURES):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 120, (48, 64, 3)).astype(np.uint8)
        pixels[:, 32:] += np.uint8(60 * (number % 2))
        PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        kinds.append(CLASSES[1 - number % 2])
    project = studio.add_project(CONFIG, title=name)
    studio.serve_folder(project, folder)
    urls = [f"/data/local-files/?d={name}/{number}.png" for number in range(PICTURES)]
    studio.api("POST", f"/api/projects/{project}/import", json=[{"image": url} for url in urls])
    found = studio.api("GET", f"/api/tasks/?project={project}&page_size=100")["tasks"]
    tasks = sorted(one["id"] for one in found)

    labelled(studio, tasks[:5], kinds[:5])
    few, _ = advise(studio, tmp_path, project, budget_s=20)
    assert (few["plan"], few["labels"]) == (None, 5)
    assert "label 7 more" in few["notes"][0]

    labelled(studio, tasks[5:LABELLED], kinds[5:LABELLED])
    draws = [0]
    for _ in range(5):  # a busy machine measures little at a time, and goes on from there
        made, told = advise(studio, tmp_path, project)
        assert made["labels"] == LABELLED
        points = made["families"].get("forest", {"points": []})["points"]
        draws.append(sum(one["draws"] for one in points))
        if made["plan"] is not None:
            break
        assert " learns " in told
    assert len(points) >= 4
    assert draws == sorted(draws)
    assert made["plan"]["best"] is not None
