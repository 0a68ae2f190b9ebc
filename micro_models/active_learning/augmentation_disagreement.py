"""Disagreement under augmentation: how much the answer changes when the image hardly does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.active_learning.detection_disagreement import detection_disagreement
from micro_models.active_learning.probabilities import Scores
from micro_models.fitting.scaling import scaled_image, scaled_region
from micro_models.regions import Image, Region

Detect = Callable[[Sequence[Image]], Sequence[Sequence[Region]]]


@dataclass(frozen=True)
class View:
    """The image enlarged by `zoom` and brightened by `gain`: what an annotator answers alike."""

    zoom: float = 1.0
    gain: float = 1.0


VIEWS = (View(zoom=0.85), View(zoom=1.15), View(gain=0.75), View(gain=1.25))


def augmentation_disagreement(
    detect: Detect, images: Sequence[Image], *, views: Sequence[View] = VIEWS
) -> Scores:
    """Images -> (n,), 0..1, higher = less sure: mean over views of `detection_disagreement`.

    `detect` answers a list of images; regions found in a view are brought back to the image before
    they are compared. It costs `len(views)` times as much as detecting.
    Source: W. Yu et al., Consistency-based Active Learning for Object Detection (2022).

    >>> import numpy as np
    >>> images = [Image(np.zeros((8, 8, 3), np.uint8))]
    >>> augmentation_disagreement(lambda views: [[] for _ in views], images)
    array([0.])
    """
    plain = detect(images)
    result = np.zeros(len(images))
    for view in views:
        seen = detect([_seen(image, view) for image in images])
        for index, (image, ours, theirs) in enumerate(zip(images, plain, seen, strict=True)):
            size = (image.width_px, image.height_px)
            back = [scaled_region(region, 1 / view.zoom, size=size) for region in theirs]
            result[index] += detection_disagreement(ours, back) / len(views)
    return result


def _seen(image: Image, view: View) -> Image:
    pixels = scaled_image(image, view.zoom).pixels
    brighter = (np.arange(256) * view.gain).clip(0, 255).astype(np.uint8)
    return Image(brighter[pixels])
