"""`fit`: what it asks of trainers, which one it takes, what it tells, how long it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from micro_models import Box, Budget, Example, Image, MicroModel, Progress, Region, fit, load
from micro_models.evaluation.overlap import bounds
from micro_models.interface import Learned
from micro_models.pictures import UnreadableImage
from micro_models.regions import Mask, Polygon
from tests.micro_models.fitting.colour_trainer import ColourModel, ColourTrainer, scene, scenes

STEPS = Budget(steps=100)


def test_finds_what_it_was_shown() -> None:
    model = fit(scenes(5), budget=STEPS, trainers=[ColourTrainer()])
    found = model.detect([picture.picture for picture in [scene(40, 30, grain=99)]])
    assert [one.shape for one in found[0]] == [Box(40, 30, 56, 46)]
    assert found[0][0].score > 0.7
    assert model.labels == ("ball",)
    assert model.detect([]) == []


def test_the_better_trainer_wins_and_the_report_says_so() -> None:
    blind = ColourTrainer("blind", confidence=0.0)
    model = fit(scenes(6), budget=STEPS, trainers=[ColourTrainer("seeing"), blind])
    report = model.report
    assert model.trainer == report.winner == "seeing"
    assert [trial.trainer for trial in report.trials] == ["seeing", "blind"]
    assert report.trials[0].quality > 0.9 > report.trials[1].quality
    assert "seeing" in str(report)
    assert "blind" in report.why


def test_equal_trainers_answer_together(tmp_path: Path) -> None:
    trainers = [ColourTrainer("quick"), ColourTrainer("thorough")]
    model = fit(scenes(4), budget=STEPS, trainers=trainers)
    assert model.report.winner == "quick+thorough"
    picture = scene(40, 30, grain=99).picture
    model.save(tmp_path)
    loaded = load(tmp_path, trainers=trainers)
    assert loaded.detect([picture]) == model.detect([picture])
    assert [one.shape for one in loaded.detect([picture])[0]] == [Box(40, 30, 56, 46)]


def test_the_budget_is_shared_and_the_model_gets_most() -> None:
    quick, thorough = ColourTrainer("quick"), ColourTrainer("thorough")
    fit(scenes(6), budget=STEPS, trainers=[quick, thorough], on_better=lambda model: None)
    steps = [budget.steps or 0 for _, budget, _ in quick.calls + thorough.calls]
    assert [len(calls) for calls in (quick.calls, thorough.calls)] == [4, 4]
    assert [count for count, _, _ in thorough.calls] == [4, 4, 4, 6]
    assert steps[-1] >= 50
    assert 95 <= sum(steps) <= 105


def test_seeds_differ_between_folds_and_follow_from_the_seed() -> None:
    def seeds(seed: int) -> list[int]:
        trainer = ColourTrainer()
        fit(scenes(3), budget=STEPS, seed=seed, trainers=[trainer])
        return [one for _, _, one in trainer.calls]

    assert seeds(7) == seeds(7)
    assert len(set(seeds(7))) == 4
    assert seeds(7) != seeds(8)


def test_an_early_model_is_shown_if_it_is_good() -> None:
    shown: list[MicroModel] = []
    trainers = [ColourTrainer("quick"), ColourTrainer("thorough")]
    final = fit(scenes(5), budget=STEPS, trainers=trainers, on_better=shown.append)
    assert [model.trainer for model in shown] == ["quick"]
    assert final.trainer == "quick+thorough"
    assert shown[0].detect([scene(10, 10).picture])[0][0].score > 0.5
    bad = [ColourTrainer("quick", confidence=0.0), ColourTrainer("thorough")]
    fit(scenes(5), budget=STEPS, trainers=bad, on_better=shown.append)
    assert len(shown) == 1


def test_one_example_is_enough_but_tries_nothing() -> None:
    trainer = ColourTrainer()
    model = fit([scene(10, 10)], budget=STEPS, trainers=[trainer])
    assert [count for count, _, _ in trainer.calls] == [1]
    assert model.report.trials == ()
    assert model.report.precision is None
    assert "single example" in str(model.report)
    assert len(model.detect([scene(50, 40).picture])[0]) == 1


def test_the_same_steps_and_seed_give_the_same_model() -> None:
    one, other = (fit(scenes(5), budget=STEPS, seed=3, trainers=[ColourTrainer()]) for _ in "12")
    assert one.version == other.version
    assert len(one.version) == 12
    changed = fit(scenes(4), budget=STEPS, seed=3, trainers=[ColourTrainer()])
    assert changed.version != one.version
    assert changed.report.data != one.report.data


def test_progress_never_goes_back_and_stops_when_told_to() -> None:
    told: list[Progress] = []
    fit(scenes(3), budget=STEPS, trainers=[ColourTrainer()], told=told.append)
    spent = [one.spent for one in told]
    assert spent == sorted(spent)
    assert spent[-1] == pytest.approx(1.0, abs=0.02)
    assert {one.stage for one in told} >= {"colour, trial 1 of 3", "colour", "reading pictures"}

    def stop(progress: Progress) -> None:
        if progress.spent > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(scenes(3), budget=STEPS, trainers=[ColourTrainer()], told=stop)


def test_no_more_time_is_handed_out_than_there_is() -> None:
    trainer = ColourTrainer(slow_s=0.005)
    fit(scenes(3), budget=Budget(seconds=0.5), trainers=[trainer])
    handed = [budget.seconds or 0.0 for _, budget, _ in trainer.calls]
    assert sum(handed) <= 0.5
    assert handed[-1] > max(handed[:-1])


def test_where_a_trainer_used_up_the_time_no_other_is_tried() -> None:
    class Slow(ColourTrainer):
        def fit(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            time.sleep(0.1)
            return super().fit(*args, **kwargs)

    slow, thorough = Slow("slow"), ColourTrainer("thorough")
    model = fit(scenes(3), budget=Budget(seconds=0.25), trainers=[slow, thorough])
    assert [trial.trainer for trial in model.report.trials] == ["slow"]
    assert [count for count, _, _ in thorough.calls] == []
    assert model.report.winner == "slow"


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([], "no examples"),
        ([Example(Image(np.zeros((8, 8, 3), np.uint8)))] * 3, "none of the 3 examples has"),
    ],
)
def test_nothing_to_learn_is_said(examples: list[Example], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit(examples, trainers=[ColourTrainer()])


def test_kinds_that_no_trainer_learns_are_named() -> None:
    triangle = Polygon(np.array([[0, 0], [9, 0], [9, 9]], np.float32))
    example = Example(scene(3, 3).picture, [Region("ball", triangle)])
    with pytest.raises(ValueError, match=r"no trainer \(colour\) learns Polygon"):
        fit([example], trainers=[ColourTrainer()])


def test_an_unreadable_example_is_named_and_an_unreadable_other_is_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing")
    with pytest.raises(UnreadableImage, match=r"broken\.png"):
        fit([*scenes(2), Example(broken)], budget=STEPS, trainers=[ColourTrainer()])
    image = scene(3, 3).picture
    assert isinstance(image, Image)
    good = tmp_path / "good.png"
    PIL.Image.fromarray(image.pixels).save(good)
    model = fit(scenes(2), unlabelled=[broken, good], budget=STEPS, trainers=[ColourTrainer()])
    assert model.report.unlabelled == 1
    assert "1 unlabelled pictures could not be read" in str(model.report)
    assert len(model.detect([str(good)])[0]) == 1


def test_an_old_model_is_not_changed_by_a_new_fit() -> None:
    old = fit(scenes(4), budget=STEPS, trainers=[ColourTrainer()])
    before, version = old.detect([scene(7, 7).picture]), old.version
    fit([scene(1, 1, level=20)], budget=STEPS, trainers=[ColourTrainer()])
    assert old.detect([scene(7, 7).picture]) == before
    assert old.version == version
    assert isinstance(old.learned, ColourModel)


def test_what_was_found_when_held_out_is_told_for_each_example_in_order() -> None:
    examples = [*scenes(5), Example(scene(1, 1, level=100).picture)]
    model = fit(examples, budget=STEPS, trainers=[ColourTrainer()])
    assert len(model.held_out) == 6
    for example, found in zip(examples[:5], model.held_out, strict=False):
        assert found
        assert found[0].shape == example.regions[0].shape
        assert 0.5 < found[0].score < 0.9999
    assert model.held_out[5] == ()


def test_what_is_held_out_is_in_pixels_of_the_picture_as_it_was_given() -> None:
    def large(x: int, y: int) -> Example:
        pixels = np.full((2000, 3001, 3), 100, np.uint8)
        pixels[y : y + 400, x : x + 400] = 230
        mask = np.zeros((2000, 3001), np.bool_)
        mask[y : y + 400, x : x + 400] = True
        return Example(Image(pixels), [Region("ball", Mask(mask))])

    class Masks(ColourTrainer):
        def suits(self, examples):  # type: ignore[no-untyped-def]
            return True

        def fit(self, examples, **rest):  # type: ignore[no-untyped-def]
            boxes = [Example(one.picture, [_boxed(one.regions[0])]) for one in examples]
            return _Filled(super().fit(boxes, **rest))

    examples = [large(300, 500), large(1500, 1200), large(2400, 100)]
    model = fit(examples, budget=STEPS, trainers=[Masks()])
    assert model.factor < 1
    for example, found in zip(examples, model.held_out, strict=True):
        assert found is not None
        assert isinstance(found[0].shape, Mask)
        theirs = example.regions[0].shape
        assert isinstance(theirs, Mask)
        assert found[0].shape.pixels.shape == (2000, 3001)
        assert np.mean(found[0].shape.pixels ^ theirs.pixels) < 0.002


class _Filled:
    """A model whose boxes are masks."""

    def __init__(self, inner: Learned) -> None:
        self._inner = inner
        self.labels, self.state = inner.labels, inner.state

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        found = self._inner.detect(images, min_score=min_score)
        return [
            [replace(one, shape=_filled(image, one)) for one in some]
            for image, some in zip(images, found, strict=True)
        ]


def _filled(image: Image, region: Region) -> Mask:
    pixels = np.zeros(image.pixels.shape[:2], np.bool_)
    box = region.shape
    assert isinstance(box, Box)
    pixels[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return Mask(pixels)


def _boxed(region: Region) -> Region:
    return replace(region, shape=bounds(region.shape))


def test_images_that_were_not_looked_at_have_no_held_out_answer() -> None:
    alone = fit([scene(10, 10)], budget=STEPS, trainers=[ColourTrainer()])
    assert alone.held_out == (None,)
    many = fit(scenes(130), budget=STEPS, trainers=[ColourTrainer()])
    assert sum(found is None for found in many.held_out) == 10


def test_held_out_answers_are_no_part_of_a_version_and_are_not_stored(tmp_path: Path) -> None:
    shown: list[MicroModel] = []
    trainers = [ColourTrainer("quick"), ColourTrainer("thorough")]
    model = fit(scenes(5), budget=STEPS, trainers=trainers, on_better=shown.append)
    assert [len(one.held_out) for one in (shown[0], model)] == [5, 5]
    model.save(tmp_path)
    loaded = load(tmp_path, trainers=trainers)
    assert (loaded.version, loaded.held_out) == (model.version, ())
    assert replace(model, held_out=()).state().settings == model.state().settings
