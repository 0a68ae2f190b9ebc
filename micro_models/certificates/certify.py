"""The certificate: which threshold keeps the promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from micro_models.certificates.ladder import Ladder, ladder
from micro_models.certificates.nouns import Audit, Certificate
from micro_models.certificates.risk import (
    checked,
    least_audits,
    p_values,
    upper_bound,
)
from micro_models.certificates.sequence import loosest, weights

# Above how many thresholds further audits are tried.
_PLACES = 40


def certify(
    audits: Sequence[Audit],
    pool: Sequence[float],
    *,
    max_error: float,
    confidence: float,
    look: int | None = None,
) -> Certificate:
    """The loosest threshold above which at most `max_error` of the pool's tasks is wrong, if any.

    `pool` has the scores of the tasks that may be accepted; the audits have to be drawn by lot from
    among these before anybody answered them, and the model must not have learned from them.
    Promised, with probability `confidence` over that lot: of the tasks of the pool that score at
    least the threshold the share `max_error` at most is wrong, counted among just those tasks; and
    so is the model's rate of errors there. Nothing is assumed of the scores: bad ones cost tasks,
    never the promise. The thresholds are quantiles of all scores, tested from strict to loose
    (`sequence.loosest`) with exact p-values (`risk.p_values`).

    Who looks, draws more audits and looks again, gives the number of the `look`, 1 for the first:
    the promise then holds for all looks together (`spent`). None: there is this look only.

    Errors: ValueError for shares not between 0 and 1, and for scores that are not finite.
    Sources: A. Angelopoulos et al., Learn then Test: Calibrating Predictive Algorithms to Achieve
    Risk Control (2021); `risk.p_values` and `sequence.loosest` name theirs.

    >>> audits = [Audit(k / 300, wrong=k < 20) for k in range(300)]
    >>> pool = [k / 5000 for k in range(5000)]
    >>> made = certify(audits, pool, max_error=0.02, confidence=0.9)
    >>> made.above, made.errors, round(made.upper, 3), round(made.share, 2)
    (282, 2, 0.019, 0.94)
    """
    checked(max_error, confidence)
    delta = 1 - confidence if look is None else spent(1 - confidence, look=look)
    return certify_at(audits, pool, max_error=max_error, confidence=confidence, delta=delta)


def spent(delta: float, *, look: int) -> float:
    """What the look of that number, 1 for the first, may cost: 9/10 of delta, then of the rest.

    However many looks there are, together they cost `delta` at most. The first one has most of it,
    as whoever draws as many audits as are needed looks once.

    >>> [round(spent(0.1, look=look), 4) for look in (1, 2, 3)]
    [0.09, 0.009, 0.0009]
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, not {look}")
    return delta * 0.9 * 0.1 ** (look - 1)


def certify_at(
    audits: Sequence[Audit],
    pool: Sequence[float],
    *,
    max_error: float,
    confidence: float,
    delta: float,
) -> Certificate:
    """As `certify`, at the level `delta`: what this certificate may cost of 1 - `confidence`.

    >>> certify_at([], [0.5], max_error=0.1, confidence=0.9, delta=0.05).threshold is None
    True
    """
    if not len(pool):
        wrong, why = sum(audit.wrong for audit in audits), "There are no tasks to accept."
        counts = (len(audits), len(audits), wrong)
        return Certificate(max_error, confidence, None, *counts, 1.0, 0, 0.0, None, why)
    steps = ladder(audits, pool)
    p = p_values(steps.errors, steps.audited, steps.total, max_error=max_error)
    last = loosest(p, weights(steps, max_error=max_error, delta=delta))
    # Without a threshold, where it came nearest: the loosest of the least p-values.
    at = len(p) - 1 - int(np.argmin(p[::-1])) if last is None else last
    above, errors, total = (int(some[at]) for some in (steps.audited, steps.errors, steps.total))
    accepted = total - above if last is not None else 0
    made = Certificate(
        max_error=max_error,
        confidence=confidence,
        threshold=float(steps.thresholds[at]) if accepted else None,
        audited=len(audits),
        above=above,
        errors=errors,
        upper=upper_bound(errors, above, total, delta=delta),
        accepted=accepted,
        share=accepted / len(pool),
        missing=0 if accepted else _missing(steps, max_error=max_error, delta=delta),
        why="",
    )
    return replace(made, why=_why(made))


def _missing(steps: Ladder, *, max_error: float, delta: float) -> int | None:
    """How many further audits would do, were all of them clean; None: more than the pool has."""
    places = np.linspace(0, len(steps.total) - 1, _PLACES).round().astype(int)
    parts = (steps.thresholds, steps.total, steps.audited, steps.errors)
    some = Ladder(*(part[places] for part in parts))
    pool = int(steps.total[-1] - steps.audited[-1])
    few, enough = 0, 1
    while not _would_do(some, enough, max_error=max_error, delta=delta):
        if enough >= pool - 1:
            return None
        few, enough = enough, min(2 * enough, pool - 1)
    while enough - few > 1:
        middle = (few + enough) // 2
        if _would_do(some, middle, max_error=max_error, delta=delta):
            enough = middle
        else:
            few = middle
    return enough


def _would_do(steps: Ladder, more: int, *, max_error: float, delta: float) -> bool:
    """Whether so many more audits, all clean, spread over the pool as it is, gave a certificate."""
    left = steps.total - steps.audited
    audited = steps.audited + (more * left) // max(int(left[-1]), 1)
    then = replace(steps, audited=audited)
    p = p_values(then.errors, then.audited, then.total, max_error=max_error)
    last = loosest(p, weights(then, max_error=max_error, delta=delta))
    return last is not None and bool(audited[last] < then.total[last])


def _why(made: Certificate) -> str:
    promise = (
        f"at most {_percent(made.max_error)} wrong with {_percent(made.confidence)} confidence"
    )
    seen = f"{made.errors:,} of {made.above:,} audits"
    if made.threshold is not None:
        return (
            f"{seen} with a score of {made.threshold:.4g} or more were wrong: with "
            f"{_percent(made.confidence)} confidence at most {_percent(made.upper)} of the "
            f"{made.accepted:,} tasks to be accepted are wrong, and {_percent(made.max_error)} "
            "may be."
        )
    least = least_audits(made.max_error, made.confidence)
    needs = f"To promise {promise} takes {least:,} clean audits at least."
    best = f", {seen} were wrong where it came nearest" if made.above else ""
    if made.missing is None:
        return (
            f"Nothing may be accepted{best}, and too few tasks are left. {needs} Label the tasks, "
            "or ask for less."
        )
    return (
        f"Nothing may be accepted yet{best}. {needs} Missing are {made.missing:,} audits, if all "
        "of them are clean."
    )


def _percent(share: float) -> str:
    """At most two decimals, none that says nothing.

    >>> _percent(0.005), _percent(0.9)
    ('0.5%', '90%')
    """
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"
