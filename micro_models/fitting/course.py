"""How a training divides its budget into stages, and tells how far it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from micro_models.budget import Budget, Progress, Told, ignore

# For what comes after the last stage: putting the model together.
_RESERVE = 0.02


@dataclass(frozen=True)
class Stage:
    """A part of a training: what it may use, and whom to tell."""

    budget: Budget
    told: Told


class Course:
    """A budget that is used stage by stage; each has its share, the last all that is left.

    >>> course = Course(Budget(steps=100))
    >>> course.stage("first", 0.25).budget
    Budget(seconds=None, steps=25)
    >>> course.last("second").budget
    Budget(seconds=None, steps=75)
    """

    def __init__(self, budget: Budget, told: Told = ignore) -> None:
        self.budget = budget
        self._clock = budget.start()
        self._told = told
        self._shared = 0.0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock.seconds

    def stage(self, name: str, share: float) -> Stage:
        """The next stage, which has a `share`, 0..1, of the whole budget, if that much is left."""
        planned, begin = self.budget.share(share), self._shared
        self._shared += share
        return Stage(self._at_most(planned), self._teller(name, begin, share))

    def last(self, name: str, *, kept: float = 0.0) -> Stage:
        """The last stage: all steps that no stage had, and all seconds that are left.

        But for a share of the seconds that is `kept` for what trains nothing.
        """
        rest = max(1.0 - self._shared, 0.0)
        seconds = self.budget.seconds
        if seconds is not None:
            seconds = max(self._left_s() - kept * seconds, 1e-3)
        planned = replace(self.budget.share(rest), seconds=seconds)
        return Stage(planned, self._teller(name, self._shared, rest))

    @property
    def over(self) -> bool:
        """Whether no time is left; never of a budget of steps."""
        return self.budget.seconds is not None and self._left_s() <= 1e-3

    def used(self, share: float) -> bool:
        """Whether this share of the time is over; never of a budget of steps."""
        return self.budget.seconds is not None and self.seconds > share * self.budget.seconds

    def late(self, share: float) -> bool:
        """Whether so little time is left that a stage with this share would end the course."""
        return self.budget.seconds is not None and self._left_s() < 2 * share * self.budget.seconds

    def tell(self, name: str) -> None:
        """Tell that a stage begins that trains nothing."""
        self._teller(name, self._shared, 0.0)(Progress(name, 0.0))

    def _left_s(self) -> float:
        whole = self.budget.seconds or 0.0
        return max(whole * (1 - _RESERVE) - self._clock.seconds, 1e-3)

    def _at_most(self, planned: Budget) -> Budget:
        if planned.seconds is None:
            return planned
        return replace(planned, seconds=min(planned.seconds, self._left_s()))

    def _teller(self, name: str, begin: float, share: float) -> Told:
        def tell(inner: Progress) -> None:
            by_stage = begin + share * inner.spent
            whole = self.budget.seconds
            remaining = None if whole is None else max(whole - self._clock.seconds, 0.0)
            by_time = 0.0 if whole is None else self._clock.seconds / whole
            spent = by_stage if self.budget.steps is not None else by_time
            self._told(Progress(name, min(max(spent, 0.0), 1.0), inner.step, inner.loss, remaining))

        return tell
