from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
import torch

from micro_models.budget import Budget
from micro_models.examples import Example
from micro_models.interface import ModelFileError, State
from micro_models.regions import Image, Region, WholeImage
from micro_models.trainers.tiny import TinyTrainer, model
from micro_models.trainers.tiny.recipe import Recipe
from tests.micro_models.trainers.tiny.drawings import squares

LEARNT_STEPS = 60


@pytest.fixture(scope="module")
def learnt():
    """A model of squares."""
    trainer = TinyTrainer(Recipe(batch=4))
    return trainer.fit(squares(4), budget=Budget(steps=LEARNT_STEPS), seed=0)


def corners(region):
    return np.array([region.shape.x0, region.shape.y0, region.shape.x1, region.shape.y1])


def answers(learnt, images):
    return [
        [(region.label, region.score, region.shape) for region in found]
        for found in learnt.detect(images)
    ]


def test_it_finds_squares_that_it_never_saw(learnt):
    unseen = squares(5, seed=1)
    for example, found in zip(unseen, learnt.detect([one.picture for one in unseen]), strict=True):
        assert found[0].label == "square"
        assert found[0].score > 0.4
        assert np.abs(corners(found[0]) - corners(example.regions[0])).max() < 4


def test_a_large_image_in_tiles_is_one_image(learnt, monkeypatch):
    image = squares(1, each=4, size=(640, 320), seed=2)[0].picture
    whole = learnt.detect([image])[0][:4]
    monkeypatch.setattr(model, "_AT_ONCE_PX", 10_000)
    monkeypatch.setattr(model, "_TILE_PX", 256)
    monkeypatch.setattr(model, "_OVERLAP_PX", 128)
    tiled = learnt.detect([image])[0][:4]
    for one, other in zip(whole, tiled, strict=True):
        assert np.abs(corners(one) - corners(other)).max() < 1
        assert one.score == pytest.approx(other.score, abs=0.05)


def test_the_same_seed_and_steps_give_the_same_model_and_nothing_global_changes():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    images = [example.picture for example in squares(2)]
    one, same, other = (
        TinyTrainer().fit(squares(2), budget=Budget(steps=3), seed=seed) for seed in (0, 0, 1)
    )
    assert answers(one, images) == answers(same, images)
    assert answers(one, images) != answers(other, images)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_restored_model_answers_alike_also_in_other_threads(learnt):
    images = [example.picture for example in squares(3, seed=3)]
    restored = TinyTrainer().restore(learnt.state())
    expected, found = answers(learnt, images), []
    threads = [
        threading.Thread(target=lambda: found.append(answers(restored, images))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


def test_what_a_state_is_used_for_does_not_change_the_model(learnt):
    images = [example.picture for example in squares(2, seed=3)]
    state = learnt.state()
    restored, before = TinyTrainer().restore(state), answers(learnt, images)
    for array in state.arrays.values():
        array[...] = 0
    again = TinyTrainer().restore(restored.state())
    assert answers(learnt, images) == answers(again, images) == before


def test_it_tells_how_far_it_is():
    told = []
    TinyTrainer().fit(squares(2), budget=Budget(seconds=2), seed=0, told=told.append)
    assert told
    spent = [progress.spent for progress in told]
    assert spent == sorted(spent)
    assert all(progress.stage == "tiny" and progress.loss > 0 for progress in told)
    assert all(0 <= progress.remaining_s <= 2 for progress in told)


def test_it_can_be_cancelled():
    class CancelledError(Exception):
        pass

    def told(progress):
        raise CancelledError

    with pytest.raises(CancelledError):
        TinyTrainer().fit(squares(2), budget=Budget(steps=1000), seed=0, told=told)


def test_it_learns_classes_of_whole_images():
    rng = np.random.default_rng(0)

    def example(number):
        color = [(200, 60, 60), (60, 60, 200)][number % 2]
        pixels = (np.array(color) + rng.integers(-30, 30, (40, 60, 3))).astype(np.uint8)
        return Example(Image(pixels), [Region(["red", "blue"][number % 2], WholeImage())])

    learnt = TinyTrainer().fit([example(n) for n in range(4)], budget=Budget(steps=20), seed=0)
    images = [example(n).picture for n in range(4)]
    found = learnt.detect(images, min_score=0.9)
    assert [regions[0].label for regions in found] == ["red", "blue", "red", "blue"]
    assert [sum(region.score for region in regions) for regions in found] == pytest.approx([1] * 4)


@pytest.mark.parametrize("examples", [[], [Example(Image(np.zeros((8, 8, 3), np.uint8)))]])
def test_it_suits_whatever_has_regions(examples):
    assert not TinyTrainer().suits(examples)
    assert TinyTrainer().suits([*examples, *squares(1)])


def changed(state, *, arrays=None, **settings):
    return State({**state.settings, **settings}, {**state.arrays, **(arrays or {})})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format"),
        ({"format": None}, "format"),
        ({"spec": None}, "labels"),
        ({"scale": 0}, "scale"),
        ({"scale": "1"}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": 1e9}, "scale"),
        ({"arrays": {"more": np.zeros(3, np.float32)}}, "other arrays"),
        ({"arrays": {"mean": np.zeros(4, np.float32)}}, "mean"),
        ({"arrays": {"mean": np.zeros(3, np.float64)}}, "mean"),
        ({"arrays": {"mean": np.full(3, np.nan, np.float32)}}, "mean"),
        ({"arrays": {"std": np.zeros(3, np.float32)}}, "std"),
    ],
)
def test_a_state_that_does_not_fit_together_is_refused(learnt, change, reason):
    with pytest.raises(ModelFileError, match=reason):
        TinyTrainer().restore(changed(learnt.state(), **change))


def test_the_first_import_of_torch_is_within_the_budget(monkeypatch):
    class Slow:
        def __getattr__(self, name):
            time.sleep(0.05)
            return lambda *args, clock, **more: clock.seconds

    monkeypatch.setitem(sys.modules, "micro_models.trainers.tiny.training", Slow())
    assert TinyTrainer().fit(squares(1), budget=Budget(seconds=9), seed=0) >= 0.05
