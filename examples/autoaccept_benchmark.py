"""Is what a certificate promises kept, and what does it cost?

    python examples/autoaccept_benchmark.py [--draws 300] [--quick] [--json figures.json]

The 1,797 digits of scikit-learn. In each draw 400 by lot train a classifier, some of the rest are
audited by lot, and what scores high among the others, the pool, is accepted. The promise is broken
if more than the target of the accepted ones is wrong, counted on these very ones: with delta 10% it
may be in a tenth of the draws. Beside it the naive rule, the loosest threshold above which the
audits' share of errors meets the target, and Learn-then-Test of MAPIE with its binomial-type
(Hoeffding-Bentkus) p-values on the same thresholds; it and "one look only" have all of delta for a
single look, while the certificate is the first look of several.

The classifier is a soft vote of extra-trees and of a support vector machine that also saw shifted
and turned copies of its digits; the score is the vote's share for the class. `--model trees` is
extra-trees alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import rotate, shift
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.svm import SVC

from micro_models.certificates import Audit, certify
from micro_models.certificates.ladder import ladder

Values = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rule = Callable[[list[Audit], Values, float], float | None]

TRAINED_ON = 400
CONFIDENCE = 0.9
# (target, audits, the accepted share in percent that has to be reached)
SETTINGS = (
    (0.05, 100, 59),
    (0.05, 300, 72),
    (0.02, 300, 78),
    (0.01, 300, 34),
    (0.01, 800, 76),
    (0.005, 800, 79),
)
_MOVES_PX = ((0.6, 0.0), (-0.6, 0.0), (0.0, 0.6), (0.0, -0.6))
_TURNS_DEG = (-12, 12)


@dataclass(frozen=True)
class Answers:
    """(n,) what the classifier, which saw none of them, makes of the digits left: score, wrong."""

    scores: Values
    wrong: Bools


@dataclass(frozen=True)
class Figures:
    """Of one rule in one setting, over all draws: shares 0..1."""

    target: float
    audits: int
    rule: str
    broken: float
    accepted: float
    none: float


def copies(digits: Values) -> Values:
    """(n, 64) -> (7 n, 64): as they are, shifted four ways, turned two ways."""
    images = digits.reshape(-1, 8, 8)
    moved = [shift(images, (0, *by), order=1) for by in _MOVES_PX]
    turned = [rotate(images, by, axes=(2, 1), reshape=False, order=1) for by in _TURNS_DEG]
    return np.concatenate([images, *moved, *turned]).reshape(-1, 64)


def svm_shares(machine: SVC, digits: Values) -> Values:
    """(n, 64) -> (n, 10): the softmax of how many of its rivals each digit beats, and how far."""
    duels = np.clip(machine.decision_function(digits), -1, 1)
    votes = np.zeros((len(digits), 10))
    for column, (one, other) in enumerate((i, j) for i in range(10) for j in range(i + 1, 10)):
        votes[:, one] += duels[:, column]
        votes[:, other] -= duels[:, column]
    powers = np.exp(votes - votes.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def answers(model: str, rng: Generator, *, trees: int = 300) -> Answers:
    """Train on digits by lot, answer the others."""
    digits, labels = load_digits(return_X_y=True)
    digits = digits / 16
    lot = rng.permutation(len(labels))
    learned, left = lot[:TRAINED_ON], lot[TRAINED_ON:]
    seed = int(rng.integers(2**31))
    forest = ExtraTreesClassifier(trees, random_state=seed)
    shares = forest.fit(digits[learned], labels[learned]).predict_proba(digits[left])
    if model == "vote":
        machine = SVC(C=10, gamma="scale", decision_function_shape="ovo")
        machine.fit(copies(digits[learned]), np.tile(labels[learned], 7))
        shares = (shares + svm_shares(machine, digits[left])) / 2
    return Answers(shares.max(1), shares.argmax(1) != labels[left])


def certified(audits: list[Audit], pool: Values, target: float) -> float | None:
    """Ours, as `labelpilot autoaccept` asks it: the first of several looks."""
    made = certify(audits, list(pool), max_error=target, confidence=CONFIDENCE, look=1)
    return made.threshold


def only_look(audits: list[Audit], pool: Values, target: float) -> float | None:
    """Ours with all of delta, for who looks once and never again."""
    made = certify(audits, list(pool), max_error=target, confidence=CONFIDENCE)
    return made.threshold


def naive(audits: list[Audit], pool: Values, target: float) -> float | None:
    """The loosest threshold above which the audits' share of errors is at most the target."""
    steps = ladder(audits, list(pool))
    good = np.flatnonzero((steps.audited > 0) & (steps.errors <= target * steps.audited))
    return float(steps.thresholds[good[-1]]) if len(good) else None


def mapie(audits: list[Audit], pool: Values, target: float) -> float | None:
    """Learn-then-Test by MAPIE's own parts: its p-values and its fixed sequence.

    MAPIE leaves to its user where a sequence starts: here where all audits clean would pass.
    """
    from mapie.risk_control.fwer_control import control_fwer
    from mapie.risk_control.methods import compute_hoeffding_bentkus_p_value

    steps = ladder(audits, list(pool))
    expected = len(audits) * steps.share
    start = int(np.argmax((1 - target) ** (expected - 1.28 * np.sqrt(expected)) <= 1 - CONFIDENCE))
    seen = np.maximum(steps.audited[start:], 1).astype(np.float64)
    rates = steps.errors[start:] / seen
    p = compute_hoeffding_bentkus_p_value(rates, seen, target, binary=True)[:, 0]
    passed = control_fwer(p, 1 - CONFIDENCE, "fixed_sequence")
    return float(steps.thresholds[start + passed[-1]]) if len(passed) else None


RULES: dict[str, Rule] = {
    "certificate": certified,
    "one look only": only_look,
    "MAPIE's LTT": mapie,
    "naive": naive,
}


def outcome(
    rule: Rule, made: Answers, target: float, drawn: NDArray[np.int64]
) -> tuple[float, bool]:
    """The accepted share of the pool, and whether more of it is wrong than promised."""
    audited = np.zeros(len(made.scores), np.bool_)
    audited[drawn] = True
    audits = [Audit(float(made.scores[k]), bool(made.wrong[k])) for k in drawn]
    threshold = rule(audits, made.scores[~audited], target)
    if threshold is None:
        return 0.0, False
    accepted = ~audited & (made.scores >= threshold)
    wrong = int(made.wrong[accepted].sum())
    return float(accepted.sum() / (~audited).sum()), wrong > target * accepted.sum() + 1e-9


def benchmark(model: str, *, draws: int, trees: int, seed: int) -> list[Figures]:
    """Every rule in every setting, on the same draws."""
    outcomes: dict[tuple[float, int, str], list[tuple[float, bool]]] = {}
    for draw in track(range(draws), "drawing", transient=True):
        made = answers(model, np.random.default_rng([seed, draw]), trees=trees)
        rng = np.random.default_rng([seed, draw, 1])
        for target, audits, _ in SETTINGS:
            drawn = rng.choice(len(made.scores), audits, replace=False)
            for name, rule in RULES.items():
                key = (target, audits, name)
                outcomes.setdefault(key, []).append(outcome(rule, made, target, drawn))
    return [
        Figures(
            *key,
            broken=float(np.mean([broken for _, broken in some])),
            accepted=float(np.mean([share for share, _ in some])),
            none=float(np.mean([share == 0 for share, _ in some])),
        )
        for key, some in outcomes.items()
    ]


def table(figures: list[Figures]) -> Table:
    """As people read it."""
    bars = {(target, audits): bar for target, audits, bar in SETTINGS}
    result = Table("at most wrong", "audits", "rule", "broken", "accepted", "to reach", "nothing")
    for one in figures:
        is_ours = one.rule in ("certificate", "one look only")
        bar = f"{bars[one.target, one.audits]}%" if is_ours else ""
        shares = (f"{one.broken:.1%}", f"{one.accepted:.1%}", bar, f"{one.none:.0%}")
        result.add_row(f"{one.target:.1%}", str(one.audits), one.rule, *shares)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--model", choices=("vote", "trees"), default="vote")
    parser.add_argument("--quick", action="store_true", help="few draws of a small forest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    draws, trees = (8, 40) if asked.quick else (asked.draws, 300)
    figures = benchmark(
        "trees" if asked.quick else asked.model, draws=draws, trees=trees, seed=asked.seed
    )
    Console().print(table(figures))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in figures], indent=1))


if __name__ == "__main__":
    main()
