"""Micro-models: five labels make a model that finds the rest.

>>> import numpy as np
>>> from micro_models import fit
>>> image = Image(np.zeros((48, 64, 3), np.uint8))
>>> example = Example(image, [Region("batman", shape=Box(10, 5, 20, 40))])
>>> model = fit([example], budget=Budget(steps=2), seed=0)
>>> [len(found) for found in model.detect([image], min_score=1.0)]
[0]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micro_models.budget import Budget, Progress
from micro_models.examples import Example
from micro_models.interface import ModelFileError
from micro_models.regions import (
    Box,
    Ellipse,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    WholeImage,
)

if TYPE_CHECKING:
    from micro_models.fitting.model import MicroModel
    from micro_models.fitting.report import Report
    from micro_models.fitting.storage import load
    from micro_models.fitting.training import FitOptions, fit

__all__ = [
    "Box",
    "Budget",
    "Ellipse",
    "Example",
    "FitOptions",
    "Image",
    "Keypoints",
    "Mask",
    "MicroModel",
    "ModelFileError",
    "Point",
    "Polygon",
    "Progress",
    "Region",
    "Report",
    "RotatedBox",
    "WholeImage",
    "fit",
    "load",
]

# What trains is imported when it is asked for: whoever needs a noun need not wait for it.
_LATER = {
    "FitOptions": "micro_models.fitting.training",
    "MicroModel": "micro_models.fitting.model",
    "Report": "micro_models.fitting.report",
    "fit": "micro_models.fitting.training",
    "load": "micro_models.fitting.storage",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
