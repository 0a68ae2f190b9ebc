"""Crops of the labelled images, each time turned, lit and placed differently."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example, image_of
from micro_models.regions import Box, Floats, Image, Region, WholeImage
from micro_models.trainers.tiny.augment import (
    Policy,
    about,
    move,
    outlined,
    photometric,
    random_affine,
    warp,
)
from micro_models.trainers.tiny.layout import STRIDE
from micro_models.trainers.tiny.lookalikes import stay_apart
from micro_models.trainers.tiny.recipe import Recipe
from micro_models.trainers.tiny.scale import VIEW_PX, resized, view
from micro_models.trainers.tiny.spec import Spec
from micro_models.trainers.tiny.targets import Targets, encode

# Objects that are longer than this part of a crop ask for larger crops.
_LARGE = 0.7
# Regions of an image with more are left out where a crop is far from them.
_FEW = 16
# OpenCV moves no images that are longer.
_LONGEST_PX = 30_000
# So many pixels tell the colours of all.
_MOST_COLORS = 1_000_000
_NAMES = tuple(field.name for field in fields(Targets))


@dataclass(frozen=True, eq=False)
class Batch:
    """`images` (n, h, w, 3) uint8, and by name the stacked arrays of their `Targets`."""

    images: NDArray[np.uint8]
    targets: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class _Scene:
    """A labelled image at the size it is drawn from; `boxes` (n, 4) around its `regions`.

    `zoom`: what it is still to be enlarged by. `by_label`: of each label in it the indices of its
    regions.
    """

    image: Image
    zoom: float
    regions: tuple[Region, ...]
    boxes: Floats
    by_label: Mapping[str, NDArray[np.intp]]
    whole: NDArray[np.uint8]
    classes: tuple[Region, ...]


class Sampler:
    """Draws batches from labelled images for a network that sees them at `scale`.

    `mean`, `std` (3,): of their colours. `half_side`: half of a typical object's side, in cells.
    """

    def __init__(
        self, examples: Sequence[Example], spec: Spec, *, scale: float, recipe: Recipe
    ) -> None:
        self.spec, self._recipe = spec, recipe
        self._scenes = [_scene(example, scale) for example in examples]
        self._policy = _policy(examples, self._scenes)
        labels = sorted(set().union(*(one.by_label for one in self._scenes)))
        self._showing = [[one for one in self._scenes if label in one.by_label] for label in labels]
        self._labels = labels
        seen = [one.image.pixels if spec.located else one.whole for one in self._scenes]
        self.mean, self.std = _colors(seen)
        sides = np.concatenate([_sides(one.boxes) * one.zoom for one in self._scenes])
        self.half_side = max(float(np.median(sides)) / 2 / STRIDE if len(sides) else 3.0, 0.25)
        is_large = _largest_px(self._scenes) > _LARGE * recipe.crop_px
        self._side_px = recipe.large_crop_px if is_large else recipe.crop_px
        self._count = recipe.large_batch if is_large else recipe.batch

    def batch(self, rng: np.random.Generator) -> Batch:
        """A new batch: crops to find objects in, or whole images to tell classes of."""
        located, classes = bool(self.spec.located), bool(self.spec.classes)
        is_whole = classes and (not located or rng.random() < self._recipe.whole_share)
        draw = self._whole if is_whole else self._crop
        drawn = [draw(rng) for _ in range(self._count)]
        # Classes are never asked of a crop, nor places of an image that was squeezed.
        names = [name for name in _NAMES if (name == "classes") == is_whole]
        targets = {name: np.stack([getattr(one, name) for _, one in drawn]) for name in names}
        return Batch(np.stack([pixels for pixels, _ in drawn]), targets)

    def _crop(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Targets]:
        side = self._side_px
        if self._labels and rng.random() < self._recipe.object_share:
            scene, box = self._object(rng)
            center = (box[:2] + box[2:]) / 2
            # Small objects may lie anywhere, of large ones most should be seen.
            size = (box[2:] - box[:2]) * scene.zoom / side
            margin = (size / 2 - 0.15).clip(0.05, 0.5)
            place = side * rng.uniform(margin, 1 - margin)
        else:
            scene = self._scenes[rng.integers(len(self._scenes))]
            center = _anywhere(rng, scene.image, side / scene.zoom)
            place = np.full(2, side / 2)
        matrix = about(random_affine(rng, self._policy) * scene.zoom, center, place)
        regions = _near(scene, center, 2 * side / scene.zoom)
        image, moved = warp(scene.image, regions, matrix, (side, side))
        return photometric(image.pixels, rng), encode(
            moved.regions,
            self.spec,
            width_px=side,
            height_px=side,
            stride=STRIDE,
            ignored=moved.ignored,
        )

    def _object(self, rng: np.random.Generator) -> tuple[_Scene, NDArray[np.float64]]:
        """A scene and the box of an object in it.

        Rare labels are looked at as often as frequent ones, however many scenes show neither.
        """
        which = rng.integers(len(self._labels))
        scene = self._showing[which][rng.integers(len(self._showing[which]))]
        of_label = scene.by_label[self._labels[which]]
        return scene, scene.boxes[of_label[rng.integers(len(of_label))]].astype(np.float64)

    def _whole(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Targets]:
        scene = self._scenes[rng.integers(len(self._scenes))]
        center = np.full(2, VIEW_PX / 2)
        place = center + rng.uniform(-0.1, 0.1, 2) * VIEW_PX
        matrix = about(random_affine(rng, self._policy), center, place)
        image, moved = warp(Image(scene.whole), scene.classes, matrix, (VIEW_PX, VIEW_PX))
        targets = encode(moved.regions, self.spec, width_px=STRIDE, height_px=STRIDE)
        return photometric(image.pixels, rng), targets


def _scene(example: Example, scale: float) -> _Scene:
    image = image_of(example.picture)
    # Shrunk once; enlarging is left to the crops, since it would cost memory.
    shrunk = min(scale, 1.0, _LONGEST_PX / max(image.width_px, image.height_px))
    pixels = resized(image.pixels, scale=shrunk)
    size_px = (pixels.shape[1], pixels.shape[0])
    exact = np.array(size_px) / (image.width_px, image.height_px)
    matrix = np.concatenate([np.diag(exact), np.zeros((2, 1))], axis=1)
    located = [one for one in example.regions if _is_seen(one, image)]
    classes = tuple(one for one in example.regions if isinstance(one.shape, WholeImage))
    regions = move(
        [_trimmed(one, image) for one in outlined(located)], matrix, size_px, least_inside=0.0
    ).regions
    around = [bounds(region.shape) for region in regions]
    edges = np.array([(box.x0, box.y0, box.x1, box.y1) for box in around], np.float32)
    labels = np.array([region.label for region in regions])
    by_label = {label: np.flatnonzero(labels == label) for label in set(labels.tolist())}
    whole, boxes = view(image.pixels), edges.reshape(-1, 4)
    return _Scene(Image(pixels), scale / shrunk, regions, boxes, by_label, whole, classes)


def _policy(examples: Sequence[Example], scenes: Sequence[_Scene]) -> Policy:
    """What the examples allow, but for what would make one label look like another."""
    wanted = Policy.of(examples)
    objects = [one for scene in scenes for one in _objects(scene)]
    images = [(one.whole, str(sorted(region.label for region in one.classes))) for one in scenes]

    def is_safe(change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> bool:
        seen = [([crop for crop, _ in of], [label for _, label in of]) for of in (objects, images)]
        return all(stay_apart(crops, labels, change) for crops, labels in seen)

    mirror = wanted.mirror and is_safe(np.fliplr)
    turn = wanted.turn and all(is_safe(partial(np.rot90, k=quarters)) for quarters in (1, 2, 3))
    return replace(wanted, mirror=mirror, turn=turn)


def _objects(scene: _Scene) -> Iterator[tuple[NDArray[np.uint8], str]]:
    """What its objects look like, with their labels."""
    height, width = scene.image.pixels.shape[:2]
    for region, (x0, y0, x1, y1) in zip(scene.regions, scene.boxes.tolist(), strict=True):
        left, right = max(int(x0), 0), min(math.ceil(x1), width)
        top, bottom = max(int(y0), 0), min(math.ceil(y1), height)
        if left < right and top < bottom:
            yield scene.image.pixels[top:bottom, left:right], region.label


def _colors(images: Sequence[NDArray[np.uint8]]) -> tuple[Floats, Floats]:
    """(3,) mean and (3,) standard deviation of a sample of the pixels."""
    step = math.ceil((sum(one.size for one in images) / 3 / _MOST_COLORS) ** 0.5)
    colors = np.concatenate([one[::step, ::step].reshape(-1, 3) for one in images])
    mean, std = colors.mean(axis=0, dtype=np.float64), colors.std(axis=0, dtype=np.float64)
    return mean.astype(np.float32), np.maximum(std, 10).astype(np.float32)


def _largest_px(scenes: Sequence[_Scene]) -> float:
    """The longer side, as the network sees it, of the label with the largest objects; or 0."""
    sizes: dict[str, list[float]] = {}
    for scene in scenes:
        longer = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1, initial=0) * scene.zoom
        for region, size in zip(scene.regions, longer.tolist(), strict=True):
            sizes.setdefault(region.label, []).append(size)
    return max((float(np.median(some)) for some in sizes.values()), default=0.0)


def _trimmed(region: Region, image: Image) -> Region:
    """A box without what it has beyond the image: nobody can see that."""
    if not isinstance(region.shape, Box):
        return region
    box, width, height = region.shape, image.width_px, image.height_px
    x0, x1 = (min(max(edge, 0.0), width) for edge in (box.x0, box.x1))
    y0, y1 = (min(max(edge, 0.0), height) for edge in (box.y0, box.y1))
    return Region(region.label, Box(x0, y0, x1, y1), region.score)


def _is_seen(region: Region, image: Image) -> bool:
    if isinstance(region.shape, WholeImage):
        return False
    box = bounds(region.shape)
    across = box.x1 >= 0 and box.x0 <= image.width_px
    return across and box.y1 >= 0 and box.y0 <= image.height_px


def _sides(boxes: Floats) -> Floats:
    """(n,) of squares as large as the boxes, in pixels."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    found: Floats = np.sqrt(np.maximum(area, 1)).astype(np.float32)
    return found


def _anywhere(rng: np.random.Generator, image: Image, side: float) -> NDArray[np.float64]:
    """The middle x, y of a crop that shows little beyond the edge."""
    margin = 0.35 * side
    middle = [
        rng.uniform(min(margin, size / 2), max(size - margin, size / 2))
        for size in (image.width_px, image.height_px)
    ]
    return np.array(middle)


def _near(scene: _Scene, center: NDArray[np.float64], reach: float) -> tuple[Region, ...]:
    """The regions that a crop, or its mirror image beyond an edge, may show."""
    if len(scene.regions) <= _FEW:
        return scene.regions
    far = (scene.boxes[:, :2] > center + reach) | (scene.boxes[:, 2:] < center - reach)
    return tuple(scene.regions[index] for index in np.flatnonzero(~far.any(axis=1)))
