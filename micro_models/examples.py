"""What a micro-model learns from: a picture and everything that was labelled in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from micro_models.pictures import read_upright
from micro_models.regions import Image, Region

# A picture is read again when it is needed, an image is in memory.
Picture = Image | Path | str


@dataclass(frozen=True)
class Example:
    """A picture with all regions that a person found in it; none: a picture of background.

    >>> import numpy as np
    >>> from micro_models import Box, Image
    >>> image = Image(np.zeros((48, 64, 3), np.uint8))
    >>> Example(image, [Region("batman", Box(10, 5, 20, 40))]).labels
    ('batman',)
    """

    picture: Picture
    regions: tuple[Region, ...] = ()

    def __init__(self, picture: Picture, regions: Iterable[Region] = ()) -> None:
        object.__setattr__(self, "picture", picture)
        object.__setattr__(self, "regions", tuple(regions))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in it, each once, sorted."""
        return tuple(sorted({region.label for region in self.regions}))


def image_of(picture: Picture) -> Image:
    """The pixels of a picture.

    Errors: `UnreadableImage` (its message names the file) for a file that is no whole image.

    >>> import numpy as np
    >>> image_of(Image(np.zeros((48, 64, 3), np.uint8))).width_px
    64
    """
    return picture if isinstance(picture, Image) else read_upright(Path(picture))
