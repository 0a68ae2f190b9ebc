"""From raw scores to the probability of being right, learned from few held-out images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.matching import match
from micro_models.examples import Example
from micro_models.interface import ModelFileError
from micro_models.regions import Region, WholeImage

Values = NDArray[np.float64]

# Detections below this say nothing about where right becomes wrong.
LEAST_RAW = 0.05
_EDGE = 1e-6
# What is known before any image is held out: right becomes wrong at about 0.5, within these
# standard deviations of slope, bias and a label's own bias. A heat map says less than it knows, so
# for what has a place the slope is steeper.
_SLOPE, _CLASS_SLOPE = 1.5, 1.0
_SLOPE_SD, _BIAS_SD, _LABEL_SD, _CROWD_SD = 0.7, 1.2, 0.5, 1.0
_LEAST_SLOPE = 0.2
# One more than ever seen in an image is unlikely, the more so the more images were seen.
_CROWD, _CROWD_IMAGES = -5.0, 3.0


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
            self._value(region, beyond)
            for region, beyond in zip(found, _beyond(found, self.most), strict=True)
        ]
        scores = _sigmoid(np.array(values))
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
            lowest = min(lowest, float(_sigmoid((_logit(score) - bias) / curve.slope)))
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
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(
                "the model's calibration is damaged; train it again, or copy the folder again"
            ) from error

    def _value(self, region: Region, beyond: float) -> float:
        curve = self.classes if isinstance(region.shape, WholeImage) else self.located
        bias = curve.bias + curve.labels.get(region.label, 0.0)
        return float(curve.slope * _logit(region.score) + bias + curve.crowd * beyond)


def learned(
    found: Sequence[Sequence[Region]],
    truth: Sequence[Sequence[Region]],
    examples: Sequence[Example],
) -> Calibration:
    """The calibration that fits held-out images best, near what is usual if they are few.

    `found` with raw scores and `truth` are lists per held-out image; `examples` are all. Right is
    what `matching.match` pairs with a true region of its label at an overlap of 0.5. Regularised
    logistic regression on the raw score's logit: Platt's scaling with a prior.
    Source: J. Platt, Probabilistic Outputs for Support Vector Machines (1999).

    >>> import numpy as np
    >>> from micro_models.regions import Box, Image
    >>> truth = [[Region("car", Box(0, 0, 9, 9))]] * 20
    >>> shy = [[Region("car", Box(0, 0, 9, 9), 0.3), Region("car", Box(50, 0, 59, 9), 0.1)]] * 20
    >>> image = Image(np.zeros((60, 60, 3), np.uint8))
    >>> told = learned(shy, truth, [Example(image, one) for one in truth]).calibrated(shy[0])
    >>> [round(region.score, 1) for region in told]
    [0.9, 0.0]
    """
    most, images = _most(examples), len(examples)
    right = [match(ours, theirs).right for ours, theirs in zip(found, truth, strict=True)]
    flat = [
        (region, beyond, bool(hit))
        for ours, hits in zip(found, right, strict=True)
        for region, beyond, hit in zip(ours, _beyond(ours, most), hits, strict=True)
        if region.score >= LEAST_RAW or isinstance(region.shape, WholeImage)
    ]
    parts = [
        [one for one in flat if isinstance(one[0].shape, WholeImage) is c] for c in (False, True)
    ]
    return Calibration(
        _fitted(parts[0], slope=_SLOPE, crowd=_CROWD * images / (images + _CROWD_IMAGES)),
        _fitted(parts[1], slope=_CLASS_SLOPE, crowd=0.0),
        most,
        exclusive(examples),
    )


def exclusive(examples: Sequence[Example]) -> bool:
    """Whether no image has two classes, and every one that has any has one.

    >>> import numpy as np
    >>> from micro_models.regions import Image
    >>> image = Image(np.zeros((4, 4, 3), np.uint8))
    >>> exclusive([Example(image, [Region(label, WholeImage())]) for label in ("ant", "bee")])
    True
    """
    counts = [
        len({region.label for region in one.regions if isinstance(region.shape, WholeImage)})
        for one in examples
    ]
    return max(counts, default=0) == 1


def _fitted(evidence: list[tuple[Region, float, bool]], *, slope: float, crowd: float) -> Curve:
    names = sorted({region.label for region, _, _ in evidence})
    index = {name: 3 + n for n, name in enumerate(names)}
    inputs = np.zeros((len(evidence), 3 + len(names)))
    for row, (region, beyond, _) in enumerate(evidence):
        inputs[row, :3] = _logit(region.score), 1.0, beyond
        inputs[row, index[region.label]] = 1.0
    right = np.array([hit for _, _, hit in evidence], np.float64)
    mean = np.array([slope, 0.0, crowd, *([0.0] * len(names))])
    spread = np.array([_SLOPE_SD, _BIAS_SD, _CROWD_SD, *([_LABEL_SD] * len(names))])
    weights = _most_likely(inputs, right, mean, spread)
    # A better raw score is never worse, nor is a crowd ever better.
    for at, limit, is_out in (
        (0, _LEAST_SLOPE, weights[0] < _LEAST_SLOPE),
        (2, 0.0, weights[2] > 0),
    ):
        if is_out:
            mean[at], spread[at] = limit, 1e-6
            weights = _most_likely(inputs, right, mean, spread)
    labels = {name: float(weights[index[name]]) for name in names}
    steepness, bias, beyond = (float(one) for one in weights[:3])
    return Curve(max(steepness, _LEAST_SLOPE), bias, min(beyond, 0.0), labels)


def _most_likely(inputs: Values, right: Values, mean: Values, spread: Values) -> Values:
    """(n, k), (n,), (k,), (k,) -> (k,): logistic regression with a normal prior, by Newton."""
    weights, precision = mean.copy(), np.diag(spread**-2.0)
    for _ in range(50):
        p = _sigmoid(inputs @ weights)
        slope = inputs.T @ (p - right) + precision @ (weights - mean)
        bend = inputs.T @ (inputs * (p * (1 - p))[:, None]) + precision
        step = np.linalg.solve(bend, slope)
        # Far from the best the quadratic is a bad guide: never more than 1 at once.
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-9:
            break
    return weights


def _beyond(found: Sequence[Region], most: Mapping[str, int]) -> list[float]:
    """log(rank / most seen) of each region among those of its label, 0 up to the most seen."""
    seen: Counter[str] = Counter()
    result = [0.0] * len(found)
    for at in sorted(range(len(found)), key=lambda n: -found[n].score):
        seen[found[at].label] += 1
        rank, limit = seen[found[at].label], max(most.get(found[at].label, 1), 1)
        result[at] = max(math.log(rank / limit), 0.0)
    return result


def _most(examples: Sequence[Example]) -> dict[str, int]:
    most: dict[str, int] = {}
    for example in examples:
        for label, count in Counter(region.label for region in example.regions).items():
            most[label] = max(most.get(label, 0), count)
    return dict(sorted(most.items()))


def _curve(stored: Any) -> Curve:
    labels = {str(label): float(bias) for label, bias in stored["labels"].items()}
    curve = Curve(float(stored["slope"]), float(stored["bias"]), float(stored["crowd"]), labels)
    numbers = [curve.slope, curve.bias, curve.crowd, *labels.values()]
    if not all(math.isfinite(one) for one in numbers) or curve.slope <= 0:
        raise ValueError(f"no such curve: {numbers}")
    return curve


def _logit(score: float) -> float:
    p = min(max(score, _EDGE), 1 - _EDGE)
    return math.log(p / (1 - p))


def _sigmoid(values: Any) -> Values:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))))
