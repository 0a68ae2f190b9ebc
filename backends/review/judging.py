"""What models found that never saw a label -> labels under suspicion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backends.micro.out_of_fold import Judged, OutOfFold
from backends.review.nouns import Case, Suspect
from backends.review.planting import known_cases
from micro_models.evaluation.overlap import similarity
from micro_models.label_errors import ErrorKind, LabelError, find_label_errors
from micro_models.region_json import to_json
from micro_models.regions import Region

# People answer so many at most at a sitting; known cases are mixed among these.
MOST_ASKED = 100
_LEAST_KNOWN, _MOST_KNOWN = 4, 24
_SAME_IOU = 0.5


@dataclass(frozen=True)
class Found:
    """The suspects of all scopes, the surest first, and by task id how suspicious a task is, 0..1.

    `notes` are alarms for people.
    """

    suspects: tuple[Suspect, ...] = ()
    suspicion: Mapping[int, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def found(scopes: Sequence[OutOfFold], *, min_score: float) -> Found:
    """The label errors of every scope whose score is `min_score` or more."""
    suspects: list[Suspect] = []
    suspicion: dict[int, float] = {}
    notes: list[str] = []
    for one in scopes:
        judged = one.judged
        findings = find_label_errors([each.given for each in judged], [e.found for e in judged])
        suspects += [
            _suspect(error, judged[error.example], one.scope.key)
            for error in findings.errors
            if error.score >= min_score
        ]
        for each, value in zip(judged, findings.suspicion, strict=True):
            suspicion[each.task_id] = max(value, suspicion.get(each.task_id, 0.0))
        prefix = f"{one.scope.key}: " if len(scopes) > 1 else ""
        notes += [f"{prefix}{note}" for note in findings.notes]
    suspects.sort(key=lambda suspect: -suspect.score)
    return Found(tuple(suspects), suspicion, tuple(notes))


def cases(
    suspects: Sequence[Suspect], scopes: Sequence[OutOfFold], answered: Sequence[Case]
) -> tuple[Case, ...]:
    """What people are asked, the surest first: all suspects, and known cases mixed among them.

    `answered`: what was asked and answered before. What is the same thing goes by the same id, so
    that nobody is asked twice. The same labels give the same cases.
    """
    verdicts = {one.suspect.id: one.verdict for one in answered}
    missing = [one for one in answered if one.suspect.kind is ErrorKind.MISSING]
    real = [_remembered(one, missing) for one in suspects]
    real = list({one.id: one for one in real}.values())
    seed = hashlib.sha256("".join(one.data for one in scopes).encode()).digest()[:8]
    rng = np.random.default_rng(int.from_bytes(seed, "big"))
    asked = real[:MOST_ASKED]
    number = min(max(len(asked) // 4, _LEAST_KNOWN), _MOST_KNOWN) if asked else 0
    judged = [(one.scope.key, each) for one in scopes for each in one.judged]
    planted = known_cases(judged, asked, number=number, rng=rng, doubted=real)
    mixed = [Case(one) for one in real] + planted
    mixed.sort(key=lambda case: -case.suspect.score)
    return tuple(replace(one, verdict=verdicts.get(one.suspect.id)) for one in mixed)


def suspect_id(task_id: int, kind: ErrorKind, region: Region) -> str:
    """16 hex digits, the same as long as the label in question is the same, whatever its score."""
    about = [task_id, str(kind), {**to_json(region), "score": None}]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def _suspect(error: LabelError, judged: Judged, scope: str) -> Suspect:
    about = error.given or error.suggested
    if about is None:
        raise ValueError("a label error is about a region")
    return Suspect(
        id=suspect_id(judged.task_id, error.kind, about),
        task_id=judged.task_id,
        scope=scope,
        kind=error.kind,
        score=float(error.score),
        reason=error.reason,
        given=error.given,
        suggested=error.suggested,
        iou=None if error.iou is None else float(error.iou),
    )


def _remembered(suspect: Suspect, missing: Sequence[Case]) -> Suspect:
    """With the id of what was answered before, where a new model draws the same a little off."""
    if suspect.kind is not ErrorKind.MISSING:
        return suspect
    for one in missing:
        before = one.suspect
        if (
            one.known is None
            and before.task_id == suspect.task_id
            and before.region.label == suspect.region.label
            and similarity(before.region.shape, suspect.region.shape) >= _SAME_IOU
        ):
            return replace(suspect, id=before.id)
    return suspect
