"""The pictures of a training, decoded once and held in a bounded amount of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example, Picture
from micro_models.fitting.scaling import factor_for, read_at, scaled_region, size_of
from micro_models.pictures import UnreadableImage
from micro_models.regions import Image, Mask, Point, WholeImage

# 3 bytes a pixel: 0.9 GB of labelled images and 0.3 GB of others. A trainer's copies, features and
# the network's own memory need about as much again.
LABELLED_PX = 300e6
UNLABELLED_PX = 100e6
# More images of a project add little to what it looks like, and each must be decoded.
UNLABELLED_COUNT = 60
# Reading larger images than this, in the mean, or more of them in all takes seconds that are better
# spent on training: they are halved while objects' shorter sides stay as long as trainers want.
_MEAN_PX, _ALL_PX, _OBJECT_PX = 4e6, 60e6, 36.0

# Is told how many pictures are read, and how many there are. To stop, raise from it.
Read = Callable[[int, int], None]


def _nothing(number: int, count: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, eq=False)
class Album:
    """Examples whose pictures are images in memory, and more images without labels.

    All are `factor` times as large as they were given, so that they fit in memory; `sizes` are the
    (width, height) that the examples' pictures were given in; `skipped` are the unlabelled pictures
    that could not be read.
    """

    examples: tuple[Example, ...]
    unlabelled: tuple[Image, ...] = ()
    factor: float = 1.0
    skipped: int = 0
    sizes: tuple[tuple[int, int], ...] = ()


def opened(
    examples: Sequence[Example],
    unlabelled: Sequence[Picture] = (),
    *,
    rng: np.random.Generator,
    limit_px: float = LABELLED_PX,
    unlabelled_count: int = UNLABELLED_COUNT,
    told: Read = _nothing,
    is_late: Callable[[], bool] = _never,
) -> Album:
    """Decode all examples and, of the unlabelled pictures, `unlabelled_count` at random.

    Once it `is_late` no more unlabelled pictures are read.

    Errors: `UnreadableImage` and `FileNotFoundError`, which name the file of an example, and
    `ValueError` for a mask of another size than its image.

    >>> import numpy as np
    >>> image = Image(np.zeros((40, 60, 3), np.uint8))
    >>> album = opened([Example(image)] * 4, rng=np.random.default_rng(0), limit_px=2400)
    >>> album.factor, album.examples[0].picture.width_px
    (0.5, 30)
    """
    sizes = tuple(size_of(one.picture) for one in examples)
    factor = _factor(examples, sizes, limit_px)
    count = len(examples) + min(len(unlabelled), unlabelled_count)
    decoded = []
    for number, example in enumerate(examples, 1):
        decoded.append(_decoded(number, example, factor, sizes[number - 1]))
        told(number, count)
    others: list[Image] = []
    skipped, room_px = 0, UNLABELLED_PX
    for index in rng.permutation(len(unlabelled))[: 2 * unlabelled_count].tolist():
        if len(others) == unlabelled_count or room_px <= 0 or is_late():
            break
        try:
            image = read_at(unlabelled[index], factor)
        except (UnreadableImage, FileNotFoundError):
            skipped += 1
            continue
        room_px -= image.width_px * image.height_px
        others.append(image)
        told(len(decoded) + len(others), count)
    return Album(tuple(decoded), tuple(others), factor, skipped, sizes)


def decoded(example: Example, factor: float) -> Example:
    """An example with its picture in memory, `factor` times as large as it is.

    Errors: `UnreadableImage`, `FileNotFoundError`, `ValueError` for a mask of another size.
    """
    return _decoded(1, example, factor, size_of(example.picture))


def _factor(
    examples: Sequence[Example], sizes: Sequence[tuple[int, int]], limit_px: float
) -> float:
    """How many times as large as given all images are to be, 0..1."""
    pixels = float(sum(width * height for width, height in sizes))
    usual = min(len(examples) * _MEAN_PX, _ALL_PX)
    least, factor = _least_factor(examples), 1.0
    while pixels * factor**2 > usual and factor / 2 >= least:
        factor /= 2
    return min(factor, factor_for(pixels, limit=limit_px))


def _least_factor(examples: Sequence[Example]) -> float:
    """At which the typical object of the label with the smallest is as large as it should be."""
    sides: dict[str, list[float]] = {}
    for region in (region for example in examples for region in example.regions):
        if isinstance(region.shape, Point):  # of something as small as you like
            return 1.0
        box = bounds(region.shape)
        side = min(box.x1 - box.x0, box.y1 - box.y0)
        if not isinstance(region.shape, WholeImage):
            sides.setdefault(region.label, []).append(max(side, 1.0))
    smallest = min((float(np.median(some)) for some in sides.values()), default=np.inf)
    return min(_OBJECT_PX / smallest, 1.0)


def _decoded(number: int, example: Example, factor: float, size: tuple[int, int]) -> Example:
    width, height = size
    for region in example.regions:
        if isinstance(region.shape, Mask) and region.shape.pixels.shape != (height, width):
            raise ValueError(
                f"the mask {region.label!r} of example {number} is {region.shape.pixels.shape}, "
                f"its image {(height, width)} (height, width); a mask is as large as its image"
            )
    small = read_at(example.picture, factor)
    shape = small.width_px, small.height_px
    return Example(small, [scaled_region(one, factor, size=shape) for one in example.regions])
