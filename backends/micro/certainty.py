"""How sure a micro-model is of what it found in a task, for uncertainty sampling."""

from __future__ import annotations

from collections.abc import Sequence

from backends.micro.controls import Controls
from micro_models.active_learning.certainty import joint_certainty, margin_certainty
from micro_models.active_learning.detection_uncertainty import (
    MISSING_WEIGHT,
    detection_uncertainty,
    missing_suspicion,
)
from micro_models.fitting.report import Report
from micro_models.regions import Region, WholeImage


def certainty(
    found: Sequence[Region], controls: Controls, report: Report, *, threshold: float
) -> float:
    """0..1, higher = surer: of the decisions about one image the least sure.

    `found` holds candidates down to `near_miss_floor(threshold)`. How many objects are usual is
    known from the examples, and so is whether every image has a class of a control that takes one:
    then none of them is an answer that nobody gave, and the margin between them counts.
    """
    classes = controls.classes()
    exclusive = [some for some in controls.one_of(report.labels) if _always_one(some, report)]
    objects = sum(count for label, count in report.labels.items() if label not in classes)
    apart = frozenset[str]().union(*exclusive)
    rest = [one for one in found if not (_is_class(one) and one.label in apart)]
    usual = objects / max(report.examples, 1)
    unsure = max(
        detection_uncertainty(rest, threshold=threshold),
        # Where most images show nothing, that one shows nothing is hardly suspicious.
        MISSING_WEIGHT * min(usual, 1.0) * missing_suspicion(rest, expected=usual),
    )
    margins = [
        margin_certainty([one.score for one in found if _is_class(one) and one.label in some])
        for some in exclusive
    ]
    return joint_certainty([1.0 - unsure, *margins])


def _always_one(labels: frozenset[str], report: Report) -> bool:
    given = sum(report.labels.get(label, 0) for label in labels)
    return len(labels) > 1 and given >= report.examples


def _is_class(region: Region) -> bool:
    return isinstance(region.shape, WholeImage)
