"""Wrong classes planted into scikit-learn's digits, and who finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from micro_models.label_errors import class_errors

NOISE = (0.02, 0.05, 0.10)
FOLDS = 10

Labels = NDArray[np.int_]
Values = NDArray[np.float64]


def noisy(labels: Labels, share: float, rng: np.random.Generator) -> Labels:
    """A share of the labels replaced, each by any of the nine others alike."""
    result = labels.copy()
    count = round(share * len(labels))
    chosen = rng.choice(len(labels), count, replace=False)
    result[chosen] = (labels[chosen] + rng.integers(1, 10, count)) % 10
    return result


def digit_figures(
    *, seeds: int, trees: int, noise: Sequence[float] = NOISE
) -> dict[str, list[dict[str, float]]]:
    """By method, for each seed, the average precision at each noise."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = pixels / 16
    result: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for share in noise:
            given = noisy(labels, share, np.random.default_rng(seed))
            forest = _out_of_fold(pixels, given, seed, _Forest(trees, seed))
            moved = _out_of_fold(pixels, given, seed, _Forest(trees // 3, seed, leaf=3, moves=True))
            machine = _out_of_fold(pixels, given, seed, lambda *of: SVC(C=3, gamma=0.1).fit(*of))
            both = (moved + machine) / 2
            told = {
                "ours": class_errors(given, both),
                "cleanlab, normalised margin, on ours": _cleanlab(given, both, "normalized_margin"),
                "ours, extra-trees only": class_errors(given, forest),
                "cleanlab, self-confidence": _cleanlab(given, forest, "self_confidence"),
                "cleanlab, normalised margin": _cleanlab(given, forest, "normalized_margin"),
            }
            for method, scores in told.items():
                figures = result.setdefault(method, [])
                figures += [{}] if len(figures) <= seed else []
                figures[seed][f"{share:.0%}"] = float(
                    average_precision_score(given != labels, scores)
                )
    return result


@dataclass(frozen=True)
class _Forest:
    """Extra-trees; with `moves` they learn each digit moved by a pixel, too."""

    trees: int
    seed: int
    leaf: int = 1
    moves: bool = False

    def __call__(self, pixels: Values, given: Labels) -> ExtraTreesClassifier:
        model = ExtraTreesClassifier(self.trees, min_samples_leaf=self.leaf, random_state=self.seed)
        if not self.moves:
            return model.fit(pixels, given)
        wide = np.pad(pixels.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
        places = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]
        copies = [wide[:, y : y + 8, x : x + 8].reshape(-1, 64) for y, x in places]
        return model.fit(np.concatenate(copies), np.tile(given, len(copies)))


def _out_of_fold(
    pixels: Values,
    given: Labels,
    seed: int,
    fit: Callable[[Values, Labels], ExtraTreesClassifier | SVC],
) -> Values:
    """(n, 10) probabilities, each by a model that never saw the label."""
    result = np.zeros((len(given), 10))
    split = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for rest, held_out in split.split(pixels, given):
        model = fit(pixels[rest], given[rest])
        if isinstance(model, SVC):
            # Without Platt's scaling, which would need folds of its own.
            distance = model.decision_function(pixels[held_out])
            likely = np.exp(distance - distance.max(axis=1, keepdims=True))
            result[held_out] = likely / likely.sum(axis=1, keepdims=True)
        else:
            result[held_out] = model.predict_proba(pixels[held_out])
    return result


def _cleanlab(given: Labels, probabilities: Values, method: str) -> Values:
    """Its scores are qualities: turned round."""
    return 1 - np.asarray(get_label_quality_scores(given, probabilities, method=method))
