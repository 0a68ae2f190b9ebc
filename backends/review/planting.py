"""Cases whose answer is known, made of labels that are certainly right: they test the reviewer.

Half of them are errors that nobody made: a copy that is shifted or has another label, a label on
empty ground, a right label shown as if it were not there. The other half are right labels, shown
as if they were errors.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from backends.micro.out_of_fold import Judged
from backends.review.nouns import Case, Suspect
from backends.review.shifting import shifted
from micro_models.evaluation.overlap import bounds, similarities, similarity
from micro_models.label_errors import ErrorKind
from micro_models.pictures import UnreadableImage, upright_size
from micro_models.region_json import to_json
from micro_models.regions import Region, Shape, WholeImage

_SAME = 0.75  # people and a model draw the same thing alike to this
_LEAST_SCORE = 0.5
_SHIFT = 0.25, 0.45  # of an object's sides; the copy's IoU is then 0.4 to 0.6
_SHIFT_PX = 15.0, 30.0  # of what has no sides
_TRIES = 12


@dataclass(frozen=True)
class _Sure:
    """A label that people and a model agree on, and how surely the latter."""

    scope: str
    judged: Judged
    region: Region
    score: float


def known_cases(
    judged: Sequence[tuple[str, Judged]],
    suspects: Sequence[Suspect],
    *,
    number: int,
    rng: np.random.Generator,
    doubted: Sequence[Suspect] = (),
) -> list[Case]:
    """Up to `number` cases, half of them wrong; `judged` are pictures with the key of their scope.

    Kinds and scores are drawn from those of the suspects, so that nothing tells them apart. None is
    made of a label of these or of those `doubted` besides. Fewer where too little is certain.
    """
    sure = _sure(judged, [*suspects, *doubted])
    if not sure or not suspects:
        return []
    labels = sorted({one.region.label for one in sure})
    order = iter(rng.permutation(len(sure)).tolist())
    made: list[Case] = []
    for index in order:
        if len(made) >= number:
            break
        is_wrong = len(made) % 2 == 0
        like = suspects[int(rng.integers(len(suspects)))]
        drawn = _drawn(like.kind, sure[index], labels, is_wrong=is_wrong, rng=rng)
        if drawn is not None:
            made.append(Case(_suspect(like, sure[index], *drawn, suspects, rng), known=is_wrong))
    return made


def _sure(judged: Sequence[tuple[str, Judged]], suspects: Sequence[Suspect]) -> list[_Sure]:
    """The surer half of the labels that a model finds too, without those under suspicion."""
    doubted = {(one.task_id, _print(one.given)) for one in suspects if one.given is not None}
    agreed = [
        _Sure(scope, each, region, score)
        for scope, each in judged
        for region, score in _agreed(each)
        if (each.task_id, _print(region)) not in doubted
    ]
    agreed.sort(key=lambda one: -one.score)
    return agreed[: max(len(agreed) // 2, min(len(agreed), 2))]


def _agreed(judged: Judged) -> Iterator[tuple[Region, float]]:
    if not (judged.given and judged.found):
        return
    alike = similarities([r.shape for r in judged.found], [r.shape for r in judged.given])
    for column, region in enumerate(judged.given):
        fits = [
            one.score
            for row, one in enumerate(judged.found)
            if one.label == region.label and alike[row, column] >= _SAME
        ]
        if fits and max(fits) >= _LEAST_SCORE:
            yield region, max(fits)


def _drawn(
    kind: ErrorKind,
    sure: _Sure,
    labels: Sequence[str],
    *,
    is_wrong: bool,
    rng: np.random.Generator,
) -> tuple[Region | None, Region | None] | None:
    """What is shown as given and as suggested; None where it cannot be made."""
    right = sure.region
    if kind is ErrorKind.MISSING:
        other = right if is_wrong else _absent(sure, labels, rng)
        return None if other is None else (None, other)
    if kind is ErrorKind.SPURIOUS:
        other = _absent(sure, labels, rng) if is_wrong else right
        return None if other is None else (other, None)
    made = _relabelled if kind is ErrorKind.WRONG_LABEL else _displaced
    copy = made(sure, labels, rng)
    if copy is None:
        return None
    return (copy, right) if is_wrong else (right, copy)


def _relabelled(sure: _Sure, labels: Sequence[str], rng: np.random.Generator) -> Region | None:
    taken = {one.label for one in sure.judged.given if isinstance(one.shape, WholeImage)}
    others = [label for label in labels if label not in {sure.region.label, *taken}]
    return replace(sure.region, label=str(rng.choice(others))) if others else None


def _displaced(sure: _Sure, _labels: Sequence[str], rng: np.random.Generator) -> Region | None:
    """A copy that overlaps the right one."""
    around = bounds(sure.region.shape)
    sides = np.array([around.x1 - around.x0, around.y1 - around.y0])
    far = rng.uniform(*_SHIFT) * sides if sides.min() > 0 else np.full(2, rng.uniform(*_SHIFT_PX))
    for _ in range(_TRIES):
        angle = rng.uniform(0, 2 * math.pi)
        step = far * [math.cos(angle), math.sin(angle)]
        copy = _moved(sure, float(step[0]), float(step[1]))
        if copy is not None:
            return copy
    return None


def _absent(sure: _Sure, labels: Sequence[str], rng: np.random.Generator) -> Region | None:
    """A label of what is certainly not there: on ground where nobody, people or model, saw any."""
    if isinstance(sure.region.shape, WholeImage):
        return _relabelled(sure, labels, rng)
    size = _size(sure)
    if size is None:
        return None
    around = bounds(sure.region.shape)
    seen = [bounds(one.shape) for one in (*sure.judged.given, *sure.judged.found)]
    for _ in range(_TRIES):
        x = rng.uniform(0, max(size[0] - (around.x1 - around.x0), 1))
        y = rng.uniform(0, max(size[1] - (around.y1 - around.y0), 1))
        copy = _moved(sure, x - around.x0, y - around.y0)
        if copy is not None and not any(_touch(bounds(copy.shape), one) for one in seen):
            return copy
    return None


def _moved(sure: _Sure, dx: float, dy: float) -> Region | None:
    """None where it would leave the picture."""
    size = _size(sure)
    around = bounds(sure.region.shape)
    if size is None or isinstance(sure.region.shape, WholeImage):
        return None
    is_in = around.x0 + dx >= 0 and around.y0 + dy >= 0
    is_in &= around.x1 + dx <= size[0] and around.y1 + dy <= size[1]
    return replace(sure.region, shape=shifted(sure.region.shape, dx, dy)) if is_in else None


def _touch(one: Shape, other: Shape) -> bool:
    a, b = bounds(one), bounds(other)
    return a.x0 <= b.x1 and b.x0 <= a.x1 and a.y0 <= b.y1 and b.y0 <= a.y1


def _size(sure: _Sure) -> tuple[int, int] | None:
    try:
        return upright_size(sure.judged.picture)
    except (UnreadableImage, FileNotFoundError):
        return None


def _suspect(
    like: Suspect,
    sure: _Sure,
    given: Region | None,
    suggested: Region | None,
    suspects: Sequence[Suspect],
    rng: np.random.Generator,
) -> Suspect:
    scores = sorted(one.score for one in suspects if one.kind is like.kind)
    iou = None
    if like.kind is ErrorKind.LOW_IOU and given and suggested:  # of others 1.0 would tell
        iou = similarity(given.shape, suggested.shape)
    return Suspect(
        id=hashlib.sha256(
            json.dumps([sure.judged.task_id, _print(given), _print(suggested)]).encode()
        ).hexdigest()[:16],
        task_id=sure.judged.task_id,
        scope=sure.scope,
        kind=like.kind,
        score=float(np.interp(rng.uniform(0, len(scores) - 1), range(len(scores)), scores)),
        reason="",
        given=given,
        suggested=suggested,
        iou=iou,
    )


def _print(region: Region | None) -> str:
    return "" if region is None else json.dumps({**to_json(region), "score": None})
