"""What a model was made of, how, and how good it is."""

from __future__ import annotations

import hashlib
import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from micro_models.examples import Example
from micro_models.interface import ModelFileError
from micro_models.regions import Image, Mask, Shape

T = TypeVar("T")

_LIBRARIES = ("labelpilot", "numpy", "torch", "scikit-learn", "opencv-python-headless")


@dataclass(frozen=True)
class TrialReport:
    """How a trainer did on held-out images; `quality` 0..1, and by label (see `validation`)."""

    trainer: str
    quality: float
    by_label: dict[str, float]
    accuracy: float | None
    images: int
    folds: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """What `fit` did; all of it is plain JSON (`as_dict`), and `str` of it is a short text.

    `labels` counts the regions of each label; `why` says why the `winner` is it; `precision`: the
    share of held-out detections with a calibrated score of 0.5 or more that are right; `recall`:
    the share of held-out objects that those found, both None where nothing was held out;
    `factor`: how much smaller the pictures were made, 0..1; `data` is a hash over all examples;
    `notes`: what a person should know besides.
    """

    winner: str
    why: str
    examples: int
    labels: dict[str, int]
    unlabelled: int
    seconds: float
    budget: dict[str, float | None]
    seed: int
    trials: tuple[TrialReport, ...] = ()
    precision: float | None = None
    recall: float | None = None
    factor: float = 1.0
    data: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Any) -> Report:
        """The way back. Errors: `ModelFileError`."""
        try:
            trials = tuple(_checked(TrialReport(**one)) for one in stored["trials"])
            report = cls(**{**stored, "trials": trials, "notes": tuple(stored["notes"])})
            return _checked(report)
        except (KeyError, TypeError, OverflowError) as error:
            raise ModelFileError(
                "the model's report is damaged; train it again, or copy the folder again"
            ) from error

    def __str__(self) -> str:
        labels = ", ".join(f"{label} ({count})" for label, count in self.labels.items())
        lines = [
            f"{self.examples} examples, {len(self.labels)} labels: {labels}",
            f"trained in {self.seconds:.1f} s with seed {self.seed}: {self.winner}, {self.why}",
            *(_trial_line(trial) for trial in self.trials),
        ]
        if self.precision is not None and self.recall is not None:
            lines.append(
                f"at a score of 0.5 and more, held out: {self.precision:.0%} of what was found is "
                f"right, {self.recall:.0%} of what is there was found"
            )
        return "\n".join([*lines, *self.notes])


def _checked(report: T) -> T:
    """The same. Errors: `TypeError` where a field is not of the type that it is declared with."""
    for name, kind in get_type_hints(type(report)).items():
        if not _is_of(getattr(report, name), kind):
            raise TypeError(f"{name} is no {kind}")
    return report


def _is_of(value: Any, kind: Any) -> bool:
    parts = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_is_of(value, one) for one in parts)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(
            isinstance(key, str) and _is_of(one, parts[1]) for key, one in value.items()
        )
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_of(one, parts[0]) for one in value)
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


def _trial_line(trial: TrialReport) -> str:
    worst = sorted(trial.by_label.items(), key=lambda item: item[1])[:5]
    labels = ", ".join(f"{label} {value:.2f}" for label, value in worst)
    return (
        f"{trial.trainer}: quality {trial.quality:.3f} on {trial.images} held-out images in "
        f"{trial.folds} folds ({labels}), {trial.seconds:.1f} s"
    )


def label_counts(examples: Sequence[Example]) -> dict[str, int]:
    """How many regions of each label there are, sorted by label.

    >>> import numpy as np
    >>> from micro_models.regions import Box, Region
    >>> image = Image(np.zeros((4, 4, 3), np.uint8))
    >>> label_counts([Example(image, [Region("car", Box(0, 0, 1, 1))] * 2)])
    {'car': 2}
    """
    return dict(sorted(Counter(one.label for some in examples for one in some.regions).items()))


def fingerprint(examples: Sequence[Example]) -> str:
    """12 hex digits that change whenever a pixel or a region of an example in memory does.

    >>> import numpy as np
    >>> fingerprint([Example(Image(np.zeros((4, 4, 3), np.uint8)))])
    'b48538cbb25b'
    """
    total = hashlib.sha256()
    for example in examples:
        if isinstance(example.picture, Image):
            total.update(str(example.picture.pixels.shape).encode())
            total.update(np.ascontiguousarray(example.picture.pixels).data)
        for region in example.regions:
            total.update(repr((region.label, *_values(region.shape))).encode())
        total.update(b"next")
    return total.hexdigest()[:12]


def _values(shape: Shape) -> list[Any]:
    values: list[Any] = [type(shape).__name__]
    for name, value in vars(shape).items():
        if isinstance(shape, Mask):
            value = np.packbits(value)
        values += [name, value.tobytes() if isinstance(value, np.ndarray) else value]
    return values


def versions() -> dict[str, str]:
    """Of Python and the libraries that a training depends on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
