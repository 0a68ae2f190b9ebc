from __future__ import annotations

import io

import pytest
from rich.console import Console

from backends import terminal
from backends.terminal import progress


def test_on_a_pipe_each_stage_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as tell:
        tell("lists [all] labels", 0.0)
        for part in (1, 2):
            for picture in range(1, 25):
                tell(f"part {part} of 2: reading picture {picture} of 24", picture / 24)
            tell(f"part {part} of 2: training", 1.0)
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "lists [all] labels",
        "part 1 of 2: reading picture 1 of 24",
        "part 1 of 2: training",
        "part 2 of 2: reading picture 1 of 24",
        "part 2 of 2: training",
    ]
    assert printed.out == ""  # that is for what was found


@pytest.mark.parametrize(("after_s", "shown"), [(0.0, True), (3600.0, False)])
def test_progress_of_what_is_quick_is_not_shown(
    after_s: float, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "errors", Console(file=out, force_terminal=True, width=80))
    with terminal.progress(after_s=after_s) as tell:
        tell("models", 0.5)
    assert ("models" in out.getvalue()) == shown
    assert bool(out.getvalue()) == shown
