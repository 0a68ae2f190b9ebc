"""A certificate for each class, where there is enough to say of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from micro_models.certificates.certify import certify_at, spent
from micro_models.certificates.nouns import Audit, Certificate
from micro_models.certificates.risk import checked, least_audits

# A group stands alone with so many times the audits that would do, were all of them clean: with
# fewer an error or two cost it more than the company of the others does.
_ENOUGH = 2.0
# The name under which groups with few audits share a certificate.
OTHERS = ""


def certify_groups(
    audits: Sequence[Audit],
    pool: Mapping[str, Sequence[float]],
    *,
    max_error: float,
    confidence: float,
    look: int | None = None,
) -> Certificate:
    """As `certify`, but kept in each group alone where that has audits enough.

    `pool` has the scores of the tasks of each group; groups are known of every task without any
    person's answer, as the class that the model gives. 1 - confidence is divided alike among the
    groups that stand alone and the `OTHERS`, which have a certificate together, so that all hold
    together. How many audits a group has decides whether it stands alone, never a verdict. The
    result sums them up; where no group stands alone, it is that of `certify`. Errors: as there.

    >>> audits = [Audit(k / 200, wrong=False, group="ant") for k in range(200)]
    >>> pool = {"ant": [k / 500 for k in range(500)], "bee": [0.5] * 20}
    >>> made = certify_groups(audits, pool, max_error=0.05, confidence=0.9)
    >>> made.accepted, made.threshold_of("ant"), made.threshold_of("bee")
    (500, 0.0, inf)
    """
    checked(max_error, confidence)
    delta = 1 - confidence if look is None else spent(1 - confidence, look=look)
    counts = Counter(audit.group for audit in audits)
    alone = _alone(counts, pool, max_error=max_error, delta=delta)
    rest = [group for group in {**pool, **counts} if group not in alone]
    families = {group: [group] for group in alone} | ({OTHERS: rest} if rest or not alone else {})
    tasks = {
        name: [score for one in some for score in pool.get(one, ())]
        for name, some in families.items()
    }
    made = {
        name: certify_at(
            [audit for audit in audits if audit.group in some],
            tasks[name],
            max_error=max_error,
            confidence=confidence,
            delta=delta / len(families),
        )
        for name, some in families.items()
    }
    if len(made) <= 1:
        return made.get(OTHERS) or next(iter(made.values()))
    return _summed(made, {name: len(some) for name, some in tasks.items()})


def _alone(
    counts: Counter[str], pool: Mapping[str, Sequence[float]], *, max_error: float, delta: float
) -> list[str]:
    """The groups that could pass alone: the more there are, the more audits each needs."""
    alone = [group for group in pool if counts[group] and pool[group]]
    while alone:
        # The others, if there are any, have a part of delta as well.
        parts = len(alone) + (len(alone) < len({**pool, **counts}))
        needed = _ENOUGH * least_audits(max_error, 1 - delta / parts)
        if min(counts[group] for group in alone) >= needed:
            break
        alone.remove(min(alone, key=lambda group: counts[group]))
    return alone


def _summed(made: Mapping[str, Certificate], tasks: Mapping[str, int]) -> Certificate:
    """All of them as one. Needs one at least."""
    accepting = {name: one for name, one in made.items() if one.threshold is not None}
    shown = list((accepting or made).values())
    in_all, accepted = sum(tasks.values()), sum(one.accepted for one in shown)
    missing = [
        math.ceil(one.missing * in_all / tasks[name])
        for name, one in made.items()
        if one.missing is not None and tasks[name]
    ]
    return replace(
        shown[0],
        threshold=min((one.threshold for one in shown if one.threshold is not None), default=None),
        audited=sum(one.audited for one in made.values()),
        above=sum(one.above for one in shown),
        errors=sum(one.errors for one in shown),
        upper=max(one.upper for one in shown),
        accepted=accepted,
        share=accepted / in_all if in_all else 0.0,
        missing=0 if accepting else min(missing, default=None),
        why=" ".join(f"{name or 'All others'}: {one.why}" for name, one in made.items()),
        groups=dict(made),
    )
