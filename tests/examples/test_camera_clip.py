"""The clip that anybody can make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from micro_models.examples import image_of


def test_a_clip_that_can_be_read(
    example_module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["camera_clip.py", str(tmp_path), "--frames", "30"])
    example_module("camera_clip").main()
    clip = example_module("datasets").read_clip(tmp_path / "frames", tmp_path / "boxes.csv")
    assert len(clip) == 30
    assert {len(example.regions) for example in clip} == {0, 1}
    brighter = []
    for example in clip:
        for region in example.regions:
            red, box = image_of(example.picture).pixels[..., 0], region.shape
            inside = red[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)]
            brighter.append(np.median(inside) / np.median(red))
    # The fairing is white, the evening sky around it blue.
    assert min(brighter) > 1.1
    assert np.mean(brighter) > 1.5
