from __future__ import annotations

import numpy as np

from micro_models.certificates import Audit, certify, certify_groups


def clean(count: int, group: str) -> list[Audit]:
    return [Audit((k + 0.5) / count, wrong=False, group=group) for k in range(count)]


def pool(count: int) -> list[float]:
    return [k / count for k in range(count)]


def test_one_group_is_all() -> None:
    audits, scores = clean(120, "Käfer"), pool(900)
    made = certify_groups(audits, {"Käfer": scores}, max_error=0.02, confidence=0.9)
    assert made == {"Käfer": certify(audits, scores, max_error=0.02, confidence=0.9)}


def test_a_bad_class_does_not_spoil_a_good_one() -> None:
    bad = [
        Audit(audit.score, wrong=k % 2 == 0, group="蜂") for k, audit in enumerate(clean(99, ""))
    ]
    made = certify_groups(
        clean(99, "ant") + bad, {"ant": pool(500), "蜂": pool(500)}, max_error=0.05, confidence=0.9
    )
    assert (made["ant"].share, made["蜂"].threshold) == (1.0, None)
    assert made["蜂"].errors > 0


def test_small_groups_are_judged_together_and_share_what_is_left() -> None:
    audits = clean(200, "ant") + clean(40, "bee") + clean(40, "cat") + clean(10, "gone")
    scores = {"ant": pool(500), "bee": pool(300), "cat": pool(300), "new": pool(9), "none": []}
    made = certify_groups(audits, scores, max_error=0.05, confidence=0.9)
    assert list(made) == list(scores)
    assert made["ant"].audited == 200
    assert made["bee"] is made["cat"] is made["new"]
    assert (made["bee"].audited, made["bee"].accepted) == (80, 609)


def test_a_group_that_could_not_pass_alone_takes_no_part_of_delta() -> None:
    audits = clean(45, "ant") + clean(2, "bee")
    made = certify_groups(audits, {"ant": pool(90)}, max_error=0.05, confidence=0.9)
    assert made["ant"] == certify(clean(45, "ant"), pool(90), max_error=0.05, confidence=0.9)


def test_without_groups_there_is_nothing() -> None:
    assert certify_groups([], {}, max_error=0.05, confidence=0.9) == {}


def test_all_promises_hold_together() -> None:
    """Three classes, one of them worse than promised and sure of it."""
    rng = np.random.default_rng(1)
    draws, confidence, max_error = 70, 0.7, 0.1
    rates = np.array([0.1, 0.09, 0.2])
    broken = 0
    for _ in range(draws):
        scores, groups = rng.random(600), rng.integers(3, size=600)
        wrong = rng.random(600) < rates[groups]
        lot = rng.permutation(600)
        drawn, left = lot[:240], lot[240:]
        audits = [Audit(float(scores[k]), bool(wrong[k]), str(groups[k])) for k in drawn]
        tasks = {str(g): scores[left[groups[left] == g]].tolist() for g in range(3)}
        made = certify_groups(audits, tasks, max_error=max_error, confidence=confidence)
        broken += any(
            wrong[left[(groups[left] == int(group)) & (scores[left] >= one.threshold)]].mean()
            > max_error
            for group, one in made.items()
            if one.threshold is not None
        )
    allowed = 1 - confidence
    assert broken / draws <= allowed + 2.5 * np.sqrt(allowed * confidence / draws)
