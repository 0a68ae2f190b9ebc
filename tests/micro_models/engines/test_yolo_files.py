"""Every file that a YOLO can lie in answers alike, and what is no YOLO says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from micro_models.detections import Detection, DetectOptions, DetectorTask
from micro_models.engines import ultralytics_runtime
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.yolo import Yolo, load_yolo
from tests.small_yolo import draw, iou

# Format, ending of the result, and how it is exported.
EXPORTS = {
    "onnx": ("onnx", ".onnx", {"dynamic": True, "simplify": False}),
    "onnx of two at once": ("onnx", ".onnx", {"batch": 2, "simplify": False}),
    "openvino": ("openvino", "_openvino_model", {"dynamic": True}),
    "openvino of one size": ("openvino", "_openvino_model", {"imgsz": [96, 160]}),
    "torchscript": ("torchscript", ".torchscript", {}),
}
CASES = [
    ("segment", "onnx"),
    ("detect", "onnx of two at once"),
    ("detect", "openvino"),
    ("pose", "openvino of one size"),
    ("obb", "torchscript"),
    ("classify", "onnx"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def export(checkpoint: Path, folder: Path, kind: str) -> Path:
    """Export a copy in `folder`, as `yolo export` does."""
    how, ending, options = EXPORTS[kind]
    copy = shutil.copy(checkpoint, folder / checkpoint.name)
    with ultralytics_runtime.undisturbed():
        model = ultralytics_runtime.module().YOLO(copy)
        model.export(format=how, **{"imgsz": 128, **options})
    return folder / f"{checkpoint.stem}{ending}"


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_an_export_finds_the_same(
    task: str, kind: str, small_yolo: Path, cache: Path, tmp_path: Path
) -> None:
    original = load_yolo(small_yolo / f"{task}.pt", cache_dir=cache)
    exported = load_yolo(export(small_yolo / f"{task}.pt", tmp_path, kind), cache_dir=cache)
    assert exported.task == original.task
    assert exported.labels == original.labels
    assert exported.version != original.version
    images = [draw(DetectorTask(task), seed, scale=1 + seed / 5)[0] for seed in range(7)]
    # An export cannot augment and says nothing about it.
    options = DetectOptions(augment=True)
    one_by_one = [exported.detect([image], options=options)[0] for image in images]
    together = exported.detect(images, options=options)
    expected = original.detect(images, options=DetectOptions())
    for alone, found, wanted in zip(one_by_one, together, expected, strict=True):
        assert _described(found) == _described(alone)
        # The same objects; a fixed input shows them smaller or larger, so not the same numbers.
        for sure in (one for one in wanted if one.score > 0.6):
            assert any(one.label == sure.label and _near(one, sure) for one in found)
        for one in found:
            assert (one.outline is None) == (wanted[0].outline is None)
            assert (one.keypoints is None) == (wanted[0].keypoints is None)
            assert (one.rotated is None) == (wanted[0].rotated is None)


def _described(found: list[Detection]) -> list[tuple[str, float]]:
    return [(one.label, round(one.score, 2)) for one in found]


def _near(a: Detection, b: Detection) -> bool:
    return a.box is b.box is None or iou(a.box, b.box) > 0.6


def _yolo(path: Path, cache: Path) -> Yolo:
    return load_yolo(path, cache_dir=cache)


def test_files_that_are_no_models(small_yolo: Path, cache: Path, tmp_path: Path) -> None:
    whole = (small_yolo / "pose.pt").read_bytes()
    for name in ("a.pt", "a.onnx", "a.tflite", "a.torchscript"):
        for content in (b"", b"no model at all" * 100, whole[: len(whole) // 2]):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CheckpointError, match=r"get or export it again|does not tell"):
                _yolo(tmp_path / name, cache)
    folder = tmp_path / "a_openvino_model"
    folder.mkdir()
    with pytest.raises(CheckpointError, match="get or export it again"):
        _yolo(folder, cache)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        _yolo(tmp_path / "missing.pt", cache)


def test_names_that_are_no_models(small_yolo: Path, cache: Path, tmp_path: Path) -> None:
    for name in ("model.txt", "model", "saved_model"):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(CheckpointError, match="no YOLO file"):
            _yolo(tmp_path / name, cache)
    # ultralytics would look for another file under these names, and download it.
    for name in ("yolov5n.pt", "o'brien.pt"):
        shutil.copy(small_yolo / "pose.pt", tmp_path / name)
        with pytest.raises(CheckpointError, match="rename it"):
            _yolo(tmp_path / name, cache)


def test_a_checkpoint_that_is_no_yolo(small_sam: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no YOLO that this ultralytics knows"):
        _yolo(small_sam, cache)
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "linear.pt")
    with pytest.raises(CheckpointError):
        _yolo(tmp_path / "linear.pt", cache)


def test_a_task_that_is_not_served(small_yolo: Path, cache: Path, tmp_path: Path) -> None:
    stored = torch.load(small_yolo / "pose.pt", weights_only=False)
    stored["model"].task = "semantic"
    stored["train_args"]["task"] = "semantic"
    torch.save(stored, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"is a model for 'semantic'|cannot be read"):
        _yolo(tmp_path / "other.pt", cache)


def test_a_foreign_onnx(shared: Path, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="does not tell its classes"):
        _yolo(shared / "weights/yolox_nano.onnx", cache)


def test_a_runtime_that_is_not_installed(cache: Path, tmp_path: Path) -> None:
    # TensorRT exists only beside an NVIDIA GPU.
    (tmp_path / "a.engine").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match=r"needs tensorrt|get or export it again"):
        _yolo(tmp_path / "a.engine", cache)


@pytest.mark.parametrize(
    ("kind", "imported", "package"),
    [("onnx", "onnxruntime", "onnxruntime"), ("openvino", "openvino", "openvino")],
)
def test_a_runtime_that_went_away(
    kind: str,
    imported: str,
    package: str,
    small_yolo: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = export(small_yolo / "classify.pt", tmp_path, kind)
    monkeypatch.setitem(sys.modules, imported, None)
    with pytest.raises(CheckpointError, match=f"needs {package}, which is not installed"):
        _yolo(path, cache)


def test_errors_name_no_folder(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"damaged")
    with pytest.raises(CheckpointError) as caught:
        _yolo(tmp_path / "a.pt", cache)
    assert str(tmp_path) not in str(caught.value)


QUIET = """
import os, pathlib, socket, sys, torch, cv2
def refuse(*_): raise AssertionError("the network was asked")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
torch.set_num_threads(2)
threads = cv2.getNumThreads()
from micro_models.engines.yolo import load_yolo
from tests.small_yolo import draw, iou
from micro_models.detections import *
yolo = load_yolo(pathlib.Path(sys.argv[1]), cache_dir=pathlib.Path(sys.argv[2]))
assert yolo.detect([draw(DetectorTask.POSE, 0)[0]], options=DetectOptions())[0]
assert torch.get_num_threads() == 2 and cv2.getNumThreads() == threads
assert "OMP_NUM_THREADS" not in os.environ
"""


def test_it_is_quiet_and_leaves_nothing_behind(small_yolo: Path, tmp_path: Path) -> None:
    home, here, cache, temporary = (tmp_path / name for name in ("home", "here", "cache", "tmp"))
    for folder in (home, here, temporary):
        folder.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO_", "OMP_", "XDG_"))}
    repository = str(Path(__file__).parents[3])
    places = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONPATH": repository}
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(small_yolo / "pose.pt"), str(cache)],
        cwd=here,
        env={**kept, **places},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    left = [path for folder in (home, here, temporary) for path in folder.rglob("*")]
    assert left == []
    assert {path.name for path in cache.iterdir()} == {"digests"}
