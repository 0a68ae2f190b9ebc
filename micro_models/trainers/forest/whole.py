"""Classes of the whole image: logistic regression on what an image looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Clock, Progress, Told
from micro_models.examples import Example, image_of
from micro_models.interface import ModelFileError, State
from micro_models.regions import Floats, Image, Region, WholeImage
from micro_models.tasks import answers_of, exclusive
from micro_models.trainers.forest.looks import describe, mirror_keeps
from micro_models.trainers.forest.lots import evenly

# Weight of the examples against the prior that a number of a description tells nothing.
_TRUST = 1.0

# Pictures are looked at until so much of the budget is used, and one of every class was.
_LOOKING = 0.4


@dataclass(frozen=True, eq=False)
class WholeModel:
    """Gives each of k classes of an image; `weights` (d, k), `bias` (k,) of d numbers of its look.

    `exclusive`: an image is of exactly one of them.
    """

    labels: tuple[str, ...]
    exclusive: bool
    weights: Floats
    bias: Floats

    def detect(self, image: Image) -> list[Region]:
        """Every class with its probability, the most probable first."""
        chances = self._chances(describe(image.pixels) @ self.weights + self.bias)
        pairs = zip(self.labels, chances.tolist(), strict=True)
        found = [Region(label, WholeImage(), score) for label, score in pairs]
        return sorted(found, key=lambda region: -region.score)

    def _chances(self, evidence: Floats) -> Floats:
        if not self.exclusive:
            return np.asarray(1 / (1 + np.exp(-np.clip(evidence, -50, 50))))
        odds = np.exp(evidence - evidence.max())
        return np.asarray(odds / odds.sum())

    def state(self) -> State:
        """All of it, for `restore`."""
        return State(
            {"labels": list(self.labels), "exclusive": self.exclusive},
            {"weights": self.weights, "bias": self.bias},
        )


def fit(
    examples: Sequence[Example], *, clock: Clock, rng: np.random.Generator, told: Told
) -> WholeModel | None:
    """A model of the classes of whole images; None if there are none."""
    labels = tuple(one.label for one in answers_of(examples) if one.shape is WholeImage)
    if not labels:
        return None
    named = [_named(example, labels) for example in examples]
    truth = np.array([[label in example.labels for label in labels] for example in named])
    group = np.unique(truth, axis=0, return_inverse=True)[1].reshape(-1)
    looks: list[Floats] = []
    mirrored: list[Floats] = []
    order = evenly(group, rng)
    for index in order:
        if len(looks) > group.max() and clock.spent > _LOOKING:
            break
        pixels = image_of(examples[index].picture).pixels
        looks.append(describe(pixels))
        mirrored.append(describe(np.ascontiguousarray(pixels[:, ::-1])))
        told(Progress("forest", clock.spent, clock.steps))
    chosen = order[: len(looks)]
    seen, truth = np.stack(looks), truth[chosen]
    if mirror_keeps(seen, np.stack(mirrored), group[chosen]):
        seen, truth = np.concatenate([seen, mirrored]), np.tile(truth, (2, 1))
    return _fitted(seen, truth, labels, exclusive=exclusive(named))


def _named(example: Example, labels: Sequence[str]) -> Example:
    """With those of its regions that are classes of these labels."""
    kept = (one for one in example.regions if isinstance(one.shape, WholeImage))
    return replace(example, regions=tuple(one for one in kept if one.label in labels))


def _fitted(
    looks: Floats, truth: NDArray[np.bool_], labels: tuple[str, ...], *, exclusive: bool
) -> WholeModel:
    """Of looks (n, d) and truth (n, k)."""
    if exclusive:
        weights, bias = _logistic(looks, truth.argmax(axis=1))
    else:
        columns = [_one(looks, own) for own in truth.T]
        weights, bias = (np.stack(parts, axis=-1) for parts in zip(*columns, strict=True))
    return WholeModel(labels, exclusive, *map(_single, (weights, bias)))


def _single(numbers: NDArray[Any]) -> Floats:
    return np.asarray(numbers, np.float32)


def _one(looks: Floats, own: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights (d,) and bias () of one class; its frequency, if all examples agree."""
    if own.all() or not own.any():
        often = (own.sum() + 1) / (len(own) + 2)
        return np.zeros(looks.shape[1]), np.log(often / (1 - often))
    weights, bias = _logistic(looks, own.astype(np.intp))
    return weights[:, 1] - weights[:, 0], bias[1] - bias[0]


def _logistic(looks: Floats, group: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights (d, k) and bias (k,) of the k groups, of which none is empty."""
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(C=_TRUST, max_iter=300).fit(looks.astype(np.float64), group)
    if len(found.coef_) > 1:
        return found.coef_.T, found.intercept_
    half = found.coef_[0] / 2
    return np.stack([-half, half], axis=1), np.array([-0.5, 0.5]) * found.intercept_[0]


def restore(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> WholeModel:
    """The same model again.

    Errors: `ModelFileError` for a state that does not fit together.
    """
    stored, exclusive = settings.get("labels"), settings.get("exclusive")
    labels = tuple(stored) if isinstance(stored, list | tuple) else ()
    named = bool(labels) and all(isinstance(one, str) for one in labels)
    if not named or not isinstance(exclusive, bool) or not {"weights", "bias"} <= set(arrays):
        raise ModelFileError("the forest's classes are incomplete; train the model again")
    width = len(describe(np.zeros((1, 1, 3), np.uint8)))
    shapes = {"weights": (width, len(labels)), "bias": (len(labels),)}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ModelFileError(
                f"the forest's {name} are {array.shape} {array.dtype}, not {shape}"
            )
    return WholeModel(labels, exclusive, arrays["weights"], arrays["bias"])
