"""What the model before is asked: what it had held out, and what it had not seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from backends.micro import predecessor
from backends.micro.exchange import Material, keys, write_held_out
from backends.micro.predecessor import old_answers
from micro_models.examples import Picture
from micro_models.interface import ModelFileError
from micro_models.pictures import UnreadableImage
from micro_models.regions import Box, Region

CAR, BUS = (Region(label, Box(0, 0, 9, 9)) for label in ("car", "bus"))
MATERIAL = tuple(Material(n, Path(f"{n}.png"), ()) for n in range(6))
LOOKED = ((),) * 6


class Old:
    """Finds a bus in every picture that can be read."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def detect(self, pictures: Sequence[Picture]) -> list[list[Region]]:
        self.seen += map(str, pictures)
        if "4.png" in map(str, pictures):
            raise UnreadableImage("4.png is damaged")
        return [[BUS] for _ in pictures]


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Old:
    model = Old()
    monkeypatch.setattr(predecessor, "load", lambda folder: model)
    write_held_out(tmp_path, dict(zip(keys(MATERIAL[:2]), [(CAR,), None], strict=True)))
    return model


def asked(folder: Path, *, new=LOOKED, until: float = float("inf"), material=MATERIAL):
    return old_answers(folder, material, new, seed=0, until=until)


def test_what_it_had_held_out_counts_and_what_came_later_is_looked_at(
    old: Old, tmp_path: Path
) -> None:
    answers, later = asked(tmp_path)
    assert answers == ((CAR,), None, (BUS,), (BUS,), None, (BUS,))
    assert later == (2, 3, 5)
    assert sorted(old.seen) == ["2.png", "3.png", "4.png", "5.png"]


def test_only_what_the_new_one_was_held_out_from_is_looked_at(old: Old, tmp_path: Path) -> None:
    answers, later = asked(tmp_path, new=(None, (), None, None, None, ()))
    assert (answers, later) == (((CAR,), None, None, None, None, (BUS,)), (5,))
    assert old.seen == ["5.png"]


def test_one_at_least_is_looked_at_however_late_it_is(old: Old, tmp_path: Path) -> None:
    assert len(asked(tmp_path, until=time.monotonic() - 1)[1]) == 1


def test_a_frame_of_the_same_task_is_another_picture(old: Old, tmp_path: Path) -> None:
    material = (replace(MATERIAL[0], frame=3), *MATERIAL[1:])
    assert asked(tmp_path, material=material)[0][0] == (BUS,)


def test_a_folder_without_a_model_knows_nothing(
    old: Old, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked(tmp_path / "none") == ((None,) * 6, ())

    def gone(_: Path) -> Old:
        raise ModelFileError("gone")

    monkeypatch.setattr(predecessor, "load", gone)
    assert asked(tmp_path) == (((CAR,), *[None] * 5), ())
    (tmp_path / "held_out.json").write_text("[[")
    assert asked(tmp_path) == ((None,) * 6, ())
