from __future__ import annotations

import pytest

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
