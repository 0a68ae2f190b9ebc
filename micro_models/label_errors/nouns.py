"""What is wrong with a label, where, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from micro_models.regions import Region


class ErrorKind(StrEnum):
    """What is wrong: nobody labelled it, it is not there, it lies badly, it is something else."""

    MISSING = "missing label"
    SPURIOUS = "spurious label"
    LOW_IOU = "low IoU"
    WRONG_LABEL = "wrong label"


@dataclass(frozen=True)
class LabelError:
    """One label that is probably wrong, or lacking, and what the model would say instead.

    `example` and `index` tell which of the given regions (`index` None: it is missing); `score`:
    the probability 0..1 that it is an error; `suggested`: what the model found (None: nothing is
    there); `iou`: how alike the given and the suggested shape are, 0..1, where both are, or the
    given one and another label of the same thing.
    """

    kind: ErrorKind
    example: int
    score: float
    given: Region | None
    index: int | None
    suggested: Region | None
    iou: float | None
    reason: str

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")
        if (self.given is None) is not (self.index is None):
            raise ValueError("a given region comes with its index")


@dataclass(frozen=True)
class Findings:
    """`errors`, the surest first; `suspicion` of each example 0..1; `notes` are alarms for people.

    The suspicion is n / (1 + n), n being the sum of the squared scores of an example's errors: 0.5
    says one sure error, and many doubts add up to less than it.
    """

    errors: tuple[LabelError, ...]
    suspicion: tuple[float, ...]
    notes: tuple[str, ...]
