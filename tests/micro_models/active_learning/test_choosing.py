from __future__ import annotations

import numpy as np
import pytest

from micro_models.active_learning.choosing import choose
from micro_models.active_learning.core_set import core_set
from micro_models.active_learning.guarding import compare
from micro_models.active_learning.kmeans import kmeans_diversity

CLUSTERS = np.concatenate([np.random.default_rng(1).normal(c, 0.1, (20, 2)) for c in (0, 5, 10)])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clusters_of(indices) -> set[int]:
    return {int(index) // 20 for index in indices}


class TestDiversity:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("method", [core_set, kmeans_diversity])
    def test_one_of_each_cluster(self, method, seed: int) -> None:
        assert clusters_of(method(CLUSTERS, 3, rng=rng(seed))) == {0, 1, 2}

    @pytest.mark.parametrize("method", [core_set, kmeans_diversity])
    @pytest.mark.parametrize("count", [0, 1, 4, 9])
    def test_never_one_twice(self, method, count: int) -> None:
        alike = np.zeros((4, 2))
        chosen = method(alike, count, rng=rng())
        assert len(set(chosen.tolist())) == len(chosen) == min(count, 4)

    def test_far_from_what_is_labelled(self) -> None:
        known = CLUSTERS[[0, 20]]
        assert clusters_of(core_set(CLUSTERS, 1, rng=rng(), labelled=known)) == {2}

    def test_clusters_form_where_the_model_is_unsure(self) -> None:
        weights = np.repeat([0.0, 1.0, 1.0], 20)
        assert clusters_of(kmeans_diversity(CLUSTERS, 2, rng=rng(), weights=weights)) == {1, 2}


class TestChoose:
    def test_the_unsure_ones_but_not_one_scene_alone(self) -> None:
        scores = np.repeat([0.9, 0.8, 0.0], 20)
        chosen = choose(scores, CLUSTERS, 2, rng=rng(), random_share=0.0)
        assert clusters_of(chosen.indices) == {0, 1}
        assert chosen.random == ()

    def test_what_is_labelled_is_not_chosen_again(self) -> None:
        scores = np.repeat([0.9, 0.8, 0.1], 20)
        chosen = choose(scores, CLUSTERS, 1, rng=rng(), random_share=0.0, labelled=CLUSTERS[:1])
        assert clusters_of(chosen.indices) == {1}

    def test_a_tenth_is_drawn_by_lot(self) -> None:
        scores = np.zeros(60)
        calls = [choose(scores, CLUSTERS, 5, rng=rng(seed)) for seed in range(400)]
        assert {len(chosen.random) for chosen in calls} == {0, 1}
        assert sum(len(chosen.random) for chosen in calls) == pytest.approx(200, abs=40)
        assert all(set(chosen.random) <= set(chosen.indices) for chosen in calls)
        assert len({index for chosen in calls for index in chosen.random}) > 50

    @pytest.mark.parametrize(("share", "lots"), [(0.0, 0), (1.0, 5)])
    def test_all_or_nothing_by_lot(self, share: float, lots: int) -> None:
        chosen = choose(np.ones(60), CLUSTERS, 5, rng=rng(), random_share=share)
        assert (len(chosen.random), len(set(chosen.indices))) == (lots, 5)

    def test_the_same_generator_chooses_the_same(self) -> None:
        scores = rng(3).random(60)
        assert choose(scores, CLUSTERS, 7, rng=rng()) == choose(scores, CLUSTERS, 7, rng=rng())

    @pytest.mark.parametrize(("images", "count"), [(0, 3), (1, 3), (3, 0)])
    def test_fewer_images_than_asked(self, images: int, count: int) -> None:
        chosen = choose(np.ones(images), np.ones((images, 2)), count, rng=rng())
        assert len(chosen.indices) == min(images, count)

    def test_what_does_not_fit_together(self) -> None:
        with pytest.raises(ValueError, match="3 descriptions need as many scores"):
            choose([0.5], np.ones((3, 2)), 1, rng=rng())
        with pytest.raises(ValueError, match="random share"):
            choose([0.5], np.ones((1, 2)), 1, rng=rng(), random_share=1.5)


class TestGuard:
    def test_nothing_known(self) -> None:
        guard = compare([], [])
        assert (guard.chosen, guard.random) == (None, None)
        assert guard.probability == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("chosen", "lots", "low", "high"),
        [
            ([True] * 18 + [False] * 2, [True] * 2 + [False] * 8, 0.99, 1.0),
            ([True] * 2 + [False] * 18, [True] * 8 + [False] * 2, 0.0, 0.01),
            ([True] * 10 + [False] * 10, [True] * 5 + [False] * 5, 0.4, 0.6),
            ([True] * 500 + [False] * 500, [True] * 40 + [False] * 60, 0.95, 0.99),
        ],
    )
    def test_how_probable_it_is(self, chosen, lots, low: float, high: float) -> None:
        guard = compare(chosen + lots, [False] * len(chosen) + [True] * len(lots))
        assert low <= guard.probability <= high
        turned = compare(chosen + lots, [True] * len(chosen) + [False] * len(lots))
        assert turned.probability == pytest.approx(1 - guard.probability)

    def test_it_is_the_chance_of_two_beta_variables(self) -> None:
        guard = compare([True, True, False, True, False], [False, False, False, True, True])
        ours, theirs = rng(0).beta(3, 2, 200_000), rng(1).beta(2, 2, 200_000)
        assert guard.probability == pytest.approx((ours > theirs).mean(), abs=0.01)
