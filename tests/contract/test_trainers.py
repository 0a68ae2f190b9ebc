"""What every trainer promises, on everything that people label: one suite, each trainer passes it.

Steps are few: what is promised holds for a model that has hardly learned anything, too.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from micro_models import fit
from micro_models.budget import Budget, Progress, ignore
from micro_models.examples import Example, image_of
from micro_models.interface import Learned, ModelFileError, State, Trainer
from micro_models.pictures import UnreadableImage
from micro_models.regions import Box, Image, Region, WholeImage
from micro_models.trainers.forest import ForestTrainer
from micro_models.trainers.tiny import TinyTrainer
from micro_models.trainers.yolo import YoloTrainer
from tests.contract.trainer_cases import CASES, ground, scene

CHECKPOINTS = Path(__file__).parents[1] / "small_yolo"
STEPS = Budget(steps=2)


@cache
def trainer(name: str) -> Trainer:
    if name == "forest":
        return ForestTrainer()
    if name == "tiny":
        return TinyTrainer()
    return YoloTrainer(CHECKPOINTS / f"{name.removeprefix('yolo ')}.pt")


TRAINERS = ("forest", "tiny", "yolo detect")
EVERY = (*TRAINERS, "yolo segment", "yolo pose", "yolo obb", "yolo classify")
# A case in which each trainer can show what is promised of all.
PLAIN = {
    "forest": "every kind",
    "tiny": "every kind",
    "yolo detect": "a single class",
    "yolo segment": "masks",
    "yolo pose": "skeletons",
    "yolo obb": "rotated boxes",
    "yolo classify": "one class each",
}


# Of a YOLO, which needs half a second to be put together, the cases that could be its end.
OF_YOLO = (
    "one image",
    "hundreds of objects",
    "fifty classes",
    "objects of 1 pixel",
    "forty megapixels",
    "one label in several kinds",
)


@cache
def examples(case: str) -> tuple[Example, ...]:
    return tuple(CASES[case]())


def images(some: Sequence[Example]) -> list[Image]:
    return [image_of(one.picture) for one in some]


@cache
def model(name: str) -> Learned:
    """Of the trainer's plain case, made once."""
    return trainer(name).fit(examples(PLAIN[name]), budget=STEPS, seed=0)


def told_as(regions: Sequence[Region]) -> list[str]:
    """Every number of it, so that what is equal to the last bit is equal."""
    return [
        repr((one.label, one.score, [np.asarray(v).tobytes() for v in vars(one.shape).values()]))
        for one in regions
    ]


def answers(learned: Learned, some: Sequence[Image]) -> list[list[str]]:
    return [told_as(regions) for regions in learned.detect(some)]


@pytest.mark.parametrize(
    ("name", "case"),
    [
        *((name, case) for name in ("forest", "tiny") for case in CASES),
        *(("yolo detect", case) for case in OF_YOLO),
    ],
)
def test_whatever_is_labelled_is_survived(name: str, case: str) -> None:
    some = examples(case)
    if not trainer(name).suits(some):
        return
    learned = trainer(name).fit(some, budget=STEPS, seed=0)
    labels = {label for one in some for label in one.labels}
    assert list(learned.labels) == sorted(labels)
    for image, regions in zip(images(some), learned.detect(images(some)), strict=True):
        scores = [region.score for region in regions]
        assert scores == sorted(scores, reverse=True)
        assert {region.label for region in regions} <= labels
        for region in regions:
            assert np.isfinite(_numbers(region)).all()
            if hasattr(region.shape, "pixels"):
                assert region.shape.pixels.shape == image.pixels.shape[:2]


def _numbers(region: Region) -> np.ndarray:
    values = [np.asarray(value, np.float64).ravel() for value in vars(region.shape).values()]
    return np.concatenate(values) if values else np.zeros(0)


@pytest.mark.parametrize("name", ["forest", "tiny"])
def test_our_own_learn_every_kind(name: str) -> None:
    unsuited = [case for case in CASES if not trainer(name).suits(examples(case))]
    assert unsuited in ([], ["no object at all"])


@pytest.mark.parametrize("name", EVERY)
def test_a_seed_and_steps_give_the_same_model(name: str) -> None:
    some = examples(PLAIN[name])
    again = trainer(name).fit(some, budget=STEPS, seed=0)
    assert answers(again, images(some)) == answers(model(name), images(some))
    assert same(again.state(), model(name).state())


def same(one: State, other: State) -> bool:
    return one.settings == other.settings and all(
        np.array_equal(array, other.arrays[key]) for key, array in one.arrays.items()
    )


@pytest.mark.parametrize("name", EVERY)
def test_a_state_is_plain_and_gives_the_same_answers(name: str) -> None:
    state = model(name).state()
    assert all(array.dtype.kind in "biuf" for array in state.arrays.values())
    plain = State(
        json.loads(json.dumps(state.settings, allow_nan=False)),
        {key: array.copy() for key, array in state.arrays.items()},
    )
    some = images(examples(PLAIN[name]))
    restored = trainer(name).restore(plain)
    assert answers(restored, some) == answers(model(name), some)
    assert list(restored.labels) == list(model(name).labels)
    assert same(restored.state(), state)


def damaged(state: State) -> Iterator[tuple[str, State]]:
    settings, arrays = dict(state.settings), dict(state.arrays)
    yield "empty", State({}, {})
    yield "no arrays", State(settings, {})
    for key in settings:
        yield f"setting {key} gone", State({k: v for k, v in settings.items() if k != key}, arrays)
        yield f"setting {key} odd", State({**settings, key: {"x": [None, "y"]}}, arrays)
    for key in sorted(arrays)[:: max(len(arrays) // 2, 1)][:2]:
        array = arrays[key]
        yield f"array {key} gone", State(settings, {k: v for k, v in arrays.items() if k != key})
        yield f"array {key} longer", State(settings, {**arrays, key: np.append(array, array)})
        yield f"array {key} of text", State(settings, {**arrays, key: np.array(["x"])})
        if array.dtype.kind == "f" and array.size:
            nan = np.full_like(array, np.nan)
            yield f"array {key} not finite", State(settings, {**arrays, key: nan})


def refused(one: Trainer, state: State) -> bool:
    try:
        one.restore(state)
    except ModelFileError:
        return True
    return False


@pytest.mark.parametrize("name", TRAINERS)
def test_a_damaged_state_is_refused(name: str) -> None:
    tried = 0
    for what, state in damaged(model(name).state()):
        assert refused(trainer(name), state), f"{what} was taken"
        tried += 1
    assert tried > 5


@pytest.mark.parametrize("name", TRAINERS)
def test_an_old_model_is_not_changed_by_a_new_fit(name: str) -> None:
    """Which is another model, for its seed is another."""
    some = examples(PLAIN[name])
    before = answers(model(name), images(some)[:1])
    other = trainer(name).fit(some, budget=STEPS, seed=1)
    assert answers(model(name), images(some)[:1]) == before
    assert not same(other.state(), model(name).state())


@pytest.mark.parametrize("name", TRAINERS)
def test_nothing_global_is_changed(name: str) -> None:
    def world() -> tuple[object, ...]:
        numpy_state = np.random.get_state(legacy=False)
        return (
            torch.get_rng_state().numpy().tobytes(),
            str(numpy_state),
            random.getstate(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            threading.active_count(),
        )

    learned = model(name)
    before = world()
    trainer(name).fit(examples(PLAIN[name]), budget=STEPS, seed=0)
    learned.detect(images(examples(PLAIN[name])))
    assert world() == before


@pytest.mark.parametrize("name", TRAINERS)
def test_threads_do_not_mix_images(name: str) -> None:
    some = images(examples(PLAIN[name])) * 2
    expected = [answers(model(name), [image])[0] for image in some]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: answers(model(name), [image])[0], some))
    assert found == expected


@pytest.mark.parametrize("name", TRAINERS)
def test_many_images_at_once_are_answered_in_their_order(name: str) -> None:
    some = images([*examples(PLAIN[name]), *examples("every size")])
    found = model(name).detect(some)
    assert len(found) == len(some)
    alone = [model(name).detect([image])[0] for image in some]
    for together, one in zip(found, alone, strict=True):
        assert [r.label for r in together[:3]] == [r.label for r in one[:3]]
    assert model(name).detect([]) == []


@pytest.mark.parametrize("name", TRAINERS)
def test_what_is_weak_is_left_out(name: str) -> None:
    some = images(examples(PLAIN[name]))[:1]
    every = model(name).detect(some)[0]
    middle = every[len(every) // 2].score if every else 0.5
    found = [one for one in model(name).detect(some, min_score=middle)[0] if not _whole(one)]
    assert all(one.score >= middle for one in found)
    kept, still = (
        sorted((one.label, one.score) for one in part if one.score > middle and not _whole(one))
        for part in (every, found)
    )
    assert still == kept


def _whole(region: Region) -> bool:
    return isinstance(region.shape, WholeImage)


@pytest.mark.parametrize("name", TRAINERS)
def test_progress_is_told_and_cancels(name: str) -> None:
    told: list[Progress] = []
    some = examples(PLAIN[name])
    trainer(name).fit(some, budget=Budget(steps=3), seed=0, told=told.append)
    assert told
    spent = [one.spent for one in told]
    assert spent == sorted(spent)
    assert all(0 <= one <= 1 for one in spent)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(name).fit(some, budget=Budget(steps=3), seed=0, told=stop)


@pytest.mark.parametrize("name", TRAINERS)
def test_a_budget_of_no_time_is_over_at_once(name: str) -> None:
    """However little time there is, there is a model; a minute of steps is not begun."""
    budget = Budget(seconds=0.01, steps=100_000)
    learned = trainer(name).fit(examples("a single class"), budget=budget, seed=0, told=ignore)
    assert learned.detect(images(examples("a single class"))) is not None


@pytest.mark.parametrize("name", TRAINERS)
def test_more_images_of_the_project_do_no_harm(name: str) -> None:
    some = examples(PLAIN[name])
    more = images(examples("every size"))
    learned = trainer(name).fit(some, budget=STEPS, seed=0, unlabelled=more)
    assert list(learned.labels) == list(model(name).labels)


# Through `fit`, which shares the budget among trainers ------------------------------------------

OURS: dict[str, list[Trainer] | None] = {
    "forest": [ForestTrainer()],
    "tiny": [TinyTrainer()],
    "those of fit": None,
}
SECONDS, BUSY_S = 3.0, 1.0


@pytest.mark.parametrize("ours", OURS)
def test_a_budget_of_seconds_is_kept_within_a_tenth(ours: str) -> None:
    """Give or take a second, for other programs: this is no test of speed."""
    some = [scene(n, [Region("1", Box(9 + 4 * n, 9, 39 + 4 * n, 39))]) for n in range(6)]
    began = time.monotonic()
    learned = fit(some, budget=Budget(seconds=SECONDS), trainers=OURS[ours])
    assert time.monotonic() - began <= 1.1 * SECONDS + BUSY_S
    assert learned.report.seconds <= 1.1 * SECONDS + BUSY_S
    assert len(learned.detect([image_of(some[0].picture)], min_score=0.0)) == 1


@pytest.mark.parametrize("file", ["empty.jpg", "cut.png", "missing.png"])
def test_an_unreadable_picture_is_named(tmp_path: Path, file: str) -> None:
    good, bad = tmp_path / "good.png", tmp_path / file
    PIL.Image.fromarray(ground(0)).save(good)
    if file == "empty.jpg":
        bad.touch()
    elif file == "cut.png":
        bad.write_bytes(good.read_bytes()[:2000])
    some = [Example(path, [Region("1", Box(9, 9, 39, 39))]) for path in (good, bad)]
    with pytest.raises((UnreadableImage, FileNotFoundError), match=re.escape(file)):
        fit(some, budget=STEPS)
