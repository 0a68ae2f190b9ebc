"""What a person may ask for, and what labels can be measured by."""

from __future__ import annotations

import numpy as np
import pytest

from backends.advise.targets import Metric, Target, check_metric, metrics_of, parse_target
from backends.errors import BadRequest
from micro_models.regions import Box, Keypoints, Region, WholeImage

CAR = Region("car", Box(0, 0, 9, 9))
MOUSE = Region("mouse", Keypoints(np.zeros((2, 2), np.float32), np.ones(2, np.float32)))
ANT, BEE = Region("ant", WholeImage()), Region("bee", WholeImage())


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("mAP50=0.85", Metric.MAP50, 0.85),
        ("MAP50 = 85%", Metric.MAP50, 0.85),
        ("accuracy=.9", Metric.ACCURACY, 0.9),
        ("pck=0.95", Metric.PCK, 0.95),
    ],
)
def test_targets(text: str, metric: Metric, value: float) -> None:
    assert parse_target(text) == Target(metric, value)


@pytest.mark.parametrize(
    "text", ["", "mAP50", "mAP50=", "mAP50=85", "mAP=0.8", "accuracy=0", "accuracy=1", "PCK=nan"]
)
def test_no_targets(text: str) -> None:
    with pytest.raises(BadRequest, match=r"mAP50=0\.85"):
        parse_target(text)


@pytest.mark.parametrize(
    ("truth", "metrics"),
    [
        ([[CAR], []], (Metric.MAP50,)),
        ([[MOUSE]], (Metric.PCK, Metric.MAP50)),
        ([[ANT], [BEE]], (Metric.ACCURACY,)),
        ([[ANT], [ANT]], (Metric.MAP50,)),
        ([[ANT], [ANT, BEE]], (Metric.MAP50,)),
        ([[ANT, CAR], [BEE]], (Metric.MAP50, Metric.ACCURACY)),
        ([[], []], ()),
    ],
)
def test_what_labels_are_measured_by(
    truth: list[list[Region]], metrics: tuple[Metric, ...]
) -> None:
    assert metrics_of(truth) == metrics


def test_a_metric_that_labels_do_not_have_is_told_with_one_that_they_do() -> None:
    with pytest.raises(BadRequest, match=r"give the target as mAP50=0\.9"):
        check_metric(Target(Metric.ACCURACY, 0.9), [[CAR]])
    check_metric(Target(Metric.MAP50, 0.9), [[CAR]])
    check_metric(Target(Metric.PCK, 0.9), [])
