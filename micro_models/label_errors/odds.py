"""From statistics to the odds of an error: how often errors show a value, how often labels do.

With f the density of a statistic over all labels, and e that over errors of a kind, the odds are
e / f times the usual share of errors. f is measured; e is what an error of that kind would do to
the very findings at hand. No score is compared with a fixed number: where a model is often wrong,
f is high where errors would be, and where labels are few all is smoothed towards nothing known.
"""

from __future__ import annotations

import numpy as np

from micro_models.label_errors.rates import USUAL_SHARE, Values
from micro_models.regions import Bools

# An object badly drawn is alike to what it should be by something between these.
_BAD_IOUS = np.linspace(0.15, 0.75, 13)
# Densities are histograms with a bell of this width; and as if so many values lay anywhere.
_CELLS, _WIDTH, _ANYWHERE = 100, 0.06, 2.0
# How surely something is seen where nothing is, before it is measured: hardly.
_UNSEEN = np.linspace(0, 0.3, 11)

# Findings of one picture are right or wrong together: they count as half of so many that are not.
_TOGETHER = 0.5


def left_out(p: Values) -> float:
    """(n,) P of the findings of a label that a picture has none of -> P 0..1 that it is left out.

    Bayes' rule: by chance none of them would be a label with the probability that all are wrong.

    >>> round(left_out(np.full(30, 0.3)), 2), round(left_out(np.full(3, 0.3)), 2)
    (0.87, 0.05)
    """
    chance = float(np.exp(_TOGETHER * np.log1p(-np.minimum(p, 0.99)).sum()))
    return USUAL_SHARE / (USUAL_SHARE + (1 - USUAL_SHARE) * chance)


def odds_of_missing(p: Values, within: Values, *, right: Bools, free: Bools) -> Values:
    """(n,) P that findings of one label are labels, (n,) 0..1 within another label -> (n,) odds.

    A label that is taken out leaves its finding: e / f is that of right to wrong findings, which is
    what P says, times how much more usual it is for `right` ones than for `free` ones, which are no
    label, to lie so far within others: half of a nucleus is no nucleus that was left out. It is
    never surer than as many findings can tell.

    >>> right = np.arange(40) < 20
    >>> within = np.repeat([0.0, 1.0], [30, 10])
    >>> odds = odds_of_missing(np.full(40, 0.8), within, right=right, free=~right)
    >>> odds.round(2).tolist()[20:40:19]
    [0.26, 0.0]
    """
    most = 1 - 1 / (len(p) + 2)
    ratio = np.ones(len(p))
    ratio[free] = _ratio(1 - within[free], 1 - within[right])
    sure = np.minimum(p, most)
    odds = np.minimum(sure / (1 - sure) * ratio, most / (1 - most))
    return np.asarray(USUAL_SHARE * odds)


def odds_of_wrong(other: Values) -> Values:
    """(n,) -1..1 how much surer another label of each given region is -> (n,) odds.

    A label that is swapped turns the evidence for it into evidence against it: e is f mirrored.

    >>> other = np.append(np.full(99, -0.8), 0.8)
    >>> odds_of_wrong(other).round(1).tolist()[-2:]
    [0.0, 2.2]
    """
    return _odds((other + 1) / 2, (1 - other) / 2)


def odds_of_low_iou(off: Values, p_matched: Values) -> Values:
    """(n,) 0..1 how surely regions of one label lie elsewhere, (k,) P of those found -> (n,) odds.

    e is what is found, were the given region alike to it by little.

    >>> odds = odds_of_low_iou(np.append(np.full(99, 0.1), 0.6), np.full(100, 0.9))
    >>> odds.round(1).tolist()[-2:]
    [0.0, 1.1]
    """
    return _odds(off, np.outer(p_matched, 1 - _BAD_IOUS).ravel())


def odds_of_spurious(seen: Values, blank: Values) -> Values:
    """(n,) 0..1 how surely given regions alike in label and size are seen -> (n,) odds.

    e is `blank`: how surely they would be, where nothing is labelled; nan where that is not known.

    >>> seen = np.append(np.full(99, 0.9), 0.0)
    >>> odds_of_spurious(seen, np.zeros(100)).round(1).tolist()[-2:]
    [0.0, 2.5]
    """
    return _odds(1 - seen, 1 - np.append(blank[np.isfinite(blank)], _UNSEEN))


def _odds(values: Values, of_errors: Values) -> Values:
    """(n,) 0..1, higher = odder; what errors show -> (n,) odds."""
    return np.asarray(USUAL_SHARE * _ratio(values, of_errors))


def _ratio(values: Values, of_errors: Values) -> Values:
    """(n,) 0..1; what errors show -> (n,) e / f, never less where values are higher."""
    ratio = _rising(_density(of_errors, anywhere=0.0), _density(values, anywhere=_ANYWHERE))
    middles = (np.arange(_CELLS) + 0.5) / _CELLS
    return np.interp(values, middles, ratio)


def _density(sample: Values, *, anywhere: float) -> Values:
    """(n,) 0..1 -> (_CELLS,) its mean is 1."""
    counts = np.histogram(np.clip(sample, 0, 1), bins=_CELLS, range=(0, 1))[0]
    reach = int(3 * _WIDTH * _CELLS)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (_WIDTH * _CELLS)) ** 2)
    # Reflected at both ends, so that nothing is lost there.
    wide = np.pad(counts, reach, mode="symmetric").astype(np.float64)
    smooth = np.convolve(wide, bell / bell.sum(), mode="valid")
    total = len(sample) + anywhere
    return np.asarray((smooth * _CELLS + anywhere) / total if total else np.ones(_CELLS))


def _rising(above: Values, below: Values) -> Values:
    """(k,) / (k,), neighbours taken together wherever it would fall: isotonic regression.

    Source: M. Ayer et al., An Empirical Distribution Function for Sampling with Incomplete
    Information (1955).
    """
    blocks: list[tuple[float, float, int]] = []
    for one, other in zip(above.tolist(), below.tolist(), strict=True):
        block = (one, other, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    return np.repeat([a / b for a, b, _ in blocks], [count for *_, count in blocks])
