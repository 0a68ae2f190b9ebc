"""Examples as modules, and a clip to label."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ABSENT = (5, 6)


@pytest.fixture
def example_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script of examples/ by its name, as the script beside it does."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with frames/ and boxes.csv: a red square that moves, absent in two of 12 frames."""
    folder = tmp_path_factory.mktemp("square")
    (folder / "frames").mkdir()
    rng = np.random.default_rng(0)
    rows = ["frame,file,img_w,img_h,x,y,w,h"]
    for number in range(12):
        pixels = rng.integers(90, 120, (48, 64, 3), np.uint8)
        x, y = 4 + 4 * number, 14 + number % 4
        box = ",,,"
        if number not in ABSENT:
            pixels[y : y + 12, x : x + 12] = (20, 20, 240)
            box = f"{x},{y},12,12"
        cv2.imwrite(str(folder / "frames" / f"{number:05}.png"), pixels)
        rows.append(f"{number},{number:05}.png,64,48,{box}")
    (folder / "boxes.csv").write_text("\n".join(rows))
    return folder
