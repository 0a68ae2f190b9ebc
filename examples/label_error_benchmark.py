"""Are errors in labels found? Planted ones, of which it is known where they are, and real ones.

    python examples/label_error_benchmark.py --data ../shared/data --cache /tmp/found

digits   classes of scikit-learn's digits, 2, 5 and 10% of them wrong: average precision of
         `class_errors` on three classifiers, beside cleanlab on extra-trees
boxes    blood cells (BCCD) without its known faults; labels taken out, moved, swapped and put where
         nothing is: against cleanlab's ObjectLab on the same findings, with its own gates, and with
         gates tuned on another part of the pictures
masks    nuclei: the same, but they are few: gates are tuned on the same pictures with other errors,
         which favours ObjectLab
real     BCCD as it is: where the 15 pictures rank in which all red cells are unlabelled

What is found is out of fold: micro-models that never saw the label, nor any other of its picture.
`--cache` keeps it. Seed 0 is for tuning; figures are of the others. `--quick` is a small run.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import NoData, read_instances, read_voc
from noisy_digits import NOISE, digit_figures
from objectlab import Gates, ObjectLab
from planted_errors import Claim, Planted, average_precision, of_kind, planted
from rich.console import Console
from rich.table import Table

from micro_models import Budget, fit
from micro_models.examples import Example, image_of
from micro_models.fitting.folds import folds
from micro_models.label_errors import ErrorKind, find_label_errors
from micro_models.region_json import from_json, to_json
from micro_models.regions import Region
from micro_models.trainers.forest import ForestTrainer

console = Console(stderr=True)
PARTS = ("digits", "boxes", "masks", "real")
# Seed 0 is what methods may be tuned on.
TUNING, MEASURED = 0, (1, 2, 3)
# Which nuclei are alike, and small enough for a benchmark of minutes.
BLACK, MOST_PX = 50, 500_000
# The quick trainer stops by itself; without a clock, figures do not hang on the load.
BY_ITSELF = Budget(steps=300)

Answers = list[list[Region]]
Figures = dict[str, float]


@dataclass(frozen=True)
class Plan:
    """How many models judge each other's pictures, and how many pictures (None: all)."""

    data: Path
    cache: Path | None
    folds: int = 4
    pictures: int | None = None
    seeds: tuple[int, ...] = MEASURED
    budget: Budget = BY_ITSELF
    told: Callable[[str], None] = lambda _text: None


@dataclass(frozen=True)
class Case:
    """Labels with known errors, and what was found without them."""

    given: Answers
    found: Answers
    errors: list[Planted]


def out_of_fold(examples: Sequence[Example], name: str, plan: Plan, *, seed: int) -> Answers:
    """What models find in each picture that learned from the others only."""
    stored = plan.cache and plan.cache / f"{name}-{len(examples)}-{seed}-{plan.folds}.json"
    if stored and stored.is_file():
        return [[from_json(one) for one in some] for some in json.loads(stored.read_text())]
    found: Answers = [[] for _ in examples]
    for number, group in enumerate(folds(examples, count=plan.folds)):
        plan.told(f"{name}, seed {seed}: model {number + 1} of {plan.folds}")
        rest = [one for i, one in enumerate(examples) if i not in set(group)]
        model = fit(rest, budget=plan.budget, seed=seed, trainers=[ForestTrainer()])
        answers = model.detect([examples[i].picture for i in group], min_score=0.05)
        for i, answer in zip(group, answers, strict=True):
            found[i] = answer
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_text(json.dumps([[to_json(one) for one in some] for some in found]))
    return found


def cells(plan: Plan) -> list[Example]:
    """All of BCCD."""
    data = read_voc(plan.data / "detection/bccd")
    every = [*data.pool, *(data.test or ())]
    return sorted(every, key=lambda one: str(one.picture))


def suspects(plan: Plan, kind: str = "") -> set[str]:
    """Names of pictures with known faults of a kind, or any."""
    with (plan.data / "detection/bccd/suspects.csv").open(newline="") as file:
        return {row["image"] for row in csv.DictReader(file) if row["kind"].startswith(kind)}


def boxes_of(plan: Plan, seed: int) -> list[Example]:
    """A quarter of the pictures of BCCD without known faults; of each seed another."""
    known = suspects(plan)
    return [one for one in cells(plan) if Path(str(one.picture)).stem not in known][seed::4]


def masks_of(plan: Plan, seed: int) -> list[Example]:
    """The nuclei in fluorescence, on black, in pictures of half a megapixel or less.

    There are few, so seeds differ in the errors alone.
    """
    del seed
    every = read_instances(plan.data / "segmentation/nuclei").pool
    images = [image_of(one.picture).pixels for one in every]
    small = [pixels.size < 3 * MOST_PX and pixels.mean() < BLACK for pixels in images]
    return [one for one, is_one in zip(every, small, strict=True) if is_one]


def case(name: str, read: Callable[[Plan, int], list[Example]], plan: Plan, *, seed: int) -> Case:
    """Plant errors, then find what models that learned with them find."""
    examples = read(plan, seed)[: plan.pictures]
    noisy, errors = planted(examples, np.random.default_rng([seed, len(name)]))
    found = out_of_fold(noisy, name, plan, seed=seed)
    return Case([list(one.regions) for one in noisy], found, errors)


def our_answer(data: Case) -> tuple[list[Claim], list[float]]:
    """Claims, and how suspicious each picture is."""
    findings = find_label_errors(data.given, data.found)
    claims = [Claim(one.score, one.example, one.index, one.suggested) for one in findings.errors]
    return claims, list(findings.suspicion)


def figures(data: Case, claims: Sequence[Claim], suspicion: Sequence[float]) -> Figures:
    """Average precisions: of all claims, of each kind, and of pictures with an error in them."""
    result = {"regions": average_precision(claims, data.errors)}
    for kind in ErrorKind:
        if any(one.kind is kind for one in data.errors):
            result[kind.value] = average_precision(*of_kind(claims, data.errors, kind))
    return {**result, "pictures": picture_precision(data, suspicion)}


def picture_precision(data: Case, suspicion: Sequence[float]) -> float:
    """Average precision 0..1 of pictures with an error in them."""
    from sklearn.metrics import average_precision_score

    bad = {one.example for one in data.errors}
    return float(average_precision_score([i in bad for i in range(len(data.given))], suspicion))


def compared(
    name: str, read: Callable[[Plan, int], list[Example]], plan: Plan
) -> dict[str, list[Figures]]:
    """By method the figures of each seed."""
    tuning = case(name, read, plan, seed=TUNING)
    lab = ObjectLab(tuning.given, tuning.found)
    plan.told(f"{name}: tuning ObjectLab's gates")
    by_region = lab.tuned(lambda gates: average_precision(lab.claims(gates), tuning.errors))
    by_picture = lab.tuned(lambda gates: picture_precision(tuning, lab.suspicion(gates)))
    console.print(f"tuned for regions: {by_region}\ntuned for pictures: {by_picture}")
    result: dict[str, list[Figures]] = {"ours": [], "ObjectLab": [], "ObjectLab, tuned": []}
    for seed in plan.seeds:
        data = case(name, read, plan, seed=seed)
        other = ObjectLab(data.given, data.found)
        result["ours"].append(figures(data, *our_answer(data)))
        own = figures(data, other.claims(Gates()), other.suspicion(Gates()))
        result["ObjectLab"].append(own)
        tuned = figures(data, other.claims(by_region), other.suspicion(by_picture))
        result["ObjectLab, tuned"].append(tuned)
    return result


def real(plan: Plan) -> dict[str, Any]:
    """The ranks, from 1, of pictures whose red cells are all unlabelled, among all."""
    examples = cells(plan)[: plan.pictures]
    found = out_of_fold(examples, "real", plan, seed=TUNING)
    findings = find_label_errors([one.regions for one in examples], found)
    order = np.argsort(-np.array(findings.suspicion), kind="stable")
    names = [Path(str(examples[i].picture)).stem for i in order]
    lacking = suspects(plan, "no RBC box")
    ranks = [rank for rank, name in enumerate(names, start=1) if name in lacking]
    return {"ranks": ranks, "pictures": len(examples), "notes": list(findings.notes)}


def table(name: str, methods: dict[str, list[Figures]]) -> Table:
    """The mean over seeds, and the least and greatest of them."""
    result = Table("method", *next(iter(methods.values()))[0], title=f"{name}: average precision")
    for method, seeds in methods.items():
        columns = [[one[key] for one in seeds if key in one] for key in seeds[0]]
        result.add_row(method, *(f"{np.mean(c):.3f} ({min(c):.2f}-{max(c):.2f})" for c in columns))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", choices=PARTS, default=[], help="default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="keeps what was found here")
    parser.add_argument("--quick", action="store_true", help="few pictures, one seed")
    parser.add_argument("--json", type=Path, help="writes the figures here")
    asked = parser.parse_args(arguments)
    parts = asked.parts or PARTS
    if parts != ["digits"] and not asked.data.is_dir():
        console.print(f"skipped: no {asked.data}")
        return 1
    with console.status("") as status:
        plan = Plan(asked.data, asked.cache, told=status.update)
        if asked.quick:
            plan = Plan(
                asked.data, asked.cache, 2, 10, MEASURED[:1], Budget(seconds=2), status.update
            )
        try:
            result = run(parts, plan, quick=asked.quick)
        except NoData as error:
            console.print(f"skipped: {error}")
            return 1
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2))
    return 0


def run(parts: Sequence[str], plan: Plan, *, quick: bool) -> dict[str, Any]:
    """The figures by part; shows them as they come."""
    result: dict[str, Any] = {}
    screen = Console(width=120)
    if "digits" in parts:
        result["digits"] = digit_figures(
            seeds=1 if quick else 5,
            trees=30 if quick else 300,
            noise=NOISE[-1:] if quick else NOISE,
        )
        screen.print(table("digits", result["digits"]))
    if "boxes" in parts:
        result["boxes"] = compared("boxes", boxes_of, plan)
        screen.print(table("boxes", result["boxes"]))
    if "masks" in parts:
        result["masks"] = compared("masks", masks_of, plan)
        screen.print(table("masks", result["masks"]))
    if "real" in parts:
        result["real"] = real(plan)
        ranks, count = result["real"]["ranks"], result["real"]["pictures"]
        screen.print(f"real: the {len(ranks)} pictures without red cells rank {ranks} of {count}")
    return result


if __name__ == "__main__":
    sys.exit(main())
