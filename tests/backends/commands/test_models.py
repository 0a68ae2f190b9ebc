"""The commands of micro-models, on a database and folders as trainings leave them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from backends import terminal
from backends.cli import app
from backends.commands.training import step_text, told_outcome
from backends.jobs.tables import JobState, State
from backends.micro.nouns import ModelVersion, Standing, Step
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings

KEY = "7.1795168884"
HOSTILE = "label [/red]кот[bold]"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "220")
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


class Models:
    """What trainings leave behind."""

    def __init__(self) -> None:
        self.store = MicroStore(Settings())
        self.registry = Registry(Settings(), self.store)

    def add(self, number: int, *, promoted: bool = True, files: bool = True, **changes: object):
        one = ModelVersion(
            id=f"{number:02x}" * 6,
            project_key=KEY,
            scope="project",
            made_at=1_750_000_000.0 + number,
            labels=5 * number,
            data="feed" * 4,
            why=f"reason {number}",
            quality=0.5 + number / 100,
        )
        one = replace(one, **changes)
        if files:
            self.registry.folder(one).mkdir(parents=True, exist_ok=True)
        self.store.add_version(one)
        if promoted:
            self.store.promote(one.project_key, one.scope, one.id)
        return one

    def current(self, key: str = KEY) -> dict[str, str]:
        return {scope: one.id for scope, one in self.store.current(key).items()}


@pytest.fixture
def models() -> Iterator[Models]:
    models = Models()
    yield models
    models.store.close()


@pytest.mark.parametrize(
    "command", ["models list", "models show", "models promote", "models rollback", "train"]
)
def test_every_command_explains_itself(command: str) -> None:
    code, output = run(*command.split(), "--help")
    assert code == 0
    assert len(output) > 300


def test_without_models_it_says_how_they_come() -> None:
    code, output = run("models", "list")
    assert code == 0
    assert "at 5 labelled tasks" in output
    assert "labelpilot train --project N" in output


def test_the_list_is_newest_first_and_marks_what_answers(models: Models) -> None:
    models.add(1)
    models.add(2, promoted=False, baseline=0.71, f1=0.66, rival=0.33, files=False, is_on_disk=False)
    models.add(3, scope=HOSTILE)
    models.add(4, project_key="8.1", quality=None)
    code, output = run("models", "list")
    assert code == 0
    order = [output.index(f"{number:02x}" * 6) for number in (4, 3, 2, 1)]
    assert order == sorted(order)
    assert HOSTILE in output
    assert "0.52 0.71 0.66 0.33 not promoted, files gone" in output
    assert output.count("current") == 3
    _, of_one = run("models", "list", "--project", "8")
    assert "04" * 6 in of_one
    assert "01" * 6 not in of_one
    assert "no model has been trained" in run("models", "list", "--project", "9")[1]


@pytest.mark.parametrize("screen", [False, True])
def test_ids_and_dates_are_whole_on_eighty_columns_and_in_a_pipe(
    models: Models, monkeypatch: pytest.MonkeyPatch, screen: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(terminal.console, "_force_terminal", screen)
    models.add(1, scope=f"label {'long ' * 30}", baseline=0.71, f1=0.66, rival=0.33)
    models.add(2, files=False, is_on_disk=False, promoted=False)
    code, output = run("models", "list")
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    assert "01" * 6 in plain
    assert "2025-06-15" in plain
    assert ("not promoted, files gone" in plain) == (not screen)


def test_a_model_tells_why_it_was_promoted_its_ancestors_and_its_report(models: Models) -> None:
    report = {
        "winner": "tiny",
        "why": "better held out",
        "examples": 9,
        "labels": {"кот": 12},
        "unlabelled": 3,
        "seconds": 41.5,
        "budget": {},
        "seed": 1,
        "trials": [],
        "notes": ["pictures were halved"],
    }
    first = models.add(1, parent="ee" * 6)
    second = models.add(2, parent=first.id, scope=first.scope, baseline=0.51, report=report)
    code, output = run("models", "show", "0202")
    assert code == 0
    assert f"state current: {second.why}" in output
    assert "0.52, 0.51 of the one before" in output
    assert f"made after {first.id}, {'ee' * 6}" in output
    assert "9 examples, 1 labels: кот (12)" in output
    assert "pictures were halved" in output
    assert str(models.registry.folder(second)) in output
    assert "nothing is kept of its training's report" in run("models", "show", first.id)[1]


@pytest.mark.parametrize("command", ["show", "promote"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("ff", "there is no model 'ff'"),
        ("", "there is no model ''"),
        ("%", "there is no model '%'"),
        ("[/red]", "there is no model '[/red]'"),
        ("a", "2 models begin with 'a'"),
    ],
)
def test_an_unknown_or_short_id_is_told(
    models: Models, command: str, given: str, words: str
) -> None:
    models.add(0xAB)
    models.add(0xAC)
    code, output = run("models", command, given)
    assert code == 1
    assert words in output
    assert "cure:" in output
    assert models.current() == {"project": "ac" * 6}


def test_another_version_is_promoted_by_its_beginning(models: Models) -> None:
    old = models.add(1)
    models.add(2)
    other = models.add(3, scope="label Car")
    code, output = run("models", "promote", "0101".upper())
    assert code == 0
    assert "labelpilot serve" in output
    assert models.current() == {"project": old.id, "label Car": other.id}
    code, output = run("models", "promote", old.id)
    assert code == 0
    assert "current already" in output


@pytest.mark.parametrize("how", ["removed by hand", "noted as gone"])
def test_a_model_without_files_is_not_promoted(models: Models, how: str) -> None:
    models.add(1, files=how == "noted as gone", is_on_disk=how == "removed by hand")
    now = models.add(2)
    code, output = run("models", "promote", "0101")
    assert code == 1
    assert "the files of 010101010101 are gone" in output
    assert "LABELPILOT_MICRO_DISK_MB" in output
    assert models.current() == {"project": now.id}


def test_back_to_the_model_before(models: Models) -> None:
    first = models.add(1)
    models.add(2, promoted=False)
    models.add(3, parent=first.id)
    code, output = run("models", "rollback", "--project", "7")
    assert code == 0, output
    assert first.id in output
    assert models.current() == {"project": first.id}


def test_no_way_back_from_the_first_model(models: Models) -> None:
    only = models.add(1)
    code, output = run("models", "rollback", "--project", "7")
    assert code == 1
    assert "error:" in output
    assert models.current() == {"project": only.id}


def test_of_several_scopes_one_is_to_be_named(models: Models) -> None:
    before = {scope: models.add(n, scope=scope) for n, scope in enumerate(("project", HOSTILE))}
    now = {
        scope: models.add(n + 4, scope=scope, parent=before[scope].id)
        for n, scope in enumerate(before)
    }
    code, output = run("models", "rollback", "--project", "7")
    assert code == 1
    assert "--scope" in output
    assert f'"{HOSTILE}"' in output
    code, output = run("models", "rollback", "--project", "7", "--scope", "nothing")
    assert code == 1
    assert "no model for 'nothing'" in output
    assert run("models", "rollback", "--project", "7", "--scope", HOSTILE)[0] == 0
    assert models.current() == {"project": now["project"].id, HOSTILE: before[HOSTILE].id}
    code, output = run("models", "rollback", "--project", "9")
    assert code == 1
    assert "project 9 has no model" in output


def test_training_needs_label_studio_and_says_so() -> None:
    code, output = run("train", "--project", "7")
    assert code == 1
    assert "LABEL_STUDIO_URL" in output


def test_training_that_is_switched_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELPILOT_TRAIN_FIRST_AT", "0")
    code, output = run("train", "--project", "7")
    assert code == 1
    assert "LABELPILOT_TRAIN_FIRST_AT" in output


def test_cancel_ends_a_training_and_nobody_begins_it_again(models: Models) -> None:
    from backends.serving.services import make_services

    code, output = run("train", "--project", "7", "--cancel")
    assert (code, output) == (0, "no training goes on")
    models.store.note_event([KEY], submissions=6)
    services = make_services(Settings())
    services.jobs.train(KEY)
    try:
        assert services.jobs.is_training(KEY)
        code, output = run("train", "--project", "7", "--cancel")
        assert code == 0
        assert "cancelled; the models that answer stay" in output
        assert not services.jobs.is_training(KEY)
        assert models.store.waiting() == []
    finally:
        services.close()


def job(state: State, note: str = "") -> JobState:
    row = dict.fromkeys((one.name for one in fields(JobState)), 0)
    return JobState(**{**row, "state": state, "note": note})  # type: ignore[arg-type]


def outcome(*new: ModelVersion, job: JobState | None = None, **standing: str) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=200)
    code = told_outcome(console, Standing(KEY, **standing), new, job)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return code, " ".join(re.sub(r"\x1b\[[0-9;]*m", "", written).split())


def version(**changes: object) -> ModelVersion:
    one = ModelVersion("ab" * 6, KEY, HOSTILE, 1.0, 9, "d", "as good as [bold]before")
    return replace(one, **changes)


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (
            {"new": [version(promoted_at=2.0, is_current=True)]},
            0,
            f"promoted abababababab for {HOSTILE}",
        ),
        ({"new": [version()]}, 0, "not promoted abababababab"),
        ({}, 0, "nothing new to train"),
        ({"note": "3 of 5 labels [/red]"}, 0, "3 of 5 labels [/red]"),
        ({"failure": "out of memory [/red]"}, 1, "failed: out of memory [/red]"),
        ({"job": job(State.FAILED, "broken")}, 1, "failed: broken"),
        ({"job": job(State.CANCELLED, "cancelled")}, 1, "cancelled; the models that answer stay"),
        ({"job": job(State.DONE)}, 0, "nothing new to train"),
    ],
)
def test_what_came_of_a_training_is_told(given: dict, code: int, words: str) -> None:
    new = given.pop("new", [])
    found, written = outcome(*new, **given)
    assert found == code
    assert words in written
    assert ("refreshes the predictions" in written) == any(one.is_current for one in new)


@pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED, State.SUPERSEDED])
def test_what_an_earlier_training_noted_is_not_told_of_this_one(state: State) -> None:
    code, written = outcome(job=job(state, "broken"), note="nothing has changed")
    assert code == 1
    assert "nothing" not in written
    if state is State.CANCELLED:
        assert "out of memory" not in outcome(job=job(state), failure="out of memory")[1]


@pytest.mark.parametrize(
    ("step", "job", "text"),
    [
        (None, None, "waits for its turn"),
        (None, job(State.QUEUED), "waits for its turn"),
        (None, job(State.RUNNING), "under way"),
        (None, job(State.QUEUED, "Label Studio is away"), "Label Studio is away"),
        (
            Step("project", "reading pictures", 0.0, 0, None, None),
            None,
            "project: reading pictures",
        ),
        (
            Step("label Car", "training", 0.5, 120, 0.25, 12.0),
            job(State.RUNNING, "Label Studio is away"),
            "Label Studio is away",
        ),
        (
            Step("label Car", "training", 0.5, 120, 0.25, 12.0),
            job(State.RUNNING),
            "label Car: training, step 120, loss 0.250, 12 s left",
        ),
    ],
)
def test_a_training_says_what_it_is_at(step: Step | None, job: JobState | None, text: str) -> None:
    assert step_text(step, job) == text
