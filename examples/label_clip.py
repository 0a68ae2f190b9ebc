"""How much of a clip is labelled after five labels, after ten, after fifteen?

    python examples/label_clip.py FRAMES_DIR BOXES_CSV --labels 5 --rounds 3 --budget-s 60

Plays the annotator. Round 1: the frames in the middle of five equal parts of the clip are labelled,
with the object or without. A micro-model is trained and answers all frames. Later rounds: five
frames are chosen by how unsure it is of them; the annotator keeps an answer that fits (IoU 0.75 and
more, nothing missing, nothing extra) and draws the frame otherwise; a new model is trained on all.

Precision, recall, F1 (IoU 0.5, score 0.5 and more) and false alarms (regions on frames without any
object) are those of all frames that were not labelled. Label efficiency: of all frames with an
object the share that is right in the end without having been drawn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from clip_picture import write_picture
from datasets import PICTURES, NoData, read_clip
from rich.console import Console
from rich.table import Table
from watching import watched

from micro_models import Budget, Example, MicroModel, Region, fit
from micro_models.active_learning.choosing import choose
from micro_models.active_learning.detection_uncertainty import detection_uncertainty
from micro_models.active_learning.guarding import Guard, compare
from micro_models.appearance import describe
from micro_models.budget import Told, ignore
from micro_models.evaluation.counting import count, is_right, label_efficiency
from micro_models.examples import image_of
from micro_models.pictures import UnreadableImage

# The annotator leaves a box alone that fits this well.
KEPT_IOU = 0.75
MIN_SCORE = 0.5
console = Console(stderr=True)
Regions = Sequence[Region]


@dataclass(frozen=True)
class Round:
    """The figures of one round; `labels` frames were labelled so far."""

    labels: int
    precision: float
    recall: float
    f1: float
    mean_iou: float
    false_alarms: int
    train_s: float
    infer_ms: float
    label_efficiency: float


@dataclass(frozen=True)
class Label:
    """What the annotator says of a frame: drawn by hand, or the model's answer kept."""

    regions: Regions
    drawn: bool
    by_lot: bool


@dataclass(frozen=True)
class Answers:
    """What a model says of every frame; how the frames look (n, d); and how long a frame took."""

    regions: list[list[Region]]
    looks: np.ndarray
    infer_ms: float


@dataclass(frozen=True)
class Played:
    """A round, what was labelled by its end and what the model answered then."""

    figures: Round
    labels: dict[int, Label]
    answers: Answers


def play(
    clip: Sequence[Example],
    *,
    labels: int,
    rounds: int,
    budget: Budget,
    seed: int,
    told: Told = ignore,
) -> Iterator[Played]:
    """Label, train and answer, round after round."""
    rng = np.random.default_rng(seed)
    frames, lots = first_frames(clip, labels), ()
    answers = Answers([[] for _ in clip], np.zeros((len(clip), 0)), 0.0)
    given: dict[int, Label] = {}
    for _ in range(rounds):
        given |= {i: annotated(clip[i], answers.regions[i], i in lots) for i in frames}
        examples = [Example(clip[i].picture, label.regions) for i, label in given.items()]
        others = [example.picture for i, example in enumerate(clip) if i not in given]
        began = time.perf_counter()
        model = fit(examples, unlabelled=others, budget=budget, seed=seed, told=told)
        train_s = time.perf_counter() - began
        answers = answered(model, clip)
        yield Played(measured(clip, given, answers, train_s), dict(given), answers)
        frames, lots = next_frames(given, answers, labels, rng)


def first_frames(clip: Sequence[Example], count: int) -> list[int]:
    """Those in the middle of `count` equal parts; more parts if none shows the object."""
    while True:
        frames = sorted({int((part + 0.5) * len(clip) / count) for part in range(count)})
        if any(clip[frame].regions for frame in frames):
            return frames
        if len(frames) == len(clip):
            raise NoData("no frame of the clip shows an object")
        count *= 2


def next_frames(
    given: dict[int, Label], answers: Answers, count: int, rng: np.random.Generator
) -> tuple[list[int], tuple[int, ...]]:
    """The frames to label next, and those of them drawn by lot."""
    left = [frame for frame in range(len(answers.regions)) if frame not in given]
    expected = float(np.mean([len(label.regions) for label in given.values()]))
    scores = [detection_uncertainty(answers.regions[i], expected=expected) for i in left]
    known = answers.looks[list(given)]
    chosen = choose(scores, answers.looks[left], count, rng=rng, labelled=known)
    return [left[i] for i in chosen.indices], tuple(left[i] for i in chosen.random)


def annotated(example: Example, answer: Regions, by_lot: bool) -> Label:  # noqa: FBT001
    """The model's answer if it fits, else the truth, drawn."""
    shown = [region for region in answer if region.score >= MIN_SCORE]
    if is_right(shown, example.regions, min_iou=KEPT_IOU):
        return Label([Region(r.label, r.shape) for r in shown], drawn=False, by_lot=by_lot)
    return Label(example.regions, drawn=True, by_lot=by_lot)


def answered(model: MicroModel, clip: Sequence[Example]) -> Answers:
    """Frame by frame; decoding is not timed."""
    regions, looks, took_s = [], [], 0.0
    for example in clip:
        image = image_of(example.picture)
        began = time.perf_counter()
        regions += model.detect([image])
        took_s += time.perf_counter() - began
        looks.append(describe(image))
    return Answers(regions, np.stack(looks), 1000 * took_s / len(clip))


def measured(
    clip: Sequence[Example], given: dict[int, Label], answers: Answers, train_s: float
) -> Round:
    """The round's figures."""
    left = [i for i in range(len(clip)) if i not in given]
    truth = [example.regions for example in clip]
    counts = count([answers.regions[i] for i in left], [truth[i] for i in left])
    final = [given[i].regions if i in given else found for i, found in enumerate(answers.regions)]
    drawn = [i in given and given[i].drawn for i in range(len(clip))]
    return Round(
        labels=len(given),
        precision=round(counts.precision, 4),
        recall=round(counts.recall, 4),
        f1=round(counts.f1, 4),
        mean_iou=round(counts.mean_iou, 4),
        false_alarms=counts.false_alarms,
        train_s=round(train_s, 2),
        infer_ms=round(answers.infer_ms, 2),
        label_efficiency=round(label_efficiency(final, truth, drawn), 4),
    )


def guarded(played: Played, before: int) -> Guard:
    """Whether frames chosen after round 1 had to be drawn more often than those drawn by lot."""
    later = list(played.labels.values())[before:]
    return compare([label.drawn for label in later], [label.by_lot for label in later])


def table_of(rounds: Sequence[Round]) -> Table:
    """The figures for people."""
    table = Table("", *(f"round {number + 1}" for number in range(len(rounds))), box=None)
    for name in asdict(rounds[0]):
        table.add_row(name.replace("_", " "), *(f"{getattr(each, name):g}" for each in rounds))
    return table


def main() -> int:
    """Play, and print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path, help="the folder of the frames")
    parser.add_argument("boxes", type=Path, help="a CSV: file, x, y, w, h in pixels")
    parser.add_argument("--labels", type=int, default=5, help="frames labelled in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget-s", type=float, default=60.0, help="seconds of each training")
    parser.add_argument("--steps", type=int, help="steps instead of seconds: the same model again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    parser.add_argument("--picture", type=Path, help="write a picture of round 1 there")
    options = parser.parse_args()
    if min(options.labels, options.rounds) < 1:
        parser.error("--labels and --rounds are at least 1")
    if options.picture and options.picture.suffix.lower() not in PICTURES:
        parser.error(f"--picture is a file of one of these kinds: {', '.join(PICTURES)}")
    if options.picture and not options.picture.parent.is_dir():
        parser.error(f"--picture: there is no folder {options.picture.parent}")
    budget = Budget(steps=options.steps) if options.steps else Budget(seconds=options.budget_s)
    played: list[Played] = []
    try:
        clip = read_clip(options.frames, options.boxes)
        with watched(console, quiet=options.json) as told:
            for each in play(
                clip,
                labels=options.labels,
                rounds=options.rounds,
                budget=budget,
                seed=options.seed,
                told=told,
            ):
                played.append(each)  # noqa: PERF402
    except (NoData, UnreadableImage) as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        return 1
    if options.picture:
        first = played[0]
        drawn = {i: label.regions for i, label in first.labels.items()}
        write_picture(options.picture, clip, labels=drawn, answers=first.answers.regions)
    figures = [each.figures for each in played]
    folder = options.frames.resolve()
    name = folder.parent.name if folder.name == "frames" else folder.name
    if options.json:
        print(json.dumps({"clip": name, "rounds": [asdict(each) for each in figures]}))
        return 0
    Console().print(table_of(figures))
    guard = guarded(played[-1], figures[0].labels)
    if guard.random is not None and guard.chosen is not None:
        console.print(
            f"to be drawn: {guard.chosen:.0%} of the frames chosen, {guard.random:.0%} of those "
            f"drawn by lot; choosing is better with a probability of {guard.probability:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
