"""Watching what is accepted: is it still right often enough?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

# What the error may have become, as multiples of the odds promised: the bets of the alarm.
_WORSE = (1.5, 2.0, 4.0, 8.0, 16.0)


@dataclass(frozen=True)
class Monitor:
    """Verdicts on a random share of the accepted tasks, one after the other, weighed at any time.

    A capital that begins with 1, the `evidence`, bets against "at most `max_error` is wrong". While
    that holds it cannot grow on average, whatever was seen before, so the probability that it ever
    reaches 1 / delta is delta at most (Ville's inequality), however often one looks, and whichever
    models took turns: no number of verdicts is fixed beforehand. A right verdict multiplies a bet
    on the share q by (1 - q) / (1 - max_error), a wrong one by q / max_error; several q are bet on.

    The capital is also spread over the times at which the error may have risen (the bets that
    begin with the n-th verdict get 1 / (n (n + 1)) of it), for a drift after a long good time must
    be seen soon. It makes an `alarm`, which stays, by being 1 / delta once.

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

    def after(
        self,
        wrong: bool,  # noqa: FBT001 - the one thing that there is to say
        *,
        max_error: float | None = None,
    ) -> Monitor:
        """What is known after one more verdict; the old one stays as it was.

        `max_error`: what was promised of just this one, where that is another share.

        >>> Monitor(max_error=0.1).after(True).wrong
        1
        """
        number, promised = self.seen + 1, self.max_error if max_error is None else max_error
        stake = 1.0 / (number * (number + 1) * len(_WORSE))
        bets = tuple(
            (bet + stake) * _factor(share, promised, wrong=wrong)
            for bet, share in zip(self.bets, _worse(promised), strict=True)
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


def _worse(max_error: float) -> tuple[float, ...]:
    """What the error may have become, above `max_error` and below 1."""
    odds = max_error / (1.0 - max_error)
    return tuple(times * odds / (1.0 + times * odds) for times in _WORSE)


def _factor(share: float, max_error: float, *, wrong: bool) -> float:
    return share / max_error if wrong else (1.0 - share) / (1.0 - max_error)
