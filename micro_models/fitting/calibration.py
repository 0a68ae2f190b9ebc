"""From raw scores to the probability of being right."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.interface import ModelFileError
from micro_models.regions import Region, WholeImage

Values = NDArray[np.float64]

_EDGE = 1e-6
# What no training gives, and what cannot be computed with.
_STEEPEST = 1e6


@dataclass(frozen=True)
class Curve:
    """P(right) = sigmoid(slope logit(raw) + bias + label's bias + crowd log(rank / most))."""

    slope: float = 1.0
    bias: float = 0.0
    crowd: float = 0.0
    labels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """How raw scores become P(right): one curve for what has a place, one for classes.

    `most` is the greatest number of each label seen in one image; `exclusive`: the classes of an
    image exclude each other, so that they add up to 1.
    """

    located: Curve = Curve()
    classes: Curve = Curve()
    most: Mapping[str, int] = field(default_factory=dict)
    exclusive: bool = False

    def calibrated(self, found: Sequence[Region]) -> list[Region]:
        """One image's regions, raw scores in -> P(right) out, best first.

        >>> from micro_models.regions import Box
        >>> sharper = Calibration(located=Curve(slope=2.0, bias=1.0))
        >>> [round(one.score, 3) for one in sharper.calibrated([Region("a", Box(0, 0, 1, 1), 0.6)])]
        [0.859]
        """
        found = sorted(found, key=lambda region: -region.score)
        values = [
            self._value(region, excess)
            for region, excess in zip(found, excesses(found, self.most), strict=True)
        ]
        scores = sigmoid(np.array(values))
        if self.exclusive:
            classes = np.array([isinstance(one.shape, WholeImage) for one in found], np.bool_)
            scores[classes] /= max(float(scores[classes].sum()), _EDGE)
        told = [replace(one, score=float(p)) for one, p in zip(found, scores, strict=True)]
        return sorted(told, key=lambda region: -region.score)

    def least_raw(self, score: float) -> float:
        """The raw score below which nothing is calibrated to `score`, 0..1."""
        if score <= 0 or self.exclusive:
            return 0.0
        lowest = 1.0
        for curve in (self.located, self.classes):
            bias = curve.bias + max([0.0, *curve.labels.values()])
            lowest = min(lowest, float(sigmoid((logit(score) - bias) / curve.slope)))
        return lowest

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        curves = {
            name: {**vars(curve), "labels": dict(curve.labels)}
            for name, curve in (("located", self.located), ("classes", self.classes))
        }
        return {**curves, "most": dict(self.most), "exclusive": self.exclusive}

    @classmethod
    def from_dict(cls, stored: Any) -> Calibration:
        """The way back. Errors: `ModelFileError`."""
        try:
            most = {str(label): int(count) for label, count in stored["most"].items()}
            located, classes = (_curve(stored[name]) for name in ("located", "classes"))
            return cls(located, classes, most, bool(stored["exclusive"]))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ModelFileError(
                "the model's calibration is damaged; train it again, or copy the folder again"
            ) from error

    def _value(self, region: Region, excess: float) -> float:
        curve = self.classes if isinstance(region.shape, WholeImage) else self.located
        bias = curve.bias + curve.labels.get(region.label, 0.0)
        return float(curve.slope * logit(region.score) + bias + curve.crowd * excess)


def excesses(found: Sequence[Region], most: Mapping[str, int]) -> list[float]:
    """log(rank / most seen) of each region among those of its label, 0 up to the most seen."""
    seen: Counter[str] = Counter()
    result = [0.0] * len(found)
    for at in sorted(range(len(found)), key=lambda n: -found[n].score):
        seen[found[at].label] += 1
        rank, limit = seen[found[at].label], max(most.get(found[at].label, 1), 1)
        result[at] = max(math.log(rank / limit), 0.0)
    return result


def _curve(stored: Any) -> Curve:
    labels = {str(label): float(bias) for label, bias in stored["labels"].items()}
    curve = Curve(float(stored["slope"]), float(stored["bias"]), float(stored["crowd"]), labels)
    numbers = [curve.slope, curve.bias, curve.crowd, *labels.values()]
    if not all(abs(one) <= _STEEPEST for one in numbers) or curve.slope <= 0:
        raise ValueError(f"no such curve: {numbers}")
    return curve


def logit(score: float) -> float:
    """Of a score 0..1, finite at both ends."""
    p = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


def sigmoid(values: Any) -> Values:
    """0..1."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))))
