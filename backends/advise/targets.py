"""What a person wants to reach, as `mAP50=0.85`, and what labels of a kind are measured by."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backends.errors import BadRequest
from micro_models.learning_curves import Prices
from micro_models.regions import Keypoints, Region, WholeImage


class Metric(StrEnum):
    """What a model is measured by on held-out labels, 0..1, higher = better."""

    MAP50 = "mAP50"
    ACCURACY = "accuracy"
    PCK = "PCK"


_ASKS = {
    Metric.MAP50: "boxes, outlines, masks or points",
    Metric.ACCURACY: "one class for each picture",
    Metric.PCK: "key points",
}


@dataclass(frozen=True)
class Target:
    """A value, between 0 and 1, of a metric."""

    metric: Metric
    value: float

    def __str__(self) -> str:
        return f"{self.metric} {self.value:g}"


def parse_target(text: str) -> Target:
    """`mAP50=0.85`, `accuracy=90%`, `pck=0.9`. Errors: `BadRequest` saying what can be written.

    >>> parse_target("map50 = 85%")
    Target(metric=<Metric.MAP50: 'mAP50'>, value=0.85)
    """
    name, _, number = (part.strip() for part in text.partition("="))
    metric = next((one for one in Metric if one.lower() == name.lower()), None)
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if metric is None or not 0 < value < 1:
        raise BadRequest(
            f"{text!r} is no target",
            advice="write a metric and a value between 0 and 1, as mAP50=0.85, accuracy=0.9 or "
            "PCK=0.9",
        )
    return Target(metric, value)


def parse_prices(
    label: float, engineer_hour: float, engineer_hours: float, labels_per_day: float
) -> Prices:
    """Errors: `BadRequest` for what is no price."""
    try:
        return Prices(label, engineer_hour, engineer_hours, labels_per_day)
    except ValueError as error:
        raise BadRequest(
            "these are no prices", advice="give numbers of 0 or more, and some labels a day"
        ) from error


def metrics_of(truth: Sequence[Collection[Region]]) -> tuple[Metric, ...]:
    """What labels like these can be measured by, the usual one first; lists per picture.

    Accuracy asks for exactly one class in every picture, and for more than one in all.
    """
    shapes = [one.shape for some in truth for one in some]
    found = []
    if any(isinstance(one, Keypoints) for one in shapes):
        found.append(Metric.PCK)
    if any(not isinstance(one, WholeImage) for one in shapes):
        found.append(Metric.MAP50)
    classes = [[one.label for one in some if isinstance(one.shape, WholeImage)] for some in truth]
    if classes and all(len(some) == 1 for some in classes) and len({c for (c,) in classes}) > 1:
        found.append(Metric.ACCURACY)
    elif any(classes) and Metric.MAP50 not in found:
        found.append(Metric.MAP50)  # several classes in a picture: how well they rank
    return tuple(found)


def check_metric(target: Target, truth: Sequence[Collection[Region]]) -> None:
    """Errors: `BadRequest` where the labels cannot be measured by the target's metric."""
    known = metrics_of(truth)
    if known and target.metric not in known:
        raise BadRequest(
            f"{target.metric} asks for {_ASKS[target.metric]}, which this project does not have",
            advice=f"give the target as {' or '.join(f'{one}={target.value:g}' for one in known)}",
        )
