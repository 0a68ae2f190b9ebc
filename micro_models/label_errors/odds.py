"""From ranks to the odds of an error: how often errors reach a rank, how often right labels do.

With T the share of all labels that are as odd as this one, and M the share of errors that would be,
the odds are M / T times the usual share of errors. T is counted; M is what an error of that kind
does to the very findings at hand. No score is compared with a fixed number, and a model that is
often wrong makes T large.
"""

from __future__ import annotations

import numpy as np

from micro_models.label_errors.rates import USUAL_SHARE, Values

# An object badly drawn is alike to what it should be by something between these.
_BAD_IOUS = np.linspace(0.15, 0.75, 13)


def odds_of_missing(new: Values, p_matched: Values, labels: int) -> Values:
    """(n,) `new` of findings without a label, (k,) P of those with one, number of labels -> (n,).

    A label that is taken out leaves a finding as sure as those of the labels that stayed.
    """
    return _odds(new, p_matched, max(labels, 1))


def odds_of_wrong(other: Values) -> Values:
    """(n,) `other` of given regions -> (n,) odds.

    A label that is swapped turns the evidence for it into evidence against it: M is the mirror
    image of what all labels show.
    """
    return _odds(other, -other, len(other))


def odds_of_low_iou(off: Values, p_matched: Values) -> Values:
    """(n,) `off` of given regions of one label, (k,) P of those found -> (n,) odds."""
    return _odds(off, np.outer(p_matched, 1 - _BAD_IOUS).ravel(), len(off))


def odds_of_spurious(seen: Values) -> Values:
    """(n,) `seen` of given regions of one label -> (n,) odds.

    Where nothing is, nothing is seen: M is the share that is not seen, all of it.
    """
    count = len(seen)
    tail = (np.searchsorted(np.sort(seen), seen, side="right") + 1) / (count + 1)
    return np.asarray(USUAL_SHARE * (1 - seen) / tail)


def _odds(values: Values, of_errors: Values, count: int) -> Values:
    """(n,) higher = odder, samples of what errors show, number of labels -> (n,) odds.

    What is odder is never less probably an error.
    """
    if not len(values):
        return np.zeros(0)
    usual = (_as_high(values, values)) / (count + 1)
    errors = (_as_high(of_errors, values) + 1) / (len(of_errors) + 2)
    order = np.argsort(values, kind="stable")
    odds = np.empty(len(values))
    odds[order] = np.maximum.accumulate((errors / usual)[order])
    return np.asarray(USUAL_SHARE * odds)


def _as_high(sample: Values, values: Values) -> Values:
    """(k,), (n,) -> (n,) how many of the sample are at least each value."""
    return np.asarray(len(sample) - np.searchsorted(np.sort(sample), values, side="left"))
