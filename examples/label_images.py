"""How good is a micro-model of a folder of images after five labels?

    python examples/label_images.py voc FOLDER --labels 5 --draws 3 --budget-s 60

Draws images to label by lot, trains, and measures on images that were not drawn: the data set's own
test part where it has one. That `--draws` times, and the mean. Kinds of data:

    voc        boxes: Annotations/*.xml of Pascal VOC, JPEGImages/, ImageSets/ if there
    nuclei     instance masks: images/, and labels/*.png with object numbers
    keypoints  one COCO .json, pictures beside it or in images/
    classes    train/<class>/ and val/<class>/, or <class>/ alone

map50: mean over labels of the average precision at IoU 0.5 (COCO's 101 points; masks by their
pixels, key points by their similarity); f1 at score 0.5 and more. With `--ablation` the same draws
again with each option of `fit` that is off by default.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from datasets import READERS, Dataset, NoData, draw
from rich.console import Console
from rich.table import Table
from watching import watched

from micro_models import Budget, FitOptions, Region, fit
from micro_models.budget import Told, ignore
from micro_models.evaluation.average_precision import mean_average_precision
from micro_models.evaluation.classes import accuracy
from micro_models.evaluation.counting import count
from micro_models.evaluation.keypoints import point_errors
from micro_models.examples import image_of
from micro_models.pictures import UnreadableImage

console = Console(stderr=True)
Answers = Sequence[Sequence[Region]]
# By name; None where there is nothing to measure: the error in pixels of what was not found.
Figures = dict[str, float | None]


def variants() -> dict[str, FitOptions]:
    """The options of `fit` that the ablation compares."""
    return {
        "plain": FitOptions(copy_paste=False, pseudo_labels=False),
        "copy-paste": FitOptions(copy_paste=True, pseudo_labels=False),
        "pseudo-labels": FitOptions(copy_paste=False, pseudo_labels=True),
    }


@dataclass(frozen=True)
class Draw:
    """The figures of one training, by name; higher is better but for errors and times."""

    seed: int
    trainer: str
    figures: Figures


def located_figures(found: Answers, truth: Answers) -> Figures:
    """For boxes and masks."""
    counts = count(found, truth)
    return {
        "map50": mean_average_precision(found, truth),
        "f1": counts.f1,
        "precision": counts.precision,
        "recall": counts.recall,
        "mean_iou": counts.mean_iou,
    }


def keypoint_figures(found: Answers, truth: Answers) -> Figures:
    """For key points: `pck` is the share within a tenth of the skeleton's length."""
    errors = point_errors(found, truth)
    return {
        "map50": mean_average_precision(found, truth),
        "f1": count(found, truth).f1,
        "pck": errors.within,
        "error_px": errors.mean_error_px,
    }


def class_figures(found: Answers, truth: Answers) -> Figures:
    """For classes of whole images."""
    return {"accuracy": accuracy(found, truth), "map": mean_average_precision(found, truth)}


FIGURES: dict[str, Callable[[Answers, Answers], Figures]] = {
    "voc": located_figures,
    "nuclei": located_figures,
    "keypoints": keypoint_figures,
    "classes": class_figures,
}


def measured(
    data: Dataset,
    kind: str,
    *,
    labels: int,
    budget: Budget,
    seed: int,
    options: FitOptions,
    told: Told = ignore,
) -> Draw:
    """Draw, train, answer the test part, compare."""
    chosen = draw(data.pool, labels, np.random.default_rng(seed))
    rest = [example for i, example in enumerate(data.pool) if i not in chosen]
    test = rest if data.test is None else list(data.test)
    if not test:
        raise NoData(f"{data.name} has no image left to measure on; label fewer than {labels}")
    began = time.perf_counter()
    model = fit(
        [data.pool[i] for i in chosen],
        unlabelled=[example.picture for example in rest],
        budget=budget,
        seed=seed,
        options=options,
        told=told,
    )
    train_s = time.perf_counter() - began
    found, took_s = [], 0.0
    for example in test:
        image = image_of(example.picture)
        began = time.perf_counter()
        found += model.detect([image])
        took_s += time.perf_counter() - began
    figures = FIGURES[kind](found, [example.regions for example in test])
    figures |= {"train_s": train_s, "infer_ms": 1000 * took_s / len(test)}
    return Draw(seed, model.trainer, {name: _mean([value]) for name, value in figures.items()})


def mean_of(draws: Sequence[Draw]) -> Figures:
    """Of each figure, over the draws that have it."""
    return {name: _mean([each.figures[name] for each in draws]) for name in draws[0].figures}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


def table_of(runs: dict[str, list[Draw]]) -> Table:
    """A row for each draw where there is one variant, and one of means for each variant."""
    draws = next(iter(runs.values()))
    table = Table(box=None)
    for name in ("", "trainer", *draws[0].figures):
        table.add_column(name.replace("_", " "), justify="right" if name else "left")
    if len(runs) == 1:
        for each in draws:
            table.add_row(f"draw {each.seed}", each.trainer, *_cells(each.figures))
    for name, each_draws in runs.items():
        table.add_row("mean" if len(runs) == 1 else name, "", *_cells(mean_of(each_draws)))
    return table


def _cells(figures: Figures) -> list[str]:
    return ["-" if value is None else f"{value:g}" for value in figures.values()]


def main() -> int:
    """Measure, and print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=sorted(READERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--labels", type=int, default=5, help="images that are labelled")
    parser.add_argument("--draws", type=int, default=3, help="of labelled images, by lot")
    parser.add_argument("--budget-s", type=float, default=60.0, help="seconds of each training")
    parser.add_argument("--steps", type=int, help="steps instead of seconds: the same model again")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    parser.add_argument("--ablation", action="store_true", help="each option of fit on its own")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    options = parser.parse_args()
    if min(options.labels, options.draws) < 1:
        parser.error("--labels and --draws are at least 1")
    budget = Budget(steps=options.steps) if options.steps else Budget(seconds=options.budget_s)
    compared = variants() if options.ablation else {"default": FitOptions()}
    runs: dict[str, list[Draw]] = {name: [] for name in compared}
    try:
        data = READERS[options.kind](options.folder)
        with watched(console, quiet=options.json) as told:
            for seed in range(options.seed, options.seed + options.draws):
                for name, variant in compared.items():
                    each = measured(
                        data,
                        options.kind,
                        labels=options.labels,
                        budget=budget,
                        seed=seed,
                        options=variant,
                        told=told,
                    )
                    runs[name].append(each)
    except (NoData, UnreadableImage) as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        return 1
    if options.json:
        told_of = {
            name: {"draws": [asdict(each) for each in draws], "mean": mean_of(draws)}
            for name, draws in runs.items()
        }
        result = told_of if options.ablation else told_of["default"]
        print(json.dumps({"data": data.name, "labels": options.labels, **result}, allow_nan=False))
        return 0
    Console().print(table_of(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
