"""A forest that finds objects: what its leaves say of every cell, and regions made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.budget import Clock, Told
from micro_models.examples import Example, image_of
from micro_models.interface import ModelFileError, State
from micro_models.regions import Floats, Image, Region
from micro_models.trainers.forest import decoding, sight, trees
from micro_models.trainers.forest.growing import FIRST, grow
from micro_models.trainers.forest.objects import LOCATED, Kind, kinds_of, objects_of
from micro_models.trainers.forest.targets import Layout
from micro_models.trainers.forest.views import View

# A cell that the first trees give less than this is background, and not asked further.
_HOPELESS = 0.08

# Cells that are asked in one go: what is read then stays in the cache.
_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class LocatedModel:
    """Finds the objects of some labels."""

    layout: Layout
    sight: sight.Sight
    forest: trees.Forest

    @property
    def labels(self) -> tuple[str, ...]:
        """What it finds, sorted."""
        return tuple(kind.label for kind in self.layout.kinds)

    def detect(self, image: Image, *, min_score: float) -> list[Region]:
        """Its objects in an image, best first."""
        return decoding.decode(
            self.answers(image),
            self.layout,
            width_px=image.width_px,
            height_px=image.height_px,
            min_score=min_score,
        )

    def answers(self, image: Image) -> Floats:
        """(rows, columns, layout.width) the mean over the trees; 0 where hopeless."""
        size = self.sight.cell(image.width_px, image.height_px)
        view = View(size, size)
        rows, columns = view.grid(image.width_px, image.height_px)
        planes = self.sight.look(view.image(image.pixels))
        seen, offsets = planes.ravel(), self.sight.offsets(planes)
        found = np.zeros((rows * columns, self.layout.width), np.float32)
        count = len(self.forest)
        early, late = range(min(FIRST, count)), range(min(FIRST, count), count)
        for start in range(0, len(found), _AT_ONCE):
            cells = np.arange(start, min(start + _AT_ONCE, len(found)))
            at = self.sight.index(planes, cells)
            votes = self.forest.votes(seen, offsets, at, early)
            hope = votes[:, : self.layout.inside.stop].max(axis=1) > _HOPELESS * len(early)
            further = self.forest.votes(seen, offsets, at[hope], late)
            found[cells[hope]] = (votes[hope] + further) / count
        return found.reshape(rows, columns, -1)

    def state(self) -> State:
        """All of it, for `restore`."""
        kinds = [[kind.label, kind.shape, kind.points] for kind in self.layout.kinds]
        return State(
            {"kinds": kinds, **self.sight.settings()},
            {"features": self.sight.features, **self.forest.arrays()},
        )


def fit(
    examples: Sequence[Example], *, clock: Clock, rng: np.random.Generator, told: Told
) -> LocatedModel | None:
    """A model of the located labels; None if there are none."""
    kinds = kinds_of(examples)
    if not kinds:
        return None
    layout = Layout(kinds)
    images = [image_of(example.picture) for example in examples]
    pairs = zip(images, examples, strict=True)
    objects = [objects_of(image, example.regions, kinds) for image, example in pairs]
    where = sight.sight_for(objects)
    grown = grow(images, objects, sight=where, layout=layout, clock=clock, rng=rng, told=told)
    return LocatedModel(layout, where, grown)


def restore(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LocatedModel:
    """The same model again.

    Errors: `ModelFileError` for a state that does not fit together.
    """
    layout = Layout(_kinds(settings.get("kinds")))
    if "features" not in arrays:
        raise ModelFileError("the forest lacks its features; train the model again")
    where = sight.restored(settings, arrays["features"])
    forest = trees.restored(arrays, features=len(where.features), width=layout.width)
    return LocatedModel(layout, where, forest)


def _kinds(stored: object) -> tuple[Kind, ...]:
    kinds = []
    for row in stored if isinstance(stored, Sequence) else ():
        match row:
            case [str(label), str(shape), int(points)] if shape in LOCATED and 0 <= points <= 1000:
                kinds.append(Kind(label, shape, points))
            case _:
                raise ModelFileError(f"the forest's labels hold {row!r}; train the model again")
    if not kinds:
        raise ModelFileError("the forest has no labels; train the model again")
    return tuple(kinds)
