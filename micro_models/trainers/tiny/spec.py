"""What a tiny network is to answer: its labels, their shapes, and so its heads and channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from micro_models.examples import Example
from micro_models.interface import ModelFileError
from micro_models.regions import (
    Box,
    Ellipse,
    Keypoints,
    Mask,
    Point,
    Polygon,
    RotatedBox,
    Shape,
    WholeImage,
)
from micro_models.tasks import Answer, answers_of, exclusive

_MOST_LABELS = 65536
_MOST_POINTS = 65536
_MOST_OBJECTS = 1_000_000


class Kind(StrEnum):
    """The shape in which a located label is answered."""

    BOX = "box"
    ROTATED = "rotated"
    ELLIPSE = "ellipse"
    POLYGON = "polygon"
    MASK = "mask"
    POINT = "point"
    KEYPOINTS = "keypoints"


TURNED = frozenset({Kind.ROTATED, Kind.ELLIPSE})
OUTLINED = frozenset({Kind.POLYGON, Kind.MASK})
_KINDS: Mapping[type[Shape], Kind] = {
    Box: Kind.BOX,
    RotatedBox: Kind.ROTATED,
    Ellipse: Kind.ELLIPSE,
    Polygon: Kind.POLYGON,
    Mask: Kind.MASK,
    Point: Kind.POINT,
    Keypoints: Kind.KEYPOINTS,
}


@dataclass(frozen=True)
class Located:
    """A label of something that is somewhere; `points` is the length of its skeleton, else 0."""

    label: str
    kind: Kind
    points: int = 0


@dataclass(frozen=True)
class Spec:
    """All labels of one network: `located` sorted by label, `classes` of the whole image sorted.

    `exclusive`: an image has exactly one of the classes. `most_objects`: in one example.
    """

    located: tuple[Located, ...] = ()
    classes: tuple[str, ...] = ()
    exclusive: bool = False
    most_objects: int = 0

    @staticmethod
    def of(examples: Iterable[Example]) -> Spec:
        """What these examples ask for; each label in the kind that most of its regions have.

        >>> import numpy as np
        >>> from micro_models.regions import Image, Region
        >>> image = Image(np.zeros((8, 8, 3), np.uint8))
        >>> regions = [Region("car", Box(1, 1, 5, 5)), Region("night", WholeImage())]
        >>> spec = Spec.of([Example(image, regions)])
        >>> spec.labels, spec.heads
        (('car', 'night'), {'heat': 1, 'sides': 4, 'classes': 1})
        """
        examples = list(examples)
        answers = answers_of(examples)
        classes = tuple(one.label for one in answers if one.shape is WholeImage)
        counts = [sum(region.label not in classes for region in one.regions) for one in examples]
        return Spec(
            tuple(_of(one) for one in answers if one.shape is not WholeImage),
            classes,
            exclusive=bool(classes) and exclusive(examples),
            most_objects=max(counts, default=0),
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return tuple(sorted((*(one.label for one in self.located), *self.classes)))

    @property
    def heads(self) -> dict[str, int]:
        """The number of channels of each head that is needed, by name.

        `heat`: one per located label; `sides`: left, top, right, bottom; `angle`: sin and cos of
        twice the angle; `mask`: one per label with an outline; `point_heat`: one per key point of
        all labels; `point_offset`: x and y of each of them; `classes`: one per class, from the
        whole image.
        """
        points = sum(one.points for one in self.located)
        channels = {
            "heat": len(self.located),
            "sides": 4 if self.located else 0,
            "angle": 2 if any(one.kind in TURNED for one in self.located) else 0,
            "mask": sum(one.kind in OUTLINED for one in self.located),
            "point_heat": points,
            "point_offset": 2 * points,
            "classes": len(self.classes),
        }
        return {name: count for name, count in channels.items() if count}

    def mask_channel(self, index: int) -> int:
        """The channel in `mask` of the located label `index`."""
        return sum(one.kind in OUTLINED for one in self.located[:index])

    def point_channel(self, index: int) -> int:
        """The channel in `point_heat` of the first key point of the located label `index`.

        >>> two = Spec((Located("cat", Kind.KEYPOINTS, 4), Located("dog", Kind.KEYPOINTS, 3)))
        >>> two.point_channel(1)
        4
        """
        return sum(one.points for one in self.located[:index])

    def to_json(self) -> dict[str, Any]:
        """As JSON for `from_json`.

        >>> Spec(classes=("ant", "bee"), exclusive=True).to_json()["classes"]
        ['ant', 'bee']
        """
        return {
            "located": [[one.label, one.kind.value, one.points] for one in self.located],
            "classes": list(self.classes),
            "exclusive": self.exclusive,
            "most_objects": self.most_objects,
        }

    @staticmethod
    def from_json(stored: Any) -> Spec:
        """The same spec again.

        Errors: `ModelFileError` for anything that `to_json` does not write.

        >>> spec = Spec((Located("car", Kind.BOX),), most_objects=3)
        >>> Spec.from_json(spec.to_json()) == spec
        True
        """
        if not isinstance(stored, dict) or set(stored) != set(Spec().to_json()):
            raise _broken("its labels are not told as they should be")
        if not (isinstance(stored["located"], list) and isinstance(stored["classes"], list)):
            raise _broken("its labels are no lists")
        if not isinstance(stored["exclusive"], bool):
            raise _broken("'exclusive' is neither true nor false")
        located = tuple(_located(one) for one in stored["located"])
        classes = tuple(_label(one) for one in stored["classes"])
        labels = [*(one.label for one in located), *classes]
        if len(labels) > _MOST_LABELS or len(set(labels)) < len(labels):
            raise _broken(f"a label is there twice, or there are more than {_MOST_LABELS}")
        most = _whole(stored["most_objects"], _MOST_OBJECTS)
        return Spec(located, classes, exclusive=stored["exclusive"], most_objects=most)


def _of(answer: Answer) -> Located:
    kind = _KINDS[answer.shape]
    # A skeleton of no points says at most where it is.
    bare = kind is Kind.KEYPOINTS and not answer.points
    return Located(answer.label, Kind.BOX if bare else kind, answer.points)


def _located(stored: Any) -> Located:
    if not isinstance(stored, list) or len(stored) != 3:
        raise _broken("a label is not told as label, kind and number of points")
    label, kind, points = stored
    if not isinstance(kind, str) or kind not in set(Kind):
        raise _broken(f"it answers in a shape that this version does not know: {kind!r}")
    count = _whole(points, _MOST_POINTS)
    if (count > 0) != (kind == Kind.KEYPOINTS):
        raise _broken(f"{count} key points do not go with the shape {kind!r}")
    return Located(_label(label), Kind(kind), count)


def _label(stored: Any) -> str:
    if not isinstance(stored, str):
        raise _broken(f"a label is a text, not {stored!r}")
    return stored


def _whole(stored: Any, most: int) -> int:
    if not isinstance(stored, int) or isinstance(stored, bool) or not 0 <= stored <= most:
        raise _broken(f"a number is not within 0..{most}: {stored!r}")
    return stored


def _broken(why: str) -> ModelFileError:
    return ModelFileError(f"this tiny model is damaged, train it again: {why}")
