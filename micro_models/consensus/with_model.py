"""People and a model together: the model counts by its measured reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from micro_models.consensus.dawid_skene import dawid_skene, frequencies, log_posterior
from micro_models.consensus.result import Consensus, concluded, log_softmax
from micro_models.consensus.votes import Ints, Matrix, Votes

# How alike people's errors on one item are (Kish's design effect): tried, and how likely before.
_ALIKE = np.array([0.01, 0.03, 0.06, 0.1, 0.17, 0.25, 0.35, 0.5, 0.7, 0.9])
_ALIKE_MIDDLE, _ALIKE_SPREAD = 0.25, 0.7
# Before anything is measured: its first class, its probabilities, nothing, and a confused class.
_PRIOR = np.array([0.5, 0.5, 2.0, 0.5])
# A row of the table of confusions begins as this many, spread by how frequent classes are.
_ROW_CONFUSIONS = 4.0
_BIN_STRENGTH, _BIN_ITEMS, _MOST_BINS = 10.0, 25, 4
_FLOOR = -60.0


def with_model(
    votes: Votes, probabilities: ArrayLike, *, people: Consensus | None = None
) -> Consensus:
    """People's votes joined with a model's out-of-sample `probabilities`, (items, classes).

    As CROWDLAB, each side counts by how reliable it is seen to be; the ways differ. People's
    Dawid-Skene odds are tempered by 1 / (1 + (votes - 1) a), since people err alike on hard items.
    Where the model is as sure, it is a mixture: its first class, its probabilities as they are, or
    nothing at all (the frequencies of the classes). The mixture is fitted by how well both fit
    together, which they only do as far as both know the truth: P(people, model) ~ sum over classes
    of p q / frequency. A model that agrees by chance only gets "nothing at all", so its weight goes
    to zero, and one too sure of its errors is found out bin by bin. With three classes or more it
    is fitted a second time with a table of which class it takes for which: else one that knows two
    breeds from all others, but not from each other, would seem to be right wherever people doubt
    between the two. All a, with and without the table, are weighed by that fit, the table less its
    k (k - 2) entries (BIC). A row of NaN: no answer of the model. Items without votes get the
    model's probabilities, as far as it is trusted.

    `figures`: "trust", the share of its answers that count, 0..1; "alike", a; "confuses", how
    probable it is that the table is needed.

    Source: after H. Goh et al., CROWDLAB (2022); L. Kish, Survey Sampling (1965); G. Schwarz,
    Estimating the Dimension of a Model (1978).

    >>> rng = np.random.default_rng(0)
    >>> truth = np.arange(60) % 2
    >>> items, workers = np.divmod(np.arange(180), 3)
    >>> labels = np.where(rng.random(180) < 0.75, truth[items], 1 - truth[items])
    >>> votes = Votes.of(items, workers, labels)
    >>> good = np.where(rng.random(60) < 0.95, truth, 1 - truth)
    >>> joined = with_model(votes, np.eye(2)[good] * 0.8 + 0.1)
    >>> int((dawid_skene(votes).labels == truth).sum()), int((joined.labels == truth).sum())
    (43, 56)
    >>> with_model(votes, np.eye(2)[rng.integers(0, 2, 60)]).figures["trust"] < 0.2
    True
    """
    from_people = people or dawid_skene(votes)
    model = _Model.of(np.asarray(probabilities, dtype=np.float64), votes)
    shares = frequencies(from_people.probabilities)
    scores = np.maximum(_scores(votes, from_people), _FLOOR) - np.log(shares)
    joined, fits, told = [], [], []
    for alike in _ALIKE:
        tempered = scores / (1 + np.maximum(votes.per_item() - 1, 0) * alike)[:, None]
        crowd = _balanced(tempered + np.log(shares), shares)
        for confuses in (False, True) if votes.n_classes > 2 else (False,):
            fit = model.fitted(crowd, shares, confuses=confuses)
            both = crowd * model.answers(fit, shares) / shares
            joined.append(both / both.sum(axis=1, keepdims=True))
            fits.append(fit.fit + _before(alike))
            told.append((model.trust(fit), alike, confuses))
    likely = np.exp(np.array(fits) - max(fits))
    likely /= likely.sum()
    trust, alike, needed = (likely @ np.array(told, dtype=np.float64)).tolist()
    return concluded(
        votes,
        np.asarray(np.tensordot(likely, np.stack(joined), axes=1)),
        iterations=from_people.iterations,
        confusions=from_people.confusions,
        figures={"trust": trust, "alike": alike, "confuses": needed},
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """(bins, parts) `weights` of the mixture; (first class, truth) `table` of what is confused, if
    that is a part; the logarithm of how well both sides fit together.
    """

    weights: Matrix
    table: Matrix | None
    fit: float


@dataclass(frozen=True, eq=False)
class _Model:
    """A model's answers: the items that have one, `probabilities`, `first` class, bin of each."""

    items: Ints
    n_items: int
    probabilities: Matrix
    first: Ints
    bins: Ints

    @classmethod
    def of(cls, probabilities: Matrix, votes: Votes) -> _Model:
        """Errors: `ValueError` for another shape, or what is no probability."""
        if probabilities.shape != (votes.n_items, votes.n_classes):
            raise ValueError(
                f"probabilities are {(votes.n_items, votes.n_classes)}, not {probabilities.shape}"
            )
        items = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
        own = probabilities[items]
        if (own < 0).any() or not np.isfinite(own).all() or (own.sum(axis=1) <= 0).any():
            raise ValueError("probabilities are 0 or more, and some of each row are more")
        own = own / own.sum(axis=1, keepdims=True)
        return cls(items, votes.n_items, own, own.argmax(axis=1), _bins(own.max(axis=1)))

    def fitted(self, crowd: Matrix, shares: Matrix, *, confuses: bool) -> _Fit:
        """By EM; without the table the likelihood has one maximum, since weights mix linearly."""
        lift = crowd[self.items] / shares
        table = before = _spread_evenly(shares)
        size = len(_PRIOR) if confuses else len(_PRIOR) - 1
        weights: Matrix = np.full((int(self.bins.max(initial=0)) + 1, size), 1 / size)
        for _ in range(100):
            confused = lift * table[self.first]
            parts = self._each(lift, confused)[:, :size] * weights[self.bins]
            parts /= parts.sum(axis=1, keepdims=True)
            new = self._counted(parts)
            moved = float(np.abs(new - weights).max())
            weights = new
            if confuses:
                sums = confused * (parts[:, -1] / np.maximum(confused.sum(axis=1), 1e-300))[:, None]
                seen = np.zeros_like(before)
                np.add.at(seen, self.first, sums)
                seen += _ROW_CONFUSIONS * before
                changed: Matrix = seen / seen.sum(axis=1, keepdims=True)
                moved = max(moved, float(np.abs(changed - table).max()))
                table = changed
            if moved < 1e-4:
                break
        each = self._each(lift, lift * table[self.first])[:, :size] * weights[self.bins]
        fit = float(np.log(each.sum(axis=1)).sum())
        if not confuses:
            return _Fit(weights, None, fit)
        entries = len(shares) * (len(shares) - 2)
        return _Fit(weights, table, fit - entries / 2 * np.log(1 + len(self.items) / len(shares)))

    def _each(self, lift: Matrix, confused: Matrix) -> Matrix:
        """(its items, parts) how well each part of the mixture fits what people say."""
        return np.stack(
            [
                np.take_along_axis(lift, self.first[:, None], axis=1)[:, 0],
                (lift * self.probabilities).sum(axis=1),
                np.ones(len(self.items)),
                confused.sum(axis=1),
            ],
            axis=1,
        )

    def _counted(self, parts: Matrix) -> Matrix:
        """(bins, parts) the weights that follow; a bin begins as the mean of all."""
        size, bins = parts.shape[1], int(self.bins.max(initial=0)) + 1
        count = np.stack([np.bincount(self.bins, parts[:, at], bins) for at in range(size)], axis=1)
        mean = count.sum(axis=0) + _PRIOR[:size]
        new = count + _BIN_STRENGTH * mean / mean.sum()
        return np.asarray(new / new.sum(axis=1, keepdims=True))

    def answers(self, fit: _Fit, shares: Matrix) -> Matrix:
        """(items, classes) its probabilities as far as they are trusted."""
        found = np.tile(shares, (self.n_items, 1))
        own = fit.weights[self.bins]
        first = np.eye(len(shares))[self.first]
        said = own[:, :1] * first + own[:, 1:2] * self.probabilities + own[:, 2:3] * shares
        if fit.table is not None:
            said += own[:, 3:] * fit.table[self.first]
        found[self.items] = said
        return found

    def trust(self, fit: _Fit) -> float:
        """The share of its answers that are not taken for nothing, 0..1."""
        return float(1 - fit.weights[self.bins, 2].mean()) if len(self.items) else 0.0


def _spread_evenly(shares: Matrix) -> Matrix:
    """(first class, truth) any other class, as frequent as it is."""
    other = shares * (1 - np.eye(len(shares)))
    return np.asarray(other / np.maximum(other.sum(axis=1, keepdims=True), 1e-300))


def _bins(sure: Matrix) -> Ints:
    """(n,) which of up to four equal parts, by how sure the model is."""
    parts = int(np.clip(len(sure) // _BIN_ITEMS, 1, _MOST_BINS))
    if parts == 1:
        return np.zeros(len(sure), np.int64)
    edges = np.quantile(sure, np.linspace(0, 1, parts + 1)[1:-1])
    return np.unique(np.searchsorted(edges, sure, side="left"), return_inverse=True)[1]


def _scores(votes: Votes, people: Consensus) -> Matrix:
    """(items, classes) logarithms of people's probabilities, as far apart as they are."""
    if people.confusions is None:
        return np.asarray(np.log(np.maximum(people.probabilities, 1e-12)))
    return log_posterior(votes, people.confusions, people.probabilities)


def _balanced(scores: Matrix, shares: Matrix) -> Matrix:
    """Probabilities of which each class has the share that it should have."""
    bias = np.zeros(len(shares))
    for _ in range(30):
        found = np.exp(log_softmax(scores + bias))
        mean = np.maximum(found.mean(axis=0), 1e-12)
        if np.abs(mean - shares).max() < 1e-4:
            break
        bias += np.log(shares) - np.log(mean)
    return np.exp(log_softmax(scores + bias))


def _before(alike: float) -> float:
    away = np.log(alike / (1 - alike)) - np.log(_ALIKE_MIDDLE / (1 - _ALIKE_MIDDLE))
    return float(-0.5 * (away / _ALIKE_SPREAD) ** 2)
