"""What a training and the process that does it tell each other: nouns, and their files.

The request is a file, answers are files too, and a model lies in a folder of its own with
`held_out.json` beside it: what it found in each example when that was held out, by which later
models are judged.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from micro_models.budget import Progress
from micro_models.region_json import from_json, to_json
from micro_models.regions import Region

REQUEST, HELD_OUT = "request.json", "held_out.json"

# Per example, in the order of the request; None where there is no answer.
Answers = tuple[tuple[Region, ...] | None, ...]
# An example by its task and frame, and which of those with the same ones it is.
Key = tuple[int, int | None, int]


@dataclass(frozen=True)
class Material:
    """A labelled picture, a file, with regions in its pixels; `frame` is of the task's clip."""

    task_id: int
    picture: Path
    regions: tuple[Region, ...]
    frame: int | None = None


@dataclass(frozen=True)
class Request:
    """What is to be trained; `unlabelled` are (task id, picture), best drawn at random.

    `rival_folder` holds the model that is to be replaced, whose answers are told too; `threshold`,
    0..1, is the score from which on regions are shown. With `steps` it trains so many, however long
    they take, and makes the same model again. `pseudo` is learned from too, and never held out.
    """

    examples: tuple[Material, ...]
    unlabelled: tuple[tuple[int, Path], ...]
    budget_s: float
    seed: int
    device: str = "cpu"
    rival_folder: Path | None = None
    threshold: float = 0.5
    steps: int | None = None
    pseudo: tuple[Material, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A model that lies in `folder`. `report` is plain JSON, see `micro_models.Report`.

    `held_out` and `old` are per example, in the order of the request: what this model, and the one
    that it is to replace, found there, held out; None for what was not looked at, or was learned
    from. `later` are the indices of examples that came after the old model. `certainty`, 0..1, is
    of the unlabelled tasks that were looked at. `left_out`: tasks with a picture that could not be
    learned from.
    """

    folder: Path
    version: str
    report: dict[str, Any]
    held_out: Answers
    certainty: dict[int, float] = field(default_factory=dict)
    old: Answers = ()
    later: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()


def keys(examples: Sequence[Material]) -> list[Key]:
    """What each example is known by, the same for the same examples in another training."""
    seen: dict[tuple[int, int | None], int] = {}
    found = []
    for one in examples:
        number = seen.get((one.task_id, one.frame), 0)
        seen[one.task_id, one.frame] = number + 1
        found.append((one.task_id, one.frame, number))
    return found


def write_request(request: Request, path: Path) -> None:
    """Paths are written as they are: relative ones to where the process runs."""
    stored = {
        "examples": [_material_to_json(one) for one in request.examples],
        "pseudo": [_material_to_json(one) for one in request.pseudo],
        "unlabelled": [[task_id, str(picture)] for task_id, picture in request.unlabelled],
        "budget_s": request.budget_s,
        "seed": request.seed,
        "device": request.device,
        "rival_folder": str(request.rival_folder) if request.rival_folder else None,
        "threshold": request.threshold,
        "steps": request.steps,
    }
    write_json(path, stored)


def read_request(path: Path) -> Request:
    """The way back."""
    stored = json.loads(path.read_bytes())
    examples, pseudo = (
        tuple(_material_from_json(one) for one in stored.pop(name))
        for name in ("examples", "pseudo")
    )
    unlabelled = [(task_id, Path(picture)) for task_id, picture in stored.pop("unlabelled")]
    rival = stored.pop("rival_folder")
    return Request(
        examples,
        tuple(unlabelled),
        rival_folder=Path(rival) if rival else None,
        pseudo=pseudo,
        **stored,
    )


def _material_to_json(one: Material) -> dict[str, Any]:
    return {
        "task_id": one.task_id,
        "picture": str(one.picture),
        "regions": [to_json(region) for region in one.regions],
        "frame": one.frame,
    }


def _material_from_json(stored: Mapping[str, Any]) -> Material:
    regions = tuple(from_json(region) for region in stored["regions"])
    return Material(stored["task_id"], Path(stored["picture"]), regions, stored["frame"])


def write_held_out(folder: Path, found: Mapping[Key, Sequence[Region] | None]) -> None:
    """Beside a model: what it found in its examples; None for those that it never had held out."""
    rows = [[*key, _listed(regions)] for key, regions in found.items()]
    write_json(folder / HELD_OUT, rows)


def read_held_out(folder: Path) -> dict[Key, tuple[Region, ...] | None]:
    """The way back.

    Errors: `ValueError` for a file that is damaged, `OSError` where there is none.
    """
    stored = json.loads((folder / HELD_OUT).read_bytes())
    try:
        return {(row[0], row[1], row[2]): _regions(row[3]) for row in stored}
    except (TypeError, LookupError) as error:
        raise ValueError(f"{HELD_OUT} is damaged") from error


def write_answers(path: Path, answers: Answers) -> None:
    """Per example its regions."""
    write_json(path, [_listed(regions) for regions in answers])


def read_answers(path: Path) -> Answers:
    """The way back."""
    return tuple(_regions(one) for one in json.loads(path.read_bytes()))


def progress_to_json(progress: Progress) -> dict[str, Any]:
    """As JSON has it: a loss that is no number is none."""
    loss = progress.loss
    return {**asdict(progress), "loss": loss if loss is None or math.isfinite(loss) else None}


def write_json(path: Path, value: Any) -> None:
    """A file that is whole or not there."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _listed(regions: Sequence[Region] | None) -> list[dict[str, Any]] | None:
    return None if regions is None else [to_json(one) for one in regions]


def _regions(stored: Any) -> tuple[Region, ...] | None:
    return None if stored is None else tuple(from_json(one) for one in stored)
