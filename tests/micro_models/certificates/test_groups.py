from __future__ import annotations

import math

import numpy as np
import pytest

from micro_models.certificates import Audit, certify, certify_groups


def clean(count: int, group: str) -> list[Audit]:
    return [Audit((k + 0.5) / count, wrong=False, group=group) for k in range(count)]


def pool(count: int) -> list[float]:
    return [k / count for k in range(count)]


@pytest.mark.parametrize(("audits", "groups"), [(120, 1), (200, 4)])
def test_without_several_that_stand_alone_one_is_for_all(audits: int, groups: int) -> None:
    drawn = [
        Audit(one.score, one.wrong, f"{k % groups}") for k, one in enumerate(clean(audits, ""))
    ]
    scores = {f"{n}": pool(300) for n in range(groups)}
    joined = [score for some in scores.values() for score in some]
    made = certify_groups(drawn, scores, max_error=0.02, confidence=0.9)
    assert made == certify(drawn, joined, max_error=0.02, confidence=0.9)
    assert not made.groups
    assert made.threshold_of("whatever") == made.threshold


def test_a_bad_class_does_not_spoil_a_good_one() -> None:
    bad = [
        Audit(audit.score, wrong=k % 2 == 0, group="蜂") for k, audit in enumerate(clean(150, ""))
    ]
    made = certify_groups(
        clean(150, "ant") + bad, {"ant": pool(500), "蜂": pool(500)}, max_error=0.05, confidence=0.9
    )
    assert made.groups["ant"].share == 1.0
    assert made.groups["蜂"].threshold is None
    assert (made.threshold, made.threshold_of("ant"), made.threshold_of("蜂")) == (0, 0, math.inf)
    assert (made.audited, made.above, made.errors, made.accepted, made.share, made.missing) == (
        *(300, 150, 0, 500, 0.5, 0),
    )
    assert "ant: 0 of 150 audits" in made.why
    assert "蜂: Nothing may be accepted" in made.why


def test_small_groups_are_judged_together_and_share_what_is_left() -> None:
    audits = clean(200, "ant") + clean(50, "bee") + clean(50, "cat") + clean(10, "gone")
    scores = {"ant": pool(500), "bee": pool(300), "cat": pool(300), "new": pool(9), "none": []}
    made = certify_groups(audits, scores, max_error=0.05, confidence=0.9)
    assert list(made.groups) == ["ant", ""]
    assert made.groups["ant"].audited == 200
    assert (made.groups[""].audited, made.groups[""].accepted) == (110, 609)
    assert made.threshold_of("bee") == made.threshold_of("new") == made.groups[""].threshold


def test_what_is_missing_is_drawn_from_all_classes() -> None:
    audits = [Audit(one.score, k % 9 == 0, one.group) for k, one in enumerate(clean(220, "ant"))]
    audits += [Audit(one.score, k % 9 == 0, "bee") for k, one in enumerate(clean(220, ""))]
    scores = {"ant": pool(4000), "bee": pool(12_000)}
    made = certify_groups(audits, scores, max_error=0.05, confidence=0.9)
    alone = {name: one.missing for name, one in made.groups.items()}
    assert made.threshold is None
    assert all(alone.values())
    assert made.missing == min(4 * (alone["ant"] or 0), math.ceil((alone["bee"] or 0) * 4 / 3))


def test_without_anything_there_is_nothing() -> None:
    made = certify_groups([], {}, max_error=0.05, confidence=0.9)
    assert made == certify([], [], max_error=0.05, confidence=0.9)
    assert made.threshold_of("") == math.inf


def test_all_promises_hold_together() -> None:
    """Three classes, one of them worse than promised and sure of it."""
    rng = np.random.default_rng(1)
    draws, confidence, max_error = 70, 0.7, 0.1
    rates = np.array([0.1, 0.09, 0.2])
    broken = alone = 0
    for _ in range(draws):
        scores, groups = rng.random(600), rng.integers(3, size=600)
        wrong = rng.random(600) < rates[groups]
        lot = rng.permutation(600)
        drawn, left = lot[:240], lot[240:]
        audits = [Audit(float(scores[k]), bool(wrong[k]), str(groups[k])) for k in drawn]
        tasks = {str(g): scores[left[groups[left] == g]].tolist() for g in range(3)}
        made = certify_groups(audits, tasks, max_error=max_error, confidence=confidence)
        alone += len(made.groups) == 3
        accepted = [scores[k] >= made.threshold_of(str(groups[k])) for k in left]
        broken += any(
            wrong[left[np.array(accepted) & (groups[left] == g)]].mean() > max_error
            for g in range(3)
            if made.threshold_of(str(g)) < math.inf
        )
    allowed = 1 - confidence
    assert alone > draws / 2
    assert broken / draws <= allowed + 2.5 * np.sqrt(allowed * confidence / draws)
