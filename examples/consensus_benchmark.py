"""How good is what several people, and a model, say together? Classes of real crowds, and regions.

    python examples/consensus_benchmark.py ../shared/data/crowd
    python examples/consensus_benchmark.py ../shared/data/crowd --seeds 20 --json

Crowds: each method's share of right labels, then a simulated model of each accuracy beside the
crowd, its confidence made in five ways, or erring as people do: by the classes that these confuse,
but on items of its own. The gain is over the better of crowd alone and model alone.
Regions: seeded annotators who miss, invent, misname and draw with errors of different size;
against the best single one of them, and against majority and medoid.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backends.label_studio.consensus import agreed
from micro_models.consensus import (
    Consensus,
    Votes,
    dawid_skene,
    glad,
    mace,
    majority,
    one_coin,
    with_model,
)
from micro_models.consensus.joining import join_regions
from micro_models.evaluation.matching import match
from micro_models.geometry import ellipse_to_mask
from micro_models.regions import Box, Ellipse, Mask, Point, Region

Matrix = NDArray[np.float64]
Ints = NDArray[np.int64]

METHODS: tuple[Callable[[Votes], Consensus], ...] = (majority, dawid_skene, one_coin, glad, mace)
ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
STYLES = ("calibrated", "modest", "constant", "over-confident", "surest when wrong", "as people")


@dataclass(frozen=True, eq=False)
class Crowd:
    """Votes, and (items,) the truth, -1 where it is not known."""

    votes: Votes
    truth: Ints

    def right(self, labels: Ints) -> float:
        """The share of right labels, 0..1."""
        known = self.truth >= 0
        return float((labels == self.truth)[known].mean())


@dataclass(frozen=True)
class WithModel:
    """Models of one accuracy and style: gains in points over the better of crowd and model."""

    crowd: str
    style: str
    accuracy: float
    crowd_alone: float
    model_alone: float
    together: float
    mean_gain: float
    worst_gain: float
    trust: float


@dataclass(frozen=True)
class Regions:
    """F1 at IoU 0.5; the mean IoU of the things that all annotators and both ways found.

    `best_single` is the best annotator's, `medoid` that of majority and medoid.
    """

    shape: str
    f1: float
    f1_best_single: float
    f1_medoid: float
    iou: float
    iou_best_single: float
    iou_medoid: float


def read_crowd(folder: Path, name: str) -> Crowd:
    """A data set of `folder`: `<name>_labels.csv` and `<name>_truth.csv`."""
    rows = _rows(folder / f"{name}_labels.csv")
    truth = dict(_rows(folder / f"{name}_truth.csv")[:, :2].tolist())
    tasks, items = np.unique(rows[:, 0], return_inverse=True)
    _, workers = np.unique(rows[:, 1], return_inverse=True)
    classes = np.unique(np.concatenate([rows[:, 2], list(truth.values())]))
    votes = Votes.of(items, workers, np.searchsorted(classes, rows[:, 2]), n_classes=len(classes))
    known = [
        int(np.searchsorted(classes, truth[task])) if task in truth else -1
        for task in tasks.tolist()
    ]
    return Crowd(votes, np.array(known))


def _rows(path: Path) -> Ints:
    with path.open(newline="") as file:
        return np.array(list(csv.reader(file))[1:], dtype=np.int64)


def simulated_model(
    truth: Ints,
    classes: int,
    *,
    accuracy: float,
    style: str,
    rng: np.random.Generator,
    confused: Matrix | None = None,
) -> Matrix:
    """(items, classes) probabilities of a model that is right with this probability.

    `confused`: (truth, said) how often it takes which for which when it errs; None: all alike.
    """
    count = len(truth)
    right = rng.random(count) < accuracy
    sure = np.full(count, max(accuracy, 1 / classes + 0.01))
    if style == "calibrated":
        part = (accuracy - 1 / classes) / (1 - 1 / classes)
        drawn = rng.beta(4 * part + 1e-3, 4 * (1 - part) + 1e-3, size=count)
        sure = 1 / classes + (1 - 1 / classes) * drawn
        right = rng.random(count) < sure
    elif style == "modest":
        sure = np.where(right, rng.uniform(0.6, 0.99, count), rng.uniform(0.4, 0.9, count))
        sure = np.maximum(sure, 1 / classes + 0.01)
    elif style == "over-confident":
        sure = np.full(count, 0.99)
    elif style == "surest when wrong":
        sure = np.where(right, rng.uniform(0.6, 0.9, count), rng.uniform(0.95, 0.999, count))
    other = (truth + rng.integers(1, classes, count)) % classes
    if confused is not None:
        other = np.array([rng.choice(classes, p=confused[one]) for one in truth])
    said = np.where(right, truth, other)
    found = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    found[np.arange(count), said] = sure
    return found


def confusions(crowd: Crowd) -> Matrix:
    """(truth, said) of people's errors the share of each; where the truth is known throughout."""
    votes = crowd.votes
    counts = np.zeros((votes.n_classes, votes.n_classes))
    np.add.at(counts, (crowd.truth[votes.items], votes.labels), 1.0)
    errors = (counts + 1e-6) * (1 - np.eye(votes.n_classes))
    return np.asarray(errors / errors.sum(axis=1, keepdims=True))


def beside_model(
    name: str,
    crowd: Crowd,
    *,
    seeds: int,
    accuracies: Sequence[float] = ACCURACIES,
    styles: Sequence[str] = STYLES,
) -> list[WithModel]:
    """Every accuracy and style with a crowd whose truth is known throughout."""
    people = dawid_skene(crowd.votes)
    alone, confused = crowd.right(people.labels), confusions(crowd)
    rows = []
    for style in styles:
        for accuracy in accuracies:
            figures = []
            for seed in range(seeds):
                rng = np.random.default_rng(1000 * seed + int(100 * accuracy))
                model = simulated_model(
                    crowd.truth,
                    crowd.votes.n_classes,
                    accuracy=accuracy,
                    style=style,
                    rng=rng,
                    confused=confused if style == "as people" else None,
                )
                joined = with_model(crowd.votes, model, people=people)
                own = crowd.right(model.argmax(axis=1))
                both = crowd.right(joined.labels)
                gain = 100 * (both - max(own, alone))
                figures.append((own, both, gain, joined.figures["trust"]))
            own, both, gain, trust = np.mean(figures, axis=0).tolist()
            worst = min(figure[2] for figure in figures)
            rows.append(WithModel(name, style, accuracy, alone, own, both, gain, worst, trust))
    return rows


@dataclass(frozen=True)
class Person:
    """A simulated annotator: probabilities, and `error` in parts of an object's size."""

    misses: float
    invents: float
    misnames: float
    error: float


PEOPLE = (
    Person(0.05, 0.03, 0.02, 0.04),
    Person(0.08, 0.05, 0.04, 0.07),
    Person(0.15, 0.05, 0.05, 0.09),
    Person(0.10, 0.40, 0.10, 0.12),
)
_SIZE, _LABELS = 256, ("cell", "clump")


def regions_benchmark(shape: str, *, pictures: int, people: Sequence[Person]) -> Regions:
    """Seeded pictures with things of one shape, drawn by `people`."""
    rng = np.random.default_rng(7)
    truth = [_things(shape, rng) for _ in range(pictures)]
    answers = [
        {at: _drawn(person, things, shape, rng) for at, person in enumerate(people)}
        for things in truth
    ]
    joined = join_regions(answers, n_people=len(people))
    ways = [[one.region for one in some if one.region.score >= 0.5] for some in joined.pictures]
    medoids = [agreed([answer[at] for at in sorted(answer)]) for answer in answers]
    singles = [[answer[at] for answer in answers] for at in range(len(people))]
    scores = [_f1(found, truth) for found in (ways, medoids, *singles)]
    alike = _common_alike([ways, medoids, *singles], truth)
    return Regions(
        shape,
        scores[0],
        max(scores[2:]),
        scores[1],
        alike[0],
        max(alike[2:]),
        alike[1],
    )


def _things(shape: str, rng: np.random.Generator) -> list[Region]:
    grid = [(x, y) for x in range(40, _SIZE, 60) for y in range(40, _SIZE, 60)]
    chosen = rng.permutation(len(grid))[: rng.integers(2, 7)]
    return [
        Region(
            _LABELS[int(rng.integers(2))],
            _shape(
                shape,
                (grid[at][0] + rng.uniform(-6, 6), grid[at][1] + rng.uniform(-6, 6)),
                (rng.uniform(12, 22), rng.uniform(12, 22)),
            ),
        )
        for at in chosen
    ]


def _shape(kind: str, middle: tuple[float, float], half: tuple[float, float]) -> Box | Mask | Point:
    (x, y), (a, b) = middle, half
    if kind == "box":
        return Box(x - a, y - b, x + a, y + b)
    if kind == "point":
        return Point(x, y)
    return ellipse_to_mask(Ellipse(x, y, a, b), width_px=_SIZE, height_px=_SIZE)


def _drawn(
    person: Person, things: Sequence[Region], kind: str, rng: np.random.Generator
) -> list[Region]:
    found = []
    for thing in things:
        if rng.random() < person.misses:
            continue
        is_named = rng.random() >= person.misnames
        label = thing.label if is_named else _LABELS[1 - _LABELS.index(thing.label)]
        found.append(Region(label, _redrawn(thing, kind, person.error, rng)))
    if rng.random() < person.invents:
        x, y = rng.uniform(20, _SIZE - 20, 2)
        found.append(Region(_LABELS[0], _shape(kind, (x, y), (14, 14))))
    return found


def _redrawn(
    thing: Region, kind: str, error: float, rng: np.random.Generator
) -> Box | Mask | Point:
    if isinstance(thing.shape, Point):
        return Point(*(rng.normal((thing.shape.x, thing.shape.y), 60 * error)))
    if isinstance(thing.shape, Box):
        edges = np.array([thing.shape.x0, thing.shape.y0, thing.shape.x1, thing.shape.y1])
    else:
        rows, columns = np.nonzero(thing.shape.pixels)  # type: ignore[union-attr]
        edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1.0])
    x0, y0, x1, y1 = edges + rng.normal(0, error * math.sqrt((edges[2:] - edges[:2]).prod()), 4)
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), (max(x1 - x0, 2) / 2, max(y1 - y0, 2) / 2)
    return _shape(kind, middle, half)


def _f1(found: Sequence[Sequence[Region]], truth: Sequence[Sequence[Region]]) -> float:
    hits = sum(len(match(ours, theirs).pairs) for ours, theirs in zip(found, truth, strict=True))
    return 2 * hits / max(sum(map(len, found)) + sum(map(len, truth)), 1)


def _common_alike(
    ways: Sequence[Sequence[Sequence[Region]]], truth: Sequence[Sequence[Region]]
) -> list[float]:
    """Of each way the mean likeness of those things that all of them found."""
    alike: list[list[float]] = [[] for _ in ways]
    for at, theirs in enumerate(truth):
        found = [
            {pair.truth: pair.similarity for pair in match(way[at], theirs).pairs} for way in ways
        ]
        for thing in set.intersection(*map(set, found)):
            for values, own in zip(alike, found, strict=True):
                values.append(own[thing])
    return [float(np.mean(values)) for values in alike]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="the crowds: <name>_labels.csv, <name>_truth.csv")
    parser.add_argument("--seeds", type=int, default=10, help="simulated models of each kind")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    names = sorted(
        path.name.removesuffix("_labels.csv") for path in options.folder.glob("*_labels.csv")
    )
    crowds = {name: read_crowd(options.folder, name) for name in names}
    methods = {
        name: {method.__name__: crowd.right(method(crowd.votes).labels) for method in METHODS}
        for name, crowd in crowds.items()
    }
    with_models = [
        row
        for name in ("bluebirds", "dog")
        if name in crowds
        for row in beside_model(name, crowds[name], seeds=options.seeds)
    ]
    regions = [
        regions_benchmark(shape, pictures=options.pictures, people=PEOPLE)
        for shape in ("box", "mask", "point")
    ]
    if options.json:
        told = {
            "methods": methods,
            "with_model": [asdict(row) for row in with_models],
            "regions": [asdict(row) for row in regions],
        }
        print(json.dumps(told, indent=1))
        return
    for name, found in methods.items():
        print(name, "  ".join(f"{method} {share:.1%}" for method, share in found.items()))
    for row in with_models:
        print(
            f"{row.crowd} model {row.accuracy:.0%} {row.style}: crowd {row.crowd_alone:.1%}, "
            f"model {row.model_alone:.1%}, together {row.together:.1%}; gain {row.mean_gain:+.1f} "
            f"points, worst of {options.seeds} {row.worst_gain:+.1f}, trust {row.trust:.2f}"
        )
    for one in regions:
        print(
            f"{one.shape}: F1 {one.f1:.3f} (best single {one.f1_best_single:.3f}, medoid "
            f"{one.f1_medoid:.3f}), IoU {one.iou:.3f} (best single {one.iou_best_single:.3f}, "
            f"medoid {one.iou_medoid:.3f})"
        )


if __name__ == "__main__":
    main()
