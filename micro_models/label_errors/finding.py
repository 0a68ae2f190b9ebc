"""From labels and what a model found without them to a ranked list of errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from micro_models.evaluation.overlap import POINT_PX
from micro_models.label_errors.alarms import alarms, is_class
from micro_models.label_errors.classes import exclusive_errors, tag_errors
from micro_models.label_errors.located import located_errors
from micro_models.label_errors.nouns import ErrorKind, Findings, LabelError
from micro_models.label_errors.sightings import is_empty, scene
from micro_models.regions import Region

# What is less probable than this is not worth a line.
LEAST_SCORE = 0.01
_SURE = 0.99

Answer = Sequence[Region]


def find_label_errors(
    given: Sequence[Answer], found: Sequence[Answer | None], *, point_px: float = POINT_PX
) -> Findings:
    """The probable errors in labels, the surest first, and how suspicious each example is.

    `given` and `found` are lists per example: what people say, and what a model finds that never
    saw this label (None: it did not look), scores P(right) 0..1, down to 0.05 if possible, of
    classes about the whole image every one. All scores are probabilities of an error, from how the
    model does on all other labels, so those of different kinds compare. An example without regions
    is one where people say that nothing is there. Errors: `ValueError` for lists that do not fit.

    >>> from micro_models.regions import Box
    >>> car = Region("car", Box(10, 10, 50, 40), 0.95)
    >>> findings = find_label_errors([[car]] * 30 + [[]], [[car]] * 31)
    >>> error = findings.errors[0]
    >>> error.kind.value, error.example, error.suggested == car
    ('missing label', 30, True)
    """
    if len(given) != len(found):
        raise ValueError(f"{len(given)} examples need as many answers, not {len(found)}")
    errors = [*_empty(given), *_class_errors(given, found)]
    scenes = [
        scene(i, _located(given[i]), [*_located(answer).values()], point_px=point_px)
        for i, answer in enumerate(found)
        if answer is not None
    ]
    errors += located_errors(scenes, point_px=point_px)
    errors = [one for one in errors if one.score >= LEAST_SCORE]
    errors.sort(key=lambda one: (-one.score, one.example, -1 if one.index is None else one.index))
    return Findings(
        tuple(errors), _suspicion(errors, len(given)), tuple(alarms(given, found, scenes))
    )


def _located(regions: Answer) -> dict[int, Region]:
    """What has a place, and an extent if it should have one, by its index."""
    return {n: one for n, one in enumerate(regions) if not (is_class(one) or is_empty(one))}


def _empty(given: Sequence[Answer]) -> Iterator[LabelError]:
    for example, regions in enumerate(given):
        for index, one in enumerate(regions):
            if not is_class(one) and is_empty(one):
                reason = f"this {one.label} has no area"
                yield LabelError(ErrorKind.SPURIOUS, example, _SURE, one, index, None, None, reason)


def _class_errors(given: Sequence[Answer], found: Sequence[Answer | None]) -> list[LabelError]:
    ours = [[one for one in some if is_class(one)] for some in given]
    theirs = [None if some is None else [o for o in some if is_class(o)] for some in found]
    examples = [i for i, some in enumerate(theirs) if some or ours[i]]
    # Indices count all regions of an example.
    places = [[n for n, one in enumerate(some) if is_class(one)] for some in given]
    if _is_exclusive([ours[i] for i in examples]):
        errors = exclusive_errors(ours, theirs, [i for i in examples if ours[i]])
        if not all(ours[i] for i in examples):
            tags = tag_errors(ours, theirs, examples)
            errors += [one for one in tags if not ours[one.example]]
    else:
        errors = tag_errors(ours, theirs, examples)
    return [
        one if one.index is None else replace(one, index=places[one.example][one.index])
        for one in errors
    ]


def _is_exclusive(given: Sequence[Answer]) -> bool:
    """Whether classes exclude each other: none has two, and those without one are left out."""
    if any(len(some) != 1 for some in given):
        names = {one.label for some in given for one in some}
        with_one = sum(len(some) == 1 for some in given)
        return len(names) > 1 and max(map(len, given)) == 1 and 2 * with_one > len(given)
    return True


def _suspicion(errors: Sequence[LabelError], count: int) -> tuple[float, ...]:
    """Squared, since a picture with one sure error is worth more than one with ten doubts."""
    weights = [0.0] * count
    for one in errors:
        weights[one.example] += one.score**2
    return tuple(n / (1 + n) for n in weights)
