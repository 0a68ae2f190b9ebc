"""Which images to label next: the unsure ones, unlike each other, and some by lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from micro_models.active_learning.core_set import spread

# A sure image is not worthless: it may be sure and wrong.
_FLOOR = 0.05


@dataclass(frozen=True)
class Chosen:
    """Indices of images in the order to label them, and those of them that were drawn by lot."""

    indices: tuple[int, ...]
    random: tuple[int, ...]


def choose(
    scores: ArrayLike,
    descriptions: ArrayLike,
    count: int,
    *,
    rng: Generator,
    random_share: float = 0.1,
    labelled: ArrayLike | None = None,
) -> Chosen:
    """Choose `count` of n images: by score times distance, but a share of them by lot.

    `scores` (n,) 0..1, higher = less sure; `descriptions` (n, d) say how images look (see
    `micro_models.appearance`), `labelled` (m, d) those labelled before. Each image chosen has the
    greatest score times distance to everything labelled or chosen before. A tenth (`random_share`)
    is drawn by lot from all: in the mean over calls exactly, though a call of 5 draws none or one.
    These tell, by `guarding.compare`, whether choosing is better than not choosing.
    Source: weighted greedy k-center, after O. Sener, S. Savarese (2018) and F. Zhdanov (2019).

    >>> import numpy as np
    >>> scores, places = [0.9, 0.8, 0.1, 0.2], [[0.0], [0.1], [5.0], [9.0]]
    >>> choose(scores, places, 2, rng=np.random.default_rng(1), random_share=0)
    Chosen(indices=(0, 3), random=())
    """
    points = np.asarray(descriptions, np.float64)
    weights = np.asarray(scores, np.float64)
    if weights.ndim != 1 or len(points) != len(weights):
        raise ValueError(f"{len(points)} descriptions need as many scores, not {weights.shape}")
    if not 0.0 <= random_share <= 1.0:
        raise ValueError(f"a random share is 0..1, got {random_share}")
    count = min(count, len(weights))
    lots = int(np.floor(count * random_share + rng.random()))
    drawn = rng.choice(len(weights), size=min(lots, count), replace=False)
    rest = np.setdiff1d(np.arange(len(weights)), drawn)
    before = points[:0] if labelled is None else np.asarray(labelled, np.float64)
    best = spread(
        points[rest],
        weights[rest] + _FLOOR,
        count - len(drawn),
        rng=rng,
        labelled=np.concatenate([before, points[drawn]]),
    )
    by_lot = tuple(int(index) for index in drawn)
    return Chosen(tuple(int(index) for index in rest[best]) + by_lot, by_lot)
