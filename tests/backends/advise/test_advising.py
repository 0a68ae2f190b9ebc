"""From labels to a plan, in words and as a page; Label Studio and trainings are stood in for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from typer.testing import CliRunner

from backends.advise import advising
from backends.advise.advising import Wanted, advise
from backends.advise.measuring import Subject
from backends.advise.nouns import Advice, Measured
from backends.advise.page import page
from backends.advise.store import AdviseStore
from backends.advise.targets import Metric, Target
from backends.advise.words import options, sentences
from backends.cli import app
from backends.commands import advise as command
from backends.errors import BadRequest, LabelStudioError
from backends.micro.course import Tools
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.out_of_fold import Judged, OutOfFold
from backends.micro.registry import Registry
from backends.settings import Settings
from micro_models.learning_curves import Prices
from micro_models.regions import Box, Region

KEY = "7.1700000000"
HOSTILE = '<b>кот</b>"&'
CAR = Region("car", Box(10, 10, 50, 50))
SIZES = (4, 8, 16, 32, 64)


@dataclass
class World:
    """What is judged and measured, and what was asked for."""

    scopes: list[OutOfFold]
    steepness: dict[str, float] = field(default_factory=lambda: {"forest": 0.3, "tiny": 0.6})
    asked: list[Any] = field(default_factory=list)
    tools: Any = None

    def judged_labels(self, tools: Any, studios: Any, project_id: int, **_: Any) -> Any:
        self.asked.append(tools.settings.review_budget_s)
        return SimpleNamespace(key=KEY), self.scopes

    def measured(self, subject: Subject, store: Any, room: Path, **how: Any) -> list[Measured]:
        assert room.is_dir()
        self.asked.append((subject, how["budget_s"]))
        how["tell"]("forest learns 4 labels, draw 1", 0.5)
        return [
            Measured(
                family,
                8.0,
                {Metric.MAP50: 1 - (1.1 if family == "forest" else 2.2) * size**-power},
                frozenset(map(str, range(size))),
                frozenset(["test"]),
            )
            for family, power in self.steepness.items()
            for size in SIZES
        ]


def judged(count: int, *, wrong: int = 0, key: str = "") -> OutOfFold:
    """Pictures with a car each, of which some are labelled elsewhere than a model finds them."""
    away = Region("car", Box(200, 200, 240, 240))
    found = Region("car", Box(10, 10, 50, 50), 0.99)
    pictures = tuple(
        Judged(n, Path(f"{n}.png"), (away if n < wrong else CAR,), (found,)) for n in range(count)
    )
    kind = ScopeKind.LABEL if key else ScopeKind.PROJECT
    return OutOfFold(Scope(kind, ("box",), value=key), "data", pictures)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    made = World([judged(90)])
    monkeypatch.setattr(advising, "judged_labels", made.judged_labels)
    monkeypatch.setattr(advising, "measured", made.measured)

    nothing: Any = None
    settings = Settings(data_dir=tmp_path)
    registry: Any = Registry(settings, nothing)
    made.tools = Tools(settings, nothing, registry, nothing, nothing)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AdviseStore]:
    with closing(AdviseStore(Settings(data_dir=tmp_path))) as made:
        yield made


def advised(
    world: World,
    store: AdviseStore,
    value: float = 0.85,
    metric: Metric = Metric.MAP50,
    **more: Any,
) -> Advice:
    wanted = Wanted(Target(metric, value), Prices(0.05, 40.0), **more)
    told: list[float] = []
    made = advise(world.tools, None, store, 7, wanted, tell=lambda _, part: told.append(part))  # type: ignore[arg-type]
    assert told == sorted(told)
    assert all(0 <= part <= 1 for part in told)
    assert json.loads(json.dumps(made.figures, allow_nan=False)) == made.figures
    return made


def test_a_plan(world: World, store: AdviseStore) -> None:
    made = advised(world, store)
    figures = made.figures
    assert store.advice(KEY) == made
    assert figures["labels"] == 90
    assert set(figures["families"]) == {"forest", "tiny"}
    assert figures["plan"]["best"] == "label more"
    first = figures["plan"]["options"][0]
    assert (first["way"], first["family"]) == ("label more", "tiny")
    assert first["cost"][1] == pytest.approx(0.05 * first["labels"][1])
    said = " ".join(sentences(figures))
    assert "For mAP50 0.85: label " in said
    assert "more pictures for tiny" in said
    assert "cross" in said.lower()
    assert "8 s (forest)" in said
    rows = options(figures)
    assert [row.is_best for row in rows].count(True) == 1
    assert {row.way for row in rows} == {"label more", "another model"}


def test_judging_takes_at_most_half_of_the_time(world: World, store: AdviseStore) -> None:
    advised(world, store, budget_s=60.0)
    assert world.asked[0] == 30
    assert 30 <= world.asked[1][1] <= 60
    advised(world, store, budget_s=2000.0)
    assert world.asked[2] == 120


def test_too_few_labels_say_how_many_are_needed(world: World, store: AdviseStore) -> None:
    world.scopes = [judged(7)]
    figures = advised(world, store).figures
    assert figures["plan"] is None
    assert len(world.asked) == 1
    assert sentences(figures) == [
        "7 labelled pictures make no curve: label 5 more, then ask again."
    ]


def test_a_project_without_labels_or_of_clips(world: World, store: AdviseStore) -> None:
    world.scopes = []
    figures = advised(world, store).figures
    assert figures["plan"] is None
    assert "No labelled pictures" in sentences(figures)[0]


def test_a_target_out_of_sight(world: World, store: AdviseStore) -> None:
    world.steepness = {"forest": 0.1}
    figures = advised(world, store, 0.97).figures
    assert figures["plan"]["best"] == "another model"
    said = " ".join(sentences(figures))
    assert "is above what these curves reach" in said
    assert "not in sight" in said


def test_wrong_labels_first(world: World, store: AdviseStore) -> None:
    world.scopes = [judged(90, wrong=30)]
    figures = advised(world, store).figures
    assert figures["noise"]["suspects"] >= 30
    assert figures["plan"]["best"] == "fix labels"
    said = " ".join(sentences(figures))
    assert "fix labels instead" in said
    assert "labelpilot review" in said


def test_the_scope_with_most_labels_or_the_one_that_is_named(
    world: World, store: AdviseStore
) -> None:
    world.scopes = [judged(20, key="bus"), judged(90, key=HOSTILE)]
    figures = advised(world, store).figures
    assert figures["scope"] == f"label {HOSTILE}"
    assert "also there: --scope label bus" in figures["notes"]
    assert advised(world, store, scope="label bus").scope == "label bus"
    with pytest.raises(BadRequest, match="label bus"):
        advised(world, store, scope="label car")


def test_a_metric_of_other_labels(world: World, store: AdviseStore) -> None:
    with pytest.raises(BadRequest, match="PCK asks for key points"):
        advised(world, store, metric=Metric.PCK)
    assert store.advice(KEY) is None


def test_too_little_time_for_a_curve(
    world: World, store: AdviseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = world.measured
    monkeypatch.setattr(advising, "measured", lambda *a, **k: few(*a, **k)[:7])
    figures = advised(world, store).figures
    assert set(figures["families"]) == {"forest"}
    assert any("raise --budget-s" in line for line in sentences(figures))
    monkeypatch.setattr(advising, "measured", lambda *a, **k: [])
    assert advised(world, store).figures["plan"] is None


def test_the_page(world: World, store: AdviseStore) -> None:
    assert page(store, KEY) is None
    world.scopes = [judged(90, key=HOSTILE)]
    advised(world, store)
    shown = page(store, KEY)
    assert shown is not None
    assert shown.plot is not None
    assert [one.family for one in shown.plot.families] == ["forest", "tiny"]
    for one in shown.plot.families:
        assert len(one.dots) == len(SIZES)
        assert all(dot.top <= dot.y <= dot.bottom for dot in one.dots)
        across = [dot.x for dot in one.dots]
        assert across == sorted(across)
    html = _rendered(shown)
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert html.count("<svg") == html.count("</svg>") == 3
    assert "nan" not in html.lower()
    assert "style=" not in html


def test_the_page_of_what_could_not_be_planned(world: World, store: AdviseStore) -> None:
    world.scopes = [judged(3)]
    advised(world, store)
    shown = page(store, KEY)
    assert shown is not None
    assert shown.plot is None
    assert "label 9 more" in _rendered(shown)


def _rendered(shown: Any) -> str:
    loader = jinja2.PackageLoader("backends.serving", "templates")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return pages.get_template("advise.html").render(page=shown)


@pytest.fixture
def services(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    made = SimpleNamespace(
        micro=SimpleNamespace(tools=world.tools),
        studios=None,
        settings=world.tools.settings,
        close=lambda: None,
    )
    monkeypatch.setattr("backends.serving.services.make_services", lambda _: made)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["advise", "--project", "7", *arguments])


@pytest.mark.usefixtures("services")
def test_the_command_in_words_and_as_json() -> None:
    done = run("--target", "mAP50=0.85")
    assert done.exit_code == 0, done.output
    assert "For mAP50 0.85: label" in done.output
    assert "another model" in done.output
    done = run("--target", "mAP50=0.85", "--label-cost", "2", "--engineer-hour", "1", "--json")
    figures = json.loads(done.stdout)
    assert (figures["project"], figures["prices"]["label"]) == (7, 2.0)
    assert figures["plan"]["best"] == "another model"


@pytest.mark.usefixtures("services")
def test_mistakes_are_told_in_a_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--target", "mAP=85")
    assert (done.exit_code, "mAP50=0.85" in done.output) == (1, True)
    assert run("--target", "mAP50=0.8", "--label-cost", "-1").exit_code == 2
    done = run("--target", "mAP50=0.8", "--label-cost", "inf")
    assert (done.exit_code, "no prices" in done.output) == (1, True)

    def away(*_: Any, **__: Any) -> Any:
        raise LabelStudioError("Label Studio does not answer", advice="start it")

    monkeypatch.setattr(advising, "judged_labels", away)
    done = run("--target", "mAP50=0.85")
    assert done.exit_code == 1
    assert "does not answer" in done.output
    assert "Traceback" not in done.output


def test_what_cannot_be_planned_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {
        "scope": "",
        "labels": 0,
        "target": {"metric": "mAP50", "value": 0.8},
        "families": {},
        "crossing": None,
        "noise": None,
        "plan": None,
        "training_s": {},
        "prices": {},
        "notes": ["nothing is labelled"],
    }
    command.told(Advice(KEY, "", 0.0, figures))
    assert capsys.readouterr().out == "Nothing is labelled.\n"
