"""Consensus on a real Label Studio: three people, one careless; written, repeated, taken back."""

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

from backends.consensus.nouns import DIFFERENCES, FIELD, TAB
from backends.interface import PlacedRegion
from backends.label_studio.accounts import OWN_EMAIL
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_region
from micro_models.regions import Box, Region, WholeImage
from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
WIDTH, HEIGHT, PICTURES = 160, 120, 14
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Knöpfe"/><Label value="square"/>
</RectangleLabels>
<Choices name="light" toName="image" choice="single"><Choice value="hell"/><Choice value="dark"/>
</Choices></View>"""
COLOURS = {"Knöpfe": (220, 40, 40), "square": (40, 60, 220)}


def consensus(studio: LabelStudioServer, folder: Path, *arguments: str) -> str:
    """`labelpilot consensus` as people run it; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", "consensus", *arguments],
        env=os.environ
        | {
            "LABELPILOT_DATA_DIR": str(folder),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.legacy_token,
            "LABELPILOT_REVIEW_BUDGET_S": "30",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def drawn(path: Path, number: int) -> list[Region]:
    """A picture of two squares; what is right for it."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(100, 130, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    regions = [Region("hell" if number % 2 else "dark", WholeImage())]
    for side, label in enumerate(COLOURS):
        x, y = 5 + 80 * side + int(rng.integers(0, 40)), 5 + int(rng.integers(0, 80))
        pixels[y : y + 30, x : x + 30] = COLOURS[label]
        regions.append(Region(label, Box(x, y, x + 30, y + 30)))
    PIL.Image.fromarray(pixels).save(path)
    return regions


def results(regions: list[Region]) -> list[Json]:
    config = parse_label_config(CONFIG)
    return [
        item
        for number, region in enumerate(regions)
        for item in encode_region(
            PlacedRegion(
                f"drawn{number}",
                region,
                "light" if isinstance(region.shape, WholeImage) else "box",
            ),
            config,
            size_px=(WIDTH, HEIGHT),
        )
    ]


def moved(regions: list[Region], by: float) -> list[Region]:
    """All boxes farther to the right and down."""
    return [
        Region(one.label, Box(*(edge + by for edge in vars(one.shape).values())))
        if isinstance(one.shape, Box)
        else one
        for one in regions
    ]


class Crowd:
    """Pictures labelled by two careful people and a careless one."""

    def __init__(self, studio: LabelStudioServer, name: str) -> None:
        self.studio, self.name = studio, name
        folder = studio.files / name
        folder.mkdir()
        files = [folder / f"{number}.png" for number in range(PICTURES)]
        truth = [drawn(file, number) for number, file in enumerate(files)]
        self.id = studio.add_project(CONFIG, title=name)
        studio.serve_folder(self.id, folder)
        urls = [f"/data/local-files/?d={name}/{file.name}" for file in files]
        studio.api("POST", f"/api/projects/{self.id}/import", json=[{"image": u} for u in urls])
        self.tasks = [int(task["id"]) for task in studio.tasks(self.id)]
        self.truth = dict(zip(self.tasks, truth, strict=True))
        self.people = [self.person(name) for name in ("Änne", "Bo", "Cem")]
        careful, second, careless = self.people
        for number, task in enumerate(self.tasks[:-1]):
            self.submit(task, careful, moved(self.truth[task], 1))
            self.submit(task, second, moved(self.truth[task], -1))
            # The third forgets every second box, and says always the same of the light.
            light = Region("hell", WholeImage())
            self.submit(task, careless, [light, *moved(self.truth[task], 6)[1 : 2 + number % 2]])
        self.submit(self.tasks[-1], careful, self.truth[self.tasks[-1]])
        self.submit(self.tasks[-1], second, [], was_cancelled=True)

    def person(self, name: str) -> int:
        body = {
            "email": f"{name.encode().hex()}@{self.name}.example.com",
            "username": f"{name} {self.name}",
            "first_name": name,
            "password": "a-password-for-tests",
        }
        return int(self.studio.api("POST", "/api/users/", json=body)["id"])

    def submit(self, task: int, person: int, regions: list[Region], **more: Any) -> int:
        body = {"result": results(regions), "completed_by": person, **more}
        return int(self.studio.api("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def fields(self) -> dict[int, float]:
        tasks = self.studio.tasks(self.id)
        return {int(one["id"]): one["data"][FIELD] for one in tasks if FIELD in one["data"]}

    def predictions(self) -> dict[int, list[Json]]:
        found: dict[int, list[Json]] = {}
        for one in self.studio.api("GET", f"/api/predictions/?project={self.id}"):
            found.setdefault(int(one["task"]), []).append(one)
        return found

    def annotations(self, account: int | None) -> dict[int, list[Json]]:
        """By task those of labelpilot's account, or with None those of people."""
        own = account or self.account()
        return {
            int(task["id"]): some
            for task in self.studio.tasks(self.id)
            if (
                some := [
                    {"id": one["id"], "result": one["result"]}
                    for one in task["annotations"]
                    if (one["completed_by"] == own) == (account is not None)
                ]
            )
        }

    def account(self) -> int:
        users = self.studio.api("GET", "/api/users/")
        return next((int(one["id"]) for one in users if one["email"] == OWN_EMAIL), -1)

    def listed(self) -> list[Json]:
        """The tasks as the tab shows them."""
        views = self.studio.api("GET", f"/api/dm/views/?project={self.id}")
        (tab,) = [one for one in views if one["data"].get("title") == TAB]
        answer = self.studio.api("GET", f"/api/tasks?view={tab['id']}&project={self.id}")
        return list(answer["tasks"])

    def tabs(self) -> int:
        views = self.studio.api("GET", f"/api/dm/views/?project={self.id}")
        return sum(one["data"].get("title") == TAB for one in views)


def test_a_consensus_is_written_repeated_and_taken_back(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    crowd = Crowd(label_studio, "crowd")
    of_people = crowd.annotations(None)
    project = f"--project={crowd.id}"

    told = json.loads(consensus(label_studio, tmp_path, project, "--json", "--no-model"))
    overlapping = crowd.tasks[:-1]
    assert told["tasks"] == len(overlapping)
    rated = {one["person"]: one for one in told["people"]}
    careful, second, careless = (rated[person] for person in crowd.people)
    assert careless["agreement"] < min(careful["agreement"], second["agreement"])
    assert careful["name"] == "Änne"
    assert "@crowd.example.com" in told["emails"][str(crowd.people[0])]
    assert careless["false_alarms"]["hell"] > 0.3 > careful["false_alarms"]["hell"]

    # The consensus is what is right, though the third is mistaken half of the time.
    stored = crowd.predictions()
    assert sorted(stored) == overlapping
    for task, (one,) in stored.items():
        assert one["model_version"] == told["version"]
        names = sorted(
            name
            for item in one["result"]
            for name in item["value"].get("rectanglelabels") or item["value"]["choices"]
        )
        assert names == sorted(region.label for region in crowd.truth[task])
    marked = crowd.fields()
    assert sorted(marked) == overlapping
    tasks = crowd.listed()
    shown = [one["data"][FIELD] for one in tasks]
    assert shown == sorted(shown)
    assert all(one["data"][DIFFERENCES] > 0 for one in tasks)
    assert len(tasks) == told["disagreements"] > 0
    assert crowd.annotations(None) == of_people

    # The same again changes nothing.
    again = json.loads(consensus(label_studio, tmp_path, project, "--json", "--no-model"))
    assert again["version"] == told["version"]
    assert crowd.predictions() == stored
    assert crowd.tabs() == 1

    # As annotations: by an account of its own, instead of predictions, once.
    options = project, "--json", "--no-model", "--as-annotations"
    written = json.loads(consensus(label_studio, tmp_path, *options))
    assert written["written"] == len(overlapping)
    account = crowd.account()
    own = crowd.annotations(account)
    assert sorted(own) == overlapping
    assert all(len(some) == 1 for some in own.values())
    assert crowd.predictions() == {}
    repeated = json.loads(consensus(label_studio, tmp_path, *options))
    assert (repeated["tasks"], crowd.annotations(account)) == (written["tasks"], own)
    people = [one["person"] for one in repeated["people"]]
    assert sorted(people) == sorted(crowd.people)

    # One that a person changes is that person's, and stays.
    kept = own[overlapping[0]][0]["id"]
    label_studio.api("PATCH", f"/api/annotations/{kept}/", json={"result": []})
    out = consensus(label_studio, tmp_path, project, "--undo")
    assert f"{len(overlapping) - 1} annotations, the field of {len(overlapping)}" in out
    assert [one["id"] for some in crowd.annotations(account).values() for one in some] == [kept]
    assert (crowd.fields(), crowd.tabs(), crowd.predictions()) == ({}, 0, {})
    assert crowd.annotations(None) == of_people
    assert "0 annotations, the field of 0" in consensus(label_studio, tmp_path, project, "--undo")


def test_the_model_has_a_vote_and_trouble_is_told(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    crowd = Crowd(label_studio, "judged")
    told = json.loads(consensus(label_studio, tmp_path, f"--project={crowd.id}", "--json"))
    assert told["lift"] > 1
    assert told["trust"] is not None
    assert sorted(crowd.predictions()) == crowd.tasks[:-1]
    empty = label_studio.add_project(CONFIG, title="nobody")
    assert "no task has been submitted by two people" in consensus(
        label_studio, tmp_path, f"--project={empty}"
    )
    with pytest.raises(AssertionError, match="cure"):
        consensus(label_studio, tmp_path, "--project=99999")
