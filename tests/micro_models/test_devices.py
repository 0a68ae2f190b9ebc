"""Where torch computes."""

import pytest

from micro_models.budget import Budget
from micro_models.devices import NoSuchDevice, present
from micro_models.fitting.builtin import default_trainers
from tests.micro_models.trainers.tiny.drawings import squares


def test_there_is_a_cpu_and_auto_is_some_device() -> None:
    assert present("cpu") == "cpu"
    assert present("auto") in ("cpu", "cuda")


@pytest.mark.parametrize("device", ["cuda:99", "meta", "hip", "nothing", "", "cuda:x"])
def test_a_device_that_is_not_there_is_told(device: str) -> None:
    with pytest.raises(NoSuchDevice, match='choose "auto" or "cpu"'):
        present(device)


def test_the_tiny_trainer_trains_where_it_is_told() -> None:
    examples = squares(2)
    _, tiny = default_trainers(device="auto")
    assert tiny.fit(examples, budget=Budget(steps=1), seed=0).labels == ("square",)
    _, tiny = default_trainers(device="cuda:99")
    with pytest.raises(NoSuchDevice):
        tiny.fit(examples, budget=Budget(steps=1), seed=0)
