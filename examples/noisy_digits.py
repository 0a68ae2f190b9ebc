"""Wrong classes planted into scikit-learn's digits, and who finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from micro_models.label_errors import class_errors

NOISE = (0.02, 0.05, 0.10)
FOLDS = 10
# What digits may be turned and moved by, and what a squared distance between two weighs.
TURNS_DEG, MOVES_PX, SHARPNESS = (-10, 0, 10), 1, 0.2
# How much noise labels may have, as variances; and what a difference between classes weighs.
DOUBTS, SURE = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5), 2.0

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
    process = LeftOut(moved_kernel(pixels.reshape(-1, 8, 8)))
    result: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        for share in noise:
            given = noisy(labels, share, np.random.default_rng(seed))
            forest = _out_of_fold(pixels, given, seed, _Forest(trees, seed))
            moved = _out_of_fold(pixels, given, seed, _Forest(trees // 3, seed, leaf=3, moves=True))
            machine = _out_of_fold(pixels, given, seed, lambda *of: SVC(C=3, gamma=0.1).fit(*of))
            alone = process(given)
            ours = (alone + (moved + machine) / 2) / 2
            told = {
                "ours": class_errors(given, ours),
                "cleanlab, normalised margin, on ours": _cleanlab(given, ours, "normalized_margin"),
                "ours, Gaussian process only": class_errors(given, alone),
                "ours, without it": class_errors(given, (moved + machine) / 2),
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
            result[held_out] = _softmax(model.decision_function(pixels[held_out]))
        else:
            result[held_out] = model.predict_proba(pixels[held_out])
    return result


def moved_kernel(images: Values) -> Values:
    """(n, 8, 8) 0..1 -> (n, n) 0..1, how alike two digits are, 1 on the diagonal.

    The mean of a Gaussian kernel over all small turns and moves of both, which is a kernel, too.
    Source: B. Haasdonk, H. Burkhardt, Invariant Kernel Functions for Pattern Analysis and Machine
    Learning (2007).
    """
    reach = 2 * MOVES_PX
    wide = np.pad(images, ((0, 0), (reach, reach), (reach, reach)))
    turned = [ndimage.rotate(wide, a, axes=(1, 2), reshape=False, order=1) for a in TURNS_DEG]
    total = np.zeros((len(images), len(images)))
    # Of moves of both only the difference matters, and how many pairs of moves have it.
    steps = [(by, reach + 1 - abs(by)) for by in range(-reach, reach + 1)]
    for one, other in combinations_with_replacement(turned, 2):
        room = [np.pad(some, ((0, 0), (reach, reach), (reach, reach))) for some in (one, other)]
        for (down, often), (right, as_often) in product(steps, steps):
            moved = np.roll(room[1], (down, right), axis=(1, 2))
            unlike = euclidean_distances(_flat(room[0]), _flat(moved), squared=True)
            part = often * as_often * np.exp(-SHARPNESS * unlike)
            total += part if one is other else part + part.T
    length = np.sqrt(np.diag(total))
    return np.asarray((total + total.T) / 2 / np.outer(length, length))


class LeftOut:
    """A Gaussian process of n digits that tells each one's class from all others, in closed form.

    Source: C. Rasmussen, C. Williams, Gaussian Processes for Machine Learning (2006), 5.4.2.
    """

    def __init__(self, kernel: Values) -> None:
        self._inverses = [np.linalg.inv(kernel + doubt * np.eye(len(kernel))) for doubt in DOUBTS]

    def __call__(self, given: Labels) -> Values:
        """(n,) 0..9 -> (n, 10) probabilities, doubting as much as foretells the labels best."""
        labels = 2 * np.eye(10)[given] - 1
        told = [labels - inverse @ labels / np.diag(inverse)[:, None] for inverse in self._inverses]
        best = min(told, key=lambda values: float(((values - labels) ** 2).mean()))
        return _softmax(SURE * best)


def _flat(images: Values) -> Values:
    return images.reshape(len(images), -1)


def _softmax(values: Values) -> Values:
    """(n, k) -> (n, k), rows add up to 1."""
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _cleanlab(given: Labels, probabilities: Values, method: str) -> Values:
    """Its scores are qualities: turned round."""
    return 1 - np.asarray(get_label_quality_scores(given, probabilities, method=method))
