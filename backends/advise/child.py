"""The process that measures a learning curve: `python -m backends.advise.child FOLDER`.

It reads the examples and the runs in the folder, trains one model after the other, and tells what
each scored on labels that it had not seen, as lines of JSON on its standard output. It ends when
whoever started it is gone. It imports no database, so that it starts quickly.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.advise.nouns import Run
from backends.micro.child import Tell, begun, device
from backends.micro.exchange import REQUEST, Material, Request, read_request, write_json
from micro_models.budget import Budget
from micro_models.examples import Example, image_of
from micro_models.regions import Keypoints, Region, WholeImage

RUNS = "runs.json"
# Raw scores below this are not worth the time to match them.
_LEAST = 0.02

Regions = Sequence[Region]


def main(folder: Path) -> int:
    """Measure what the folder asks for; 0 if it was told, a failure too."""
    with begun() as tell:
        _measure(read_request(folder / REQUEST), *read_runs(folder / RUNS), tell)
    return 0


def write_runs(runs: Sequence[Run], budgets_s: Mapping[str, float], path: Path) -> None:
    """Beside the request, whose examples they name by index; budgets are by family."""
    rows = [[one.family, one.draw, one.train, one.test] for one in runs]
    write_json(path, {"budgets_s": dict(budgets_s), "runs": rows})


def read_runs(path: Path) -> tuple[list[Run], dict[str, float]]:
    """The way back."""
    stored = json.loads(path.read_bytes())
    runs = [
        Run(family, draw, tuple(train), tuple(test)) for family, draw, train, test in stored["runs"]
    ]
    return runs, stored["budgets_s"]


def scores(found: Sequence[Regions], truth: Sequence[Regions]) -> dict[str, float]:
    """By metric, 0..1, what can be measured by such a truth; lists per picture.

    >>> from micro_models.regions import Box
    >>> car = [Region("car", Box(0, 0, 9, 9))]
    >>> scores([car, []], [car, []])
    {'mAP50': 1.0}
    """
    from micro_models.evaluation.average_precision import mean_average_precision
    from micro_models.evaluation.classes import accuracy
    from micro_models.evaluation.keypoints import point_errors

    shapes = [one.shape for some in truth for one in some]
    result: dict[str, float] = {}
    if any(isinstance(one, WholeImage) for one in shapes):
        result["accuracy"] = accuracy(found, truth)
    if any(isinstance(one, Keypoints) for one in shapes):
        result["PCK"] = point_errors(found, truth).within
    if shapes:
        result["mAP50"] = mean_average_precision(found, truth)
    return result


def _measure(
    request: Request, runs: Sequence[Run], budgets_s: Mapping[str, float], tell: Tell
) -> None:
    examples = _opened(request.examples, tell)
    known = {name: _trainer(name, device(request.device)) for name in {one.family for one in runs}}
    warm: set[str] = set()
    for number, run in enumerate(runs):
        train = [examples[n] for n in run.train if n in examples]
        test = [examples[n] for n in run.test if n in examples]
        trainer, result = known[run.family], {}
        began = time.monotonic()
        if test and any(one.regions for one in train) and trainer.suits(train):
            if run.family not in warm:  # what it imports and compiles is not to cost it time
                _scored(trainer, train[:1], test[:1], Budget(steps=1), seed=0)
                warm.add(run.family)
                began = time.monotonic()
            seconds = budgets_s[run.family]
            budget = Budget(steps=request.steps) if request.steps else Budget(seconds=seconds)
            result = _scored(trainer, train, test, budget, seed=run.draw)
        tell({"run": number, "scores": result, "took_s": time.monotonic() - began})


def _scored(
    trainer: Any, train: list[Example], test: list[Example], budget: Budget, *, seed: int
) -> dict[str, float]:
    """What a model of some examples scores on others."""
    model = trainer.fit(train, budget=budget, seed=seed)
    found = [model.detect([image_of(one.picture)], min_score=_LEAST)[0] for one in test]
    return scores(found, [one.regions for one in test])


def _opened(material: Sequence[Material], tell: Tell) -> dict[int, Example]:
    """By index, in memory, made smaller where they are very large; unreadable ones are told."""
    import numpy as np

    from micro_models.fitting.album import opened
    from micro_models.pictures import UnreadableImage

    rng = np.random.default_rng(0)
    left = list(range(len(material)))
    while True:
        some = [Example(material[n].picture, material[n].regions) for n in left]
        try:
            album = opened(some, rng=rng, told=lambda n, count: tell({"read": n / count}))
        except (UnreadableImage, FileNotFoundError, ValueError):
            rest = [n for n in left if _is_readable(material[n])]
            if rest == left:
                raise
            left = rest
        else:
            tell({"unreadable": sorted({*range(len(material))} - {*left})})
            return dict(zip(left, album.examples, strict=True))


def _is_readable(one: Material) -> bool:
    import numpy as np

    from micro_models.fitting.album import opened
    from micro_models.pictures import UnreadableImage

    try:
        opened([Example(one.picture, one.regions)], rng=np.random.default_rng(0))
    except (UnreadableImage, FileNotFoundError, ValueError):
        return False
    return True


def _trainer(name: str, where: str) -> Any:
    from micro_models.fitting.builtin import default_trainers

    return next(one for one in default_trainers(device=where) if one.name == name)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
