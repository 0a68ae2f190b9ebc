"""How long a training may take, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """`seconds` of wall clock, or optimiser `steps`; with both, whichever is used up first.

    Only a budget of steps alone gives the same model again: a clock never ticks twice alike.

    >>> Budget(seconds=60).share(0.25)
    Budget(seconds=15.0, steps=None)
    """

    seconds: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.seconds is None and self.steps is None:
            raise ValueError("a budget needs seconds or steps: Budget(seconds=60)")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise ValueError(f"a budget needs seconds > 0, got {self.seconds}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"a budget needs steps >= 1, got {self.steps}")

    def share(self, part: float) -> Budget:
        """A part, 0..1, of it; at least one step.

        >>> Budget(steps=400).share(0.25)
        Budget(seconds=None, steps=100)
        """
        return Budget(
            None if self.seconds is None else self.seconds * part,
            None if self.steps is None else max(round(self.steps * part), 1),
        )

    def start(self) -> Clock:
        """A clock that begins now.

        >>> Budget(steps=400).start().spent
        0.0
        """
        return Clock(self)


class Clock:
    """A budget that is being used.

    >>> clock = Budget(steps=2).start()
    >>> clock.tick(), clock.spent, clock.over
    (None, 0.5, False)
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.steps = 0
        self._began = time.monotonic()

    def tick(self) -> None:
        """One optimiser step is done."""
        self.steps += 1

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    @property
    def spent(self) -> float:
        """The used part, 0..1."""
        seconds, steps = self.budget.seconds, self.budget.steps
        by_time = 0.0 if seconds is None else self.seconds / seconds
        by_steps = 0.0 if steps is None else self.steps / steps
        return min(max(by_time, by_steps), 1.0)

    @property
    def over(self) -> bool:
        """Whether it is used up."""
        return self.spent >= 1.0

    def left(self) -> Budget:
        """What is left of it, as a budget of its own: at least a step and a millisecond."""
        seconds, steps = self.budget.seconds, self.budget.steps
        return Budget(
            None if seconds is None else max(seconds - self.seconds, 1e-3),
            None if steps is None else max(steps - self.steps, 1),
        )


@dataclass(frozen=True)
class Progress:
    """How far a training is: `spent` of its budget, 0..1; `loss` of the last step."""

    stage: str
    spent: float
    step: int = 0
    loss: float | None = None
    remaining_s: float | None = None


# Called now and then from the training thread. To cancel a training, raise from it.
Told = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Tell nobody.

    >>> ignore(Progress("reading pictures", spent=0.0))
    """
