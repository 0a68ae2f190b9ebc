"""The pictures of a training, decoded once and held in a bounded amount of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micro_models.examples import Example, Picture, image_of
from micro_models.fitting.scaling import factor_for, scaled_image, scaled_region
from micro_models.pictures import UnreadableImage, upright_size
from micro_models.regions import Image, Mask

# 3 bytes a pixel: 0.9 GB of labelled images and 0.3 GB of others. A trainer's copies, features and
# the network's own memory need about as much again.
LABELLED_PX = 300e6
UNLABELLED_PX = 100e6
# More images of a project add little to what it looks like, and each must be decoded.
UNLABELLED_COUNT = 200


@dataclass(frozen=True, eq=False)
class Album:
    """Examples whose pictures are images in memory, and more images without labels.

    All are `factor` times as large as they were given, so that they fit in memory; `skipped` are
    the unlabelled pictures that could not be read.
    """

    examples: tuple[Example, ...]
    unlabelled: tuple[Image, ...] = ()
    factor: float = 1.0
    skipped: int = 0


def opened(
    examples: Sequence[Example],
    unlabelled: Sequence[Picture] = (),
    *,
    rng: np.random.Generator,
    limit_px: float = LABELLED_PX,
) -> Album:
    """Decode all examples and, of the unlabelled pictures, a random few.

    Errors: `UnreadableImage` and `FileNotFoundError`, which name the file of an example, and
    `ValueError` for a mask of another size than its image.

    >>> import numpy as np
    >>> image = Image(np.zeros((40, 60, 3), np.uint8))
    >>> album = opened([Example(image)] * 4, rng=np.random.default_rng(0), limit_px=2400)
    >>> album.factor, album.examples[0].picture.width_px
    (0.5, 30)
    """
    factor = factor_for(sum(_size(one.picture) for one in examples), limit=limit_px)
    decoded = tuple(_decoded(number, one, factor) for number, one in enumerate(examples, 1))
    others, skipped = _sample(unlabelled, factor, rng)
    return Album(decoded, others, factor, skipped)


def _size(picture: Picture) -> int:
    """In pixels, from the header alone."""
    if isinstance(picture, Image):
        return picture.width_px * picture.height_px
    width, height = upright_size(Path(picture))
    return width * height


def _decoded(number: int, example: Example, factor: float) -> Example:
    image = image_of(example.picture)
    size = image.height_px, image.width_px
    for region in example.regions:
        if isinstance(region.shape, Mask) and region.shape.pixels.shape != size:
            raise ValueError(
                f"the mask {region.label!r} of example {number} is {region.shape.pixels.shape}, "
                f"its image {size} (height, width); a mask is as large as its image"
            )
    small = scaled_image(image, factor)
    shape = small.width_px, small.height_px
    return Example(small, [scaled_region(one, factor, size=shape) for one in example.regions])


def _sample(
    pictures: Sequence[Picture], factor: float, rng: np.random.Generator
) -> tuple[tuple[Image, ...], int]:
    images: list[Image] = []
    skipped, room_px = 0, UNLABELLED_PX
    for index in rng.permutation(len(pictures))[: 2 * UNLABELLED_COUNT].tolist():
        if len(images) == UNLABELLED_COUNT or room_px <= 0:
            break
        try:
            image = scaled_image(image_of(pictures[index]), factor)
        except (UnreadableImage, FileNotFoundError):
            skipped += 1
            continue
        room_px -= image.width_px * image.height_px
        images.append(image)
    return tuple(images), skipped
