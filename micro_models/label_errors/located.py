"""Labels with a place: missing, spurious, low IoU, wrong; each with how probable that is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from micro_models.label_errors.evidence import Evidence, evidence, usual_overlap
from micro_models.label_errors.nouns import ErrorKind, LabelError
from micro_models.label_errors.ranking import Odds, odds_of
from micro_models.label_errors.rates import Values
from micro_models.label_errors.sightings import Scene, probabilities, twins

# So alike are two labels of one thing, unless things of their kind often are.
_TWIN = 0.7

Twin = tuple[int, float] | None


def located_errors(scenes: Sequence[Scene], *, point_px: float) -> list[LabelError]:
    """Of all scenes, each given region and each finding at most once, in no order."""
    told = probabilities(scenes)
    seen = [evidence(one, p) for one, p in zip(scenes, told, strict=True)]
    odds, usual = odds_of(scenes, seen, told), usual_overlap(scenes)
    doubles = [twins(one, point_px=point_px) for one in scenes]
    twin_odds = _twin_odds(doubles)
    errors: list[LabelError] = []
    for number, one in enumerate(scenes):
        judge = _Judge(one, seen[number], odds, number, usual)
        errors += judge.missing()
        for row, double in enumerate(doubles[number]):
            options = [*judge.given(row), *judge.twin(row, double, twin_odds)]
            errors.append(max(options, key=lambda error: error.score))
    return errors


@dataclass(frozen=True, eq=False)
class _Judge:
    """Of one scene what may be wrong with each region, in words too."""

    scene: Scene
    seen: Evidence
    odds: Odds
    number: int
    usual: Mapping[str, float]

    def missing(self) -> Iterator[LabelError]:
        """Findings that nobody labelled."""
        for at in np.flatnonzero(self.seen.away):
            region = self.scene.found[at]
            reason = f"the model finds a {region.label} here, and nobody labelled one"
            score = _probability(self.odds.missing[self.number][at])
            yield LabelError(
                ErrorKind.MISSING, self.scene.example, score, None, None, region, None, reason
            )

    def given(self, row: int) -> Iterator[LabelError]:
        """What may be wrong with a given region."""
        label = self.scene.given[row].label
        nothing = "finds nothing here" if self.seen.seen[row] <= 0 else "hardly sees it here"
        reason = f"the label says {label}, and the model {nothing}"
        yield self._error(ErrorKind.SPURIOUS, row, self.odds.spurious, None, reason)
        if (at := self.seen.better[row]) >= 0:
            usual = self.usual.get(label, 0.0)
            reason = f"IoU {self.scene.alike[row, at]:.0%} with what the model finds"
            reason += f"; usual for {label} is {usual:.0%}" if usual else ""
            yield self._error(ErrorKind.LOW_IOU, row, self.odds.low_iou, at, reason)
        if (at := self.seen.rival[row]) >= 0:
            reason = f"the label says {label}, and the model {self.scene.found[at].label}"
            yield self._error(ErrorKind.WRONG_LABEL, row, self.odds.wrong, at, reason)

    def twin(self, row: int, double: Twin, odds: float) -> Iterator[LabelError]:
        """The one of two labels of one thing that the model finds less."""
        if double is None or double[1] < _TWIN:
            return
        other, alike = double
        # Of two that are alike the second.
        if (self.seen.seen[row], -row) > (self.seen.seen[other], -other):
            return
        label = self.scene.given[row].label
        reason = f"IoU {alike:.0%} with another {label}: one thing labelled twice"
        error = self._error(
            ErrorKind.SPURIOUS, row, None, None, reason, odds * alike / (1.001 - alike)
        )
        yield replace(error, iou=float(alike))

    def _error(
        self,
        kind: ErrorKind,
        row: int,
        odds: Sequence[Values] | None,
        at: int | None,
        reason: str,
        twin_odds: float = 0.0,
    ) -> LabelError:
        scene = self.scene
        score = _probability(twin_odds if odds is None else float(odds[self.number][row]))
        suggested = None if at is None else scene.found[at]
        iou = None if at is None else float(scene.alike[row, at])
        place = scene.places[row]
        return LabelError(
            kind, scene.example, score, scene.given[row], place, suggested, iou, reason
        )


def _twin_odds(doubles: Sequence[Sequence[Twin]]) -> float:
    """How odd it is that two labels are so alike: 1, and less where it is usual."""
    every = [one for some in doubles for one in some]
    close = sum(one is not None and one[1] >= _TWIN for one in every)
    return min(0.02 * (len(every) + 50) / (close + 1), 1.0)


def _probability(odds: float) -> float:
    return float(odds / (1 + odds))
