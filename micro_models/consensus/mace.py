"""MACE: a worker knows, or says anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_models.consensus.dawid_skene import frequencies
from micro_models.consensus.result import SHRINK_VOTES, Consensus, concluded, log_softmax, settled
from micro_models.consensus.votes import Matrix, Votes

_HABIT_VOTES = 1.0


def mace(votes: Votes, *, iterations: int = 300, tolerance: float = 1e-4) -> Consensus:
    """The likeliest truth if each vote is either the truth or a spam by the worker's own habit.

    A worker's `competence` is how often it is the truth. Who always says the same is seen through
    by the habit. EM from the shares of votes; who has few votes is as the mean.

    Source: D. Hovy et al., Learning Whom to Trust with MACE, NAACL (2013); MAP instead of its
    restarts, so that it gives the same each time.

    >>> items, workers = np.divmod(np.arange(40), 4)
    >>> labels = np.where(workers < 2, items % 2, workers - 2)  # two see; two always say the same
    >>> found = mace(Votes.of(items, workers, labels))
    >>> found.labels, [round(found.figures[f"competence {w}"], 2) for w in range(4)]
    (array([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), [0.7, 0.7, 0.21, 0.21])
    """
    people = _Spammers.unknown(votes)

    def improve(probabilities: Matrix) -> Matrix:
        nonlocal people
        people = people.seen(votes, probabilities)
        return people.posterior(votes, probabilities)

    found, steps = settled(votes.shares(), improve, iterations=iterations, tolerance=tolerance)
    figures = {f"competence {w}": float(value) for w, value in enumerate(people.competence)}
    return concluded(votes, found, iterations=steps, figures=figures)


@dataclass(frozen=True, eq=False)
class _Spammers:
    """(workers,) how often each knows, and (workers, classes) what each says otherwise."""

    competence: Matrix
    habit: Matrix

    @classmethod
    def unknown(cls, votes: Votes) -> _Spammers:
        size = votes.n_classes
        return cls(np.full(votes.n_workers, 0.5), np.full((votes.n_workers, size), 1 / size))

    def _spam(self, votes: Votes) -> Matrix:
        """(n,) how probable each vote is as a spam."""
        spam = (1 - self.competence[votes.workers]) * self.habit[votes.workers, votes.labels]
        return np.asarray(np.maximum(spam, 1e-12))

    def seen(self, votes: Votes, probabilities: Matrix) -> _Spammers:
        """Fitted to the probabilities of the truth."""
        knows, spam = self.competence[votes.workers], self._spam(votes)
        # Of each vote: how probable it is that the worker knew it.
        knew = probabilities[votes.items, votes.labels] * knows / (knows + spam)
        count = np.bincount(votes.workers, minlength=votes.n_workers)
        sums = np.bincount(votes.workers, weights=knew, minlength=votes.n_workers)
        mean = (knew.sum() + 1) / (len(knew) + 2)
        size = votes.n_classes
        cells = votes.workers * size + votes.labels
        spams = np.bincount(cells, weights=1 - knew, minlength=votes.n_workers * size)
        habit = spams.reshape(-1, size) + _HABIT_VOTES / size
        return _Spammers(
            (sums + SHRINK_VOTES * mean) / (count + SHRINK_VOTES),
            habit / habit.sum(axis=1, keepdims=True),
        )

    def posterior(self, votes: Votes, before: Matrix) -> Matrix:
        """(items, classes) probabilities of the truth."""
        knows, spam = self.competence[votes.workers], self._spam(votes)
        gain = np.eye(votes.n_classes)[votes.labels] * np.log1p(knows / spam)[:, None]
        return np.exp(log_softmax(votes.summed(gain) + np.log(frequencies(before))))
