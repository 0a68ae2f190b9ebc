"""Labels with a place: missing, spurious, low IoU, wrong; each with the odds that it is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.label_errors.nouns import ErrorKind, LabelError
from micro_models.label_errors.rates import (
    USUAL_SHARE,
    Values,
    logit,
    lower_tail,
    probability,
    refitted,
    robust_z,
    share_of_surest,
)
from micro_models.label_errors.sightings import SAME, Leftover, Scene, Sighting
from micro_models.regions import Region

Answer = Sequence[Region]

# Two labels of one thing, if its kind does not overlap that much as a rule.
_TWIN = 0.7
# How improbable it is, at most, that a model's finding is nothing; the odds of a probability.
_LEAST_DOUBT = 0.005
# What is not found has at most this likelihood ratio by itself.
_MOST_UNFOUND = 200.0
# What is found beside a region, or of another label on it, makes it less likely that it is nothing.
_BESIDE = 0.3


def located_errors(scenes: Sequence[Scene], found: Mapping[int, Answer]) -> list[LabelError]:
    """Of all scenes, each given region and each finding at most once, in no order."""
    facts = _Facts(scenes, found)
    errors = [facts.error_of(one) for some in scenes for one in some.sightings]
    errors += [facts.missing(one) for some in scenes for one in some.leftovers]
    return [one for one in errors if one is not None]


@dataclass(frozen=True)
class _Class:
    """Of one label the shares of errors that are usual."""

    missing: float


class _Facts:
    """What the model does with right labels, measured on all; then the odds of each region."""

    def __init__(self, scenes: Sequence[Scene], found: Mapping[int, Answer]) -> None:
        self._found = found
        self._sightings = [one for some in scenes for one in some.sightings]
        self._p = _probabilities(scenes, found)
        self._missing = _missing_shares(scenes, found, self._p)
        self._tail = self._tails()
        self._z = self._spreads()
        self._seen = _seen_in(scenes)

    def missing(self, one: Leftover) -> LabelError:
        """A finding that nobody labelled."""
        region = self._found[one.example][one.found]
        share = self._missing[region.label]
        real = min(self._p[one.example, one.found] / (1 - share), 1 - _LEAST_DOUBT)
        new = max(1 - one.near / SAME, 0.0)
        score = float(_probability(share / (1 - share) * real / (1 - real) * new))
        reason = f"the model is {region.score:.0%} sure of {region.label} here, without a label"
        return LabelError(ErrorKind.MISSING, one.example, score, None, None, region, None, reason)

    def error_of(self, one: Sighting) -> LabelError | None:
        """The most probable error of a given region."""
        options = [*self._wrong(one), *self._badly_placed(one), *self._twin(one)]
        options += self._spurious(one)
        return max(options, key=lambda error: error.score, default=None)

    def _wrong(self, one: Sighting) -> Iterator[LabelError]:
        if one.other is None:
            return
        region = self._found[one.example][one.other]
        p = min(self._p[one.example, one.other], 1 - _LEAST_DOUBT)
        unfound = 1 / self._tail[one.example, one.index]
        odds = USUAL_SHARE * p / (1 - p) * np.sqrt(unfound)
        reason = f"the model is {region.score:.0%} sure of {region.label} here, "
        reason += f"the label says {one.given.label}"
        yield self._error(ErrorKind.WRONG_LABEL, one, odds, region, one.other_iou, reason)

    def _badly_placed(self, one: Sighting) -> Iterator[LabelError]:
        if one.same is None:
            return
        region = self._found[one.example][one.same]
        z, usual = self._z[one.example, one.index]
        odds = USUAL_SHARE * _odds_of_z(z)
        if not one.is_found:
            p = min(self._p[one.example, one.same], 1 - _LEAST_DOUBT)
            odds *= p / (1 - p)
        reason = f"IoU {one.iou:.0%} with what the model finds, usual is {usual:.0%}"
        yield self._error(ErrorKind.LOW_IOU, one, odds, region, one.iou, reason)

    def _twin(self, one: Sighting) -> Iterator[LabelError]:
        if one.twin is None or one.is_found or one.twin_iou < _TWIN:
            return
        reason = f"IoU {one.twin_iou:.0%} with another {one.given.label}: one thing labelled twice"
        odds = one.twin_iou / (1.001 - one.twin_iou) * 4
        yield self._error(ErrorKind.SPURIOUS, one, odds, None, None, reason)

    def _spurious(self, one: Sighting) -> Iterator[LabelError]:
        # Where there is something, it is rather that which is wrong.
        is_something = one.other is not None or (one.same is not None and not one.is_found)
        doubt = (_BESIDE if is_something else 1.0) * (1 - self._p_same(one))
        unfound = min(1 / self._tail[one.example, one.index], _MOST_UNFOUND)
        odds = USUAL_SHARE * doubt * unfound * self._seen[one.example, one.index]
        if one.is_found:
            reason = f"the model doubts that there is a {one.given.label}"
        else:
            reason = f"the model finds no {one.given.label} here"
        yield self._error(ErrorKind.SPURIOUS, one, odds, None, None, reason)

    def _error(
        self,
        kind: ErrorKind,
        one: Sighting,
        odds: float,
        suggested: Region | None,
        iou: float | None,
        reason: str,
    ) -> LabelError:
        score = float(_probability(odds))
        return LabelError(kind, one.example, score, one.given, one.index, suggested, iou, reason)

    def _p_same(self, one: Sighting) -> float:
        return self._p[one.example, one.same] if one.is_found and one.same is not None else 0.0

    def _tails(self) -> dict[tuple[int, int], float]:
        """How usual it is that a label of its kind is found as weakly, or not at all; 0..1."""
        result: dict[tuple[int, int], float] = {}
        for label in {one.given.label for one in self._sightings}:
            some = [one for one in self._sightings if one.given.label == label]
            tail = lower_tail(np.array([self._p_same(one) for one in some]))
            result |= {(s.example, s.index): float(t) for s, t in zip(some, tail, strict=True)}
        return result

    def _spreads(self) -> dict[tuple[int, int], tuple[float, float]]:
        """Of what is found: how many spreads its IoU is below the usual, and the usual IoU."""
        result: dict[tuple[int, int], tuple[float, float]] = {}
        for label in {one.given.label for one in self._sightings}:
            some = [s for s in self._sightings if s.given.label == label and s.same is not None]
            if not some:
                continue
            away = np.array([np.log(max(1 - one.iou, 0.01)) for one in some])
            p = np.array([self._p[one.example, one.same or 0] for one in some])
            size = np.log(np.array([max(one.size, 1.0) for one in some]))
            z = robust_z(away, np.stack([logit(p), size], axis=1))
            usual = float(np.median([one.iou for one in some]))
            for one, value in zip(some, z, strict=True):
                result[one.example, one.index] = (float(value), usual)
        return result


def _odds_of_z(z: float) -> float:
    """How much likelier an error is than a right label, z spreads beyond the usual place."""
    return float(np.exp(min(max(z, 0.0) ** 2 / 2, 8.0)) * 0.1)


def _probability(odds: float) -> float:
    return float(probability(np.asarray(odds)))


def _probabilities(
    scenes: Sequence[Scene], found: Mapping[int, Answer]
) -> dict[tuple[int, int], float]:
    """P(right) of each finding, by example and place."""
    hits = {(s.example, s.same) for some in scenes for s in some.sightings if s.is_found}
    result: dict[tuple[int, int], float] = {}
    keys = [(i, at) for i, answer in found.items() for at in range(len(answer))]
    for label in {found[i][at].label for i, at in keys}:
        some = [(i, at) for i, at in keys if found[i][at].label == label]
        scores = np.array([found[i][at].score for i, at in some])
        right = np.array([key in hits for key in some], np.bool_)
        result |= dict(zip(some, refitted(scores, right).tolist(), strict=True))
    return result


def _missing_shares(
    scenes: Sequence[Scene], found: Mapping[int, Answer], p: Mapping[tuple[int, int], float]
) -> dict[str, float]:
    left = {(one.example, one.found) for some in scenes for one in some.leftovers}
    result = {}
    for label in {found[i][at].label for i, at in p}:
        keys = [(i, at) for i, at in p if found[i][at].label == label]
        sure = np.array([p[key] for key in keys])
        keys = [key for key, value in zip(keys, sure, strict=True) if value >= np.median(sure)]
        values: Values = np.array([p[key] for key in keys])
        result[label] = share_of_surest(values, np.array([key in left for key in keys], np.bool_))
    return result


def _seen_in(scenes: Sequence[Scene]) -> dict[tuple[int, int], float]:
    """How well the model knows its way in the example: 1 usual; without the region itself."""
    rates = [one.is_found for some in scenes for one in some.sightings]
    usual = (sum(rates) + 1) / (len(rates) + 2)
    result = {}
    for some in scenes:
        hits, count = sum(one.is_found for one in some.sightings), len(some.sightings)
        for one in some.sightings:
            rest = (hits - one.is_found + 2 * usual) / (count - 1 + 2)
            result[one.example, one.index] = min(rest / usual, 1.0)
    return result
