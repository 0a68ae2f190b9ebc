"""Trying trainers on held-out examples, and which of them wins."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.examples import Example
from micro_models.fitting.committee import CommitteeTrainer
from micro_models.fitting.course import Course
from micro_models.fitting.report import TrialReport
from micro_models.fitting.validation import HeldOut, Quality, cross_validated, fused, quality
from micro_models.interface import Learned, Trainer
from micro_models.regions import Image

# A trainer is trusted more than those before it unless it is worse by this much: it gets more time
# for the model itself than for its trial, and the figures of few images are rough.
MARGIN = 0.05
# Who found less than this part of what another did is no help to it.
_HELPS = 0.25
# After this part of the time a trial goes no further: the model itself should get the rest.
_LATE = 0.6


@dataclass(frozen=True)
class Trial:
    """What came of trying a trainer."""

    trainer: Trainer
    held: HeldOut
    quality: Quality
    folds: int
    seconds: float

    @property
    def report(self) -> TrialReport:
        """For people and files."""
        return TrialReport(
            self.trainer.name,
            round(self.quality.score, 4),
            {label: round(value, 4) for label, value in self.quality.by_label.items()},
            None if self.quality.accuracy is None else round(self.quality.accuracy, 4),
            len(self.held.truth),
            self.folds,
            round(self.seconds, 2),
        )


def tried(
    trainer: Trainer,
    examples: Sequence[Example],
    groups: Sequence[Sequence[int]],
    *,
    course: Course,
    share: float,
    seed: int,
    unlabelled: Sequence[Image] = (),
) -> Trial:
    """Cross-validate a trainer with a `share`, 0..1, of the course's budget."""
    began = time.monotonic()

    def fit_part(some: Sequence[Example], number: int) -> Learned:
        name = f"{trainer.name}, trial {number + 1} of {len(groups)}"
        stage = course.stage(name, share / len(groups))
        return trainer.fit(
            some,
            budget=stage.budget,
            seed=derived(seed, number + 1),
            unlabelled=unlabelled,
            told=stage.told,
        )

    held = cross_validated(fit_part, examples, groups, is_late=lambda: course.used(_LATE))
    count = len(set(held.fold))
    return Trial(trainer, held, quality(held), count, time.monotonic() - began)


def derived(seed: int, number: int) -> int:
    """Another seed for each number, the same every time.

    >>> derived(0, 1) == derived(0, 1), derived(0, 1) == derived(0, 2)
    (True, False)
    """
    return int(np.random.SeedSequence([seed % 2**63, number]).generate_state(1)[0])


def with_committee(trials: Sequence[Trial]) -> list[Trial]:
    """The trials and, if the first and the last are both of use, that of both together."""
    if len(trials) < 2 or not _help_each_other(trials[0], trials[-1]):
        return list(trials)
    first, last = trials[0], trials[-1]
    held = fused(first.held, last.held)
    trainer = CommitteeTrainer(first.trainer, last.trainer)
    return [*trials, Trial(trainer, held, quality(held), last.folds, 0.0)]


def _help_each_other(one: Trial, other: Trial) -> bool:
    low, high = sorted((one.quality.score, other.quality.score))
    return one.held.truth == other.held.truth and low > _HELPS * high


def winner(trials: Sequence[Trial]) -> tuple[Trial, str]:
    """The best of at least one trial, in ascending order of trust, and why it is."""
    best = trials[-1]
    for trial in reversed(trials[:-1]):
        if trial.quality.score > best.quality.score + MARGIN:
            best = trial
    others = [trial for trial in trials if trial is not best]
    if not others:
        return best, "the only one that was tried"
    rivals = ", ".join(f"{one.trainer.name}'s {one.quality.score:.3f}" for one in others)
    if any(one.quality.score > best.quality.score for one in others):
        return best, (
            f"held-out quality {best.quality.score:.3f} against {rivals}: near enough for who "
            "gains from the rest of the time"
        )
    return best, f"the best held-out quality: {best.quality.score:.3f} against {rivals}"
