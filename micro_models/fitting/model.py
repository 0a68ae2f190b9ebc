"""A micro-model: what a trainer learned, calibrated, and knowing its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from micro_models.examples import Picture
from micro_models.fitting.calibration import Calibration
from micro_models.fitting.limits import Limits
from micro_models.fitting.report import Report
from micro_models.fitting.scaling import read_at, scaled_region, size_of
from micro_models.interface import Learned, State
from micro_models.regions import Region

# Per example what was found when it was held out; None for one that was not looked at.
Answers = tuple[tuple[Region, ...] | None, ...]


@dataclass(frozen=True, eq=False)
class MicroModel:
    """Finds what it was shown in a few examples. Never changes; safe to call from many threads.

    `version` is the same for models that answer the same: a hash over everything that an answer
    depends on. Make one with `fit` or `load`. `held_out`: per example, in the order that `fit` got
    them, what the chosen trainer found when it had not seen it, in pixels of the picture as it was
    given, best first; a score is P(right) as the other folds tell. None for examples that were not
    looked at. It is not stored: of a loaded model it is ().
    """

    learned: Learned
    trainer: str
    calibration: Calibration
    limits: Limits
    report: Report
    factor: float
    version: str
    held_out: Answers = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can find, sorted."""
        return tuple(self.learned.labels)

    def detect(self, pictures: Sequence[Picture], *, min_score: float = 0.05) -> list[list[Region]]:
        """Per picture (an image or its file) what is in it, best first.

        A score is the probability, 0..1, that the region is right: of this label, and overlapping
        the object by half. On an image unlike the examples scores are lowered, down to nothing.
        A label has the shape that it had in most examples. One picture at a time is in memory.

        Errors: `UnreadableImage` and `FileNotFoundError`, which name the file.

        >>> import numpy as np
        >>> from micro_models import Box, Budget, Example, Image, Region, fit
        >>> image = Image(np.zeros((48, 64, 3), np.uint8))
        >>> example = Example(image, [Region("car", Box(9, 9, 30, 30))])
        >>> model = fit([example], budget=Budget(steps=2))
        >>> [len(found) for found in model.detect([image, image], min_score=1.0)]
        [0, 0]
        """
        return [self._detect(picture, min_score) for picture in pictures]

    def state(self) -> State:
        """All of it but the report, as numbers and arrays.

        >>> import numpy as np
        >>> from micro_models import Box, Budget, Example, Image, Region, fit
        >>> image = Image(np.zeros((48, 64, 3), np.uint8))
        >>> example = Example(image, [Region("car", Box(9, 9, 30, 30))])
        >>> model = fit([example], budget=Budget(steps=2))
        >>> model.state().settings["trainer"]
        'forest+tiny'
        """
        from micro_models.fitting.storage import state_of

        return state_of(self)

    def save(self, folder: Path | str) -> None:
        """Write it to a folder, which `load` reads; one that holds a model gets this one.

        At no moment is the folder without a whole model. Errors: `ModelFileError` for a folder
        that holds something else.

        >>> import tempfile
        >>> import numpy as np
        >>> from micro_models import Box, Budget, Example, Image, Region, fit
        >>> image = Image(np.zeros((48, 64, 3), np.uint8))
        >>> example = Example(image, [Region("car", Box(9, 9, 30, 30))])
        >>> model = fit([example], budget=Budget(steps=2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder)
        ...     sorted(path.suffix for path in Path(folder).iterdir())
        ['.json', '.npz']
        """
        from micro_models.fitting.storage import save

        save(self, Path(folder))

    def _detect(self, picture: Picture, min_score: float) -> list[Region]:
        size, small = size_of(picture), read_at(picture, self.factor)
        trust = self.limits.trust(small)
        if trust == 0 or trust < min_score:
            return []
        least = self.calibration.least_raw(min_score / trust)
        found = self.calibration.calibrated(self.learned.detect([small], min_score=least)[0])
        return [
            scaled_region(replace(one, score=one.score * trust), 1 / self.factor, size=size)
            for one in found
            if one.score * trust >= min_score
        ]
