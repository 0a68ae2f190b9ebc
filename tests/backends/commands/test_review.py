"""`labelpilot review`: what it prints and writes; Label Studio and the judging are stood in for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from backends.cli import app
from backends.errors import LabelStudioError
from backends.interface import Project
from backends.label_studio.label_xml import parse_label_config
from backends.micro import out_of_fold
from backends.micro.out_of_fold import OutOfFold
from backends.review import publishing
from backends.review.nouns import Suspect
from backends.review.publishing import Published, Removed
from backends.review.store import ReviewStore
from backends.serving import services
from backends.settings import Settings
from micro_models.regions import Region
from tests.backends.review.scenes import cat, judged
from tests.backends.review.scenes import out_of_fold as scope_of

KEY = "7.1795168884"
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Kätzchen"/></RectangleLabels></View>"""
VIDEO = """<View><Video name="v" value="$v"/><VideoRectangle name="r" toName="v"/>
<Labels name="l" toName="v"><Label value="a"/></Labels></View>"""
BLIND: set[int] = set()
HOSTILE = "[/red]кот[bold]"


@dataclass
class Studio:
    """What the command finds and writes."""

    scopes: list[OutOfFold]
    config: str = CONFIG
    written: list[tuple[Suspect, ...]] = field(default_factory=list)
    suspicion: dict[int, float] = field(default_factory=dict)
    undone: int = 0
    fault: LabelStudioError | None = None

    def judged_labels(
        self, *_: Any, tell: Callable[[str, float], None], **__: Any
    ) -> tuple[Project, list[OutOfFold]]:
        tell("part 1 of 5: training", 0.5)
        if self.fault is not None:
            raise self.fault
        return Project(KEY, parse_label_config(self.config)), self.scopes

    def publish(self, _client: object, project: Project, _scopes: object, *rest: Any, **_: Any):
        self.written.append(rest[0])
        self.suspicion = rest[1]
        return Published(frozenset({1}), 12, {1: "Label Studio dropped it"})

    def withdraw(self, *_: object, **__: object) -> Removed:
        self.undone += 1
        return Removed(2, 3, tab=True)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://ls:1")
    monkeypatch.setenv("COLUMNS", "220")
    right = [judged(tmp_path, task, [cat(10 + task)]) for task in range(1, 31)]
    wrong = judged(tmp_path, 100, [], [Region(HOSTILE, cat(20).shape, 0.97)])
    found = Studio([scope_of(*right, wrong, problems={55: f"no picture {HOSTILE}"})])
    monkeypatch.setattr(out_of_fold, "judged_labels", found.judged_labels)
    monkeypatch.setattr(publishing, "publish", found.publish)
    monkeypatch.setattr(publishing, "withdraw", found.withdraw)
    monkeypatch.setattr(
        "backends.label_studio.tasks.read_project", lambda *_: (Project(KEY, None), 1)
    )
    monkeypatch.setattr(services, "make_services", lambda settings: _services(settings))
    return found


def _services(settings: Settings) -> Any:
    return SimpleNamespace(
        settings=settings,
        studios=SimpleNamespace(sdk=lambda *_: None),
        micro=SimpleNamespace(tools=None),
        projects=SimpleNamespace(get=lambda key: None),
        audits=SimpleNamespace(blind=lambda key: frozenset(BLIND)),
        close=lambda: None,
    )


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["review", "--project", "7", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.stdout.split()), result.stderr


def stored() -> ReviewStore:
    return ReviewStore(Settings())


def test_the_list_names_kind_label_place_and_link(studio: Studio) -> None:
    code, out, err = run("--min-score", "0")
    assert code == 0
    assert f"100 missing label {HOSTILE} 20 20 40 30" in out
    assert "http://ls:1/projects/7/data?task=100" in out
    assert "1 suspicious labels in 31 labelled tasks" in out
    assert "tab http://ls:1/projects/7/data?tab=12" in out
    assert f"task 55: no picture {HOSTILE}" in out
    assert "task 1: Label Studio dropped it" in out
    assert "part 1 of 5: training" in err
    assert [len(some) for some in studio.written] == [1]
    assert studio.suspicion[100] > studio.suspicion[1]


def test_json_is_all_that_is_printed(studio: Studio) -> None:
    code, out, _ = run("--json", "--min-score", "0")
    told = json.loads(out)
    assert code == 0
    assert (told["project"], told["judged"], told["problems"]) == (
        7, 31, {"55": f"no picture {HOSTILE}"},
    )  # fmt: skip
    (one,) = told["suspects"]
    assert (one["task"], one["kind"], one["given"], one["suggested"]) == (
        100, "missing label", None, HOSTILE,
    )  # fmt: skip
    assert one["x_y_width_height_px"] == [20, 20, 40, 30]
    assert told["tab"].endswith("?tab=12")


def test_what_was_called_right_is_not_written_again(studio: Studio) -> None:
    run("--min-score", "0")
    store = stored()
    review = store.review(KEY)
    assert review is not None
    (real,) = [case for case in review.cases if case.known is None]
    store.answer(KEY, real.suspect.id, verdict=False)
    store.close()
    _, out, _ = run("--min-score", "0")
    assert [len(some) for some in studio.written] == [1, 0]
    assert 100 not in studio.suspicion
    assert "0 suspicious labels in 31 labelled tasks, 1 more were called right before" in out


def test_audits_stay_blind(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BLIND", {100})
    _, out, _ = run("--min-score", "0")
    assert "1 task of audits and spot checks left out" in out
    assert "0 suspicious labels in 30 labelled tasks" in out
    assert studio.written == [()]


def test_a_dry_run_writes_nothing(studio: Studio) -> None:
    code, out, _ = run("--dry-run", "--min-score", "0")
    store = stored()
    assert (code, studio.written, store.review(KEY)) == (0, [], None)
    assert "1 suspicious labels" in out
    store.close()


def test_undo_takes_all_back(studio: Studio) -> None:
    run("--min-score", "0")
    code, out, _ = run("--undo")
    assert (code, studio.undone) == (0, 1)
    assert out == "taken back: suggestions of 2 tasks, the field of 3, and the tab"
    store = stored()
    assert store.review(KEY) is None
    store.close()


@pytest.mark.parametrize(
    ("config", "note"),
    [(VIDEO, "clips are not reviewed"), ("<View/>", "no control that a micro-model learns")],
)
def test_a_project_without_pictures_to_judge_is_told_why(
    studio: Studio, config: str, note: str
) -> None:
    studio.scopes, studio.config = [], config
    code, out, _ = run()
    assert code == 0
    assert note in out
    assert "0 suspicious labels in 0 labelled tasks" in out


def test_a_label_studio_that_is_away_is_told(studio: Studio) -> None:
    studio.fault = LabelStudioError("Label Studio could not be reached", advice="start it")
    code, _, err = run()
    assert code == 1
    assert "error: Label Studio could not be reached" in err
    assert "cure: start it" in err
    assert studio.written == []


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--min-score", "1.5"), ("--project", "x")])
def test_wrong_options_are_refused(studio: Studio, wrong: tuple[str, str]) -> None:
    assert run(*wrong)[0] == 2


def test_help_explains_its_figures() -> None:
    result = CliRunner().invoke(app, ["review", "--help"])
    text = " ".join(result.output.replace("│", " ").split())
    assert "learned from the other pictures only" in text
    assert "95% interval" in text
