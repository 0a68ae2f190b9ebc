"""Copy and paste: labelled objects set into images that nobody labelled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from micro_models.evaluation.overlap import bounds
from micro_models.examples import Example, Picture, image_of
from micro_models.fitting.scaling import scaled_image, scaled_region
from micro_models.geometry import ellipse_to_mask, polygon_to_mask, rotated_box_to_mask
from micro_models.regions import (
    Box,
    Ellipse,
    Image,
    Keypoints,
    Mask,
    Point,
    Polygon,
    Region,
    RotatedBox,
    Shape,
    WholeImage,
)

# Around the object this much of its size comes along, fading out.
_RIM = 0.15
# A window is this many times as large as the object.
_WINDOW = 3.0
_ZOOM = (0.8, 1.25)
# Of so many windows the one is taken that least resembles any labelled object.
_TRIES = 6
# At this correlation with a labelled object something in the window is perhaps one too.
_ALIKE = 0.6
_LOOK_PX = 24
# With so many labelled objects, drawn by lot, windows are compared: more of them look the same.
_LOOKS = 12
# What varies by less, in levels of grey, has no look to correlate.
_PLAIN = 2.0


def synthesise(
    examples: Sequence[Example], unlabelled: Sequence[Picture], *, count: int, rng: Generator
) -> list[Example]:
    """At most `count` new examples: a labelled object in a window of an unlabelled image.

    The object is cut out along its mask, polygon, ellipse or turned box, of a box or key points
    with a rim, and blended in softly, at 0.8 to 1.25 times its size. Points and classes cannot be
    cut out, nor can objects that overlap others.

    What else is in the unlabelled image is labelled by nobody and would be taught as background.
    Hence the example is not the image but a window three times as large as the object; of several
    windows the one counts that resembles labelled objects least (normalised correlation with a
    dozen of them, at their size), and none if all resemble one. Something that looks different from
    them is missed by that: crowded images are no place to paste.
    Source: D. Dwibedi et al., Cut, Paste and Learn (2017); G. Ghiasi et al., Simple Copy-Paste
    (2021).

    >>> sky, car = (Image(np.full((80, 80, 3), level, np.uint8)) for level in (200, 30))
    >>> example = Example(car, [Region("car", Box(30, 30, 50, 40))])
    >>> (new,) = synthesise([example], [sky], count=1, rng=np.random.default_rng(0))
    >>> new.labels, new.picture.pixels.shape
    (('car',), (80, 80, 3))
    """
    cuts = [cut for example in examples for cut in _cuts(example)]
    if not cuts or not unlabelled:
        return []
    some = rng.choice(len(cuts), min(_LOOKS, len(cuts)), replace=False)
    looks = [_look(cuts[index].image) for index in some]
    made = []
    for _ in range(count):
        cut = cuts[int(rng.integers(len(cuts)))]
        ground = image_of(unlabelled[int(rng.integers(len(unlabelled)))])
        zoom = math.exp(rng.uniform(*np.log(_ZOOM)))
        example = _pasted(_zoomed(cut, zoom), ground, looks, rng)
        made += [] if example is None else [example]
    return made


@dataclass(frozen=True, eq=False)
class _Cut:
    """A cut-out: its pixels, how opaque each is (height, width) 0..1, and its region in it."""

    image: Image
    opacity: NDArray[np.float32]
    region: Region


def _cuts(example: Example) -> list[_Cut]:
    """The objects of an example that stand alone."""
    located = [
        (region, bounds(region.shape))
        for region in example.regions
        if not isinstance(region.shape, Point | WholeImage)
    ]
    image = image_of(example.picture)
    cuts = []
    for region, box in located:
        width, height = box.x1 - box.x0, box.y1 - box.y0
        rim = _RIM * max(width, height)
        x0, y0 = (max(math.floor(edge - rim), 0) for edge in (box.x0, box.y0))
        x1 = min(math.ceil(box.x1 + rim), image.width_px)
        y1 = min(math.ceil(box.y1 + rim), image.height_px)
        window = Box(x0, y0, max(x1, x0), max(y1, y0))
        others = [around for other, around in located if other is not region]
        if min(width, height) < 2 or min(x1 - x0, y1 - y0) < 2 or _meet(window, others):
            continue
        inside = replace(region, shape=_moved(region.shape, -x0, -y0, x1 - x0, y1 - y0))
        pixels = np.ascontiguousarray(image.pixels[y0:y1, x0:x1])
        cuts.append(_Cut(Image(pixels), _opacity(inside.shape, x1 - x0, y1 - y0, rim), inside))
    return cuts


def _meet(window: Box, others: Sequence[Box]) -> bool:
    return any(
        window.x0 < other.x1 and other.x0 < window.x1 and window.y0 < other.y1
        and other.y0 < window.y1
        for other in others
    )  # fmt: skip


def _opacity(shape: Shape, width: int, height: int, rim: float) -> NDArray[np.float32]:
    """(height, width) 1 on the object, 0 at the edge of the cut-out, soft between."""
    match shape:
        case Mask():
            solid, fade = shape, 1.5
        case Polygon():
            solid, fade = polygon_to_mask(shape, width_px=width, height_px=height), 1.5
        case Ellipse():
            solid, fade = ellipse_to_mask(shape, width_px=width, height_px=height), 1.5
        case RotatedBox():
            solid, fade = rotated_box_to_mask(shape, width_px=width, height_px=height), 1.5
        case _:
            box = bounds(shape)
            pixels = np.zeros((height, width), np.bool_)
            pixels[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)] = True
            solid, fade = Mask(pixels), max(rim, 1.5)
    outside = np.pad(~solid.pixels, 1, constant_values=True).astype(np.uint8)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.asarray((1 - away / fade).clip(0, 1), np.float32)


def _zoomed(cut: _Cut, zoom: float) -> _Cut:
    image = scaled_image(cut.image, zoom)
    size = (image.width_px, image.height_px)
    opacity = cv2.resize(cut.opacity, size, interpolation=cv2.INTER_LINEAR)
    return _Cut(image, np.asarray(opacity), scaled_region(cut.region, zoom, size=size))


def _pasted(
    cut: _Cut, ground: Image, looks: Sequence[NDArray[np.float32]], rng: Generator
) -> Example | None:
    """The cut-out in the window of the ground that resembles the objects least."""
    high, wide = cut.opacity.shape
    width, height = (
        min(round(_WINDOW * max(high, wide)), side) for side in (ground.width_px, ground.height_px)
    )
    if wide > width or high > height:
        return None
    windows = []
    for _ in range(_TRIES):
        left, top = _place(width, height, ground.width_px, ground.height_px, rng)
        windows.append(ground.pixels[top : top + height, left : left + width])
    resemblances = [_resemblance(window, looks, cut) for window in windows]
    best = int(np.argmin(resemblances))
    if resemblances[best] > _ALIKE:
        return None
    pixels = windows[best].copy()
    x, y = _place(wide, high, width, height, rng)
    part = pixels[y : y + high, x : x + wide]
    opaque = cut.opacity[..., None]
    part[:] = np.rint(cut.image.pixels * opaque + part * (1 - opaque)).astype(np.uint8)
    region = replace(cut.region, shape=_moved(cut.region.shape, x, y, width, height))
    return Example(Image(pixels), [region])


def _place(
    width: int, height: int, in_width: int, in_height: int, rng: Generator
) -> tuple[int, int]:
    """The upper left corner of a window that lies anywhere in a larger one."""
    return int(rng.integers(in_width - width + 1)), int(rng.integers(in_height - height + 1))


def _look(image: Image) -> NDArray[np.float32]:
    """The cut-out as it is compared: as large as is quick."""
    scale = min(_LOOK_PX / max(image.width_px, image.height_px), 1.0)
    return scaled_image(image, scale).pixels.astype(np.float32)


def _resemblance(
    window: NDArray[np.uint8], looks: Sequence[NDArray[np.float32]], cut: _Cut
) -> float:
    """The greatest correlation, -1..1, of any part of the window with any object's look."""
    scale = min(_LOOK_PX / max(cut.opacity.shape), 1.0)
    small = scaled_image(Image(np.ascontiguousarray(window)), scale).pixels.astype(np.float32)
    if small.std() < _PLAIN:
        return -1.0
    fitting = [
        look
        for look in looks
        if look.std() >= _PLAIN
        and look.shape[0] <= small.shape[0]
        and look.shape[1] <= small.shape[1]
    ]
    alike = [cv2.matchTemplate(small, look, cv2.TM_CCOEFF_NORMED).max() for look in fitting]
    return max(map(float, alike), default=-1.0)


def _moved(shape: Shape, dx: float, dy: float, width: int, height: int) -> Shape:
    """The shape in a window of `width` x `height` whose corner lies at (-dx, -dy)."""
    by = np.array([dx, dy], np.float32)
    match shape:
        case Box():
            return Box(shape.x0 + dx, shape.y0 + dy, shape.x1 + dx, shape.y1 + dy)
        case Polygon():
            return Polygon(shape.points + by)
        case Keypoints():
            return Keypoints(shape.points + by, shape.scores)
        case RotatedBox() | Ellipse():
            return replace(shape, center_x=shape.center_x + dx, center_y=shape.center_y + dy)
        case Point():
            return Point(shape.x + dx, shape.y + dy)
        case Mask():
            matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            pixels = shape.pixels.astype(np.uint8)
            size = (width, height)
            moved = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_NEAREST)
            return Mask(moved.astype(np.bool_))
        case WholeImage():
            return shape
