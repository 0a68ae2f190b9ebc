"""What a task's annotations say together: the truth that a micro-model learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backends.interface import LabelConfig
from backends.label_studio.annotations import Reading, first_image, read_annotation
from backends.label_studio.classes import CLASS_TAGS, at_most
from backends.label_studio.consensus import agreed
from backends.label_studio.shapes import Size
from micro_models.evaluation.overlap import POINT_PX
from micro_models.regions import Region

Json = Mapping[str, Any]

# People click as well as they see: not to ten pixels in a picture of ten thousand.
_POINT_PART = 0.01
# All regions of two people are compared with each other: 2,000 and 2,000 take 260 MB.
MAX_COMPARED = 2_000


@dataclass(frozen=True)
class Truth:
    """The regions of a task's picture, () where people found nothing, None where nobody labelled.

    `problems`: a line for people about each thing in its annotations that was left out.
    """

    regions: tuple[Region, ...] | None
    problems: tuple[str, ...] = ()


def read_truth(
    annotations: Any, config: LabelConfig, *, size_px: Size, to_name: str | None = None
) -> Truth:
    """The truth of a task from its `annotations`, as the API, an export or a webhook lists them.

    Skipped ones (`was_cancelled`) and drafts do not count, nor do those of which nothing could be
    read: "nothing here" is said only by an annotation that holds nothing. If any that counts is
    marked as ground truth, those alone do. Of each person the newest counts, and several people
    are resolved by `consensus.agreed`, or where one has more than `MAX_COMPARED` regions, the
    newest counts alone. Otherwise as `annotations.read_annotation`.
    """
    if not isinstance(annotations, list):
        return Truth(None, ("the annotations are no list",))
    problems: list[str] = []
    for some in submitted(annotations):
        answers = []
        heard = set()
        for one in some:
            if _person(one) in heard:
                continue
            reading = read_annotation(one["result"], config, size_px=size_px, to_name=to_name)
            problems += [f"annotation {_id(one)}: {problem}" for problem in reading.problems]
            if reading.is_complete:
                heard.add(_person(one))
                answers.append(reading)
        if answers:
            picture = to_name or first_image(config)
            return Truth(_resolved(answers, config, picture, size_px), tuple(problems))
    return Truth(None, tuple(problems))


def submitted(annotations: Sequence[Any]) -> tuple[list[Json], list[Json]]:
    """Those marked as ground truth, and all others, each the newest first.

    Without those that were skipped, and without drafts.
    """
    newest = sorted(filter(_is_submitted, annotations), key=_made_at, reverse=True)
    marked = [one for one in newest if one.get("ground_truth") is True]
    return marked, [one for one in newest if one.get("ground_truth") is not True]


def _resolved(
    answers: Sequence[Reading], config: LabelConfig, picture: str | None, size_px: Size
) -> tuple[Region, ...]:
    if len(answers) == 1 or max(len(answer.regions) for answer in answers) > MAX_COMPARED:
        return answers[0].regions
    return agreed(
        [answer.regions for answer in answers],
        one_of=list(_exclusive(config, picture)),
        point_px=max(POINT_PX, _POINT_PART * max(size_px)),
    )


def _exclusive(config: LabelConfig, picture: str | None) -> Iterator[tuple[str, ...]]:
    """The classes of each control that takes one of them."""
    for control in config.controls:
        if control.tag in CLASS_TAGS and control.to_name == picture and at_most(control) == 1:
            yield control.labels


def _is_submitted(one: Any) -> bool:
    # A draft has what an annotation lacks: whether it was put off.
    is_one = isinstance(one, Mapping) and "was_postponed" not in one
    return is_one and not one.get("was_cancelled") and one.get("result") is not None


def _made_at(one: Json) -> tuple[datetime, int]:
    """When it was changed last, and its id; what has no date is older than all that have."""
    number = one.get("id")
    for key in ("updated_at", "created_at"):
        try:
            made_at = datetime.fromisoformat(one[key])
        except (KeyError, TypeError, ValueError):
            continue
        aware = made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC)
        return aware, number if isinstance(number, int) else 0
    return datetime.min.replace(tzinfo=UTC), number if isinstance(number, int) else 0


def _person(one: Json) -> str:
    """Who it is by: a number, or in some exports an object with one."""
    person = one.get("completed_by")
    return str(person.get("id") if isinstance(person, Mapping) else person)[:100]


def _id(one: Json) -> str:
    return str(one.get("id"))[:20]
