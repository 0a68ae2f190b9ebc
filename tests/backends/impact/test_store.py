"""A comparison kept, and shown."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from backends.impact.measuring import measured
from backends.impact.nouns import Gathered, Impact
from backends.impact.page import impact_page, page
from backends.impact.store import ImpactStore, as_json
from backends.impact.telling import needed_lines, shift_lines, speed_line, standing_lines
from backends.settings import Settings
from tests.backends.impact.annotated import People, served

KEY = "7.1700000000"
TEMPLATE = Environment(
    loader=PackageLoader("backends.serving", "templates"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
).get_template("impact.html")


def impact(tasks: int = 400, people: People = People()) -> Impact:
    some = Gathered(served(np.random.default_rng(0), tasks, people), {"without a time": 3})
    return measured(some, project_key=KEY, made_at=1.7e9, share=0.1, worth=1.2)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path)


@pytest.mark.parametrize("tasks", [0, 1, 30, 400])
def test_what_is_kept_comes_back(settings: Settings, tasks: int) -> None:
    with closing(ImpactStore(settings)) as store:
        assert store.get(KEY) is None
        store.put(impact(3))
        store.put(impact(tasks))
        assert store.get(KEY) == impact(tasks)
        assert store.get("8.1700000000") is None
        assert store.forget(KEY)
        assert not store.forget(KEY)
        assert page(store, KEY) is None


def test_json_has_no_number_that_is_none() -> None:
    text = json.dumps(as_json(impact(1)), allow_nan=False)
    assert json.loads(text)["speed"]["high"] is None
    assert json.loads(text)["left_out"] == {"without a time": 3}


def test_words_say_what_the_figures_say() -> None:
    found = impact(1_200, People(factor=2.0, left=0.5))
    line = speed_line(found.speed)
    assert line.startswith("With predictions people are faster: ")
    assert f"{found.speed.ratio:.2f} times as fast (95%: {found.speed.low:.2f} to" in line
    assert "were left standing" in standing_lines(found)[0]
    assert needed_lines(found)[0] == (
        f"{found.blind_tasks} blind tasks are enough: a speed-up of 1.2 would be seen in four of "
        "five cases."
    )


def test_words_for_what_is_not_known() -> None:
    found = impact(0)
    assert "cannot be told yet" in speed_line(found.speed)
    assert "cannot be told yet" in shift_lines(found)[0]
    assert "cannot be told yet" in standing_lines(found)[0]
    assert "more blind tasks, about" in needed_lines(found)[0]
    chance = replace(found.speed, ratio=1.1, low=0.9, high=1.3, blind_s=2.0, shown_s=1.9)
    assert speed_line(chance).startswith("No speed-up is shown")
    slower = replace(chance, ratio=0.5, low=0.3, high=0.8)
    assert speed_line(slower).startswith("With predictions people are slower")


@pytest.mark.parametrize("tasks", [0, 1, 400])
def test_the_page_shows_it_and_escapes_labels(tasks: int) -> None:
    found = impact(tasks, People(factor=2.0))
    if found.shifts:
        first = replace(found.shifts[0], name="regions: <b>&cat</b>", p_of_all=0.001)
        found = replace(found, shifts=(first, *found.shifts[1:]), notes=("<i>beware</i>",))
    html = TEMPLATE.render(page=impact_page(found))
    assert "<b>" not in html
    assert "<i>" not in html
    assert ("&lt;b&gt;&amp;cat&lt;/b&gt;" in html) == bool(found.shifts)
    assert f"{found.blind_tasks} blind tasks" in html
    assert "style=" not in html
