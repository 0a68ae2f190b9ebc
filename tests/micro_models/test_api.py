"""The names that people import, and that importing them costs nothing."""

from __future__ import annotations

import subprocess
import sys

import micro_models


def test_every_exported_name_is_there() -> None:
    assert list(micro_models.__all__) == sorted(micro_models.__all__)
    for name in micro_models.__all__:
        assert getattr(micro_models, name).__module__.startswith("micro_models.")
    assert set(micro_models.__all__) <= set(dir(micro_models))
    assert not hasattr(micro_models, "predict")


def test_the_import_is_light() -> None:
    heavy = "{'torch', 'sklearn', 'openvino', 'ultralytics', 'scipy'}"
    program = (
        "import sys, micro_models; from micro_models import Box, Example, fit, load; "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
