"""Whether a thing is there that some annotators drew and others did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_models.consensus.votes import Ints, Matrix

# Before anything is measured: how often a thing that is there is drawn, how often one that is not
# there is drawn by a certain person, and how many of the drawn things are there.
_HIT, _FALSE, _THERE = 0.85, 0.1, 0.9
# Each level of means counts as so many observations for the one below: all, a person, a class.
_STRENGTH = 12.0
# What is usual counts as that many things beside each that was drawn: where two people differ the
# figures alone can be explained in two ways, and would run to one of the ends.
_USUAL = 0.5
# The model's answers say nothing about what is there until so many things say they do.
_TABLE = 8.0
_MOST_UNSEEN = 0.95
# The model's answer to a thing by its score; -1 stands for no answer.
MODEL_BINS = (0.05, 0.25, 0.5, 0.75)
_SURE_BIN = 3  # from 0.5 on a model's own find is a candidate


@dataclass(frozen=True, eq=False)
class Sightings:
    """Who of those who looked drew what.

    A look: `things`, `people` and `drew`, (n,) each: whether this person, who labelled the picture,
    drew this thing. `classes`: (things,) integers. `model`: (things,) bins of `model_bins`.
    """

    things: Ints
    people: Ints
    drew: Matrix
    classes: Ints
    model: Ints
    n_people: int
    n_classes: int


@dataclass(frozen=True, eq=False)
class Existence:
    """`there`: (things,) probabilities. `hits`: (people, classes) how often each draws what is
    there; `false_alarms`: the share of what each drew that is not. `model_lift`: (bins,) how much
    likelier each answer of the model is where something is than where nothing is.
    """

    there: Matrix
    hits: Matrix
    false_alarms: Matrix
    model_lift: Matrix


def model_bins(scores: Matrix) -> Ints:
    """(n,) scores 0..1, 0: not found -> (n,) bins.

    >>> model_bins(np.array([0.0, 0.3, 0.9]))
    array([0, 2, 4])
    """
    return np.searchsorted(MODEL_BINS, scores, side="right").astype(np.int64)


def existence(seen: Sightings, *, iterations: int = 200, tolerance: float = 1e-4) -> Existence:
    """The likeliest explanation of what was drawn: things that some missed, or false alarms.

    EM with two kinds of things, each drawn independently, by rates of each person and class; rates
    of few observations are as the person's over all classes, these as everybody's. What nobody drew
    is not known and is counted by what is expected. The model is one more annotator, by the bins of
    its score; of few things, its answers say nothing. With two people who differ, nothing tells a
    miss from a false alarm but what is usual: then the priors decide.

    Source: after A. Dawid, A. Skene (1979); the unseen: A. Dempster et al., EM (1977), 4.2.

    >>> looks = np.arange(36)
    >>> things, people = np.divmod(looks, 3)
    >>> drew = np.where(things < 10, 1.0, people == 2)  # ten drawn by all, two by the third alone
    >>> nothing = np.zeros(12, np.int64)
    >>> found = existence(Sightings(things, people, drew, nothing, nothing - 1, 3, 1))
    >>> found.there.round(1)[[0, 9, 10]], found.false_alarms[:, 0].round(1)
    (array([1., 1., 0.]), array([0. , 0. , 0.2]))
    """
    shape = seen.n_people, seen.n_classes
    cells = seen.people * seen.n_classes + seen.classes[seen.things]
    looks = np.maximum(np.bincount(seen.things, minlength=len(seen.classes)), 1)
    there = np.bincount(seen.things, seen.drew, minlength=len(seen.classes)) / looks
    there = np.asarray(there.clip(0.1, 0.95), dtype=np.float64)
    hits: Matrix = np.full(shape, _HIT)
    alarms: Matrix = np.full(shape, _FALSE)
    bins = len(MODEL_BINS) + 1
    tables: Matrix = np.full((2, bins), 1 / bins)
    for _ in range(iterations):
        tables = _tables(seen, there, bins)
        unseen = [
            _unseen(seen, rate, tables[kind], cells) for kind, rate in ((0, hits), (1, alarms))
        ]
        hits = _rates(seen, there, unseen[0], cells, shape, _HIT)
        alarms = _rates(seen, 1 - there, unseen[1], cells, shape, _FALSE)
        found = _there(seen, there, (hits, alarms), tables, cells)
        moved = float(np.abs(found - there).max(initial=0.0))
        there = found
        if moved < tolerance:
            break
    return Existence(there, hits, _false_shares(seen, there, cells, shape), tables[0] / tables[1])


def _log_drawn(seen: Sightings, rates: Matrix, cells: Ints) -> Matrix:
    """(things,) logarithm of the probability of who drew it."""
    rate = rates.ravel()[cells]
    each = np.where(seen.drew > 0, np.log(rate), np.log1p(-rate))
    return np.asarray(np.bincount(seen.things, each, minlength=len(seen.classes)))


def _unseen(seen: Sightings, rates: Matrix, table: Matrix, cells: Ints) -> Matrix:
    """(things,) how many more such things nobody drew, for each that somebody drew."""
    none = np.bincount(seen.things, np.log1p(-rates.ravel()[cells]), minlength=len(seen.classes))
    chance = np.exp(none) * np.where(seen.model >= 0, table[:_SURE_BIN].sum(), 1.0)
    chance = np.minimum(chance, _MOST_UNSEEN)
    return np.asarray(chance / (1 - chance))


def _rates(
    seen: Sightings,
    kind: Matrix,
    unseen: Matrix,
    cells: Ints,
    shape: tuple[int, int],
    usual: float,
) -> Matrix:
    """(people, classes) how often each drew things of a kind."""
    weight, size = kind[seen.things], shape[0] * shape[1]
    drawn = np.bincount(cells, weight * seen.drew, minlength=size).reshape(shape)
    looks = weight * (1 + unseen[seen.things])
    total = np.bincount(cells, looks, minlength=size).reshape(shape)
    known = _STRENGTH + _USUAL * len(kind)
    mean = (drawn.sum() + known * usual) / (total.sum() + known)
    own = (drawn.sum(axis=1) + _STRENGTH * mean) / (total.sum(axis=1) + _STRENGTH)
    rates = (drawn + _STRENGTH * own[:, None]) / (total + _STRENGTH)
    return np.asarray(rates.clip(1e-3, 1 - 1e-3))


def _tables(seen: Sightings, there: Matrix, bins: int) -> Matrix:
    """(2, bins) probabilities of the model's answers where something is, and where nothing is."""
    has = seen.model >= 0
    count = np.stack([np.bincount(seen.model[has], kind[has], bins) for kind in (there, 1 - there)])
    pooled = (count.sum(axis=0) + 1 / bins) / (count.sum() + 1)
    smooth = count + _TABLE * pooled
    return np.asarray(smooth / smooth.sum(axis=1, keepdims=True))


def _there(
    seen: Sightings,
    before: Matrix,
    rates: tuple[Matrix, Matrix],
    tables: Matrix,
    cells: Ints,
) -> Matrix:
    """(things,) probabilities by these rates, given that somebody drew it."""
    size = seen.n_classes
    count = np.bincount(seen.classes, minlength=size)
    sums = np.bincount(seen.classes, before, minlength=size)
    known = _STRENGTH + _USUAL * count.sum()
    mean = (sums.sum() + known * _THERE) / (count.sum() + known)
    share = ((sums + _STRENGTH * mean) / (count + _STRENGTH))[seen.classes]
    logs = []
    for kind, prior in ((0, share), (1, 1 - share)):
        unseen = _unseen(seen, rates[kind], tables[kind], cells)
        answer = np.where(seen.model >= 0, np.log(tables[kind][seen.model]), 0.0)
        # 1 / (1 - chance of being unseen) = 1 + what is unseen.
        drawn = _log_drawn(seen, rates[kind], cells)
        logs.append(np.log(prior) + drawn + answer + np.log1p(unseen))
    return np.asarray(1 / (1 + np.exp((logs[1] - logs[0]).clip(-50, 50))))


def _false_shares(seen: Sightings, there: Matrix, cells: Ints, shape: tuple[int, int]) -> Matrix:
    size = shape[0] * shape[1]
    drawn = np.bincount(cells, seen.drew, minlength=size)
    false = np.bincount(cells, seen.drew * (1 - there[seen.things]), minlength=size)
    return np.asarray((false / np.maximum(drawn, 1e-9)).reshape(shape))
