"""What is compared, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from micro_models.impact import Shift, SpeedUp, Standing
from micro_models.regions import Region


@dataclass(frozen=True)
class Served:
    """A person's first annotation of a task, and what they were shown there.

    `at`: when it was submitted, in seconds since 1970; `had_prediction`: whether one of ours was
    on the task by then. `regions` in pixels of `size_px`. `found`: what the model said, which in a
    blind task nobody saw; None where that is not known.
    """

    task_id: int
    annotator: int
    blind: bool
    at: float
    seconds: float
    had_prediction: bool
    regions: tuple[Region, ...]
    size_px: tuple[int, int]
    found: tuple[Region, ...] | None = None


@dataclass(frozen=True)
class Gathered:
    """The annotations to compare, and how many were left out for each reason.

    `sampled`: of how many labelled tasks these are a sample, 0 where they are all.
    """

    served: tuple[Served, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    sampled: int = 0


@dataclass(frozen=True)
class Impact:
    """What predictions do to the labels of a project.

    `since`: from when on blind tasks were compared, in seconds since 1970. `covered`: the part of
    annotations of tasks that were not blind on which there was a prediction. `needed` counts blind
    tasks that each question needs in all: "speed" to see a speed-up of `worth`, "shifts" to see one
    of 0.3 standard deviations, each in four of five cases. `standing` by kind of mistake.
    """

    project_key: str
    made_at: float
    share: float
    worth: float
    since: float
    blind_tasks: int
    shown_tasks: int
    covered: float
    speed: SpeedUp
    by_annotator: Mapping[int, SpeedUp]
    shifts: tuple[Shift, ...]
    standing: Mapping[str, Standing]
    needed: Mapping[str, int]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def project_id(self) -> int:
        """The project's id in Label Studio."""
        return int(self.project_key.split(".")[0])

    @property
    def shifted(self) -> tuple[Shift, ...]:
        """Those that chance does not explain, however many were looked at."""
        return tuple(one for one in self.shifts if one.p_of_all <= 0.05)

    def missing(self, question: str) -> int | None:
        """How many more blind tasks it needs; None if that cannot be told yet."""
        needed = self.needed.get(question)
        return None if needed is None else max(0, needed - self.blind_tasks)
