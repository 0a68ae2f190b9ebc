from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Image, Mask, Region

Load = Callable[[str], ModuleType]


def picture(*regions: Region) -> Example:
    return Example(Image(np.zeros((200, 300, 3), np.uint8)), regions)


def test_a_small_run_finds_digits_cells_and_nuclei(
    example_module: Load, shared: Path, tmp_path: Path
) -> None:
    benchmark = example_module("label_error_benchmark")
    out = tmp_path / "figures.json"
    arguments = ["--quick", "--data", str(shared / "data"), "--cache", str(tmp_path)]
    assert benchmark.main(["digits", "boxes", *arguments, "--json", str(out)]) == 0
    figures = json.loads(out.read_text())
    (digits,) = figures["digits"]["ours"]
    assert digits["10%"] > 0.9
    (cells,) = figures["boxes"]["ours"]
    assert set(cells) >= {"regions", "pictures"}
    assert all(0 <= value <= 1 for value in cells.values())
    # A second run learns nothing anew, and says the same.
    stored = {path: path.stat().st_mtime_ns for path in tmp_path.glob("boxes-*.json")}
    assert benchmark.main(["boxes", *arguments, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["boxes"] == figures["boxes"]
    assert stored == {path: path.stat().st_mtime_ns for path in tmp_path.glob("boxes-*.json")}


def test_no_data_is_said(
    example_module: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = example_module("label_error_benchmark")
    assert benchmark.main(["masks", "--data", str(tmp_path / "nowhere")]) == 1
    assert "skipped: no" in capsys.readouterr().err.replace("\n", " ")


def test_what_is_planted_is_what_is_different(example_module: Load) -> None:
    planting = example_module("planted_errors")
    right = [picture(*(_car(20 + 70 * n) for n in range(4)), _bus(150)) for _ in range(40)]
    noisy, errors = planting.planted(right, np.random.default_rng(0))
    assert {one.kind for one in errors} == set(ErrorKind)
    for number, (before, after) in enumerate(zip(right, noisy, strict=True)):
        given = {one.index for one in errors if one.example == number}
        kept = [one for at, one in enumerate(after.regions) if at not in given]
        assert set(kept) <= set(before.regions)
        gone = [one.truth for one in errors if one.example == number and one.truth is not None]
        assert set(kept) | set(gone) == set(before.regions)


def test_masks_are_moved_inside_their_picture(example_module: Load) -> None:
    planting = example_module("planted_errors")
    pixels = np.zeros((200, 300), np.bool_)
    pixels[:30, :40] = True
    right = [picture(Region("cell", Mask(pixels))) for _ in range(60)]
    noisy, errors = planting.planted(right, np.random.default_rng(1))
    assert ErrorKind.WRONG_LABEL not in {one.kind for one in errors}
    shapes = [one.regions[0].shape for one in noisy if one.regions]
    assert {shape.pixels.shape for shape in shapes} == {(200, 300)}
    assert all(shape.pixels.any() for shape in shapes)


def test_claims_are_ranked(example_module: Load) -> None:
    planting = example_module("planted_errors")
    car = _car(20)
    errors = [
        planting.Planted(ErrorKind.MISSING, 0, None, car),
        planting.Planted(ErrorKind.SPURIOUS, 1, 3, None),
    ]
    hit = planting.Claim(0.9, 0, None, _car(22))
    again = planting.Claim(0.8, 0, None, _car(20))
    wrong = planting.Claim(0.7, 1, 2, None)
    late = planting.Claim(0.6, 1, 3, None)
    score = planting.average_precision
    assert score([hit, again, wrong, late], errors) == pytest.approx((1 + 2 / 3) / 2)
    assert score([hit], errors) == 0.5
    assert score([], errors) == 0
    claims, some = planting.of_kind([hit, wrong, late], errors, ErrorKind.SPURIOUS)
    assert (claims, some) == ([wrong, late], errors[1:])


def test_objectlab_sees_what_we_see(example_module: Load) -> None:
    lab = example_module("objectlab")
    given = [[_car(20)], [_car(20), _car(90)], []]
    sure = Region("car", Box(20, 20, 60, 50), 0.99)
    found = [[sure], [sure], [sure]]
    claims = lab.ObjectLab(given, found).claims(lab.Gates())
    worst = max(claims, key=lambda one: one.score)
    assert (worst.example, worst.index, worst.region) == (2, None, sure)


def _car(x: float) -> Region:
    return Region("car", Box(x, 20, x + 40, 50))


def _bus(x: float) -> Region:
    return Region("bus", Box(x, 100, x + 80, 160))
