from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micro_models.active_learning.entropy import entropy
from micro_models.active_learning.least_confidence import least_confidence
from micro_models.active_learning.margin import margin
from micro_models.active_learning.query_by_committee import consensus_divergence, vote_entropy

SCORES = [least_confidence, margin, entropy]
SURE, UNSURE = [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]


@pytest.mark.parametrize("score", SCORES)
def test_higher_is_less_sure(score) -> None:
    between = [0.6, 0.3, 0.1]
    values = score([SURE, between, UNSURE])
    assert values[0] == 0.0
    assert values[0] < values[1] < values[2] <= 1.0


@pytest.mark.parametrize(
    ("score", "row", "expected"),
    [
        (least_confidence, [0.7], 0.3),
        (least_confidence, UNSURE, 2 / 3),
        (margin, [0.7], 0.3),
        (margin, UNSURE, 1.0),
        (margin, [0.2, 0.7, 0.1], 0.5),
        (entropy, [0.7], 0.0),
        (entropy, UNSURE, 1.0),
        (entropy, [0.5, 0.5, 0.0], np.log(2) / np.log(3)),
        (entropy, [0.2, 0.2], 1.0),  # their sum need not be 1
        (entropy, [0.0, 0.0], 1.0),
    ],
)
def test_values(score, row: list[float], expected: float) -> None:
    assert score([row])[0] == pytest.approx(expected)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("wrong", [[0.5, 0.5], np.zeros((2, 0)), [[1.5]], [[-0.1]], [[np.nan]]])
def test_no_probabilities(score, wrong) -> None:
    with pytest.raises(ValueError, match="probabilities are"):
        score(wrong)


@pytest.mark.parametrize("score", SCORES)
@given(values=arrays(np.float64, (4, 3), elements=st.floats(0, 1)))
def test_in_range_and_blind_to_the_order_of_classes(score, values) -> None:
    scores = score(values)
    assert scores.shape == (4,)
    assert scores.min() >= 0
    assert scores.max() <= 1 + 1e-9
    assert score(values[:, ::-1]) == pytest.approx(scores)


def test_no_images() -> None:
    for score in SCORES:
        assert score(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("members", "entropies", "divergences"),
    [
        ([SURE], 0.0, 0.0),  # a committee of one agrees
        ([SURE, SURE], 0.0, 0.0),
        ([UNSURE, UNSURE], 0.0, 0.0),  # they agree that they do not know
        ([[1, 0, 0], [0, 1, 0]], np.log(2) / np.log(3), np.log(2)),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1.0, np.log(3)),
        ([[0.6, 0.4, 0], [0.9, 0.1, 0]], 0.0, 0.0633),  # the same votes, less and more sure
    ],
)
def test_committees(members, entropies: float, divergences: float) -> None:
    probabilities = np.array(members, np.float64)[:, None, :]
    assert vote_entropy(probabilities)[0] == pytest.approx(entropies, abs=1e-9)
    assert consensus_divergence(probabilities)[0] == pytest.approx(divergences, abs=1e-4)


@pytest.mark.parametrize("score", [vote_entropy, consensus_divergence])
def test_no_committee(score) -> None:
    with pytest.raises(ValueError, match="committee"):
        score(np.zeros((3, 2)))
