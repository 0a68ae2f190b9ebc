"""Classes of whole images: how probable it is that the given one is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from micro_models.label_errors.nouns import ErrorKind, LabelError
from micro_models.label_errors.rates import Values, probability, share_of_surest
from micro_models.regions import Region, WholeImage

# A model of a few pictures is never surer than this.
_MOST_MARGIN = 0.9999

Answer = Sequence[Region]


def class_errors(labels: NDArray[np.int_], probabilities: Values) -> Values:
    """(n,) labels 0..k-1 and (n, k) out-of-sample probabilities -> (n,) P(error) 0..1.

    Bayes' rule on the margin between the given class and the best other one, what the model gives
    to further classes being split between the two; errors are as usual as disagreement is where the
    model is surest. So an image that the model does not know, or that two classes would suit, is
    no error. Errors: `ValueError` for arrays that do not fit together.
    Source of the margin: C. Northcutt et al., Confident Learning (JAIR 2021).

    >>> p = np.array([[0.98, 0.02], [0.98, 0.02], [0.5, 0.5]])
    >>> class_errors(np.array([0, 1, 1]), p).round(2).tolist()
    [0.0, 0.76, 0.06]
    """
    count = probabilities.shape[1] if probabilities.ndim == 2 else 0
    if probabilities.shape != (len(labels), count) or count < 2:
        raise ValueError(f"{len(labels)} labels need as many rows of probabilities of 2 classes")
    if len(labels) and not 0 <= labels.min() <= labels.max() < count:
        raise ValueError(f"the labels have to be 0..{count - 1}")
    if not len(labels):
        return np.zeros(0)
    rows = np.arange(len(labels))
    own, others = probabilities[rows, labels], probabilities.copy()
    others[rows, labels] = -1.0
    margin = np.clip(others.max(axis=1) - own, -_MOST_MARGIN, _MOST_MARGIN)
    share = share_of_surest(probabilities.max(axis=1), probabilities.argmax(axis=1) != labels)
    return probability(share / (1 - share) * (1 + margin) / (1 - margin))


def exclusive_errors(
    given: Sequence[Answer], found: Sequence[Answer | None], examples: Sequence[int]
) -> list[LabelError]:
    """Wrong classes where each of the `examples` has exactly one, and they exclude each other."""
    names = sorted({one.label for i in examples for one in given[i]})
    looked_at = [i for i in examples if found[i]]
    if len(names) < 2 or not looked_at:
        return []
    labels = np.array([names.index(given[i][0].label) for i in looked_at])
    rows = np.array([_row(found[i] or (), names) for i in looked_at])
    told = class_errors(labels, rows)
    errors = []
    for place, (i, score) in enumerate(zip(looked_at, told, strict=True)):
        best = int(rows[place].argmax())
        if best == labels[place]:
            continue
        suggested = Region(names[best], WholeImage(), float(rows[place, best]))
        own = float(rows[place, labels[place]])
        reason = f"the model says {suggested.label} ({suggested.score:.0%}), not "
        reason += f"{names[labels[place]]} ({own:.0%})"
        errors.append(
            LabelError(
                ErrorKind.WRONG_LABEL, i, float(score), given[i][0], 0, suggested, None, reason
            )
        )
    return errors


def tag_errors(
    given: Sequence[Answer], found: Sequence[Answer | None], examples: Sequence[int]
) -> list[LabelError]:
    """Classes too many and too few where any number of them may be given: each by itself."""
    names = sorted({one.label for i in examples for one in [*given[i], *(found[i] or ())]})
    looked_at = [i for i in examples if found[i] is not None]
    errors = []
    for name in names if looked_at else []:
        has = np.array([any(one.label == name for one in given[i]) for i in looked_at])
        p = np.array([_row(found[i] or (), [name])[0] for i in looked_at])
        told = class_errors(has.astype(np.int_), np.stack([1 - p, p], axis=1))
        for i, there, yes, score in zip(looked_at, has, p, told, strict=True):
            if (yes >= 0.5) != there:
                errors.append(_tag_error(given[i], i, name, float(yes), float(score)))
    return errors


def _tag_error(given: Answer, example: int, name: str, yes: float, score: float) -> LabelError:
    index = next((n for n, one in enumerate(given) if one.label == name), None)
    if index is None:
        region = Region(name, WholeImage(), yes)
        reason = f"the model is {yes:.0%} sure of {name}, which is not given"
        return LabelError(ErrorKind.MISSING, example, score, None, None, region, None, reason)
    reason = f"the model is only {yes:.0%} sure of {name}"
    return LabelError(ErrorKind.SPURIOUS, example, score, given[index], index, None, None, reason)


def _row(found: Answer, names: Sequence[str]) -> list[float]:
    """The probability of each class, 0 where nothing is said of it."""
    told = {one.label: one.score for one in reversed(found)}
    return [told.get(name, 0.0) for name in names]
