"""Where a model knows its way: images like those that it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.appearance import apart, describe
from micro_models.regions import Image

# Frames of one scene under a moving camera lie up to this far apart (see `appearance`), other
# scenes mostly farther than 1.
LEAST_REACH = 0.7
# How much farther than its own images are from each other a new one may be, for there are few.
GENEROSITY = 1.3
# An image farther from all others than this many times the median is odd: it widens nothing.
_ODD = 2.0
# Where all trust is gone, in reaches.
_END = 1.5
# More descriptions than this tell nothing new.
_MOST = 200


@dataclass(frozen=True, eq=False)
class Limits:
    """Descriptions (m, d) float32 of the images a model was made of, and how far it may go.

    An image is known within `reach` of one of them, and wholly strange at half as far again. An odd
    image among them (a black frame) is known, too, but does not make strange ones known.
    """

    descriptions: NDArray[np.float32]
    reach: float

    @classmethod
    def of(cls, images: Sequence[Image]) -> Limits:
        """The limits of a model made of these images, labelled or not.

        >>> import numpy as np
        >>> images = [Image(np.full((48, 64, 3), level, np.uint8)) for level in (90, 100, 110)]
        >>> limits = Limits.of(images)
        >>> white = Image(np.full((48, 64, 3), 255, np.uint8))
        >>> limits.trust(images[0]), limits.trust(white)
        (1.0, 0.0)
        """
        step = max(len(images) / _MOST, 1.0)
        chosen = [images[int(n * step)] for n in range(min(len(images), _MOST))]
        descriptions = np.stack([describe(image) for image in chosen])
        return cls(descriptions, _reach(descriptions))

    def trust(self, image: Image) -> float:
        """0..1, 1 = like the images that the model was made of, 0 = like none of them."""
        away = apart(describe(image)[None], self.descriptions).min() / self.reach
        return round(float(np.clip((_END - away) / (_END - 1.0), 0.0, 1.0)), 6)


def _reach(descriptions: NDArray[np.float32]) -> float:
    """From how far each image is from the nearest other, odd ones left out."""
    if len(descriptions) < 2:
        return LEAST_REACH
    between = apart(descriptions, descriptions)
    np.fill_diagonal(between, np.inf)
    nearest = between.min(axis=1)
    usual = min(float(nearest.max()), _ODD * float(np.median(nearest)))
    return max(GENEROSITY * usual, LEAST_REACH)
