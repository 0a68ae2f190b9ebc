"""How many blind tasks an answer needs."""

from __future__ import annotations

import math
from statistics import NormalDist

# A rank test needs so many times the tasks of a test that knows the spread: of bell-shaped logs.
RANKS = math.pi / 3


def blind_needed(
    effect: float,
    spread: float,
    *,
    share: float,
    power: float = 0.8,
    confidence: float = 0.95,
    efficiency: float = 1.0,
) -> int:
    """How many blind tasks show a difference of `effect`, in the units of `spread`, so often.

    `spread` is the standard deviation of one person's values from task to task, `share` the part
    of tasks that is blind, `power` how often such a difference is to be found, `efficiency` by how
    much more a test needs (`RANKS`). For each blind task there are (1 - share) / share others.
    Source: J. Cohen, Statistical Power Analysis for the Behavioral Sciences (1988).
    Errors: ValueError unless `effect` and `spread` are above 0, and `share` between 0 and 1.

    >>> blind_needed(math.log(1.2), 0.6, share=0.05, efficiency=RANKS)
    94
    """
    if not (effect > 0 and spread > 0 and 0 < share < 1):
        raise ValueError("a difference, a spread and a share of blind tasks are needed")
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(power)
    return math.ceil((z * spread / effect) ** 2 * efficiency / (1 - share))
