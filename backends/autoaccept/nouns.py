"""The nouns of accepting what a model does: terms, certificates, the log, spot checks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from micro_models.certificates import Audit, Certificate
from micro_models.regions import Region


@dataclass(frozen=True)
class Terms:
    """What a certificate promises: at most `max_error` wrong, with probability `confidence`.

    An answer is right if each region overlaps one that people drew by `min_iou`, with the same
    label, and none is missing or extra. `keep_checking`, 0..1: the share of what could be accepted
    that goes to people instead. `most_audits`: how many are drawn at most in all.
    """

    max_error: float
    confidence: float
    keep_checking: float = 0.05
    most_audits: int = 500
    min_iou: float = 0.5


@dataclass(frozen=True)
class Issued:
    """A certificate as it was given for a version; its groups are classes (`answers.class_of`).

    `min_iou` as in `Terms`. Times are seconds since 1970; it is in force until it was withdrawn.
    """

    id: str
    project_key: str
    version: str
    certificate: Certificate
    min_iou: float = 0.5
    made_at: float = 0.0
    withdrawn_at: float | None = None


class Fate(StrEnum):
    """What became of an accepted task."""

    INTENDED = "on its way"
    ACCEPTED = "accepted"
    TAKEN_BACK = "taken back"
    CHANGED = "changed by people"
    GONE = "deleted"


@dataclass(frozen=True)
class Entry:
    """A line of the audit log: a task, and the annotation that was stored for it.

    `stored_at` and `digest` are what Label Studio and we said of it when it was stored: who changes
    it changes them. `at` is in seconds since 1970.
    """

    task_id: int
    certificate: str
    version: str
    score: float
    fate: Fate = Fate.INTENDED
    annotation_id: int | None = None
    stored_at: str = ""
    digest: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Check:
    """A task that could have been accepted and goes to people, with the answer they do not see.

    `wrong` is None until they answered; `size_px` is the picture's (width, height).
    """

    task_id: int
    certificate: str
    version: str
    score: float
    regions: tuple[Region, ...]
    size_px: tuple[int, int]
    drawn_at: float = 0.0
    wrong: bool | None = None
    judged_at: float | None = None


@dataclass(frozen=True)
class Standing:
    """Where a project stands: `audits_to`, the newest task that audits stand for, 0 before any.

    `suspended`: why nothing is accepted any more, "" if it is. Spot checks drawn before
    `resumed_at` count no longer.
    """

    audits_to: int = 0
    suspended: str = ""
    resumed_at: float = 0.0


@dataclass(frozen=True)
class Judged:
    """What people said of audits against the model.

    `verdicts`: what it says by task; groups are classes (`answers.class_of`). `open`: not answered
    yet. `unanswered`: the model has no answer for these, and why. `not_blind`: people made their
    answer from a prediction.
    """

    verdicts: dict[int, Audit] = field(default_factory=dict)
    open: tuple[int, ...] = ()
    unanswered: dict[int, str] = field(default_factory=dict)
    not_blind: tuple[int, ...] = ()
