"""What the model that is to be replaced finds in the pictures that the new one is judged by."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backends.micro.exchange import Answers, Material, keys, read_held_out
from micro_models.fitting.storage import load
from micro_models.interface import ModelFileError
from micro_models.pictures import UnreadableImage
from micro_models.regions import Region


def old_answers(
    folder: Path, examples: Sequence[Material], new: Answers, *, seed: int, until: float
) -> tuple[Answers, tuple[int, ...]]:
    """Per example what the model in `folder` says of it without having learned from it, or None.

    And the indices of those that came later than it did.

    For what it was trained on: what was found when that was held out, if it was. What came later it
    looks at now, if the `new` model was held out from it too: at one picture at least, at more in a
    random order `until` the monotonic clock says so. A folder that holds no model knows nothing.
    """
    try:
        stored = read_held_out(folder)
    except (OSError, ValueError):
        return (None,) * len(examples), ()
    names = keys(examples)
    answers = [stored.get(name) for name in names]
    later = [n for n, name in enumerate(names) if name not in stored and new[n] is not None]
    found = _looked_at(folder, examples, _shuffled(later, seed), until)
    for index, regions in found.items():
        answers[index] = regions
    return tuple(answers), tuple(sorted(found))


def _looked_at(
    folder: Path, examples: Sequence[Material], order: Sequence[int], until: float
) -> dict[int, tuple[Region, ...]]:
    found: dict[int, tuple[Region, ...]] = {}
    if not order:
        return found
    try:
        model = load(folder)
    except ModelFileError:
        return found
    for index in order:
        if found and time.monotonic() > until:
            break
        try:
            found[index] = tuple(model.detect([examples[index].picture])[0])
        except (UnreadableImage, FileNotFoundError):
            continue
    return found


def _shuffled(indices: Sequence[int], seed: int) -> list[int]:
    return [indices[n] for n in np.random.default_rng(seed % 2**63).permutation(len(indices))]
