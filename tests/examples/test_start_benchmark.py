from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_a_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "start_benchmark.py", "--runs", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["help", "health", "ready", "memory"]
    for line in lines[1:3]:
        help_s, health_s, ready_s, memory_mb = map(float, re.findall(r"[\d.]+", line))
        assert help_s > 0
        assert 0 < health_s <= ready_s
        assert 50 < memory_mb < 2_000
