"""Growing a forest: cells sampled from views of the examples, a few trees, then harder cells.

The harder cells are those of the background that the first trees take for objects: N. Dalal,
B. Triggs, CVPR 2005.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Clock, Progress, Told
from micro_models.regions import Floats, Image
from micro_models.trainers.forest import trees
from micro_models.trainers.forest.looks import mirror_keeps, thumbnails
from micro_models.trainers.forest.lots import evenly
from micro_models.trainers.forest.objects import Objects
from micro_models.trainers.forest.refining import Known, Refiner, learned
from micro_models.trainers.forest.sight import Sight
from micro_models.trainers.forest.targets import SURE, Layout, encode
from micro_models.trainers.forest.views import View, random_view, without_cut

# Trees, and those of them that only find the harder cells.
TREES, FIRST = 40, 12

# Cells to learn from in all: at centres, elsewhere on objects, of background, harder ones.
_CENTERS, _OBJECTS, _BACKGROUND, _HARDER = 1500, 1000, 3000, 5000

# Cells of a view that are asked whether they are harder; what makes one.
_ASKED, _DOUBT = 6000, 0.1

# Samples for each second that is left: with so many there is time for some ten trees.
_A_SECOND, _LEAST_SAMPLES = 20_000, 300

# Objects that are compared with mirrored ones.
_COMPARED = 200

# Views of an image: until there are so many in all, or so many cells, or so much of the budget is
# used; the first views of many images may have more cells.
_VIEWS, _VIEWED, _CELLS, _FIRST_CELLS, _LOOKING = 12, 60, 300_000, 600_000, 0.3

# Parts of the budget that may be used when the first trees, and the harder cells, are there.
_SCOUTING, _MINING = 0.45, 0.55

# Boxes of a label to learn from when they are refined; fewer if less than a second is left.
_REFINED = 2000


@dataclass(frozen=True, eq=False)
class Samples:
    """Cells to learn: what is seen (n, f), what to answer (n, d), the part that it shows (n,)."""

    seen: Floats
    answers: Floats
    part: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Looked(Known):
    """A view of an example, and per cell the answers (n, d) and the part (n,).

    A part is 0 for background, then the labels' and key points' centres, then the labels' other
    cells.
    """

    answers: Floats
    part: NDArray[np.intp]


def grow(
    images: Sequence[Image],
    objects: Sequence[Objects],
    *,
    sight: Sight,
    layout: Layout,
    clock: Clock,
    rng: np.random.Generator,
    told: Told,
) -> tuple[trees.Forest, Refiner]:
    """A forest that knows the objects of the images; at least one tree, whatever the clock says.

    And what refines its boxes.
    """
    mirror = layout.points == 0 and _mirror_keeps(images, objects, rng)
    looked = list(_looks(images, objects, sight, layout, clock, rng, mirror=mirror))
    share = 1 / len(looked)
    samples = [_sampled(one, sight, layout, share, rng) for one in looked]
    steps = clock.budget.steps or TREES + FIRST
    first = min(FIRST, steps // 4)
    if first and clock.spent < _SCOUTING:
        scouts = _trees(_joined(samples), first, clock, rng, told, until=_SCOUTING)
        samples += [
            _hard(one, scouts, sight, layout, share) for one in looked if clock.spent < _MINING
        ]
    kinds = [kind.shape == "Box" and clock.spent < _MINING for kind in layout.kinds]
    left = clock.left().seconds
    most = _REFINED if left is None else min(int(left * _REFINED), _REFINED)
    refiner = learned(looked, kinds, margin=sight.margin, most=most, rng=rng)
    forest = _trees(_joined(samples), min(TREES, steps - clock.steps), clock, rng, told)
    return forest, refiner


def _mirror_keeps(
    images: Sequence[Image], objects: Sequence[Objects], rng: np.random.Generator
) -> bool:
    """Whether mirrored objects look like others of their label, and not of another."""
    kind = np.concatenate([known.kind for known in objects])
    if len(np.unique(kind)) < 2:
        return True
    owner = np.repeat(np.arange(len(objects)), [len(known.kind) for known in objects])
    chosen = np.sort(evenly(kind, rng, most=_COMPARED))
    boxes = np.concatenate([known.boxes for known in objects])
    small = np.concatenate(
        [
            thumbnails(image.pixels, boxes[chosen[owner[chosen] == index]])
            for index, image in enumerate(images)
        ]
    )
    plain, mirrored = (seen.reshape(len(seen), -1) for seen in (small, small[:, :, ::-1]))
    return mirror_keeps(plain, mirrored, kind[chosen])


def _looks(
    images: Sequence[Image],
    objects: Sequence[Objects],
    sight: Sight,
    layout: Layout,
    clock: Clock,
    rng: np.random.Generator,
    *,
    mirror: bool,
) -> Iterator[Looked]:
    """Each image as it is, then changed views, as long as they are few and it is early.

    Whatever the clock says, there is an object in some view.
    """
    cells = count = 0
    needed = next((n for n, known in enumerate(objects) if len(known.kind)), 0) + 1
    for turn in range(_VIEWS):
        for image, known in zip(images, objects, strict=True):
            if turn and (count >= _VIEWED or cells > _CELLS):
                return
            if count >= needed and (cells > _FIRST_CELLS or clock.spent > _LOOKING):
                return
            size = sight.cell(image.width_px, image.height_px)
            view = random_view(size, rng, mirror=mirror) if turn else View(size, size)
            view = without_cut(view, image.width_px, image.height_px)
            rows, columns = view.grid(image.width_px, image.height_px)
            seen = sight.look(view.image(image.pixels))
            moved = view.objects(known)
            answers, owned = encode(moved, layout)
            flat = answers.reshape(-1, layout.width)
            parts = _parts(flat, owned.ravel(), layout)
            yield Looked(seen, moved.kind, moved.boxes, flat, parts)
            count, cells = count + 1, cells + rows * columns


def _parts(answers: Floats, owned: NDArray[np.bool_], layout: Layout) -> NDArray[np.intp]:
    heat, inside = answers[:, : layout.parts], answers[:, layout.inside]
    other = owned | (inside.max(axis=1) > 0.5)
    part = np.where(other, layout.parts + 1 + inside.argmax(axis=1), 0)
    return np.where(heat.max(axis=1) > SURE, heat.argmax(axis=1) + 1, part)


def _sampled(
    one: Looked, sight: Sight, layout: Layout, share: float, rng: np.random.Generator
) -> Samples:
    centers = (one.part > 0) & (one.part <= layout.parts)
    groups = (
        (np.flatnonzero(centers), _CENTERS),
        (np.flatnonzero(one.part > layout.parts), _OBJECTS),
        (np.flatnonzero(one.part == 0), _BACKGROUND),
    )
    drawn = [
        cells[evenly(one.part[cells], rng, most=max(round(share * count), 1))]
        for cells, count in groups
    ]
    return _taken(one, np.concatenate(drawn), sight)


def _hard(one: Looked, scouts: trees.Forest, sight: Sight, layout: Layout, share: float) -> Samples:
    """The cells that show no centre and look most like one."""
    asked = np.arange(0, len(one.part), max(len(one.part) // _ASKED, 1))
    at = sight.index(one.seen, asked)
    flat, offsets = one.seen.ravel(), sight.offsets(one.seen)
    votes = scouts.votes(flat, offsets, at, range(len(scouts))) / len(scouts)
    doubt = votes[:, : layout.parts].max(axis=1)
    doubt[(one.part[asked] > 0) & (one.part[asked] <= layout.parts)] = 0
    worst = np.argsort(-doubt, kind="stable")[: max(round(share * _HARDER), 1)]
    return _taken(one, asked[worst[doubt[worst] > _DOUBT]], sight)


def _taken(one: Looked, cells: NDArray[np.int64], sight: Sight) -> Samples:
    index = sight.index(one.seen, cells)
    seen = one.seen.ravel()[index[:, None] + sight.offsets(one.seen)[None]]
    return Samples(seen, one.answers[cells], one.part[cells])


def _joined(samples: Sequence[Samples]) -> Samples:
    return Samples(
        np.concatenate([one.seen for one in samples]),
        np.concatenate([one.answers for one in samples]),
        np.concatenate([one.part for one in samples]),
    )


def _fewer(samples: Samples, clock: Clock, rng: np.random.Generator) -> Samples:
    """So few that there is time for some trees: one tree is worse than some of less."""
    left = clock.left().seconds
    if left is None or len(samples.part) <= left * _A_SECOND:
        return samples
    kept = evenly(samples.part, rng, most=max(int(left * _A_SECOND), _LEAST_SAMPLES))
    return Samples(samples.seen[kept], samples.answers[kept], samples.part[kept])


def _trees(
    samples: Samples,
    count: int,
    clock: Clock,
    rng: np.random.Generator,
    told: Told,
    *,
    until: float = 1.0,
) -> trees.Forest:
    """At most so many trees; as many as can be grown until a part of the budget is used."""
    grown: list[trees.Forest] = []
    samples = _fewer(samples, clock, rng)
    for number in range(max(count, 1)):
        began = clock.seconds
        seed = int(rng.integers(2**31))
        grown.append(trees.grown(samples.seen, samples.part, samples.answers, seed=seed))
        clock.tick()
        told(Progress("forest", max(clock.spent, number / count), clock.steps))
        left = clock.left().seconds
        if clock.spent >= until or (left is not None and left < clock.seconds - began):
            break
    return trees.joined(grown)
