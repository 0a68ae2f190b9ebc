from __future__ import annotations

import numpy as np
import pytest
import torch

from micro_models.trainers.tiny import inference
from micro_models.trainers.tiny.inference import Inference
from micro_models.trainers.tiny.layout import shapes
from micro_models.trainers.tiny.network import Network

ALL_HEADS = {
    "heat": 2,
    "sides": 4,
    "angle": 2,
    "mask": 1,
    "point_heat": 3,
    "point_offset": 6,
    "classes": 3,
}
PROBABILITIES = {"heat", "mask", "point_heat"}


def trained(heads, *, seed=0):
    """A network whose normalisation has seen some images."""
    network = Network(
        heads,
        half_side=3.0,
        mean=np.array([90, 100, 110], np.float32),
        std=np.array([40, 50, 60], np.float32),
        generator=torch.Generator().manual_seed(seed),
    )
    network.train()
    with torch.no_grad():
        for number in range(3):
            network(torch.from_numpy(images(number)))
    return network.eval()


def images(seed, *, size=(64, 96)):
    return np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "heads",
    [ALL_HEADS, {"heat": 1, "sides": 4}, {"classes": 2}],
    ids=["all heads", "boxes", "classes"],
)
def test_what_runs_answers_as_what_was_trained(heads):
    network = trained(heads)
    answers = Inference(heads, network.arrays(), exclusive=True)(images(7))
    with torch.inference_mode():
        outputs = network(torch.from_numpy(images(7)))
    assert list(answers) == list(heads)
    for name, output in outputs.items():
        if name in PROBABILITIES:
            output = output.sigmoid()
        elif name == "classes":
            output = output.softmax(1)
        np.testing.assert_allclose(answers[name], output.numpy(), rtol=1e-3, atol=1e-4)


def test_independent_classes_are_each_a_probability():
    network = trained({"classes": 3})
    answers = Inference({"classes": 3}, network.arrays(), exclusive=False)(images(7))
    with torch.inference_mode():
        expected = network(torch.from_numpy(images(7)))["classes"].sigmoid()
    np.testing.assert_allclose(answers["classes"], expected.numpy(), atol=1e-4)


def test_arrays_are_what_the_layout_tells():
    arrays = trained(ALL_HEADS).arrays()
    assert {name: array.shape for name, array in arrays.items()} == shapes(ALL_HEADS)
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_first_weights_are_those_of_the_generator_and_no_other_is_used():
    before = torch.get_rng_state()
    one, same, other = (trained({"heat": 1, "sides": 4}, seed=seed).arrays() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["fine.0.weight"], other["fine.0.weight"])


def test_many_sizes_of_images_are_answered_by_one_graph(monkeypatch):
    network, compiled, compile_ = trained({"heat": 1, "sides": 4}), [], inference._compile
    monkeypatch.setattr(
        inference, "_compile", lambda graph: compiled.append(graph) or compile_(graph)
    )
    run = Inference({"heat": 1, "sides": 4}, network.arrays(), exclusive=False)
    first = run(images(0))["heat"]
    for height in range(16, 16 * 12, 16):
        assert run(images(0, size=(height, 32)))["heat"].shape == (2, 1, height // 4, 8)
    assert np.array_equal(run(images(0))["heat"], first)
    assert len(compiled) == 1
