"""The status page in a real browser: it stays true by itself, and lets its reader be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from backends.errors import StateError
from backends.interface import Task
from backends.micro.nouns import ModelVersion, Shown, Step
from backends.serving import pictures
from backends.serving.app import create_app
from backends.serving.services import Services
from backends.settings import Settings
from micro_models.regions import Box, Region
from tests.backends.serving.conftest import CONFIG, SquareEngine, data_uri
from tests.live import live

pytestmark = pytest.mark.e2e

KEY = "7.1795168884"
TASKS = (31, 32)


@dataclass(frozen=True)
class Server:
    url: str
    services: Services

    def step(self, number: int) -> None:
        step = Step("project", "training", number / 10, number, 0.1, 10.0 - number)
        self.services.micro.store.note_step(KEY, step)


def shows_its_tasks(_client: object, _project: int, ids: list[int]) -> list[Task]:
    return [Task(one, {"image": data_uri(64, 48)}) for one in ids]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A project of thirty versions that is being trained, by nobody: steps are noted by hand."""
    monkeypatch.setattr(pictures, "read_tasks", shows_its_tasks)
    settings = Settings(data_dir=tmp_path, label_studio_url="http://127.0.0.1:9")
    app = create_app(settings, lambda _: SquareEngine())
    with live(app) as url:
        services: Services = app.state.services
        services.jobs.close()
        services.projects.remember(
            KEY, host="http://127.0.0.1:9", access_token=None, label_config=CONFIG
        )
        store = services.micro.store
        store.note_event([KEY], submissions=9)
        store.note_seen(store.standing(KEY), labels=9)
        for number in range(30):
            version = ModelVersion(
                f"{number:012x}", KEY, "project", number, number, "", "", quality=number / 30
            )
            store.add_version(version)
        found = (Region("Cat", Box(10, 10, 40, 40), 0.5),)
        store.put_shown(KEY, "micro-1", [Shown(task, 0.1, found) for task in TASKS])
        services.jobs.train(KEY)
        server = Server(url, services)
        server.step(1)
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 500})
    page = context.new_page()
    yield page
    context.close()


def test_it_follows_a_training_and_keeps_what_is_open_scrolled_and_focused(
    server: Server, page: Page
) -> None:
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server.url)
    expect(page.locator("main")).to_contain_text("step 1, loss 0.100, about 9 s left")
    for task in TASKS:
        expect(page.locator(f"img[src*='{task}.jpg']")).to_have_js_property("naturalWidth", 64)
    older = page.locator("details", has_text="older versions")
    older.locator("summary").click()
    page.set_viewport_size({"width": 400, "height": 500})
    page.wait_for_function("innerWidth === 400")
    wide = older.locator(".scroll")
    wide.evaluate("table => { table.scrollLeft = 50; scrollTo(0, 300); }")
    before = page.evaluate("scrollY")
    assert wide.evaluate("table => table.scrollLeft") == 50
    server.step(2)
    expect(page.locator("main")).to_contain_text("step 2", timeout=15_000)
    server.step(3)
    expect(page.locator("main")).to_contain_text("step 3", timeout=15_000)
    assert older.get_attribute("open") is not None
    assert wide.evaluate("table => table.scrollLeft") == 50
    assert page.evaluate("scrollY") == before
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    drawn = [url for url in asked if "/pictures/" in url]
    assert len(drawn) == len(TASKS), drawn  # the second look reuses them
    assert faults == []


def test_it_waits_while_its_reader_has_something_selected(server: Server, page: Page) -> None:
    page.goto(server.url)
    expect(page.locator("main")).to_contain_text("step 1")
    select: Any = "getSelection().selectAllChildren(document.querySelector('h3'))"
    page.evaluate(select)
    server.step(2)
    page.wait_for_timeout(2500)
    expect(page.locator("main")).to_contain_text("step 1")
    page.evaluate("getSelection().removeAllRanges()")
    expect(page.locator("main")).to_contain_text("step 2", timeout=15_000)


def test_it_says_since_when_it_is_late_and_keeps_what_it_knew(
    server: Server, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(server.url)
    expect(page.locator("main")).to_contain_text("step 1")
    late = page.locator("#late")
    expect(late).to_be_hidden()

    def away() -> None:
        raise StateError("the database is away")

    with monkeypatch.context() as broken:
        broken.setattr(server.services.micro.store, "standings", away)
        expect(late).to_contain_text("the database is away", timeout=15_000)
        expect(page.locator("main")).to_contain_text("step 1")
        second = page.context.new_page()
        second.goto(server.url)  # who comes now sees what is left
        expect(second.locator("main")).to_contain_text("cannot be read now")
        page.bring_to_front()
    server.step(2)
    expect(page.locator("main")).to_contain_text("step 2", timeout=15_000)
    expect(late).to_be_hidden()
    page.route("**/*", lambda route: route.abort())
    expect(late).to_contain_text("labelpilot does not answer", timeout=15_000)
    page.unroute("**/*")
    expect(late).to_be_hidden(timeout=15_000)
