"""A GPU runs out of memory in a training: fewer pictures at a time, then the CPU, then the reason.

No GPU is needed: what it would raise is raised here. Clicks and pre-labels are tested beside their
engines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.micro import child
from backends.micro.exchange import Request
from micro_models.budget import Budget, Progress
from micro_models.detections import DetectorTask
from micro_models.fitting import builtin, training
from micro_models.trainers import yolo_training
from tests.backends.micro.scenes import all_drawn
from tests.label_studio_server import ROOT
from tests.micro_models.trainers.test_yolo_trainer import scenes, trainer


def test_a_training_goes_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    fit, trainers = training.fit, builtin.default_trainers

    def fit_here(*examples: Any, **how: Any) -> Any:
        if devices[-1] != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fit(*examples, **how)

    def trainers_here(*, device: str) -> Any:
        devices.append(device)
        return trainers(device="cpu")

    monkeypatch.setattr(child, "device", lambda _: "cuda:0")
    monkeypatch.setattr(training, "fit", fit_here)
    monkeypatch.setattr(builtin, "default_trainers", trainers_here)
    told: list[dict[str, Any]] = []
    request = Request(all_drawn(tmp_path / "drawn", 5), (), budget_s=5, seed=0, steps=4)
    child._Work(request, tmp_path, told.append).run()
    assert devices == ["cuda:0", "cpu"]
    assert {"model": "final"} in told


def test_what_no_device_has_the_memory_for_is_told() -> None:
    code = (
        "import torch\n"
        "from backends.micro.child import begun\n"
        "with begun():\n"
        "    raise torch.OutOfMemoryError('CUDA out of memory')\n"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE  # which stays open: it ends with whoever started it
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"failed": "out of memory"}


@pytest.mark.parametrize("where", ["_normalize", "_step"])
def test_a_yolo_learns_from_fewer_pictures_at_a_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    sizes: list[int] = []
    real = getattr(yolo_training, where)

    def small(network: Any, *given: Any, **how: Any) -> Any:
        batch = given[0] if where == "_normalize" else given[2]["img"]
        sizes.append(len(batch))
        if len(batch) > 2:
            real(network, *given, **how)  # most of it is done when the memory ends
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(network, *given, **how)

    monkeypatch.setattr(yolo_training, where, small)
    losses: list[float | None] = []

    def told(progress: Progress) -> None:
        losses.append(progress.loss)

    task = DetectorTask.DETECT
    model = trainer(task).fit(scenes(task, range(6)), budget=Budget(steps=24), seed=0, told=told)
    assert sizes[:3] == [8, 4, 2]
    assert "now 2 pictures a step" in caplog.text
    assert len([one for one in losses if one is not None]) == 24
    assert model.detect([one.picture for one in scenes(task, [7])])[0]


def test_a_yolo_without_memory_for_one_picture_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(yolo_training, "_step", none)
    task = DetectorTask.DETECT
    with pytest.raises(torch.OutOfMemoryError, match="use the CPU"):
        trainer(task).fit(scenes(task, range(3)), budget=Budget(steps=4), seed=0)
