"""The nouns of advice: a measured point of a learning curve, what was measured, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backends.advise.targets import Metric


@dataclass(frozen=True)
class Run:
    """A training to be measured: indices of the examples that it learns and is tested on."""

    family: str
    draw: int
    train: tuple[int, ...]
    test: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many labels it learns."""
        return len(self.train)


@dataclass(frozen=True)
class Measured:
    """What a model of some labels scored on others that it had not seen.

    `scores` 0..1 by metric, of `tested` labels; `train` and `test` are digests of those labels, by
    which it is known whether they are still the same; `budget_s`: how long it could train.
    """

    family: str
    budget_s: float
    scores: Mapping[Metric, float]
    train: frozenset[str]
    test: frozenset[str]
    took_s: float = 0.0

    @property
    def size(self) -> int:
        """How many labels it learned."""
        return len(self.train)

    @property
    def tested(self) -> int:
        """On how many it was tested."""
        return len(self.test)


@dataclass(frozen=True)
class Advice:
    """A plan that was made, all of it plain JSON in `figures`; times are seconds since 1970."""

    project_key: str
    scope: str
    made_at: float
    figures: Mapping[str, Any] = field(default_factory=dict)
