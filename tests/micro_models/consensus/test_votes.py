"""Methods for votes: what each sees through, few votes, odd shapes; intervals cover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from micro_models.consensus import (
    Consensus,
    Votes,
    dawid_skene,
    glad,
    mace,
    majority,
    one_coin,
    with_model,
)
from micro_models.consensus.agreement import krippendorff_alpha, wilson

Method = Callable[[Votes], Consensus]
METHODS: list[Method] = [majority, dawid_skene, one_coin, glad, mace]


def crowd(
    accuracies: list[float], *, items: int, classes: int = 2, seed: int = 0
) -> tuple[Votes, np.ndarray]:
    """Everybody votes on every item, right with a probability of their own."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    who, what = np.divmod(np.arange(len(accuracies) * items), items)
    right = rng.random(len(what)) < np.array(accuracies)[who]
    wrong = (truth[what] + rng.integers(1, max(classes, 2), len(what))) % classes
    labels = np.where(right, truth[what], wrong)
    return Votes.of(what, who, labels, n_items=items, n_classes=classes), truth


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("items", "workers", "labels", "sizes"),
    [
        ([], [], [], (0, 0, 1)),
        ([], [], [], (3, 2, 2)),
        ([0], [0], [1], (1, 1, 2)),
        ([0, 0], [0, 1], [0, 0], (1, 2, 1)),
        ([0, 0, 2], [0, 1, 1], [0, 2, 2], (4, 3, 3)),
    ],
    ids=["nothing", "no votes", "one vote", "one class", "items and workers without votes"],
)
def test_little_is_no_trouble(
    method: Method,
    items: list[int],
    workers: list[int],
    labels: list[int],
    sizes: tuple[int, int, int],
) -> None:
    n_items, n_workers, n_classes = sizes
    votes = Votes.of(
        items, workers, labels, n_items=n_items, n_workers=n_workers, n_classes=n_classes
    )
    found = method(votes)
    assert found.probabilities.shape == (n_items, n_classes)
    assert np.isfinite(found.probabilities).all()
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(n_items))
    assert len(found.workers) == n_workers
    assert all(0 <= one.low <= one.accuracy <= one.high <= 1 for one in found.workers)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_votes_give_the_same(method: Method) -> None:
    votes, _ = crowd([0.9, 0.7, 0.6], items=40, classes=3)
    one, other = method(votes), method(votes)
    assert np.array_equal(one.probabilities, other.probabilities)
    assert one.workers == other.workers


@pytest.mark.parametrize("method", METHODS[1:])
def test_one_who_sees_outweighs_those_who_guess(method: Method) -> None:
    votes, truth = crowd([0.95, 0.95, 0.55, 0.55, 0.55, 0.55, 0.55], items=300)
    found = method(votes)
    assert (found.labels == truth).mean() > (majority(votes).labels == truth).mean() + 0.05
    assert min(found.workers[at].accuracy for at in (0, 1)) > max(
        one.accuracy for one in found.workers[2:]
    )


def test_tables_tell_who_always_confuses_two_classes() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 150)
    # Three see; two take class 1 for 2, always.
    said = np.stack([truth, truth, truth, *[np.where(truth == 1, 2, truth)] * 2])
    items = np.tile(np.arange(150), 5)
    workers = np.repeat(np.arange(5), 150)
    found = dawid_skene(Votes.of(items, workers, said.ravel()))
    assert np.array_equal(found.labels, truth)
    assert found.confusions is not None
    assert found.confusions[4, 1].argmax() == 2
    assert found.confusions[0, 1].argmax() == 1


def test_workers_with_few_votes_are_as_the_mean() -> None:
    votes, _ = crowd([0.9] * 4, items=60)
    items, workers, labels = votes.items, votes.workers, votes.labels
    one_wrong = 1 - int(dawid_skene(votes).labels[0])
    more = Votes.of(
        np.append(items, 0), np.append(workers, 4), np.append(labels, one_wrong), n_items=60
    )
    newcomer = dawid_skene(more).workers[4]
    assert newcomer.votes == 1
    assert 0.6 < newcomer.accuracy < 0.9  # one mistake is not the end
    assert newcomer.high - newcomer.low > 0.3


def test_intervals_cover_what_they_should() -> None:
    rng = np.random.default_rng(5)
    covered = []
    for seed in range(40):
        accuracies = rng.uniform(0.6, 0.95, 6).tolist()
        votes, _ = crowd(accuracies, items=60, seed=seed)
        covered += [
            one.low <= true <= one.high
            for one, true in zip(dawid_skene(votes).workers, accuracies, strict=True)
        ]
    assert 0.8 <= np.mean(covered) <= 0.98


@pytest.mark.parametrize(
    ("items", "labels"),
    [([0, 1], [0]), ([-1], [0]), ([0], [2])],
    ids=["lengths", "below", "above"],
)
def test_votes_are_checked(items: list[int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match=r"0\.\.|length"):
        Votes.of(items, [0] * len(items), labels, n_items=3, n_workers=1, n_classes=2)


@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.97])
@pytest.mark.parametrize("confidence", [0.6, 0.99], ids=["modest", "too sure"])
def test_a_model_never_hurts_much_and_a_good_one_helps(accuracy: float, confidence: float) -> None:
    gains, helped = [], []
    for seed in range(3):
        votes, truth = crowd([0.75] * 4, items=300, seed=seed)
        rng = np.random.default_rng(100 + seed)
        said = np.where(rng.random(300) < accuracy, truth, 1 - truth)
        model = np.full((300, 2), 1 - confidence)
        model[np.arange(300), said] = confidence
        alone = (dawid_skene(votes).labels == truth).mean()
        together = (with_model(votes, model).labels == truth).mean()
        gains.append(together - max(alone, (said == truth).mean()))
        helped.append(together - alone)
    assert np.mean(gains) > -0.01
    if accuracy >= 0.9:
        assert np.mean(helped) > 0.03


def test_a_model_that_confuses_what_people_confuse_is_no_judge_of_it() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 4, 600)
    other = truth ^ 1  # two breeds each: 0 and 1, 2 and 3
    people = [np.where(rng.random(600) < 0.85, truth, other) for _ in range(5)]
    votes = Votes.of(np.tile(np.arange(600), 5), np.repeat(np.arange(5), 600), np.ravel(people))
    said = np.where(rng.random(600) < 0.5, truth, other)
    model = np.full((600, 4), 0.05)
    model[np.arange(600), said] = 0.85
    alone = (dawid_skene(votes).labels == truth).mean()
    found = with_model(votes, model)
    better = max(alone, (said == truth).mean())
    assert (found.labels == truth).mean() > better - 0.015


def test_a_model_that_guesses_has_no_weight() -> None:
    votes, _ = crowd([0.8] * 5, items=400, classes=4)
    rng = np.random.default_rng(3)
    guesses = rng.dirichlet(np.full(4, 0.2), 400)
    found = with_model(votes, guesses)
    assert found.figures["trust"] < 0.1
    assert (found.labels == dawid_skene(votes).labels).mean() > 0.98


def test_a_model_may_be_silent_and_may_answer_where_nobody_voted() -> None:
    votes, truth = crowd([0.9] * 5, items=200)
    model = np.full((205, 2), 0.1)
    model[np.arange(200), truth] = 0.9
    model[:20] = np.nan
    model[200:, 1] = 0.9
    longer = Votes(votes.items, votes.workers, votes.labels, 205, 5, 2)
    found = with_model(longer, model)
    assert found.labels[200:].tolist() == [1] * 5
    assert np.isfinite(found.probabilities).all()
    silent = with_model(votes, np.full((200, 2), np.nan))
    assert np.array_equal(silent.labels, dawid_skene(votes).labels)


@pytest.mark.parametrize("bad", [np.ones((3, 2)), -np.ones((200, 2)), np.zeros((200, 2))])
def test_probabilities_are_checked(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        with_model(crowd([0.9] * 3, items=200)[0], bad)


def test_alpha_and_wilson_as_in_the_books() -> None:
    # Krippendorff (2011), "Computing Krippendorff's alpha-reliability", example C.
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    rows = [
        (item, worker, value - 1)
        for worker, values in enumerate(table)
        for item, value in enumerate(values)
        if value is not None
    ]
    items, workers, labels = zip(*rows, strict=True)
    assert krippendorff_alpha(Votes.of(items, workers, labels)) == pytest.approx(0.743, abs=1e-3)
    assert krippendorff_alpha(Votes.of([0, 1], [0, 0], [0, 0])) is None
    assert wilson(0.5, 0) == (0.0, 1.0)
    assert wilson(0.5, 10, z=1.96) == pytest.approx((0.2366, 0.7634), abs=1e-3)
