"""Files of models are numbers: whatever they hold, nothing of it is run."""

from __future__ import annotations

import ast
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from micro_models import Box, Budget, Example, Image, ModelFileError, Region, fit, load
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.sam import load_sam

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for name in ("backends", "micro_models") for path in (ROOT / name).rglob("*.py")]


class Mark:
    """Unpickling this makes a folder."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._place),)


class Build:
    """Unpickling this has a network built from a text that ultralytics would take for code."""

    def __init__(self, place: Path) -> None:
        self._code = f"__import__('os').mkdir({str(place)!r}) or torch.nn.SiLU()"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        from ultralytics.nn.tasks import DetectionModel

        layers: list[object] = []
        built = {"nc": 1, "activation": self._code, "backbone": layers, "head": layers}
        return DetectionModel, (built,)


needs_ultralytics = pytest.mark.skipif(
    find_spec("ultralytics") is None, reason="skipped: ultralytics is not installed"
)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("key", ["model", "ema", "state_dict", "train_args"])
@pytest.mark.parametrize("reader", ["sam", "yolo", "fine-tuning"])
@needs_ultralytics
def test_a_pickle_with_code_in_the_model_folder_runs_nothing(
    tmp_path: Path, small_yolo: Path, reader: str, key: str, is_zip: bool
) -> None:
    from micro_models.engines.yolo import load_yolo
    from micro_models.trainers.yolo_checkpoint import read_checkpoint

    marker, file = tmp_path / "it-ran", tmp_path / "bad.pt"
    # Beside an otherwise good network, so that nothing else is wrong with the file.
    stored = torch.load(small_yolo / "detect.pt", weights_only=False)
    torch.save({**stored, key: Mark(marker)}, file, _use_new_zipfile_serialization=is_zip)
    read = {
        "sam": lambda: load_sam(file, device="cpu", cache_dir=tmp_path / "cache"),
        "yolo": lambda: load_yolo(file, device="cpu", cache_dir=tmp_path / "cache"),
        "fine-tuning": lambda: read_checkpoint(file),
    }[reader]
    with pytest.raises(CheckpointError, match="refused"):
        read()
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.is_dir()  # read carelessly, it does run


@needs_ultralytics
def test_a_network_that_describes_itself_by_code_runs_nothing(tmp_path: Path) -> None:
    from micro_models.engines.ultralytics_runtime import module
    from micro_models.engines.yolo import load_yolo

    module("nn.tasks")
    torch.save({"model": Build(tmp_path / "it-ran")}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError):
        load_yolo(tmp_path / "bad.pt", device="cpu", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "it-ran").exists()


@needs_ultralytics
def test_an_ultralytics_that_would_run_code_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from micro_models.engines.ultralytics_runtime import module

    monkeypatch.delattr(module("nn.tasks"), "SAFE_LOAD")
    with pytest.raises(CheckpointError, match="update it"):
        module()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "saved"
    image = Image(np.zeros((48, 64, 3), np.uint8))
    fit([Example(image, [Region("car", Box(9, 9, 30, 30))])], budget=Budget(steps=2)).save(folder)
    return folder


def test_one_changed_byte_of_a_model_of_ours_is_found(saved: Path, tmp_path: Path) -> None:
    """The version is a hash over all settings and arrays, and is computed again when it is read."""
    (arrays,) = saved.glob("arrays-*.npz")
    whole, refused = arrays.read_bytes(), 0
    for at in range(200, len(whole), max(len(whole) // 40, 1)):
        copy = shutil.copytree(saved, tmp_path / str(at))
        (copy / arrays.name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            # What lies between arrays in the file, such as a date, is no part of the model.
            assert load(copy).version == load(saved).version
        except ModelFileError:
            refused += 1
    assert refused > 20


def test_an_array_of_objects_is_refused(saved: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved, tmp_path / "copy")
    (arrays,) = copy.glob("arrays-*.npz")
    objects = np.array([Mark(tmp_path / "it-ran")], object)
    with arrays.open("wb") as file:
        np.savez(file, learned=objects)
    with pytest.raises(ModelFileError, match="damaged"):
        load(copy)
    assert not (tmp_path / "it-ran").exists()


NEVER = {"eval", "exec", "compile", "__import__"}
PICKLES = {"load", "loads", "Unpickler"}


def faults(source: str) -> list[str]:
    """Calls that run what a file or a text says, by their names."""
    found = []
    for call in (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Call)):
        name = ast.unparse(call.func)
        given = {one.arg: ast.unparse(one.value) for one in call.keywords}
        module, _, what = name.rpartition(".")
        if (
            name in NEVER
            or (module in ("pickle", "dill", "joblib", "marshal", "shelve") and what in PICKLES)
            or (name == "torch.load" and given.get("weights_only") != "True")
            or name == "torch.jit.load"
            or (name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False")
            or (module == "yaml" and what != "safe_load" and what != "safe_dump")
            or given.get("shell") == "True"
            or name in ("os.system", "os.popen")
        ):
            found.append(f"{name} in line {call.lineno}")
    return found


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "pickle.loads(data)",
        "yaml.load(text)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "torch.jit.load(path)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert faults(line)


def test_no_code_of_ours_runs_what_a_file_says() -> None:
    assert len(SOURCES) > 200
    found = {str(path.relative_to(ROOT)): faults(path.read_text()) for path in SOURCES}
    assert {name: lines for name, lines in found.items() if lines} == {}
