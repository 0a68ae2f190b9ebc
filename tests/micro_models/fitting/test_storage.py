"""What is stored answers the same; what is damaged, foreign or hostile is refused with advice."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_models import Budget, MicroModel, ModelFileError, fit, load
from micro_models.fitting import storage
from micro_models.fitting.calibration import Calibration, Curve
from micro_models.fitting.storage import state_of, version_of
from micro_models.interface import State
from tests.micro_models.fitting.colour_trainer import ColourTrainer, scene, scenes

TRAINER = ColourTrainer()


@pytest.fixture(scope="module")
def model() -> MicroModel:
    return fit(scenes(5), budget=Budget(steps=9), trainers=[TRAINER])


@pytest.fixture
def folder(model: MicroModel, tmp_path: Path) -> Path:
    model.save(tmp_path / "model")
    return tmp_path / "model"


def again(folder: Path) -> MicroModel:
    return load(folder, trainers=[TRAINER])


def test_a_loaded_model_is_the_same(model: MicroModel, folder: Path) -> None:
    loaded = again(folder)
    pictures = [scene(20, 20, grain=8).picture, scene(1, 50, grain=9).picture]
    assert loaded.detect(pictures) == model.detect(pictures)
    assert loaded.version == model.version
    assert loaded.report == model.report
    assert loaded.labels == model.labels


def test_saving_replaces_a_model_and_leaves_nothing_behind(model: MicroModel, folder: Path) -> None:
    (folder / "model.jsonabc.part").write_bytes(b"of a save that was cut off")
    an_hour_ago = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (an_hour_ago, an_hour_ago))
    other = fit([scene(5, 5, label="other")], budget=Budget(steps=2), trainers=[TRAINER])
    other.save(folder)
    assert again(folder).labels == ("other",)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"arrays-{other.version}.npz", "model.json"]
    other.save(str(folder))
    assert again(folder).version == other.version


def test_what_others_are_saving_right_now_is_left_alone(model: MicroModel, folder: Path) -> None:
    theirs = {folder / "model.jsonabc.part", folder / "arrays-000000000000.npz"}
    for path in theirs:
        path.write_bytes(b"of a save that goes on")
    model.save(folder)
    assert theirs <= set(folder.iterdir())


def test_a_reader_finds_a_whole_model_while_another_is_saved(
    model: MicroModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fit([scene(5, 5, label="other")], budget=Budget(steps=2), trainers=[TRAINER])
    read = storage._read_json

    def read_before_a_save(folder: Path) -> dict[str, Any]:
        stored = read(folder)
        if stored["version"] == model.version:
            arrays(folder).unlink()
            other.save(folder)
        return stored

    monkeypatch.setattr(storage, "_read_json", read_before_a_save)
    assert again(folder).version == other.version


def test_files_are_for_whoever_may_read_files_here(model: MicroModel, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        model.save(tmp_path / "model")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes == {0o640}


def test_a_save_that_fails_leaves_the_old_model(
    model: MicroModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fit([scene(5, 5, label="other")], budget=Budget(steps=2), trainers=[TRAINER])

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        other.save(folder)
    assert again(folder).version == model.version
    assert not list(folder.glob("*.part"))


def test_a_folder_of_something_else_is_not_touched(model: MicroModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ModelFileError, match="something else"):
        model.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def rewritten(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def arrays(folder: Path) -> Path:
    return next(folder.glob("arrays-*.npz"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def reported(name: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        report = json.loads((folder / "model.json").read_text())["report"]
        rewritten(folder, report={**report, name: value})

    return change


def setting(name: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        settings = json.loads((folder / "model.json").read_text())["settings"]
        rewritten(folder, settings={**settings, name: value})

    return change


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/labelpilot-ran-code"),))


def with_objects(folder: Path) -> None:
    held = np.empty(1, dtype=object)
    held[0] = Code()
    with arrays(folder).open("wb") as file:
        np.savez(file, **{"learned.colours": held})


def compressed(folder: Path) -> None:
    with arrays(folder).open("wb") as file:
        np.savez_compressed(file, **{"learned.colours": np.zeros((1 << 20, 3), np.float32)})


def enormous(folder: Path) -> None:
    """A header of a terabyte over no data."""
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }"
    head = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(arrays(folder), "w") as archive:
        archive.writestr("learned.colours.npy", head)


def encrypted(folder: Path) -> None:
    """As an archive that asks for a password: a bit in both headers of the first part says so."""
    data = bytearray(arrays(folder).read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    arrays(folder).write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (shutil.rmtree, "there is no model"),
    "no json": (lambda f: (f / "model.json").unlink(), "there is no model"),
    "no arrays": (lambda f: arrays(f).unlink(), "is missing; copy"),
    "cut json": (lambda f: cut(f / "model.json"), "cut off or no model; copy"),
    "cut arrays": (lambda f: cut(arrays(f)), "cut off or damaged; copy"),
    "empty arrays": (lambda f: arrays(f).write_bytes(b""), "cut off or damaged; copy"),
    "nested json": (lambda f: (f / "model.json").write_text("[" * 100_000), "no model; copy"),
    "foreign json": (lambda f: (f / "model.json").write_text("[1, 2]"), "is no model; name"),
    "no format": (lambda f: rewritten(f, format="1"), "is no model; name"),
    "newer": (lambda f: rewritten(f, format=2), "newer version .format 2.*update"),
    "no version": (lambda f: rewritten(f, version="../../etc/x"), "has no version"),
    "no report": (lambda f: rewritten(f, report=[]), "lacks a part"),
    "odd report": (lambda f: rewritten(f, report={"winner": 1}), "report is damaged"),
    "words for a number": (reported("seconds", "long"), "report is damaged"),
    "a number for labels": (reported("labels", 5), "report is damaged"),
    "no end of seconds": (reported("seconds", 10**400), "report is damaged"),
    "odd trials": (reported("trials", [{"trainer": "colour"}]), "report is damaged"),
    "no number": (setting("reach", float("nan")), "does not fit together"),
    "format of logic": (lambda f: rewritten(f, format=True), "is no model; name"),
    "other scale": (setting("factor", 0.5), "was changed since"),
    "other trainer": (setting("trainer", "os.system"), "was changed since"),
    "other reach": (setting("reach", 100.0), "was changed since"),
    "code": (with_objects, "cut off or damaged"),
    "compressed": (compressed, "cut off or damaged"),
    "enormous": (enormous, "cut off or damaged"),
    "encrypted": (encrypted, "cut off or damaged"),
    "pickle": (lambda f: arrays(f).write_bytes(pickle.dumps(Code())), "cut off or damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_no_whole_model_is_refused(folder: Path, name: str) -> None:
    damage, words = DAMAGE[name]
    damage(folder)
    with pytest.raises(ModelFileError, match=words):
        again(folder)
    assert not Path("/tmp/labelpilot-ran-code").exists()


def test_a_model_of_an_unknown_trainer_asks_for_it(folder: Path) -> None:
    with pytest.raises(ModelFileError, match=r"the trainer 'colour'.*trainers="):
        load(folder)


def test_a_version_that_fits_does_not_excuse_nonsense(model: MicroModel, folder: Path) -> None:
    """Whoever changes a file can change its hash too."""
    curve = {**vars(Curve()), "slope": 10**400}
    for name, value in (
        ("reach", -1.0),
        ("reach", 10**400),
        ("factor", 0.0),
        ("factor", 1e-300),
        ("calibration", {}),
        ("calibration", {**Calibration().as_dict(), "located": curve}),
        ("learned", {}),
    ):
        state = state_of(model)
        settings = {**state.settings, name: value}
        version = version_of(State(settings, state.arrays))
        arrays(folder).rename(folder / f"arrays-{version}.npz")
        rewritten(folder, version=version, settings=settings)
        with pytest.raises(ModelFileError):
            again(folder)
