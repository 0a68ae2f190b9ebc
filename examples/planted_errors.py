"""Errors planted into labels that are right, so that it is known what there is to find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_models.evaluation.overlap import bounds, similarities
from micro_models.examples import Example
from micro_models.fitting.scaling import size_of
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Mask, Region

# Of the examples this part gets errors, from one to so many each.
PART, MOST = 0.4, 3
# An object is moved by this part of its sides: clearly off, and clearly meant.
SHIFT = (0.2, 0.4)
# A spurious region is put where nothing is labelled, found by so many tries.
_TRIES, _FREE = 50, 0.1


@dataclass(frozen=True)
class Planted:
    """One error: the `index` of the given region it is about (None: it was taken out).

    `truth`: the region as it was; None where there was none.
    """

    kind: ErrorKind
    example: int
    index: int | None
    truth: Region | None


def planted(
    examples: Sequence[Example], rng: np.random.Generator
) -> tuple[list[Example], list[Planted]]:
    """The examples with errors in some of them, and what was done.

    Kinds are drawn evenly; a wrong label needs another label that it could be.
    """
    labels = sorted({label for one in examples for label in one.labels})
    kinds = [kind for kind in ErrorKind if kind is not ErrorKind.WRONG_LABEL or len(labels) > 1]
    result, done = [], []
    for number, example in enumerate(examples):
        regions: list[Region | None] = list(example.regions)
        errors: list[Planted] = []
        if rng.random() < PART and regions:
            count = min(int(rng.integers(1, MOST + 1)), len(regions))
            for at in rng.permutation(len(regions))[:count]:
                kind = kinds[rng.integers(len(kinds))]
                errors += _plant(regions, int(at), number, kind, example, labels, rng)
        place = np.cumsum([one is not None for one in regions]) - 1
        result.append(Example(example.picture, [one for one in regions if one is not None]))
        done += [
            Planted(e.kind, number, None if e.index is None else int(place[e.index]), e.truth)
            for e in errors
        ]
    return result, done


def _plant(
    regions: list[Region | None],
    at: int,
    number: int,
    kind: ErrorKind,
    example: Example,
    labels: Sequence[str],
    rng: np.random.Generator,
) -> list[Planted]:
    """Changes `regions`; nothing where there is no room for a spurious one."""
    region = regions[at]
    assert region is not None
    width, height = size_of(example.picture)
    if kind is ErrorKind.MISSING:
        regions[at] = None
        return [Planted(kind, number, None, region)]
    if kind is ErrorKind.WRONG_LABEL:
        others = [label for label in labels if label != region.label]
        regions[at] = Region(others[rng.integers(len(others))], region.shape)
        return [Planted(kind, number, at, region)]
    box = bounds(region.shape)
    if kind is ErrorKind.LOW_IOU:
        part = rng.uniform(*SHIFT, 2) * rng.choice([-1, 1], 2)
        # One side more than the other, so that masks and boxes alike still touch what they mean.
        part[rng.integers(2)] *= 0.5
        dx, dy = part[0] * (box.x1 - box.x0), part[1] * (box.y1 - box.y0)
        regions[at] = _moved(region, float(dx), float(dy), width, height)
        return [Planted(kind, number, at, region)]
    for _ in range(_TRIES):
        x, y = rng.uniform(0, width - box.x1 + box.x0), rng.uniform(0, height - box.y1 + box.y0)
        put = _moved(region, float(x - box.x0), float(y - box.y0), width, height)
        others = [bounds(one.shape) for one in [*regions, *example.regions] if one is not None]
        if similarities([bounds(put.shape)], others).max() < _FREE:
            regions.append(put)
            return [Planted(kind, number, len(regions) - 1, None)]
    return []


def _moved(region: Region, dx: float, dy: float, width: int, height: int) -> Region:
    """Moved by so many pixels, cut off at the picture's edges."""
    shape = region.shape
    if isinstance(shape, Box):
        x0, x1 = np.clip([shape.x0 + dx, shape.x1 + dx], 0, width).tolist()
        y0, y1 = np.clip([shape.y0 + dy, shape.y1 + dy], 0, height).tolist()
        return Region(region.label, Box(x0, y0, x1, y1))
    if not isinstance(shape, Mask):
        raise ValueError(f"only boxes and masks are moved, not a {type(shape).__name__}")
    rows, columns = np.nonzero(shape.pixels)
    rows, columns = rows + round(dy), columns + round(dx)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixels = np.zeros_like(shape.pixels)
    pixels[rows[inside], columns[inside]] = True
    return Region(region.label, Mask(pixels))


@dataclass(frozen=True)
class Claim:
    """What a method says: here is an error, at a given region or at something that it found."""

    score: float
    example: int
    index: int | None
    region: Region | None


def average_precision(claims: Sequence[Claim], errors: Sequence[Planted]) -> float:
    """0..1: of a ranked list of claims; errors that nobody claims count as missed.

    A claim is right if it is about the region with the error, or shows what was there before it
    (IoU 0.5). What says a second time where an error is counts neither way.
    """
    hits = _hits(claims, errors)
    order = sorted(range(len(claims)), key=lambda n: -claims[n].score)
    seen: set[int] = set()
    wrong, total = 0, 0.0
    for at in order:
        new = hits[at] - seen
        if new:
            seen.add(min(new))
            total += len(seen) / (len(seen) + wrong)
        elif not hits[at]:
            wrong += 1
    return total / len(errors) if errors else 0.0


def of_kind(
    claims: Sequence[Claim], errors: Sequence[Planted], kind: ErrorKind
) -> tuple[list[Claim], list[Planted]]:
    """The errors of one kind, and the claims without those that are right about others."""
    others = _hits(claims, [one for one in errors if one.kind is not kind])
    kept = [one for one, hit in zip(claims, others, strict=True) if not hit]
    return kept, [one for one in errors if one.kind is kind]


def _hits(claims: Sequence[Claim], errors: Sequence[Planted]) -> list[set[int]]:
    """Of each claim the errors that it is right about."""
    by_example: dict[int, list[int]] = {}
    for number, error in enumerate(errors):
        by_example.setdefault(error.example, []).append(number)
    return [
        {n for n in by_example.get(one.example, ()) if _is_about(one, errors[n])} for one in claims
    ]


def _is_about(claim: Claim, error: Planted) -> bool:
    if claim.index is not None:
        return claim.index == error.index
    if claim.region is None or error.truth is None:
        return False
    return float(similarities([claim.region.shape], [error.truth.shape])[0, 0]) >= 0.5
