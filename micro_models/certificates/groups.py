"""A certificate for each class, where there is enough to say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from micro_models.certificates.certify import certify_at, spent
from micro_models.certificates.nouns import Audit, Certificate
from micro_models.certificates.risk import checked, least_audits


def certify_groups(
    audits: Sequence[Audit],
    pool: Mapping[str, Sequence[float]],
    *,
    max_error: float,
    confidence: float,
    look: int | None = None,
) -> dict[str, Certificate]:
    """A certificate for each group of the pool: its own if enough of it was audited, else shared.

    `pool` has the scores of the tasks of each group; groups are known of every task without any
    person's answer, as the class that the model gives. All certificates hold together with
    probability `confidence`: 1 - confidence is divided alike among them. A group with too few
    audits to pass alone were all of them clean goes into one with the others of that kind, and
    gets their certificate, which promises of all of these together. `look` as in `certify`.

    >>> audits = [Audit(k / 99, wrong=False, group="ant") for k in range(99)]
    >>> pool = {"ant": [k / 500 for k in range(500)], "bee": [0.5] * 20}
    >>> made = certify_groups(audits, pool, max_error=0.05, confidence=0.9)
    >>> round(made["ant"].share, 2), made["bee"].threshold, made["bee"].audited
    (1.0, None, 0)
    """
    checked(max_error, confidence)
    delta = 1 - confidence if look is None else spent(1 - confidence, look=look)
    counts = Counter(audit.group for audit in audits)
    alone = _alone(counts, pool, max_error=max_error, delta=delta)
    rest = [group for group in pool if group not in alone]
    families = [[group] for group in alone] + ([rest] if rest else [])
    result: dict[str, Certificate] = {}
    for family in families:
        made = certify_at(
            [audit for audit in audits if audit.group in family],
            [score for group in family for score in pool[group]],
            max_error=max_error,
            confidence=confidence,
            delta=delta / len(families),
        )
        result |= dict.fromkeys(family, made)
    return {group: result[group] for group in pool}


def _alone(
    counts: Counter[str], pool: Mapping[str, Sequence[float]], *, max_error: float, delta: float
) -> list[str]:
    """The groups that could pass alone, the more of them there are, the more audits they need."""
    alone = [group for group in pool if counts[group] and pool[group]]
    while alone:
        # The others, if there are any, have a part of delta as well.
        parts = len(alone) + (len(alone) < len(pool))
        needed = least_audits(max_error, 1 - delta / parts)
        enough = [group for group in alone if counts[group] >= needed]
        if len(enough) == len(alone):
            break
        least = min(counts[group] for group in alone)
        alone = [group for group in alone if counts[group] > least]
    return alone
