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
from micro_models.trainers.forest import decoding, refining, sight, trees
from micro_models.trainers.forest.growing import grow
from micro_models.trainers.forest.lots import evenly
from micro_models.trainers.forest.objects import LOCATED, Kind, kinds_of, objects_of
from micro_models.trainers.forest.targets import Layout
from micro_models.trainers.forest.views import View

# A cell that so many trees give less than this is background, and the others are not asked.
_EARLY, _HOPELESS = 8, 0.08

# Objects are read until so much of the budget is used, or so many pixels of areas are held.
_READING, _PAINTED_PX = 0.1, 500_000_000

# Cells that are asked in one go: what is read then stays in the cache.
_AT_ONCE = 1 << 16


@dataclass(frozen=True, eq=False)
class LocatedModel:
    """Finds the objects of some labels."""

    layout: Layout
    sight: sight.Sight
    forest: trees.Forest
    refiner: refining.Refiner

    @property
    def labels(self) -> tuple[str, ...]:
        """What it finds, sorted."""
        return tuple(kind.label for kind in self.layout.kinds)

    def detect(self, image: Image, *, min_score: float) -> list[Region]:
        """Its objects in an image, best first."""
        size = self.sight.cell(image.width_px, image.height_px)
        seen = self.sight.look(View(size, size).image(image.pixels))

        def refined(kind: int, boxes: Floats) -> Floats:
            return self.refiner.refined(seen, boxes, kind=kind, margin=self.sight.margin)

        return decoding.decode(
            self._answers(seen),
            self.layout,
            refined,
            width_px=image.width_px,
            height_px=image.height_px,
            min_score=min_score,
        )

    def _answers(self, planes: Floats) -> Floats:
        """(rows, columns, layout.width) the mean over the trees; 0 where hopeless."""
        rows, columns = (side - 2 * self.sight.margin for side in planes.shape[1:])
        seen, offsets = planes.ravel(), self.sight.offsets(planes)
        found = np.zeros((rows * columns, self.layout.width), np.float32)
        count = len(self.forest)
        early, late = range(min(_EARLY, count)), range(min(_EARLY, count), count)
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
            {
                "features": self.sight.features,
                "corrections": self.refiner.weights,
                **self.forest.arrays(),
            },
        )


def fit(
    examples: Sequence[Example], *, clock: Clock, rng: np.random.Generator, told: Told
) -> LocatedModel | None:
    """A model of the located labels; None if there are none."""
    kinds = kinds_of(examples)
    if not kinds:
        return None
    layout = Layout(kinds)
    images, objects, painted = [], [], 0
    for index in evenly(_rarest(examples, kinds), rng):
        images.append(image_of(examples[index].picture))
        objects.append(objects_of(images[-1], examples[index].regions, kinds))
        painted += sum(area.size for area in objects[-1].inside if area is not None)
        late = clock.spent > _READING or painted > _PAINTED_PX
        if late and any(len(known.kind) for known in objects):
            break
    where = sight.sight_for(objects)
    grown = grow(images, objects, sight=where, layout=layout, clock=clock, rng=rng, told=told)
    return LocatedModel(layout, where, *grown)


def _rarest(examples: Sequence[Example], kinds: Sequence[Kind]) -> NDArray[np.intp]:
    """Of each example the label in it that is in fewest of all, as an index; -1 if it has none."""
    names = {kind.label: index for index, kind in enumerate(kinds)}
    known = [[names[label] for label in one.labels if label in names] for one in examples]
    often = np.bincount([index for some in known for index in some], minlength=len(kinds))
    return np.array([min(some, key=lambda one: often[one], default=-1) for some in known], np.intp)


def restore(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> LocatedModel:
    """The same model again.

    Errors: `ModelFileError` for a state that does not fit together.
    """
    layout = Layout(_kinds(settings.get("kinds")))
    for name in ("features", "corrections"):
        if name not in arrays:
            raise ModelFileError(f"the forest lacks its {name}; train the model again")
    where = sight.restored(settings, arrays["features"])
    forest = trees.restored(arrays, features=len(where.features), width=layout.width)
    refiner = refining.restored(arrays["corrections"], kinds=len(layout.kinds))
    return LocatedModel(layout, where, forest, refiner)


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
