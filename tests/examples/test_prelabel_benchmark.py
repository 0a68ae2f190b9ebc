from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.label_studio_server import ROOT, LabelStudioServer

pytestmark = pytest.mark.e2e
WEIGHTS = "weights/yolo11n_256_quant_detect_coco80-st.tflite"


def test_the_benchmark_runs_and_loses_nothing(
    label_studio: LabelStudioServer, shared: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "examples/prelabel_benchmark.py", str(shared / WEIGHTS)]
    command += ["--photos", str(shared / "data/segmentation/grabcut/images")]
    command += ["--tasks", "150", "--plain", "3", "--json", str(tmp_path / "figures.json")]
    variables = {
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.personal_token,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *runs, end = json.loads((tmp_path / "figures.json").read_text())
    assert [run["tasks"] for run in runs] == [3, 150, 150]
    assert "0 lost, 0 doubled" in end
