"""What `labelpilot autoaccept` prints, and what it refuses before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from backends.autoaccept.accepting import Accepted
from backends.autoaccept.tool import Outcome, Watch
from backends.cli import app
from backends.commands.autoaccept import _told, _version
from backends.errors import ModelMissing
from micro_models.certificates import Audit, certify
from tests.backends.autoaccept.studio import PROJECT, Model

MADE = certify(
    [Audit(n / 300, wrong=n < 20) for n in range(300)],
    [n / 5000 for n in range(5000)],
    max_error=0.02,
    confidence=0.9,
)
FOUND = Outcome(
    "micro-1",
    300,
    0,
    certificate=MADE,
    id="c0ffee",
    acceptable=4700,
    accepted=Accepted(4465, 235, 1),
    watch=Watch(10, 1, 3),
    notes=("[odd] note",),
)


def printed(capsys: pytest.CaptureFixture[str], outcome: Outcome, *, dry_run: bool = False) -> str:
    _told(outcome, "http://host/projects/7/data?tab=3", 7, dry_run=dry_run)
    return " ".join(capsys.readouterr().out.split())


def test_the_certificate_and_what_was_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, FOUND)
    assert told.startswith("certificate c0ffee for micro-1 wrong at most 2.00%")
    assert "right is an overlap of 0.50 or more" in told
    assert "audits 300, 282 of them at the threshold or above errors seen there 2" in told
    assert "4465 tasks accepted, 235 go to people, 1 had changed meanwhile" in told
    assert "spot checks: 1 of 10 wrong, 3 open" in told
    assert "note: [odd] note" in told
    assert "--project 7 --undo" in told


def test_classes_with_a_promise_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    bad = replace(MADE, threshold=None, above=40, errors=9)
    told = printed(
        capsys, replace(FOUND, certificate=replace(MADE, groups={"Käse": MADE, "": bad}))
    )
    assert f"Käse {MADE.accepted} from {MADE.threshold:.4f} on, 2 of 282 audits wrong" in told
    assert "all others nothing, 9 of 40 audits wrong" in told
    assert "score threshold" not in told


def test_a_dry_run_and_a_suspension(capsys: pytest.CaptureFixture[str]) -> None:
    dry = printed(capsys, replace(FOUND, accepted=Accepted()), dry_run=True)
    assert "4700 tasks would be accepted" in dry
    assert "nothing was changed" in dry
    stopped = printed(capsys, replace(FOUND, suspended="too many wrong"))
    assert "suspended: too many wrong" in stopped
    assert "--resume" in stopped
    assert "tasks accepted" not in stopped


def test_how_many_audits_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    none = certify([], [0.5] * 5000, max_error=0.001, confidence=0.95)
    told = printed(capsys, Outcome("micro-1", 20, 12, certificate=none))
    assert "no certificate for micro-1" in told
    assert none.missing is not None
    assert f"clean audits missing {none.missing:,}" in told
    assert '12 of 20 audits are to be labelled: the Data Manager\'s tab "Audit these"' in told
    dry = printed(capsys, Outcome("micro-1", 0, 0, to_draw=258), dry_run=True)
    assert "258 audits would be drawn" in dry


@pytest.mark.parametrize("wrong", ["--max-error=0", "--max-error=1", "--confidence=1"])
def test_what_no_audit_can_prove_is_refused(wrong: str) -> None:
    done = CliRunner().invoke(app, ["autoaccept", "--project=7", wrong])
    assert done.exit_code == 1
    assert "between 0 and 1, ends excluded" in " ".join(done.output.split())


@pytest.mark.parametrize("change", ["--new-audits", "--resume", "--undo"])
def test_a_dry_run_of_what_changes_things_is_refused(change: str) -> None:
    done = CliRunner().invoke(app, ["autoaccept", "--project=7", "--dry-run", change])
    assert done.exit_code == 1
    assert "--dry-run changes nothing" in " ".join(done.output.split())


def test_without_a_model_it_says_that_labels_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> str:
        raise ModelMissing("yolo11n.pt is not there", advice="labelpilot weights get yolo11n")

    model = Model({})
    monkeypatch.setattr(model, "wait", missing)
    with pytest.raises(ModelMissing, match=r"labelpilot train --project 7.* or labelpilot weights"):
        _version(model, PROJECT)
