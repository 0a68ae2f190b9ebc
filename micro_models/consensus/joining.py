"""The regions of several annotators, and of a model, joined into one answer for each picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from micro_models.consensus.agreement import pair_agreements, wilson
from micro_models.consensus.dawid_skene import dawid_skene
from micro_models.consensus.existence import (
    Existence,
    Sightings,
    existence,
    model_bins,
)
from micro_models.consensus.fusing import fused
from micro_models.consensus.grouping import MIN_IOU, Grouped, grouped
from micro_models.consensus.spread import spreads
from micro_models.consensus.votes import Matrix, Votes
from micro_models.evaluation.overlap import POINT_PX
from micro_models.regions import Region

# What a model alone finds is no candidate below this.
_MODEL_ALONE = 0.5


@dataclass(frozen=True)
class Joined:
    """One thing. The region's score is the probability that it is there and called so.

    `people`: who drew it; `called`: the labels that they gave it; `agreement`: how alike they drew
    it, 0..1, None where one alone did.
    """

    region: Region
    people: tuple[int, ...]
    called: frozenset[str]
    agreement: float | None


@dataclass(frozen=True)
class Annotator:
    """What came of one person's regions.

    `agreement` with the others, 0..1, with its 90% interval, over `pictures`. By class: `misses`,
    the share of things there that were not drawn; `false_alarms`, the share of drawn ones that are
    not there.
    """

    pictures: int
    regions: int
    agreement: float | None
    low: float
    high: float
    misses: Mapping[str, float]
    false_alarms: Mapping[str, float]


@dataclass(frozen=True)
class JoinedPictures:
    """Of each picture its things, best first, and how much its annotators agree, 0..1 (None where
    only one labelled it); of each annotator what is told of one.

    `model_lift`: how much likelier the model finds what is there than what is not, 1: it says
    nothing; None without a model.
    """

    pictures: tuple[tuple[Joined, ...], ...]
    agreement: tuple[float | None, ...]
    annotators: tuple[Annotator, ...]
    model_lift: float | None


def join_regions(
    answers: Sequence[Mapping[int, Sequence[Region]]],
    *,
    n_people: int,
    model: Sequence[Sequence[Region] | None] | None = None,
    min_iou: float = MIN_IOU,
    point_px: Sequence[float] | float = POINT_PX,
) -> JoinedPictures:
    """Join `answers`, per picture each person's regions ((): nothing is there), person 0 first.

    Regions that are alike are one thing (`grouping`). It is there by the `existence` vote, called
    by Dawid-Skene's, and drawn as `fusing` does, who draws more exactly counting more. `model`: per
    picture the regions that an out-of-sample model finds, with calibrated scores, or None; it is
    one more annotator. All things are told, the improbable ones too: draw the line at 0.5.

    >>> from micro_models.regions import Box
    >>> near = [Region("car", Box(0, 0, 10, 10))], [Region("car", Box(0, 0, 12, 10))]
    >>> found = join_regions([{0: near[0], 1: near[1]}] * 5, n_people=2).pictures[0]
    >>> [(one.region.shape, one.people, round(one.agreement or 0, 2)) for one in found]
    [(Box(x0=0.0, y0=0.0, x1=11.0, y1=10.0), (0, 1), 0.83)]
    """
    found = [(model[at] if model is not None else None) for at in range(len(answers))]
    px = [point_px] * len(answers) if isinstance(point_px, int | float) else list(point_px)
    pictures = [
        grouped(
            sorted(answer.items()),
            model=own or (),
            model_owner=n_people,
            min_iou=min_iou,
            point_px=one_px,
        )
        for answer, own, one_px in zip(answers, found, px, strict=True)
    ]
    things = [
        (at, group)
        for at, picture in enumerate(pictures)
        for group in picture.groups
        if _is_candidate(picture, group, n_people)
    ]
    names = sorted({region.label for picture in pictures for region in picture.regions})
    seen = _sightings(answers, found, pictures, things, names, n_people)
    there = existence(seen)
    calls = _called(pictures, things, names, n_people)
    weights = _weights(pictures, things, n_people)
    joined: list[list[Joined]] = [[] for _ in answers]
    for index, (at, group) in enumerate(things):
        probability = float(there.there[index])
        joined[at].append(_joined(pictures[at], group, calls[index], names, probability, weights))
    pairs = [
        _agreements(picture, answer, n_people)
        for picture, answer in zip(pictures, answers, strict=True)
    ]
    return JoinedPictures(
        tuple(tuple(sorted(some, key=lambda one: -one.region.score)) for some in joined),
        tuple(float(np.mean(list(own.values()))) if own else None for own in pairs),
        _annotators(answers, pairs, seen, there, names),
        _lift(seen, there) if model is not None else None,
    )


def _is_candidate(picture: Grouped, group: Sequence[int], n_people: int) -> bool:
    """Whether a person drew it, or the model is sure of it."""
    return any(
        picture.owners[i] < n_people or picture.regions[i].score >= _MODEL_ALONE for i in group
    )


def _label(picture: Grouped, group: Sequence[int], n_people: int) -> str:
    """What most people call it, of equals the first; the model's word where none drew it."""
    people = [i for i in group if picture.owners[i] < n_people] or list(group)
    return Counter(picture.regions[i].label for i in people).most_common(1)[0][0]


def _sightings(
    answers: Sequence[Mapping[int, Sequence[Region]]],
    found: Sequence[Sequence[Region] | None],
    pictures: Sequence[Grouped],
    things: Sequence[tuple[int, tuple[int, ...]]],
    names: Sequence[str],
    n_people: int,
) -> Sightings:
    number = {name: index for index, name in enumerate(names)}
    looks: list[tuple[int, int, bool]] = []
    classes, scores = [], []
    for index, (at, group) in enumerate(things):
        drew = {pictures[at].owners[i] for i in group}
        looks += [(index, person, person in drew) for person in answers[at]]
        classes.append(number[_label(pictures[at], group, n_people)])
        by_model = [i for i in group if pictures[at].owners[i] == n_people]
        score = max((pictures[at].regions[i].score for i in by_model), default=0.0)
        scores.append(-1.0 if found[at] is None else score)
    table = np.array(looks, dtype=np.int64).reshape(-1, 3)
    model = np.array(scores, dtype=np.float64)
    return Sightings(
        table[:, 0],
        table[:, 1],
        table[:, 2].astype(np.float64),
        np.array(classes, dtype=np.int64),
        np.where(model < 0, -1, model_bins(model)),
        n_people,
        max(len(names), 1),
    )


def _called(
    pictures: Sequence[Grouped],
    things: Sequence[tuple[int, tuple[int, ...]]],
    names: Sequence[str],
    n_people: int,
) -> Matrix:
    """(things, names) probabilities of what each is called."""
    number = {name: index for index, name in enumerate(names)}
    rows = [
        (index, pictures[at].owners[i], number[pictures[at].regions[i].label])
        for index, (at, group) in enumerate(things)
        for i in group
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    votes = Votes(
        table[:, 0], table[:, 1], table[:, 2], len(things), n_people + 1, max(len(names), 1)
    )
    return dawid_skene(votes).probabilities


def _weights(
    pictures: Sequence[Grouped], things: Sequence[tuple[int, tuple[int, ...]]], n_people: int
) -> Matrix:
    """(people + model,) how much each one's drawing counts."""
    pairs = [
        (picture.owners[a], picture.owners[b], 1 - float(picture.alike[a, b]))
        for at, group in things
        for picture in [pictures[at]]
        for a, b in combinations(group, 2)
    ]
    table = np.array(pairs, dtype=np.float64).reshape(-1, 3)
    owners = table[:, :2].astype(np.int64)
    errors = spreads(owners[:, 0], owners[:, 1], table[:, 2], n_people + 1)
    return 1 / errors**2


def _joined(
    picture: Grouped,
    group: Sequence[int],
    call: Matrix,
    names: Sequence[str],
    there: float,
    weights: Matrix,
) -> Joined:
    n_people = len(weights) - 1
    people = [i for i in group if picture.owners[i] < n_people]
    own = np.array([weights[picture.owners[i]] for i in group])
    shape = fused([picture.regions[i].shape for i in group], own)
    best = int(call.argmax())
    between = [float(picture.alike[a, b]) for a, b in combinations(people, 2)]
    return Joined(
        Region(names[best], shape, min(max(there * float(call[best]), 0.0), 1.0)),
        tuple(sorted(picture.owners[i] for i in people)),
        frozenset(picture.regions[i].label for i in people),
        float(np.mean(between)) if between else None,
    )


def _agreements(
    picture: Grouped, answer: Mapping[int, Sequence[Region]], n_people: int
) -> Mapping[tuple[int, int], float]:
    groups = [
        [(picture.owners[i], i) for i in group if picture.owners[i] < n_people]
        for group in picture.groups
    ]
    labels = [region.label for region in picture.regions]
    return pair_agreements(list(answer), groups, labels, picture.alike)


def _annotators(
    answers: Sequence[Mapping[int, Sequence[Region]]],
    pairs: Sequence[Mapping[tuple[int, int], float]],
    seen: Sightings,
    there: Existence,
    names: Sequence[str],
) -> tuple[Annotator, ...]:
    looked = {
        (person, name)
        for person, name in zip(
            seen.people.tolist(), seen.classes[seen.things].tolist(), strict=True
        )
    }
    of_each: list[list[float]] = [[] for _ in range(seen.n_people)]
    for own in pairs:
        for person in {person for pair in own for person in pair}:
            of_each[person].append(
                float(np.mean([value for pair, value in own.items() if person in pair]))
            )
    annotators = []
    for person, values in enumerate(of_each):
        mean = float(np.mean(values)) if values else None
        low, high = wilson(mean or 0.0, len(values))
        known = [(at, name) for at, name in enumerate(names) if (person, at) in looked]
        annotators.append(
            Annotator(
                pictures=sum(person in answer for answer in answers),
                regions=sum(len(answer.get(person, ())) for answer in answers),
                agreement=mean,
                low=low,
                high=high,
                misses={name: float(1 - there.hits[person, at]) for at, name in known},
                false_alarms={name: float(there.false_alarms[person, at]) for at, name in known},
            )
        )
    return tuple(annotators)


def _lift(seen: Sightings, there: Existence) -> float:
    """Of the things that the model found: how much likelier it found them for being there."""
    answered = seen.model[seen.model > 0]
    return float(there.model_lift[answered].mean()) if len(answered) else 1.0
