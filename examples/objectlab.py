"""cleanlab's ObjectLab on the same findings: its scores for boxes, and its gates, tuned.

Source: U. Tkachenko, A. Thyagarajan, J. Mueller, ObjectLab: Automated Diagnosis of Mislabeled
Images in Object Detection Data (ICML workshop 2023); cleanlab.object_detection.rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from cleanlab.internal import constants
from cleanlab.object_detection import rank
from planted_errors import Claim

from micro_models.evaluation.overlap import bounds
from micro_models.regions import Region

Answers = Sequence[Sequence[Region]]
KINDS = ("overlooked", "badloc", "swap")


@dataclass(frozen=True)
class Gates:
    """What ObjectLab lets its users set."""

    alpha: float = constants.ALPHA
    low: float = constants.LOW_PROBABILITY_THRESHOLD
    high: float = constants.HIGH_PROBABILITY_THRESHOLD
    temperature: float = constants.TEMPERATURE


GRID = {
    "alpha": (0.5, 0.9, 0.99),
    "low": (0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
    "high": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    "temperature": (0.01, 0.03, 0.1, 0.3),
}


class ObjectLab:
    """Its view of a data set: boxes around whatever was labelled and found."""

    def __init__(self, given: Answers, found: Answers) -> None:
        names = sorted({one.label for some in [*given, *found] for one in some})
        self._found = found
        self._labels = [_label(some, names) for some in given]
        self._predictions = [_prediction(some, names) for some in found]
        # It goes through what was found class by class.
        self._order = [
            [at for name in names for at, one in enumerate(some) if one.label == name]
            for some in found
        ]
        self._inputs: dict[float, list[Any]] = {}
        self._box_scores: dict[tuple[str, float, float], list[np.ndarray]] = {}

    def claims(self, gates: Gates) -> list[Claim]:
        """One for each found box that it calls overlooked, two for each given one."""
        overlooked, badloc, swap = self._scores(gates)
        claims = []
        for i, scores in enumerate(overlooked):
            for place, score in enumerate(scores):
                if np.isfinite(score):
                    region = self._found[i][self._order[i][place]]
                    claims.append(Claim(1 - float(score), i, None, region))
        for some in (badloc, swap):
            for i, scores in enumerate(some):
                claims += [Claim(1 - float(s), i, at, None) for at, s in enumerate(scores)]
        return claims

    def suspicion(self, gates: Gates) -> list[float]:
        """Of each example, as `get_label_quality_scores` has it, the weights being its own."""
        total = np.zeros(len(self._labels))
        for scores in self._scores(gates):
            pooled = rank.pool_box_scores_per_image(scores, temperature=gates.temperature)
            total += np.log(constants.TINY_VALUE + pooled) / len(KINDS)
        return [1 - float(value) for value in np.exp(total)]

    def tuned(self, worth: Callable[[Gates], float]) -> Gates:
        """The best gates by one setting after the other, twice around, from its own ones."""
        best = Gates()
        for _, (name, values) in product(range(2), GRID.items()):
            best = max([best, *(replace(best, **{name: v}) for v in values)], key=worth)
        return best

    def _scores(self, gates: Gates) -> tuple[list[np.ndarray], ...]:
        settings = {"overlooked": gates.high, "badloc": gates.low, "swap": gates.high}
        return tuple(self._of_kind(kind, gates.alpha, settings[kind]) for kind in KINDS)

    def _of_kind(self, kind: str, alpha: float, gate: float) -> list[np.ndarray]:
        key = (kind, alpha, gate)
        if key not in self._box_scores:
            score = getattr(rank, f"compute_{kind}_box_scores")
            name = "low_probability_threshold" if kind == "badloc" else "high_probability_threshold"
            inputs = self._inputs_at(alpha)
            self._box_scores[key] = score(alpha=alpha, auxiliary_inputs=inputs, **{name: gate})
        return self._box_scores[key]

    def _inputs_at(self, alpha: float) -> list[Any]:
        """What all its scores share, and what takes it long."""
        if alpha not in self._inputs:
            made = rank._get_valid_inputs_for_compute_scores
            self._inputs[alpha] = made(alpha, self._labels, self._predictions)
        return self._inputs[alpha]


def _edges(region: Region) -> list[float]:
    box = bounds(region.shape)
    return [box.x0, box.y0, box.x1, box.y1]


def _label(given: Sequence[Region], names: Sequence[str]) -> dict[str, Any]:
    return {
        "bboxes": np.array([_edges(one) for one in given], float).reshape(-1, 4),
        "labels": np.array([names.index(one.label) for one in given], int),
    }


def _prediction(found: Sequence[Region], names: Sequence[str]) -> np.ndarray:
    """Per class (m, 5): the box and its score."""
    result = np.empty(len(names), object)
    for n, name in enumerate(names):
        rows = [[*_edges(one), one.score] for one in found if one.label == name]
        result[n] = np.array(rows, float).reshape(-1, 5)
    return result
