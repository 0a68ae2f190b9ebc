"""The consensus benchmark's bars, on the real crowds and on simulated annotators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.consensus_benchmark import (
    METHODS,
    PEOPLE,
    Crowd,
    beside_model,
    main,
    read_crowd,
    regions_benchmark,
    simulated_model,
)
from micro_models.consensus import Votes, dawid_skene

FEW: dict[str, Any] = {
    "accuracies": (0.5, 0.8, 0.95),
    "styles": ("calibrated", "over-confident", "surest when wrong"),
}


def made_up() -> Crowd:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 120)
    workers, items = np.divmod(np.arange(600), 120)
    right = rng.random(600) < np.array([0.9, 0.8, 0.7, 0.6, 0.6])[workers]
    return Crowd(Votes.of(items, workers, np.where(right, truth[items], 1 - truth[items])), truth)


@pytest.mark.parametrize(
    ("name", "majority", "with_weights"), [("bluebirds", 0.759, 0.889), ("dog", 0.812, 0.843)]
)
def test_crowds_reach_their_bars(
    shared: Path, name: str, majority: float, with_weights: float
) -> None:
    crowd = read_crowd(shared / "data/crowd", name)
    found = {method.__name__: crowd.right(method(crowd.votes).labels) for method in METHODS}
    assert found["majority"] == pytest.approx(majority, abs=0.01)
    assert found["dawid_skene"] >= with_weights


def test_a_simulated_model_never_costs_a_point(shared: Path) -> None:
    crowd = read_crowd(shared / "data/crowd", "bluebirds")
    rows = beside_model("bluebirds", crowd, seeds=3, **FEW)
    assert len(rows) == 9
    assert min(row.mean_gain for row in rows) >= -1.0
    assert np.mean([row.mean_gain for row in rows]) > 0.5


def test_a_model_that_errs_as_people_do_costs_no_point_either(shared: Path) -> None:
    crowd = read_crowd(shared / "data/crowd", "dog")
    rows = beside_model("dog", crowd, seeds=1, accuracies=(0.5, 0.7, 0.9), styles=("as people",))
    assert min(row.mean_gain for row in rows) >= -1.0


def test_the_same_without_shared_data() -> None:
    rows = beside_model("made up", made_up(), seeds=2, **FEW)
    assert np.mean([row.mean_gain for row in rows]) > 0
    best = [row for row in rows if row.accuracy == 0.95]
    assert min(row.together - row.crowd_alone for row in best) > 0


@pytest.mark.parametrize("shape", ["box", "mask", "point"])
def test_regions_are_better_together(shape: str) -> None:
    found = regions_benchmark(shape, pictures=25, people=PEOPLE)
    assert found.f1 > found.f1_best_single
    assert found.iou >= found.iou_best_single
    assert found.iou > found.iou_medoid - 0.005  # of points the medoid is hardly worse


def test_a_simulated_model_confuses_what_it_is_told_to() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 900)
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float64)
    found = simulated_model(truth, 3, accuracy=0.6, style="as people", rng=rng, confused=swap)
    said = found.argmax(axis=1)
    wrong = said != truth
    assert wrong.mean() == pytest.approx(0.4, abs=0.05)
    assert np.array_equal(said[wrong], swap.argmax(axis=1)[truth[wrong]])


@pytest.mark.parametrize("style", ["calibrated", "over-confident", "surest when wrong"])
def test_simulated_models_are_as_good_as_they_should_be(style: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 4000)
    found = simulated_model(truth, 3, accuracy=0.8, style=style, rng=rng)
    assert found.sum(axis=1) == pytest.approx(np.ones(4000))
    assert (found.argmax(axis=1) == truth).mean() == pytest.approx(0.8, abs=0.03)


def test_it_prints_and_gives_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crowd = made_up()
    votes = crowd.votes
    rows = zip(votes.items, votes.workers, votes.labels, strict=True)
    tmp_path.joinpath("few_labels.csv").write_text(
        "task,worker,label\n" + "\n".join(",".join(map(str, row)) for row in rows)
    )
    tmp_path.joinpath("few_truth.csv").write_text(
        "task,truth\n" + "\n".join(f"{task},{label}" for task, label in enumerate(crowd.truth))
    )
    main([str(tmp_path), "--pictures", "3", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["methods"]["few"]["dawid_skene"] == crowd.right(dawid_skene(votes).labels)
    assert [row["shape"] for row in told["regions"]] == ["box", "mask", "point"]
    main([str(tmp_path), "--pictures", "3"])
    assert "box: F1" in capsys.readouterr().out
