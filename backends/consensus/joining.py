"""What people, and a model, say together of each task, and how good each one is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from backends.consensus.nouns import SHOWN, Agreed, Overlap, Rated
from micro_models.consensus import Consensus, Votes, dawid_skene, with_model
from micro_models.consensus.agreement import class_agreement, krippendorff_alpha, wilson
from micro_models.consensus.joining import Joined, JoinedPictures, join_regions
from micro_models.evaluation.overlap import POINT_PX
from micro_models.regions import Region, WholeImage

# As `truth` has it: people click as well as they see.
_POINT_PART = 0.01
# What two careful people reach is no difference; from so many things on it is known what is usual.
_CAREFUL, _KNOWN_FROM = 0.9, 20
Found = Mapping[int, Sequence[Region]]


@dataclass(frozen=True)
class Result:
    """What came of a project's overlap; as `Report` has it."""

    tasks: tuple[Agreed, ...]
    people: tuple[Rated, ...]
    alpha: float | None = None
    trust: float | None = None
    lift: float | None = None


@dataclass(frozen=True, eq=False)
class _Choice:
    """Votes on one set of classes that exclude each other, and what they say together."""

    labels: tuple[str, ...]
    votes: Votes
    together: Consensus
    has_model: bool


@dataclass
class _Tally:
    """What is known of a person so far: agreements with others, one of each task and question."""

    tasks: set[int] = field(default_factory=set)
    regions: int = 0
    agreements: list[float] = field(default_factory=list)
    misses: dict[str, float] = field(default_factory=dict)
    false_alarms: dict[str, float] = field(default_factory=dict)


def joined(
    overlaps: Sequence[Overlap],
    *,
    one_of: Sequence[Collection[str]],
    found: Found | None,
    names: Mapping[int, str],
) -> Result:
    """Join the answers of each task.

    `one_of`: sets of classes of the picture of which one is chosen. `found`: by task id what a
    model that never saw the task's labels finds, with calibrated scores; None: no model.
    """
    people = sorted({person for one in overlaps for person in one.answers})
    tallies = {person: _Tally() for person in people}
    for one in overlaps:
        for person, regions in one.answers.items():
            tallies[person].tasks.add(one.task_id)
            tallies[person].regions += len(regions)
    number = {person: index for index, person in enumerate(people)}
    choices = [_choice(overlaps, number, sorted(some), found) for some in one_of]
    exclusive = frozenset(label for some in one_of for label in some)
    drawn = _drawn(overlaps, number, exclusive, found)
    unusual = _unusual(drawn)
    tasks = [_agreed(one, at, drawn, choices, unusual) for at, one in enumerate(overlaps)]
    if drawn is not None:
        _tally_drawn(drawn, people, tallies)
    for choice in choices:
        _tally_choice(choice, people, tallies)
    alphas = [krippendorff_alpha(choice.votes) for choice in choices]
    known = [alpha for alpha in alphas if alpha is not None]
    trusts = [one.together.figures["trust"] for one in choices if one.has_model]
    return Result(
        tuple(tasks),
        tuple(_rated(person, names, tallies[person]) for person in people),
        alpha=float(np.mean(known)) if known else None,
        trust=float(np.mean(trusts)) if trusts else None,
        lift=drawn.model_lift if drawn is not None else None,
    )


def _drawn(
    overlaps: Sequence[Overlap],
    number: Mapping[int, int],
    exclusive: frozenset[str],
    found: Found | None,
) -> JoinedPictures | None:
    """All but the classes that exclude each other; None where there is nothing else to label."""
    answers = [
        {number[person]: _others(regions, exclusive) for person, regions in one.answers.items()}
        for one in overlaps
    ]
    if exclusive and not any(regions for answer in answers for regions in answer.values()):
        return None
    model = None
    if found is not None:
        model = [
            _others(found[one.task_id], exclusive) if one.task_id in found else None
            for one in overlaps
        ]
    px = [max(POINT_PX, _POINT_PART * max(one.size_px)) for one in overlaps]
    return join_regions(answers, n_people=len(number), model=model, point_px=px)


def _others(regions: Sequence[Region], exclusive: frozenset[str]) -> tuple[Region, ...]:
    return tuple(
        one for one in regions if not (isinstance(one.shape, WholeImage) and one.label in exclusive)
    )


def _choice(
    overlaps: Sequence[Overlap],
    number: Mapping[int, int],
    labels: Sequence[str],
    found: Found | None,
) -> _Choice:
    rows = [
        (at, number[person], labels.index(said))
        for at, one in enumerate(overlaps)
        for person, regions in one.answers.items()
        if (said := _said(regions, labels)) is not None
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    votes = Votes(table[:, 0], table[:, 1], table[:, 2], len(overlaps), len(number), len(labels))
    model = np.array([_scores((found or {}).get(one.task_id, ()), labels) for one in overlaps])
    has_model = not bool(np.isnan(model).all())
    together = with_model(votes, model) if has_model else dawid_skene(votes)
    return _Choice(tuple(labels), votes, together, has_model)


def _said(regions: Sequence[Region], labels: Sequence[str]) -> str | None:
    whole = (one.label for one in regions if isinstance(one.shape, WholeImage))
    return next((label for label in whole if label in labels), None)


def _scores(regions: Sequence[Region], labels: Sequence[str]) -> list[float]:
    """The model's probabilities; NaN where it gives none."""
    scores = dict.fromkeys(labels, 0.0)
    for one in regions:
        if isinstance(one.shape, WholeImage) and one.label in scores:
            scores[one.label] = max(scores[one.label], one.score)
    total = sum(scores.values())
    return [score / total if total else float("nan") for score in scores.values()]


def _agreed(
    one: Overlap,
    at: int,
    drawn: JoinedPictures | None,
    choices: Sequence[_Choice],
    unusual: float,
) -> Agreed:
    regions: list[Region] = []
    agreements: list[float] = []
    differences = 0
    if drawn is not None:
        regions += [thing.region for thing in drawn.pictures[at] if thing.region.score >= SHOWN]
        own = drawn.agreement[at]
        agreements += [] if own is None else [own]
        differences += sum(
            _is_disputed(thing, len(one.answers), unusual) for thing in drawn.pictures[at]
        )
    for choice in choices:
        said = choice.votes.labels[choice.votes.items == at].tolist()
        if said:
            best = int(choice.together.labels[at])
            score = float(choice.together.probabilities[at, best])
            regions.append(Region(choice.labels[best], WholeImage(), min(score, 1.0)))
            # Who chose nothing where others chose differs from them, as one who drew nothing does.
            said += [-1] * (len(one.answers) - len(said))
            agreements.append(class_agreement(said))
            differences += len(set(said)) > 1
    return Agreed(
        one.task_id,
        one.size_px,
        tuple(regions),
        min((region.score for region in regions), default=1.0),
        float(np.mean(agreements)) if agreements else 1.0,
        differences,
    )


def _is_disputed(thing: Joined, answers: int, unusual: float) -> bool:
    """Whether people differ about it. What the model alone found, they say nothing of."""
    if not thing.people:
        return False
    is_unlike = thing.agreement is not None and thing.agreement < unusual
    return len(thing.people) < answers or len(thing.called) > 1 or is_unlike


def _unusual(drawn: JoinedPictures | None) -> float:
    """A likeness of two drawings below this is unusual in the project.

    Tukey's fence. It is never above `_CAREFUL`, since nobody draws the same edge twice, and 0
    where too few things were drawn to know what is usual.
    """
    pictures = drawn.pictures if drawn is not None else ()
    alike = [one.agreement for some in pictures for one in some if one.agreement is not None]
    if len(alike) < _KNOWN_FROM:
        return 0.0
    low, high = np.quantile(alike, [0.25, 0.75])
    return min(float(low - 1.5 * (high - low)), _CAREFUL)


def _tally_drawn(
    drawn: JoinedPictures, people: Sequence[int], tallies: Mapping[int, _Tally]
) -> None:
    for person, one in zip(people, drawn.annotators, strict=True):
        tally = tallies[person]
        if one.agreement is not None:
            tally.agreements += [one.agreement] * one.pictures
        tally.misses |= one.misses
        tally.false_alarms |= one.false_alarms


def _tally_choice(choice: _Choice, people: Sequence[int], tallies: Mapping[int, _Tally]) -> None:
    votes, truth = choice.votes, choice.together.probabilities
    order = np.argsort(votes.items, kind="stable")
    starts = np.searchsorted(votes.items[order], np.arange(votes.n_items + 1))
    for start, end in pairwise(starts.tolist()):
        said = [(int(votes.workers[n]), int(votes.labels[n])) for n in order[start:end]]
        for who, called in said if len(said) > 1 else ():
            same = sum(called == other for _, other in said) - 1
            tallies[people[who]].agreements.append(same / (len(said) - 1))
    for who, person in enumerate(people):
        mine = votes.workers == who
        tally = tallies[person]
        for at, label in enumerate(choice.labels):
            there = truth[votes.items[mine], at]
            said_so = votes.labels[mine] == at
            if there.sum() > SHOWN:
                tally.misses[label] = float(there[~said_so].sum() / there.sum())
            if said_so.any():
                tally.false_alarms[label] = float(1 - there[said_so].mean())


def _rated(person: int, names: Mapping[int, str], tally: _Tally) -> Rated:
    mean = float(np.mean(tally.agreements)) if tally.agreements else None
    # Questions about one task hang together: an interval by tasks is the honest one.
    low, high = wilson(mean or 0.0, len(tally.tasks) if mean is not None else 0)
    return Rated(
        person,
        names.get(person, f"user {person}"),
        len(tally.tasks),
        tally.regions,
        mean,
        low,
        high,
        tally.misses,
        tally.false_alarms,
    )
