"""Reviews on a real Label Studio: planted errors are found, the tab opens, all is undone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from backends.cli import app
from backends.interface import PlacedRegion, Project, Task
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.results import encode_region
from backends.micro import out_of_fold
from backends.micro.exchange import Request, Trained
from backends.review.nouns import FIELD, TAB, Case, Review, Tally
from backends.review.page import page
from backends.review.store import ReviewStore
from backends.serving import reviewing as module
from backends.serving.project_page import Tool, project_page
from backends.serving.reviewing import Reviewing, reviewing_router
from backends.serving.templating import PAGE_HEADERS, STATIC
from backends.settings import Settings
from micro_models import Budget, Example, fit
from micro_models.fitting.builtin import trainer_named
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Region
from tests.backends.review.scenes import suspect
from tests.backends.serving.conftest import data_uri
from tests.backends.serving.test_reviewing import CONFIG as GALLERY_CONFIG
from tests.backends.serving.test_reviewing import KEY, Images
from tests.e2e.browser import READY, Editor
from tests.label_studio_server import LabelStudioServer
from tests.live import live

pytestmark = pytest.mark.e2e

Json = dict[str, Any]
PICTURES = 40
WIDTH, HEIGHT, SIDE = 96, 72, 20
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Knöpfe"/><Label value="square"/>
</RectangleLabels></View>"""
COLOURS = {"Knöpfe": (230, 30, 30), "square": (30, 30, 230)}
KINDS = ("missing label", "low IoU", "wrong label", "spurious label")
MIN_SCORE = "0.05"


Run = Callable[..., str]


@pytest.fixture
def review(label_studio: LabelStudioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`labelpilot review`: what it prints. Trainings are of few steps, in this process."""
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.legacy_token)
    monkeypatch.setattr(out_of_fold, "train", quickly_trained)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["review", *arguments])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return run


def quickly_trained(request: Request, folder: Path, **_: object) -> Trained:
    examples = [Example(one.picture, one.regions) for one in request.examples]
    model = fit(examples, budget=Budget(steps=1), trainers=[trainer_named("forest")])
    model.save(folder / "final")
    return Trained(folder / "final", model.version, {}, ())


def drawn(path: Path, number: int) -> list[Region]:
    """A picture with a red and a blue square, or with one of them; what is right for it."""
    rng = np.random.default_rng(number)
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    regions = []
    for half, label in enumerate(COLOURS if number % 3 else [list(COLOURS)[number // 3 % 2]]):
        x, y = 3 + WIDTH // 2 * half + int(rng.integers(0, 25)), 3 + int(rng.integers(0, 46))
        pixels[y : y + SIDE, x : x + SIDE] = COLOURS[label]
        regions.append(Region(label, Box(x, y, x + SIDE, y + SIDE)))
    PIL.Image.fromarray(pixels).save(path)
    return regions


def spoiled(regions: list[Region], kind: str) -> list[Region]:
    """The labels with an error in the first one."""
    first, *rest = regions
    box = first.shape
    assert isinstance(box, Box)
    match kind:
        case "missing label":
            return rest
        case "low IoU":
            far = SIDE / 2
            return [Region(first.label, Box(box.x0 + far, box.y0, box.x1 + far, box.y1)), *rest]
        case "wrong label":
            return [Region(next(one for one in COLOURS if one != first.label), box), *rest]
        case _:
            y = 3 if box.y0 > 25 else 48
            return [*regions, Region(first.label, Box(box.x0, y, box.x1, y + SIDE))]


class Planted:
    """A project of labelled pictures, four of them wrong: `wrong` has their tasks by kind."""

    def __init__(self, studio: LabelStudioServer, name: str) -> None:
        self.studio = studio
        folder = studio.files / name
        folder.mkdir()
        files = [folder / f"{number}.png" for number in range(PICTURES)]
        truth = [drawn(file, number) for number, file in enumerate(files)]
        self.id = studio.add_project(CONFIG, title=name)
        studio.api("POST", "/api/dm/views/", json={"project": self.id, "data": {}})
        studio.serve_folder(self.id, folder)
        urls = [f"/data/local-files/?d={name}/{file.name}" for file in files]
        studio.api("POST", f"/api/projects/{self.id}/import", json=[{"image": u} for u in urls])
        self.tasks = [int(task["id"]) for task in studio.tasks(self.id)]
        self.right = dict(zip(self.tasks, truth, strict=True))
        self.wrong = {kind: self.tasks[4 + 9 * n] for n, kind in enumerate(KINDS)}
        self.annotations = {
            task: self.submit(task, regions) for task, regions in self.right.items()
        }
        for kind, task in self.wrong.items():
            self.correct(task, spoiled(self.right[task], kind))

    def submit(self, task: int, regions: list[Region]) -> int:
        body = {"result": results(regions), "lead_time": 4.0}
        return int(self.studio.api("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def correct(self, task: int, regions: list[Region]) -> None:
        path = f"/api/annotations/{self.annotations[task]}/"
        self.studio.api("PATCH", path, json={"result": results(regions)})

    def field(self) -> dict[int, float]:
        """What tasks have of the field."""
        tasks = self.studio.tasks(self.id)
        return {int(one["id"]): one["data"][FIELD] for one in tasks if FIELD in one["data"]}

    def predictions(self) -> dict[int, list[Json]]:
        """All predictions by task."""
        every = self.studio.api("GET", f"/api/predictions/?project={self.id}")
        found: dict[int, list[Json]] = {}
        for one in every:
            del one["created_ago"]  # "0 minutes"
            found.setdefault(int(one["task"]), []).append(one)
        return found

    def drawn(self) -> dict[int, list[Any]]:
        """What people drew, by task."""
        return {
            int(task["id"]): [one["result"] for one in task["annotations"]]
            for task in self.studio.tasks(self.id)
        }

    def tabs(self) -> list[Json]:
        views = self.studio.api("GET", f"/api/dm/views/?project={self.id}")
        return [one for one in views if one["data"].get("title") == TAB]


def results(regions: list[Region]) -> list[Json]:
    config = parse_label_config(CONFIG)
    return [
        item
        for number, region in enumerate(regions)
        for item in encode_region(
            PlacedRegion(f"drawn{number}", region, "box"), config, size_px=(WIDTH, HEIGHT)
        )
    ]


def test_planted_errors_are_found_written_opened_and_taken_back(
    label_studio: LabelStudioServer, review: Run, editor: Editor
) -> None:
    project = Planted(label_studio, "review")
    before, micro = project.drawn(), "micro-0123456789"
    own = project.wrong["low IoU"]
    kept = {"task": own, "result": [], "score": 0.5, "model_version": micro}
    label_studio.api("POST", "/api/predictions/", json=kept)
    path = f"/api/projects/{project.id}/"
    label_studio.api("PATCH", path, json={"model_version": micro})
    options = f"--project={project.id}", "--json", f"--min-score={MIN_SCORE}"
    told = json.loads(review(*options))
    assert told["judged"] == PICTURES
    found = {(one["task"], one["kind"]) for one in told["suspects"]}
    assert {(task, kind) for kind, task in project.wrong.items()} <= found
    best = [one["task"] for one in told["suspects"][:8]]
    assert set(best) >= set(project.wrong.values()), told["suspects"][:8]

    # What Label Studio has: a field, predictions and a tab, and nothing of people's is changed.
    marked = project.field()
    assert set(marked) == {one["task"] for one in told["suspects"]}
    assert all(0 < value <= 100 for value in marked.values())
    stored = project.predictions()
    assert {one["model_version"] for one in stored[own]} == {micro, told["version"]}
    (missing,) = stored[project.wrong["missing label"]]
    notes = [item["meta"]["text"][0] for item in missing["result"]]
    assert any(note.startswith("Missing label: Knöpfe ") for note in notes), notes
    assert project.drawn() == before
    assert label_studio.api("GET", path)["model_version"] == micro
    (tab,) = project.tabs()
    assert told["tab"] == f"{label_studio.url}/projects/{project.id}/data?tab={tab['id']}"

    shown(editor, project, tab["id"], marked)
    # The same labels again: nothing is written anew.
    again = json.loads(review(*options))
    assert (again["version"], again["suspects"]) == (told["version"], told["suspects"])
    assert project.predictions() == stored
    assert len(project.tabs()) == 1

    out = review(f"--project={project.id}", "--undo")
    assert f"suggestions of {len(marked)} tasks, the field of {len(marked)}, and the tab" in out
    assert (project.field(), project.tabs(), project.drawn()) == ({}, [], before)
    assert {one["model_version"] for some in project.predictions().values() for one in some} == {
        micro
    }
    assert "suggestions of 0 tasks" in review(f"--project={project.id}", "--undo")


def shown(editor: Editor, project: Planted, tab: int, marked: dict[int, float]) -> None:
    """The tab lists the most suspicious task first; a task shows its suggestion and the note."""
    browser = editor.page
    with browser.expect_response(lambda answer: "/api/tasks?" in answer.url) as listed:
        browser.goto(f"{editor.url}/projects/{project.id}/data?tab={tab}")
    tasks = listed.value.json()["tasks"]
    assert [one["data"][FIELD] for one in tasks] == sorted(marked.values(), reverse=True)
    expect(browser.get_by_text(TAB).first).to_be_visible()
    browser.goto(f"{editor.url}/projects/{project.id}/data?task={project.wrong['missing label']}")
    browser.wait_for_function(READY, timeout=30_000)
    browser.locator(".lsf-annotation-button", has_text="review-").click()
    browser.wait_for_function(
        "() => Htx.annotationStore.selected?.type === 'prediction'", timeout=30_000
    )
    browser.evaluate(
        "() => { const one = Htx.annotationStore.selected;"
        " one.selectArea(one.regionStore.regions[0]); }"
    )
    expect(browser.get_by_text("Missing label: Knöpfe").first).to_be_visible()


@dataclass(frozen=True)
class Gallery:
    url: str
    store: ReviewStore


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    """A project's page with eight cases, two of them known."""
    project = Project(KEY, parse_label_config(GALLERY_CONFIG))
    data = {"picture": "http://host/a.png", "own": data_uri(8, 8)}
    monkeypatch.setattr(module, "read_tasks", lambda _c, _p, ids: [Task(one, data) for one in ids])
    monkeypatch.setattr(module, "read_project", lambda _client, _id: (project, 1))
    store = ReviewStore(Settings(data_dir=tmp_path))
    kinds = list(ErrorKind) * 2
    known = {6: True, 7: False}
    cases = tuple(Case(suspect(n, kind), known.get(n)) for n, kind in enumerate(kinds))
    store.put(Review(KEY, "review-0123456789", 5.0, 9, cases, host="http://ls"))
    studios: Any = SimpleNamespace(sdk=lambda key: None)
    gallery = FastAPI()
    gallery.state.services = SimpleNamespace(reviewing=Reviewing(store, Images(), studios))
    tool = Tool("review", "Label errors", partial(page, store))
    gallery.include_router(reviewing_router())
    gallery.add_api_route(
        "/projects/{key}",
        lambda key: HTMLResponse(project_page([tool], key), headers=PAGE_HEADERS),
    )
    gallery.mount("/static", STATIC)
    with live(gallery) as url:
        yield Gallery(f"{url}/projects/{KEY}", store)
    gallery.state.services.reviewing.close()
    store.close()


@pytest.fixture
def reader(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    yield context.new_page()
    context.close()


def test_a_gallery_is_answered_by_keyboard(gallery: Gallery, reader: Page) -> None:
    faults: list[str] = []
    reader.on("pageerror", lambda error: faults.append(str(error)))
    reader.goto(gallery.url)
    cases, now = reader.locator(".review .case"), reader.locator(".review .case.current")
    expect(cases).to_have_count(8)
    expect(cases.first.locator("img")).not_to_have_js_property("naturalWidth", 0)
    expect(cases.first).to_contain_text("Missing label: Kätzchen 90.0%")
    expect(cases.first.locator("a")).to_have_attribute("href", "http://ls/projects/7/data?task=0")
    expect(now).to_have_attribute("data-case", f"{0:016x}")

    reader.keyboard.press("y")
    expect(now).to_have_attribute("data-case", f"{1:016x}")
    reader.keyboard.press("n")
    reader.keyboard.press("ArrowRight")
    expect(now).to_have_attribute("data-case", f"{3:016x}")
    reader.keyboard.press("ArrowDown")
    expect(now).to_have_attribute("data-case", f"{6:016x}")  # three stand beside each other
    reader.keyboard.press("ArrowUp")
    reader.keyboard.press("ArrowLeft")
    reader.keyboard.press("y")
    expect(now).to_have_attribute("data-case", f"{3:016x}")
    reader.keyboard.press("Control+y")  # the browser's own
    told = reader.locator(".review .told")
    expect(told).to_contain_text("2 of 3 suspects answered were called wrong")
    assert gallery.store.tally(KEY) == Tally(real=3, called_wrong=2)

    # The page renews itself: what is looked at, and what was answered, stay.
    reader.wait_for_timeout(4000)
    expect(now).to_have_attribute("data-case", f"{3:016x}")
    expect(cases.nth(1)).to_have_attribute("data-answer", "right")
    reader.keyboard.press("u")
    reader.keyboard.press("u")
    expect(told).to_contain_text("1 of 1 suspects answered were called wrong")
    expect(now).to_have_attribute("data-case", f"{1:016x}")
    reader.reload()
    expect(cases.first).to_have_attribute("data-answer", "wrong")
    expect(now).to_have_attribute("data-case", f"{1:016x}")
    cases.nth(6).get_by_role("button", name="Right").click()  # an error that was planted
    expect(told).to_contain_text("of 1 errors mixed in, 1 were called right")
    assert faults == []


def test_an_answer_that_is_not_kept_is_told_and_not_shown(gallery: Gallery, reader: Page) -> None:
    reader.goto(gallery.url)
    reader.route("**/answers", lambda route: route.abort())
    reader.keyboard.press("y")
    expect(reader.locator(".review .fault")).to_contain_text("This answer was not kept")
    expect(reader.locator(".review .case").first).to_have_attribute("data-answer", "")
    reader.wait_for_timeout(4000)  # the page renews itself
    expect(reader.locator(".review .fault")).to_contain_text("This answer was not kept")
    reader.unroute("**/answers")
    reader.keyboard.press("n")
    told = reader.locator(".review .told")
    expect(told).to_contain_text("0 of 1 suspects answered were called wrong")
    expect(reader.locator(".review .fault")).to_be_hidden()
    assert gallery.store.tally(KEY) == Tally(real=1)
