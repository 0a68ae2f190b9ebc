from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs_and_names_every_kind_of_click(tmp_path: Path) -> None:
    command = [sys.executable, "examples/click_benchmark.py", "--engine", "grabcut"]
    command += ["--photos", "2", "--data", str(tmp_path / "nothing")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    for words in ("cold click", "warm click", "tenth click", "100 regions", "slowest health"):
        assert words in done.stdout
    assert "skipped" in done.stdout
