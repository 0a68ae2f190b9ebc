"""The nouns of certificates: what a person checked, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Audit:
    """A task drawn by lot that a person answered without seeing the model's answer.

    `score` is the model's, any finite number, higher = surer; `wrong` says whether the model's
    answer was (see `is_right`); `group` is known before any person looks, as the model's class.
    """

    score: float
    wrong: bool
    group: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ValueError(f"an audit needs a finite score, got {self.score}")


@dataclass(frozen=True)
class Certificate:
    """Which of the model's answers may be accepted, and what is promised of them.

    With probability `confidence` over the draw of the audits, at most the share `max_error` of the
    tasks that score at least `threshold` is wrong; None: nothing may be accepted. Of `audited`
    audits `above` lie at the threshold or above, `errors` of these were wrong; without a threshold
    they are those of the threshold that came nearest. `upper` bounds the share of wrong ones,
    0..1, with the confidence; `accepted` tasks of the pool, the `share` 0..1 of it, are accepted.
    `missing` further audits, all of them clean, would do (0: none are needed; None: not even all
    tasks of the pool would do). `why` says it all to people, in a sentence.

    `groups`, if any, has a certificate for each group that has one of its own, and under "" that of
    all others (`certify_groups`): the promise is kept in each, and `threshold` is the least one.
    """

    max_error: float
    confidence: float
    threshold: float | None
    audited: int
    above: int
    errors: int
    upper: float
    accepted: int
    share: float
    missing: int | None
    why: str
    groups: Mapping[str, Certificate] = field(default_factory=dict)

    def threshold_of(self, group: str) -> float:
        """From which score on an answer of that group is accepted; infinite where none is."""
        one = self.groups.get(group) or self.groups.get("") or (None if self.groups else self)
        return math.inf if one is None or one.threshold is None else one.threshold
