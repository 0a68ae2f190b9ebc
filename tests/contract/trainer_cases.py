"""What people really label, at its edges: drawn examples that every trainer must survive.

`CASES` maps a name to a function that draws its examples anew, the same every time. A class has a
colour of its own, so that most cases can also be learned. Pictures are small, but for one.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from micro_models.examples import Example
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

Pixels = NDArray[np.uint8]
Case = Callable[[], list[Example]]

WIDTH, HEIGHT = 96, 72


# Drawing ------------------------------------------------------------------------------------


def ground(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """(height, width, 3): grey with a grain."""
    grain = np.random.default_rng(seed).integers(-12, 13, (height, width, 3))
    return (120 + grain).astype(np.uint8)


def colour(index: int, count: int = 8) -> tuple[int, int, int]:
    """A strong colour, another for each `index` below `count`."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 1.0, 0.9 if index % 2 else 0.6)
    return int(red * 255), int(green * 255), int(blue * 255)


def paint(canvas: Pixels, shape: Shape, rgb: tuple[int, int, int]) -> None:
    """Colour what lies in the shape; what lies outside the canvas is not seen."""
    height, width = canvas.shape[:2]
    size = {"width_px": width, "height_px": height}
    match shape:
        case Box():
            rows = slice(max(round(shape.y0), 0), max(round(shape.y1), 0))
            canvas[rows, max(round(shape.x0), 0) : max(round(shape.x1), 0)] = rgb
        case RotatedBox():
            canvas[rotated_box_to_mask(shape, **size).pixels] = rgb
        case Ellipse():
            canvas[ellipse_to_mask(shape, **size).pixels] = rgb
        case Polygon():
            canvas[polygon_to_mask(shape, **size).pixels] = rgb
        case Mask():
            canvas[shape.pixels] = rgb
        case Point():
            paint(canvas, Ellipse(shape.x, shape.y, 3, 3), rgb)
        case Keypoints():
            for x, y in shape.points[shape.scores > 0].tolist():
                paint(canvas, Ellipse(x, y, 3, 3), rgb)
        case WholeImage():
            canvas[: height // 2] = rgb


def scene(seed: int, regions: Iterable[Region], *, size: tuple[int, int] | None = None) -> Example:
    """A picture (width, height) on which the regions are drawn, each label in its colour."""
    canvas, regions = ground(seed, *(size or (WIDTH, HEIGHT))), list(regions)
    labels = sorted({region.label for region in regions})
    for region in regions:
        paint(canvas, region.shape, colour(_number(region.label, labels)))
    return Example(Image(canvas), regions)


def _number(label: str, labels: list[str]) -> int:
    """The same for a label in every picture of a case where labels are numbered."""
    digits = "".join(filter(str.isdigit, label))
    return int(digits) if digits.isascii() and digits else labels.index(label)


def square(rng: np.random.Generator, side: float, *, size: tuple[int, int] | None = None) -> Box:
    """Somewhere wholly inside."""
    width, height = size or (WIDTH, HEIGHT)
    x, y = rng.uniform(0, [width - side, height - side]).round().tolist()
    return Box(x, y, x + side, y + side)


def _scenes(count: int, shape: Callable[[np.random.Generator], Shape], label: str = "1") -> Case:
    """A case of `count` pictures with two objects in each."""

    def draw() -> list[Example]:
        rng = np.random.default_rng(0)
        return [scene(n, [Region(label, shape(rng)) for _ in range(2)]) for n in range(count)]

    return draw


# Shapes, one of each kind somewhere in the picture --------------------------------------------


def _rotated(rng: np.random.Generator) -> RotatedBox:
    x, y = rng.uniform(16, [WIDTH - 16, HEIGHT - 16]).tolist()
    return RotatedBox(x, y, 24, 10, float(rng.uniform(-180, 180)))


def _ellipse(rng: np.random.Generator) -> Ellipse:
    x, y = rng.uniform(14, [WIDTH - 14, HEIGHT - 14]).tolist()
    return Ellipse(x, y, 12, 7, float(rng.uniform(0, 180)))


def _polygon(rng: np.random.Generator) -> Polygon:
    corners = np.array([[0, -12], [11, 8], [0, 3], [-11, 8]])
    return Polygon((corners + rng.uniform(14, [WIDTH - 14, HEIGHT - 14])).astype(np.float32))


def _mask(rng: np.random.Generator) -> Mask:
    return polygon_to_mask(_polygon(rng), width_px=WIDTH, height_px=HEIGHT)


def _point(rng: np.random.Generator) -> Point:
    return Point(*rng.uniform(4, [WIDTH - 4, HEIGHT - 4]).tolist())


def _skeleton(rng: np.random.Generator, *, seen: tuple[int, ...] = (1, 1, 1)) -> Keypoints:
    legs = np.array([[0, -12], [12, 10], [-12, 10], [0, 0]])[: len(seen)]
    points = legs + rng.uniform(16, [WIDTH - 16, HEIGHT - 16])
    return Keypoints(points.astype(np.float32), np.array(seen, np.float32))


# How many -----------------------------------------------------------------------------------


def _one_object() -> list[Example]:
    return [scene(0, [Region("1", Box(30, 20, 54, 44))])]


def _hundreds_of_objects() -> list[Example]:
    def crowd(seed: int) -> list[Region]:
        rng = np.random.default_rng(seed)
        corners = [(x, y) for x in range(2, 190, 9) for y in range(2, 140, 9)]
        moved = np.array(corners) + rng.integers(0, 3, (len(corners), 2))
        return [Region(str(rng.integers(1, 3)), Box(x, y, x + 5, y + 5)) for x, y in moved.tolist()]

    return [scene(seed, crowd(seed), size=(200, 150)) for seed in range(2)]


def _fifty_classes() -> list[Example]:
    def page(seed: int) -> list[Region]:
        order = np.random.default_rng(seed).permutation(50).tolist()
        places = [(x, y) for x in range(4, 164, 16) for y in range(4, 84, 16)]
        return [
            Region(f"class {label}", Box(x, y, x + 10, y + 10))
            for label, (x, y) in zip(order, places, strict=True)
        ]

    examples = []
    for seed in range(3):
        canvas, regions = ground(seed, 168, 88), page(seed)
        for region in regions:
            paint(canvas, region.shape, colour(_number(region.label, []), 50))
        examples.append(Example(Image(canvas), regions))
    return examples


def _no_object_at_all() -> list[Example]:
    return [Example(Image(ground(seed))) for seed in range(3)]


def _mostly_background() -> list[Example]:
    rng = np.random.default_rng(0)
    return [scene(0, [Region("1", square(rng, 14))]), *_no_object_at_all()]


def _two_labels_never_together() -> list[Example]:
    rng = np.random.default_rng(0)
    return [scene(n, [Region("2" if n % 2 else "1", square(rng, 16))]) for n in range(4)]


# How large ----------------------------------------------------------------------------------


def _as_large_as_the_image() -> list[Example]:
    full = Box(0, 0, WIDTH, HEIGHT)
    return [*(scene(n, [Region("1", full)]) for n in range(2)), Example(Image(ground(2)))]


def _small_and_large() -> list[Example]:
    large = Region("1", Box(2, 2, 62, 62))
    return [scene(n, [large, Region("2", Box(70 + n, 30 + n, 73 + n, 33 + n))]) for n in range(3)]


def _every_size() -> list[Example]:
    sizes = [(1, 1), (1, 7), (7, 1), (2, 3), (5, 5), (17, 9), (40, 30), (97, 64), (160, 16)]
    return [
        scene(n, [Region("1", Box(0, 0, width / 2, height / 2))], size=(width, height))
        for n, (width, height) in enumerate(sizes)
    ]


def _ribbons() -> list[Example]:
    wide, tall = (640, 6), (6, 640)
    return [
        scene(0, [Region("1", Box(100, 1, 120, 5))], size=wide),
        scene(1, [Region("1", Box(1, 300, 5, 320))], size=tall),
    ]


def _forty_megapixels() -> list[Example]:
    canvas = np.full((5200, 7700, 3), 120, np.uint8)
    region = Region("1", Box(2000, 1000, 4000, 3500))
    paint(canvas, region.shape, colour(1))
    return [Example(Image(canvas), [region])]


# Strange, yet sent --------------------------------------------------------------------------


def _partly_outside() -> list[Example]:
    width, height = WIDTH, HEIGHT
    shapes: list[Shape] = [
        Box(-10, -8, 12, 10),
        RotatedBox(width, 20, 30, 12, 30),
        Ellipse(20, height, 14, 8, 0),
        Polygon(np.array([[80, 60], [120, 64], [90, 100]], np.float32)),
    ]
    return [
        scene(n, [Region(str(at), shape) for at, shape in enumerate(shapes, 1)]) for n in range(2)
    ]


def _wholly_outside() -> list[Example]:
    gone = [Region("1", Box(200, 200, 220, 230)), Region("2", Point(-30, -5))]
    inside = [Region("1", Box(30, 20, 54, 44)), Region("2", Point(70, 50))]
    return [scene(0, gone), scene(1, inside), scene(2, inside + gone)]


def _without_area() -> list[Example]:
    line = np.array([[5, 5], [20, 20], [35, 35]], np.float32)
    shapes: list[Shape] = [
        Box(40, 30, 40, 30),
        Box(10, 10, 10, 50),
        RotatedBox(30, 30, 20, 0, 45),
        Ellipse(50, 50, 0, 0),
        Polygon(line),
        Mask(np.zeros((HEIGHT, WIDTH), np.bool_)),
    ]
    odd = [Region(str(at), shape) for at, shape in enumerate(shapes, 1)]
    return [scene(n, [*odd, Region("1", Box(60, 20, 80, 40))]) for n in range(2)]


def _nested_and_twice() -> list[Example]:
    outer, inner = Box(10, 10, 70, 62), Box(30, 26, 46, 42)
    regions = [Region("1", outer), Region("2", inner), Region("2", inner)]
    return [scene(n, regions) for n in range(2)]


def _grey_images() -> list[Example]:
    def grey(example: Example) -> Example:
        assert isinstance(example.picture, Image)
        level = example.picture.pixels[..., :1]
        return Example(Image(np.repeat(level, 3, axis=2)), example.regions)

    return [grey(example) for example in _two_labels_never_together()]


def _flat_images() -> list[Example]:
    """Nothing to tell the object from the rest by, nor a spread to divide by."""
    black = Image(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    white = Image(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    return [Example(black, [Region("1", Box(10, 10, 30, 30))]), Example(white)]


def _unicode_labels() -> list[Example]:
    labels = ["кошка", "犬", "naïve café", "🦜", "a/b\\c\n", "", "  ", "x" * 300]
    regions = [Region(label, Box(4 + 11 * n, 8, 12 + 11 * n, 16)) for n, label in enumerate(labels)]
    return [scene(seed, regions) for seed in range(2)]


# Mixtures -----------------------------------------------------------------------------------


def _every_kind() -> list[Example]:
    rng = np.random.default_rng(0)
    return [
        scene(
            n,
            [
                Region("day" if n % 2 else "night", WholeImage()),
                Region("1 box", square(rng, 14)),
                Region("2 rotated", _rotated(rng)),
                Region("3 ellipse", _ellipse(rng)),
                Region("4 polygon", _polygon(rng)),
                Region("5 mask", _mask(rng)),
                Region("6 point", _point(rng)),
                Region("7 skeleton", _skeleton(rng)),
            ],
        )
        for n in range(4)
    ]


def _one_label_in_several_kinds() -> list[Example]:
    """Boxes are in the majority."""
    rng = np.random.default_rng(0)
    shapes = [square(rng, 14), square(rng, 20), square(rng, 9), _mask(rng), _ellipse(rng)]
    return [scene(n, [Region("1", shape)]) for n, shape in enumerate(shapes)]


def _boxes_and_a_class() -> list[Example]:
    rng = np.random.default_rng(0)
    weather = [Region("0 sunny" if n % 2 else "3 rainy", WholeImage()) for n in range(4)]
    boxes = [[], *([Region("5", square(rng, 14))] for _ in range(3))]
    return [scene(n, [weather[n], *boxes[n]]) for n in range(4)]


def _several_classes_each() -> list[Example]:
    """Independent: an image has any number of them, also none."""
    sets = [("1",), ("2",), ("1", "2"), (), ("1", "3"), ("3",)]
    return [scene(n, [Region(one, WholeImage()) for one in some]) for n, some in enumerate(sets)]


def _one_class_each() -> list[Example]:
    """Exclusive."""
    return [scene(n, [Region(str(n % 3), WholeImage())]) for n in range(6)]


def _one_class_only() -> list[Example]:
    return [scene(n, [Region("1", WholeImage())]) for n in range(3)]


def _skeletons_half_seen() -> list[Example]:
    rng = np.random.default_rng(0)
    seen = [(1, 1, 1), (1, 0, 1), (0, 0, 1), (0, 0, 0)]
    return [scene(n, [Region("1", _skeleton(rng, seen=one))]) for n, one in enumerate(seen)]


def _skeletons_of_several_lengths() -> list[Example]:
    """Two labels with another number of points each, and one that varies from image to image."""
    rng = np.random.default_rng(0)
    lengths = [(4, 2, 3), (4, 2, 1), (4, 2, 3)]
    return [
        scene(
            n,
            [Region(str(k), _skeleton(rng, seen=(1,) * one)) for k, one in enumerate(counts, 1)],
        )
        for n, counts in enumerate(lengths)
    ]


CASES: dict[str, Case] = {
    "one image": _scenes(1, lambda rng: square(rng, 14)),
    "one object": _one_object,
    "hundreds of objects": _hundreds_of_objects,
    "fifty classes": _fifty_classes,
    "no object at all": _no_object_at_all,
    "mostly background": _mostly_background,
    "two labels never together": _two_labels_never_together,
    "the same picture twice": lambda: [*_one_object(), *_one_object()],
    "a single class": _scenes(3, lambda rng: square(rng, 16)),
    "objects of 3 pixels": _scenes(3, lambda rng: square(rng, 3)),
    "objects of 1 pixel": _scenes(3, lambda rng: square(rng, 1)),
    "as large as the image": _as_large_as_the_image,
    "small and large": _small_and_large,
    "every size": _every_size,
    "ribbons": _ribbons,
    "forty megapixels": _forty_megapixels,
    "partly outside": _partly_outside,
    "wholly outside": _wholly_outside,
    "without area": _without_area,
    "nested and twice": _nested_and_twice,
    "grey images": _grey_images,
    "flat images": _flat_images,
    "unicode labels": _unicode_labels,
    "rotated boxes": _scenes(3, _rotated),
    "ellipses": _scenes(3, _ellipse),
    "polygons": _scenes(3, _polygon),
    "masks": _scenes(3, _mask),
    "points": _scenes(3, _point),
    "skeletons": _scenes(3, _skeleton),
    "skeletons half seen": _skeletons_half_seen,
    "skeletons of several lengths": _skeletons_of_several_lengths,
    "one class only": _one_class_only,
    "one class each": _one_class_each,
    "several classes each": _several_classes_each,
    "boxes and a class": _boxes_and_a_class,
    "one label in several kinds": _one_label_in_several_kinds,
    "every kind": _every_kind,
}
