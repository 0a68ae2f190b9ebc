"""Which tasks are blind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backends.errors import StateError
from backends.interface import Project, Task
from backends.label_studio.blind import Blindfold, is_blind
from backends.label_studio.label_xml import parse_label_config

KEY = "7.1700000000"
IMAGES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="rect" toName="image"><Label value="Cat"/></RectangleLabels></View>"""
CLIPS = """<View><Video name="video" value="$clip"/><VideoRectangle name="b" toName="video"/>
<Labels name="l" toName="video"><Label value="Cat"/></Labels></View>"""


def tasks(count: int, key: str = "image") -> list[Task]:
    return [Task(number, {key: "x.jpg"}) for number in range(count)]


def blind_ids(share: float, key: str = KEY) -> set[int]:
    return {number for number in range(20_000) if is_blind(key, number, share)}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.3, 1.0])
def test_the_lot_falls_on_about_that_share(share: float) -> None:
    assert len(blind_ids(share)) / 20_000 == pytest.approx(share, abs=0.01)


def test_a_larger_share_blinds_the_same_and_more() -> None:
    assert blind_ids(0.05) < blind_ids(0.1) < blind_ids(1.0)


def test_the_lot_of_another_project_is_another_one() -> None:
    both = blind_ids(0.05) & blind_ids(0.05, "7.1700000001")
    assert len(both) == pytest.approx(20_000 * 0.05**2, abs=30)


def test_the_lot_is_the_same_in_every_process() -> None:
    code = (
        "from backends.label_studio.blind import is_blind; "
        f"print([n for n in range(500) if is_blind({KEY!r}, n, 0.05)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": ""},
    ).stdout
    assert said.strip() == str([n for n in range(500) if is_blind(KEY, n, 0.05)])


def test_audits_are_hidden_beside_the_lot() -> None:
    project = Project(KEY, parse_label_config(IMAGES))
    asked = []

    def audits(key: str) -> set[int]:
        asked.append(key)
        return {3, 999}

    assert Blindfold(0.0, audits).hidden(project, tasks(10)) == {3}
    assert asked == [KEY]
    by_lot = Blindfold(0.05).hidden(project, tasks(500))
    assert Blindfold(0.05, audits).hidden(project, tasks(500)) == by_lot | {3}
    assert by_lot == {n for n in range(500) if is_blind(KEY, n, 0.05)}


def test_clips_are_spared_by_the_lot_but_not_by_an_audit() -> None:
    project = Project(KEY, parse_label_config(CLIPS))
    assert Blindfold(1.0).hidden(project, tasks(10, "clip")) == frozenset()
    assert Blindfold(1.0, lambda _: [4]).hidden(project, tasks(10, "clip")) == {4}


def test_without_knowing_the_audits_nothing_is_said() -> None:
    def gone(key: str) -> set[int]:
        raise StateError("the database is away")

    project = Project(KEY, parse_label_config(IMAGES))
    with pytest.raises(StateError):
        Blindfold(0.0, gone).hidden(project, tasks(1))
    assert Blindfold(0.5).hidden(project, [Task(None, {})]) == frozenset()
