"""What a model's raw scores mean, learned from few held-out images and many unlabelled ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.matching import match
from micro_models.examples import Example
from micro_models.fitting.calibration import (
    Calibration,
    Curve,
    Values,
    excesses,
    logit,
    sigmoid,
)
from micro_models.regions import Region, WholeImage
from micro_models.tasks import exclusive

# Detections below this say nothing about where right becomes wrong.
LEAST_RAW = 0.05
# What is known before any image is held out: right becomes wrong at about 0.5, within these
# standard deviations of slope, bias and a label's own bias. A heat map says less than it knows, so
# for what has a place the slope is steeper.
_SLOPE, _CLASS_SLOPE = 1.5, 1.0
_SLOPE_SD, _BIAS_SD, _LABEL_SD, _CROWD_SD = 0.4, 1.2, 0.5, 1.0
_LEAST_SLOPE = 0.2
# One more than ever seen in an image is unlikely, the more so the more images were seen.
_CROWD, _CROWD_IMAGES = -5.0, 3.0
# With five examples the model of all of them has another bias than those of the folds, by so much;
# finds so much of what they missed; and misses a few in any case. With many it is as they are.
_SHIFT_SD, _FOUND_AFTER_ALL = 2.0, 0.7
_ALWAYS_MISSED, _MISSED_SD = 0.02, 0.05

# How much it counts that few unlabelled detections should be in doubt.
_DOUBTS = 6.0

Regions = Sequence[Region]


def calibrated_by(
    found: Sequence[Regions],
    truth: Sequence[Regions],
    examples: Sequence[Example],
    unlabelled: Sequence[Regions] = (),
) -> Calibration:
    """The calibration that fits held-out images best, near what is usual if they are few.

    `found` with raw scores and `truth` are lists per held-out image; `examples` are all. Right is
    what `matching.match` pairs with a true region of its label at an overlap of 0.5. Regularised
    logistic regression on the raw score's logit: Platt's scaling with a prior. `unlabelled`: what
    the model of all examples finds in other images, lists per image. They should show objects as
    often as the examples do, which tells where its scores lie: the models of the folds had fewer
    examples and less time, and their scores are another matter.
    Sources: J. Platt, Probabilistic Outputs for Support Vector Machines (1999); for the counts
    G. Mann and A. McCallum, Expectation Regularization (ICML 2007).

    >>> import numpy as np
    >>> from micro_models.regions import Box, Image
    >>> truth = [[Region("car", Box(0, 0, 9, 9))]] * 20
    >>> shy = [[Region("car", Box(0, 0, 9, 9), 0.3), Region("car", Box(50, 0, 59, 9), 0.1)]] * 20
    >>> image = Image(np.zeros((60, 60, 3), np.uint8))
    >>> told = calibrated_by(shy, truth, [Example(image, one) for one in truth]).calibrated(shy[0])
    >>> [round(region.score, 1) for region in told]
    [0.9, 0.0]
    """
    most = _most(examples)
    crowd = _CROWD * len(examples) / (len(examples) + _CROWD_IMAGES)
    ours, theirs, others = (_located(some) for some in (found, truth, unlabelled))
    counts = _expected(ours, theirs, examples, others, most) if others else []
    located = _fitted(
        ours, theirs, most, slope=_SLOPE, crowd=crowd, counts=counts if others else []
    )
    ours, theirs = (_classes(some) for some in (found, truth))
    classes = _fitted(ours, theirs, most, slope=_CLASS_SLOPE, crowd=0.0)
    return Calibration(located, classes, most, exclusive(examples))


@dataclass(frozen=True, eq=False)
class _Expected:
    """How many right detections, give or take `spread`, are to be among `inputs` of `images`."""

    inputs: Values
    images: int
    count: float
    spread: float


def _expected(
    found: Sequence[Regions],
    truth: Sequence[Regions],
    examples: Sequence[Example],
    unlabelled: Sequence[Regions],
    most: Mapping[str, int],
) -> list[_Expected]:
    """Of each label in the unlabelled images: as many as in the examples, less what is missed."""
    there = Counter(one.label for some in truth for one in some)
    hit = Counter(
        theirs[pair.truth].label
        for ours, theirs in zip(found, truth, strict=True)
        for pair in match(ours, theirs).pairs
    )
    result = []
    for label in most:
        missed = 1 - (hit[label] + 1) / (there[label] + 1)
        per_image = [sum(one.label == label for one in each.regions) for each in examples]
        count, spread = _count(np.array(per_image, np.float64), missed, len(unlabelled))
        some = [[one for one in each if one.label == label] for each in unlabelled]
        result.append(_Expected(_inputs(some, most, final=1.0), len(some), count, spread))
    return result


def _count(per_image: Values, missed: float, images: int) -> tuple[float, float]:
    """How many to find in so many images, and its standard deviation."""
    mean, variance, seen = float(per_image.mean()), float(per_image.var()), len(per_image)
    still_missed = 1 - _FOUND_AFTER_ALL * _fewness(seen)
    share = 1 - still_missed * missed - _ALWAYS_MISSED
    # Of the mean of few images, as if there were one more that is half unusual; of the share; and
    # by chance.
    of_mean = math.sqrt(variance * seen + 0.5 * max(mean, 0.2)) / (seen + 1)
    of_share = _MISSED_SD + still_missed * missed / 2
    by_chance = images * (variance + 0.05)
    spread = images**2 * ((of_mean * share) ** 2 + (mean * of_share) ** 2) + by_chance
    return images * mean * share, math.sqrt(spread)


def _fewness(examples: int) -> float:
    """1 for five examples or fewer, 0 for very many."""
    return min(8 / (examples + 3), 1.0)


def _inputs(found: Sequence[Regions], most: Mapping[str, int], *, final: float) -> Values:
    """(n, 4 + labels) of detections: logit, 1, excess, of the final model?, a column per label."""
    names = list(most)
    rows = [
        (logit(one.score), 1.0, excess, final, *(float(one.label == name) for name in names))
        for ours in found
        for one, excess in zip(ours, excesses(ours, most), strict=True)
    ]
    return np.array(rows, np.float64).reshape(-1, 4 + len(names))


def _located(found: Sequence[Regions]) -> list[list[Region]]:
    return [
        [one for one in some if not isinstance(one.shape, WholeImage) and one.score >= LEAST_RAW]
        for some in found
    ]


def _classes(found: Sequence[Regions]) -> list[list[Region]]:
    return [[one for one in some if isinstance(one.shape, WholeImage)] for some in found]


def _fitted(
    found: Sequence[Regions],
    truth: Sequence[Regions],
    most: Mapping[str, int],
    *,
    slope: float,
    crowd: float,
    counts: Sequence[_Expected] = (),
    shift_sd: float = _SHIFT_SD,
) -> Curve:
    """The likeliest curve, first without a wish for few doubts, which alone could go either way."""
    from scipy.optimize import minimize  # slow to import

    pairs = zip(found, truth, strict=True)
    right = np.array([hit for a, b in pairs for hit in match(a, b).right], np.float64)
    mean = np.array([slope, 0.0, crowd, 0.0, *([0.0] * len(most))])
    spread = np.array([_SLOPE_SD, _BIAS_SD, _CROWD_SD, shift_sd, *([_LABEL_SD] * len(most))])
    inputs = _inputs(found, most, final=0.0)
    # A better raw score is never worse, nor is a crowd ever better.
    bounds = [(_LEAST_SLOPE, None), (None, None), (None, 0.0)]
    bounds += [(None, None)] * (len(mean) - len(bounds))
    weights = mean
    for doubts in (0.0, _DOUBTS) if counts else (0.0,):
        weights = minimize(
            _unlikeliness,
            weights,
            args=(inputs, right, counts, mean, spread, doubts),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
        ).x
    steepness, bias, beyond, shift, *labels = (float(one) for one in weights)
    return Curve(steepness, bias + shift, beyond, dict(zip(most, labels, strict=True)))


def _unlikeliness(
    weights: Values,
    inputs: Values,
    right: Values,
    counts: Sequence[_Expected],
    mean: Values,
    spread: Values,
    doubts: float,
) -> tuple[float, Values]:
    """Minus the logarithm of the likelihood, and its slope (k,).

    Of the normal prior, of what is right among the held-out detections, of the counts among the
    unlabelled ones, and of how little is in doubt (its entropy) in these, per object expected.
    Source of the last: Y. Grandvalet, Y. Bengio, Semi-supervised Learning by Entropy Minimization
    (NeurIPS 2004).
    """
    away = (weights - mean) / spread
    z = inputs @ weights
    total = 0.5 * float(away @ away) + float(np.logaddexp(0, z).sum() - z @ right)
    slope = away / spread + inputs.T @ (sigmoid(z) - right)
    objects = max(sum(some.count for some in counts), 1.0)
    images = max((some.images for some in counts), default=1)
    weight = doubts / max(objects, images)
    for some in counts:
        z = some.inputs @ weights
        p = sigmoid(z)
        off = (float(p.sum()) - some.count) / some.spread
        total += 0.5 * off**2 + weight * float((np.logaddexp(0, z) - p * z).sum())
        slope = slope + some.inputs.T @ (p * (1 - p) * (off / some.spread - weight * z))
    return total, slope


def _most(examples: Sequence[Example]) -> dict[str, int]:
    most: dict[str, int] = {}
    for example in examples:
        for label, count in Counter(region.label for region in example.regions).items():
            most[label] = max(most.get(label, 0), count)
    return dict(sorted(most.items()))
