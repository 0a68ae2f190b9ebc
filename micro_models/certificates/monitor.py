"""Watching what is accepted: is it still right often enough?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

# What the error may have become, as multiples of the odds promised: the bets of the alarm.
_WORSE = (1.5, 2.0, 4.0, 8.0, 16.0)
# And what it may still be, as parts of the share promised: the bets of the support.
_BETTER = (0.0, 0.125, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Monitor:
    """Verdicts on a random share of the accepted tasks, one after the other, weighed at any time.

    Two capitals that begin with 1, each betting against a statement: `evidence` against "at most
    `max_error` is wrong", `support` against "`max_error` or more is wrong". While its statement
    holds none can grow on average, whatever was seen before, so the probability that it ever
    reaches 1 / delta is delta at most (Ville's inequality), however often one looks, and whichever
    models took turns: no number of verdicts is fixed beforehand. A right verdict multiplies a bet
    on the share q by (1 - q) / (1 - max_error), a wrong one by q / max_error; several q are bet on.

    The evidence is also spread over the times at which the error may have risen (the bets that
    begin with the n-th verdict get 1 / (n (n + 1)) of the capital), for a drift after a long good
    time must be seen soon. It makes an `alarm`, which stays, by being 1 / delta once. Support of
    1 / delta says that the models checked so far were wrong less often than `max_error`, each
    counted by its verdicts: a certificate of its own, without any audits.

    Sources: I. Waudby-Smith, A. Ramdas, Estimating Means of Bounded Random Variables by Betting
    (2023); J. Shin, A. Ramdas, A. Rinaldo, E-detectors (2022).

    >>> watch = Monitor(max_error=0.02)
    >>> for wrong in [False] * 50 + [True, False, True, True, True]:
    ...     watch = watch.after(wrong)
    >>> watch.seen, watch.wrong, watch.alarm
    (55, 4, True)
    """

    max_error: float
    delta: float = 0.1
    seen: int = 0
    wrong: int = 0
    peak: float = 1.0
    bets: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if not (0.0 < self.max_error < 1.0 and 0.0 < self.delta < 1.0):
            raise ValueError(
                f"max_error and delta lie between 0 and 1, ends excluded, not {self.max_error}, "
                f"{self.delta}"
            )
        if not self.bets:
            object.__setattr__(self, "bets", (0.0,) * len(_WORSE))
        if len(self.bets) != len(_WORSE) or not 0 <= self.wrong <= self.seen:
            raise ValueError("these are not the figures of a monitor; begin a new one")

    def after(self, wrong: bool) -> Monitor:  # noqa: FBT001 - the one thing that there is to say
        """What is known after one more verdict; the old one stays as it was.

        >>> Monitor(max_error=0.1).after(True).wrong
        1
        """
        number = self.seen + 1
        stake = 1.0 / (number * (number + 1) * len(_WORSE))
        bets = tuple(
            (bet + stake) * _factor(share, self.max_error, wrong=wrong)
            for bet, share in zip(self.bets, self._worse(), strict=True)
        )
        told = replace(self, seen=number, wrong=self.wrong + wrong, bets=bets)
        return replace(told, peak=max(self.peak, told.evidence))

    @property
    def evidence(self) -> float:
        """The capital, 0 and more, that bets on the error being too high; it began with 1."""
        return sum(self.bets) + 1.0 / (self.seen + 1)

    @property
    def alarm(self) -> bool:
        """Whether the evidence ever reached 1 / `delta`: then the error is too high."""
        return self.peak >= 1.0 / self.delta

    @property
    def support(self) -> float:
        """The capital, 0 and more, that bets on the error being low enough; it began with 1."""
        right = self.seen - self.wrong
        logs = [
            self._log(part * self.max_error, right) for part in _BETTER if part or not self.wrong
        ]
        return sum(math.exp(min(one, 700.0)) for one in logs) / len(_BETTER)

    @property
    def supported(self) -> bool:
        """Whether the verdicts alone say, with 1 - `delta`, that the error is low enough."""
        return self.support >= 1.0 / self.delta

    def _worse(self) -> tuple[float, ...]:
        """What the error may have become, above `max_error` and below 1."""
        odds = self.max_error / (1.0 - self.max_error)
        return tuple(times * odds / (1.0 + times * odds) for times in _WORSE)

    def _log(self, share: float, right: int) -> float:
        lost = self.wrong * math.log(share / self.max_error) if self.wrong else 0.0
        return lost + right * math.log((1.0 - share) / (1.0 - self.max_error))


def _factor(share: float, max_error: float, *, wrong: bool) -> float:
    return share / max_error if wrong else (1.0 - share) / (1.0 - max_error)
