from dataclasses import replace

import numpy as np
import pytest

from micro_models.interface import ModelFileError
from micro_models.trainers.forest.trees import Forest, grown, joined, restored


def two_sided() -> tuple[np.ndarray, np.ndarray]:
    """Twenty samples of three numbers; the second tells the two parts apart."""
    seen = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    part = np.arange(20) % 2
    seen[:, 1] = part + 0.1 * seen[:, 1]
    return seen, part


def forest(count: int = 3) -> Forest:
    seen, part = two_sided()
    answers = np.stack([part, 1 - part], axis=1).astype(np.float32)
    return joined([grown(seen, part, answers, seed=seed) for seed in range(count)])


def ask(trees: Forest, seen: np.ndarray) -> np.ndarray:
    """The mean answer to rows of three numbers: as planes of as many places."""
    planes = np.ascontiguousarray(seen.T)
    offsets = np.arange(3) * len(seen)
    votes = trees.votes(planes.ravel(), offsets, np.arange(len(seen)), range(len(trees)))
    return votes / len(trees)


def test_leaves_answer_with_the_mean_of_their_samples():
    seen, part = two_sided()
    answers = ask(forest(9), seen)
    np.testing.assert_array_equal(answers[:, 0] > 0.5, part)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_grows_the_same_tree():
    seen, part = two_sided()
    answers = seen.copy()
    one, same, other = (grown(seen, part, answers, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.threshold, same.threshold)
    assert not np.array_equal(one.threshold, other.threshold)


def test_stored_trees_answer_as_before():
    seen, _ = two_sided()
    again = restored(forest().arrays(), features=3, width=2)
    np.testing.assert_array_equal(ask(again, seen), ask(forest(), seen))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("children", -1),
        ("children", 10**6),
        ("feature", 3),
        ("feature", -1),
        ("roots", 10**6),
        ("threshold", np.nan),
        ("values", np.inf),
    ],
)
def test_trees_that_lead_astray_are_refused(name, value):
    trees = forest()
    array = getattr(trees, name).copy()
    array.flat[0] = value
    with pytest.raises(ModelFileError, match="train the model again"):
        restored(replace(trees, **{name: array}).arrays(), features=3, width=2)


def test_a_tree_that_is_there_twice_is_refused():
    arrays = forest().arrays()
    with pytest.raises(ModelFileError, match="order"):
        restored({**arrays, "roots": np.tile(arrays["roots"], 2)}, features=3, width=2)


@pytest.mark.parametrize("name", ["roots", "feature", "threshold", "children", "values"])
def test_trees_of_other_shapes_and_types_are_refused(name):
    arrays = forest().arrays()
    whole = arrays[name]
    for wrong in (whole[:-1], whole[None], whole.astype(np.float64), whole[:0]):
        if name == "roots" and wrong.dtype == whole.dtype and wrong.ndim == 1 and len(wrong):
            continue  # a forest with a tree less
        with pytest.raises(ModelFileError):
            restored({**arrays, name: wrong}, features=3, width=2)
    arrays.pop(name)
    with pytest.raises(ModelFileError, match=name):
        restored(arrays, features=3, width=2)
