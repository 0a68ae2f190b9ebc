"""Labelled pictures with what a model found in them, for tests of reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image

from backends.micro.nouns import Scope, ScopeKind
from backends.micro.out_of_fold import Judged, OutOfFold
from backends.review.nouns import Suspect
from micro_models.label_errors import ErrorKind
from micro_models.regions import Box, Region

SCOPE = Scope(ScopeKind.PROJECT, ("box",))
SIZE = (200, 150)


def picture(folder: Path) -> Path:
    path = folder / "picture.png"
    if not path.exists():
        PIL.Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)).save(path)
    return path


def judged(
    folder: Path, task: int, given: Sequence[Region], found: Sequence[Region] | None = None
) -> Judged:
    """What is found is what is given, unless something else is said."""
    answers = [replace(one, score=0.9) for one in given] if found is None else found
    return Judged(task, picture(folder), tuple(given), tuple(answers))


def cat(x: float, y: float = 20, *, label: str = "Kätzchen", score: float = 1.0) -> Region:
    return Region(label, Box(x, y, x + 40, y + 30), score)


def out_of_fold(
    *each: Judged, data: str = "abc", problems: dict[int, str] | None = None
) -> OutOfFold:
    return OutOfFold(SCOPE, data, each, problems or {})


def suspect(name: int, kind: ErrorKind = ErrorKind.MISSING, score: float = 0.9) -> Suspect:
    given = None if kind is ErrorKind.MISSING else cat(10)
    suggested = None if kind is ErrorKind.SPURIOUS else cat(25)
    if kind is ErrorKind.WRONG_LABEL:
        suggested = cat(10, label="Hund")
    return Suspect(f"{name:016x}", name, "project", kind, score, "why", given, suggested, 0.5)
