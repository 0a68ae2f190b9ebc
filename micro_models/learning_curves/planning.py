"""What a target costs: more labels, another model, or the labels that are wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from micro_models.learning_curves.curve import LearningCurve
from micro_models.learning_curves.needed import Needed, labels_needed


@dataclass(frozen=True)
class Prices:
    """What work costs, in any one currency.

    `label`: a labelled picture; `engineer_hour`; `engineer_hours`: how many it takes to bring in
    another model or to mend this one; `labels_per_day`: how many pictures are labelled in a day.
    """

    label: float
    engineer_hour: float
    engineer_hours: float = 8.0
    labels_per_day: float = 200.0

    def __post_init__(self) -> None:
        amounts = self.label, self.engineer_hour, self.engineer_hours
        if (
            not all(0 <= one < math.inf for one in amounts)
            or not 0 < self.labels_per_day < math.inf
        ):
            raise ValueError(f"prices are 0 or more, and a day has labels: {self}")

    @property
    def engineering(self) -> float:
        """What another model costs."""
        return self.engineer_hour * self.engineer_hours


@dataclass(frozen=True)
class Noise:
    """Labels that seem wrong: `suspects` of `labels`; `rate` of wrong ones, 0..1, and its interval.

    A model that is right scores no more than about 1 - `rate`, for it is measured by such labels.
    """

    suspects: int
    labels: int
    rate: float
    low: float
    high: float

    @property
    def ceiling(self) -> float:
        """What even a perfect model would be measured at, 0..1, about."""
        return 1 - self.rate


def noise_of(suspects: int, labels: int) -> Noise:
    """With Wilson's 80% interval. Source: E. B. Wilson, Probable Inference (1927).

    >>> noise = noise_of(10, 100)
    >>> noise.ceiling, round(noise.low, 3), round(noise.high, 3)
    (0.9, 0.068, 0.145)
    """
    if not 0 <= suspects <= labels or labels < 1:
        raise ValueError(f"{suspects} of {labels} labels cannot be wrong")
    z, rate = 1.2816, suspects / labels
    middle = (rate + z * z / 2 / labels) / (1 + z * z / labels)
    half = z / (1 + z * z / labels) * (rate * (1 - rate) / labels + z * z / 4 / labels**2) ** 0.5
    return Noise(suspects, labels, rate, max(middle - half, 0.0), min(middle + half, 1.0))


class Way(StrEnum):
    """What can be done."""

    NOTHING = "nothing"
    LABEL = "label more"
    FIX = "fix labels"
    ENGINEER = "another model"


@dataclass(frozen=True)
class Option:
    """One way to the target with the model of a `family`.

    `labels`: (least, likely, most) more than there are, `cost` and `days` of those; None for what
    is beyond what can be foreseen. `is_open`: not even the likely number is known.
    """

    way: Way
    family: str
    labels: tuple[int | None, int | None, int | None]
    cost: tuple[float | None, float | None, float | None]
    days: float | None

    @property
    def is_open(self) -> bool:
        """Whether it is not known to lead to the target."""
        return self.cost[1] is None


@dataclass(frozen=True)
class Plan:
    """The `options`, the cheapest first, and which is `best`; `why` and what people should know.

    `hours_worth`: how many hours of engineering the likely labels cost; None where not known.
    """

    target: float
    now: int
    options: tuple[Option, ...]
    best: Way | None
    why: str
    hours_worth: float | None


def plan(
    curves: Mapping[str, LearningCurve],
    *,
    target: float,
    now: int,
    prices: Prices,
    noise: Noise | None = None,
) -> Plan:
    """What leads to `target`, a score 0..1, from `now` labels; a curve for each model family.

    Labelling goes on until the family that needs the fewest is there. Another model costs its
    engineering, and is an option only in so far as a person believes that it reaches the target.
    Where labels are so wrong that the target is above what could be measured, and it is not reached
    all the same, they come first.

    >>> from micro_models.learning_curves import Point, fit_curve
    >>> rising = fit_curve([Point(n, 1 - 1.2 * n**-0.5, 0.005) for n in (8, 16, 32, 64, 128)])
    >>> made = plan({"forest": rising}, target=0.92, now=128, prices=Prices(0.05, 40))
    >>> made.best.value, made.options[0].labels[1] > 60, made.hours_worth < 1
    ('label more', True, True)
    """
    if not curves:
        raise ValueError("a plan needs a learning curve")
    needed = {family: labels_needed(curve, target) for family, curve in curves.items()}
    labelling = sorted(
        (_labelling(family, one, now, prices) for family, one in needed.items()),
        key=lambda one: (one.is_open, one.labels[1] or 0),
    )
    engineering = Option(
        Way.ENGINEER, "", (0, 0, 0), (prices.engineering,) * 3, prices.engineer_hours / 8
    )
    fixing = [_fixing(noise, prices)] if noise is not None and noise.suspects else []
    first = labelling[0]
    is_capped = noise is not None and target > 1 - noise.low
    best, why = _best(first, engineering, target, noise if is_capped else None)
    options = sorted([*labelling, *fixing, engineering], key=_order)
    worth = None
    if first.cost[1] is not None and prices.engineer_hour > 0:
        worth = first.cost[1] / prices.engineer_hour
    return Plan(target, now, tuple(options), best, why, worth)


def _labelling(family: str, needed: Needed, now: int, prices: Prices) -> Option:
    more = tuple(
        None if one is None else max(one - now, 0)
        for one in (needed.least, needed.likely, needed.most)
    )
    least, likely, most = more
    return Option(
        Way.LABEL,
        family,
        (least, likely, most),
        tuple(None if one is None else one * prices.label for one in (least, likely, most)),  # type: ignore[arg-type]
        None if likely is None else likely / prices.labels_per_day,
    )


def _fixing(noise: Noise, prices: Prices) -> Option:
    """To look at a suspect takes about as long as to label one."""
    cost = noise.suspects * prices.label
    return Option(
        Way.FIX, "", (0, 0, 0), (cost, cost, cost), noise.suspects / prices.labels_per_day
    )


def _best(
    label: Option, engineer: Option, target: float, capped_by: Noise | None
) -> tuple[Way | None, str]:
    if label.labels[1] == 0:
        return Way.NOTHING, "the labels at hand should do"
    if capped_by is not None:
        return Way.FIX, (
            f"{capped_by.suspects} of {capped_by.labels} labels seem wrong: measured by such "
            f"labels even a perfect model reaches about {capped_by.ceiling:.2f}"
        )
    likely, dear = label.cost[1], engineer.cost[1]
    if likely is None or dear is None:
        return (
            Way.ENGINEER,
            f"no number of labels in sight brings any of these models to {target:g}",
        )
    if likely > dear:
        return Way.ENGINEER, "the labels would cost more than engineering is assumed to"
    return Way.LABEL, "it costs less than engineering is assumed to"


def _order(option: Option) -> tuple[bool, float]:
    return option.is_open, option.cost[1] or 0.0
