"""What a training and its process tell each other comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backends.micro.exchange import (
    Material,
    Request,
    keys,
    progress_to_json,
    read_answers,
    read_held_out,
    read_request,
    write_answers,
    write_held_out,
    write_request,
)
from micro_models import Progress
from micro_models.regions import Box, Mask, Region, WholeImage

CAR = Region("Größe 🚗", Box(1, 2, 3, 4.5), 0.25)


def test_a_request_comes_back(tmp_path: Path) -> None:
    request = Request(
        examples=(Material(1, tmp_path / "a b.png", (CAR,)), Material(1, Path("ä.png"), (), 17)),
        unlabelled=((5, tmp_path / "c.png"),),
        budget_s=4.5,
        seed=2**40,
        device="auto",
        rival_folder=tmp_path / "old",
        threshold=0.3,
        steps=7,
        pseudo=(Material(3, Path("p.png"), (CAR,)),),
    )
    write_request(request, tmp_path / "request.json")
    assert read_request(tmp_path / "request.json") == request
    assert [one.name for one in tmp_path.iterdir()] == ["request.json"]


def test_examples_of_a_task_have_names_of_their_own() -> None:
    same = [Material(1, Path("a"), ()), Material(1, Path("b"), ()), Material(1, Path("a"), (), 3)]
    assert keys(same) == [(1, None, 0), (1, None, 1), (1, 3, 0)]


def test_what_was_found_held_out_comes_back(tmp_path: Path) -> None:
    found = {(1, None, 0): (CAR,), (1, 7, 0): (), (2, None, 1): None}
    write_held_out(tmp_path, found)
    assert read_held_out(tmp_path) == found
    write_answers(tmp_path / "answers.json", ((CAR,), None, ()))
    assert read_answers(tmp_path / "answers.json") == ((CAR,), None, ())


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "[[1, null]]", '[[1, null, 0, [{"label": "a"}]]]']
)
def test_a_damaged_file_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "held_out.json").write_text(text)
    with pytest.raises(ValueError):
        read_held_out(tmp_path)


def test_masks_are_small_in_files(tmp_path: Path) -> None:
    mask = Mask(np.ones((3000, 4000), np.bool_))
    write_held_out(tmp_path, {(1, None, 0): (Region("sky", mask), Region("day", WholeImage()))})
    assert (tmp_path / "held_out.json").stat().st_size < 100_000


def test_a_loss_that_is_no_number_is_none() -> None:
    told = progress_to_json(Progress("tiny", 0.5, 3, float("nan"), 1.0))
    assert told["loss"] is None
    assert Progress(**json.loads(json.dumps(told))) == Progress("tiny", 0.5, 3, None, 1.0)
