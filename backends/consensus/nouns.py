"""The nouns of consensus: who said what about a task, what comes of it, how good each one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from micro_models.regions import Region

# A prediction's version begins with this.
TOOL = "consensus"
FIELD = "labelpilot_agreement"
DIFFERENCES = "labelpilot_differences"
TAB = "Disagreements"
# What is less probable is not in the consensus.
SHOWN = 0.5


@dataclass(frozen=True, eq=False)
class Overlap:
    """A task that several people labelled: by person's id the regions in pixels of the picture."""

    task_id: int
    size_px: tuple[int, int]
    answers: Mapping[int, tuple[Region, ...]]


@dataclass(frozen=True, eq=False)
class Agreed:
    """What a task's annotators say together: `regions` from probability `SHOWN` on, best first.

    `score`: the least of their probabilities, 0..1. `agreement`: how alike people's own answers
    are, 0..1. `differences`: how many things not all of them labelled, or called differently, or
    drew less alike than is usual in the project.
    """

    task_id: int
    size_px: tuple[int, int]
    regions: tuple[Region, ...]
    score: float
    agreement: float
    differences: int = 0


@dataclass(frozen=True)
class Rated:
    """A person: `agreement` with the others, 0..1, with its 90% interval, over `tasks` tasks.

    By label: `misses`, the share of what is there that was not labelled so; `false_alarms`, the
    share of such labels that are wrong; both estimated, since the truth is.
    """

    person: int
    name: str
    tasks: int
    regions: int
    agreement: float | None
    low: float
    high: float
    misses: Mapping[str, float] = field(default_factory=dict)
    false_alarms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A project's consensus. `tasks` overlap, in `disagreements` people differ.

    `trust`: of the model's answers about classes the share that counted, 0..1; `lift`: how much
    likelier it finds what is there; None where it had no part. `alpha`: Krippendorff's, of classes.
    `problems`: by task id why a task has no part, 0: about none alone.
    """

    project_key: str
    version: str
    made_at: float
    tasks: int
    disagreements: int
    people: tuple[Rated, ...]
    worst: tuple[tuple[int, float], ...]
    host: str
    alpha: float | None = None
    trust: float | None = None
    lift: float | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
