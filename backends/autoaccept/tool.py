"""Accepting from its beginning to its end: audits, a certificate, annotations, spot checks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from backends.autoaccept.accepting import Accepted, accept, settle, take_back
from backends.autoaccept.desk import Desk
from backends.autoaccept.drawing import (
    count_predicted,
    count_unlabelled,
    draw_audits,
    hide,
    open_tasks,
    show,
)
from backends.autoaccept.judging import judged, judged_checks, people_said
from backends.autoaccept.nouns import Check, Fate, Issued, Judged, Terms
from backends.autoaccept.pool import Pool, read_pool
from backends.errors import BadRequest
from backends.label_studio.audits import Drawn, Withheld
from micro_models.certificates import (
    Audit,
    Certificate,
    Monitor,
    certify_groups,
    least_audits,
    spent,
)

Verdicts = dict[int, Audit]  # by task

# Not every audit lies above the threshold, nor is every one clean: so many times as many are drawn
# at first and later as have to be at least.
_FIRST, _SPARE = 2.0, 1.5
# With fewer of the tasks predicted that should be, the rest is still on its way.
_MOST_PREDICTED = 0.8


@dataclass(frozen=True)
class Watch:
    """Spot checks: how many people answered and how many of these were wrong; how many are open."""

    answered: int = 0
    wrong: int = 0
    open: int = 0
    evidence: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a run found and did. `certificate` is None while audits are still to be answered.

    `audits`: how many count, `open` of them not answered; `to_draw`: how many more are needed,
    `drawn` of them now. `min_iou`: as in `Terms`. `acceptable`: tasks at or above the threshold.
    `tab`: the id of the tab.
    """

    version: str
    audits: int
    open: int
    to_draw: int = 0
    drawn: int = 0
    certificate: Certificate | None = None
    id: str = ""
    min_iou: float = 0.5
    acceptable: int = 0
    accepted: Accepted = field(default_factory=Accepted)
    watch: Watch = field(default_factory=Watch)
    suspended: str = ""
    tab: int | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


class Autoaccept:
    """One run on one project, which has the lease."""

    def __init__(self, desk: Desk, terms: Terms, *, dry_run: bool) -> None:
        self._desk, self._terms, self._dry_run = desk, terms, dry_run
        self._key, self._store, self._book = desk.key, desk.store, desk.book

    def run(self) -> Outcome:
        """Draw audits, certify and accept, as far as it goes. Errors: `LabelpilotError`."""
        if not self._dry_run:
            settle(self._desk)
        watch, suspended = self._watched()
        drawn = self._drawn(Withheld.AUDIT)
        answers = people_said(self._desk, [one.task_id for one in drawn])
        if answers.gone and not self._dry_run:
            self._book.release(self._key, answers.gone)
        found = replace(
            Outcome(self._desk.version, len(drawn) - len(answers.gone), len(answers.open)),
            min_iou=self._terms.min_iou,
            watch=watch,
            suspended=suspended,
        )
        if not found.audits:
            late = self._late_again()
            if late:
                return self._told(replace(found, notes=tuple(late)))
            return self._more(found, self._at_first())
        if found.open:
            return self._more(found, 0)
        verdicts = judged(self._desk, answers, min_iou=self._terms.min_iou)
        return self._certified(found, drawn, verdicts)

    def _certified(self, found: Outcome, drawn: Sequence[Drawn], verdicts: Judged) -> Outcome:
        pool = self._pool()
        late = self._late(pool)
        notes = [*_unanswered(verdicts), *_newer(pool), *late]
        if late:
            return self._told(replace(found, notes=tuple(notes)))
        issued = self._in_force(drawn, verdicts)
        kept = _kept(drawn, verdicts)
        made = issued.certificate if issued else self._certificate(drawn, kept, pool)
        found = replace(found, certificate=made, id=issued.id if issued else "", notes=tuple(notes))
        if made.threshold is None:
            # What is drawn now is for the next look, which has less of delta.
            then = self._certificate(drawn, kept, pool, later=1)
            found = replace(found, certificate=replace(made, missing=then.missing, why=then.why))
            return self._more(found, math.ceil(_SPARE * (then.missing or 0)))
        ids = [
            one
            for one, score in pool.scores.items()
            if score >= made.threshold_of(pool.classes[one])
        ]
        found = replace(found, acceptable=len(ids))
        if self._dry_run or found.suspended:
            return self._told(found)
        issued = issued or self._issue(made, drawn, kept)
        above = [one for one, it in kept.items() if it.score >= made.threshold_of(it.group)]
        self._book.spend(self._key, above, issued.id)
        accepted = accept(self._desk, issued, self._terms, ids)
        vouch(self._desk)
        return self._told(replace(found, id=issued.id, accepted=accepted))

    def _certificate(
        self, drawn: Sequence[Drawn], kept: Verdicts, pool: Pool, *, later: int = 0
    ) -> Certificate:
        """Each model that the same audits are tried on is a look, and all looks share delta."""
        return certify_groups(
            list(kept.values()),
            pool.scores_by_class(),
            max_error=self._terms.max_error,
            confidence=self._terms.confidence,
            look=self._store.look(self._key, self._name(drawn, kept)) + later,
        )

    def _issue(self, made: Certificate, drawn: Sequence[Drawn], kept: Verdicts) -> Issued:
        self._store.withdraw(self._key)
        return self._store.issue(
            Issued(
                id=self._name(drawn, kept),
                project_key=self._key,
                version=self._desk.version,
                certificate=made,
                min_iou=self._terms.min_iou,
            )
        )

    def _in_force(self, drawn: Sequence[Drawn], verdicts: Judged) -> Issued | None:
        """What was issued for this model, these terms and verdicts: it is not tried twice."""
        for one in self._store.certificates(self._key):
            kept = _kept(drawn, verdicts, spent_on=one.id)
            if one.withdrawn_at is None and one.id == self._name(drawn, kept):
                return one
        return None

    def _name(self, drawn: Sequence[Drawn], kept: Verdicts) -> str:
        """Of a certificate: the same for the same model, terms and verdicts."""
        audits = [(one.task_id, one.drawn_at) for one in drawn if one.task_id in kept]
        said = [(task_id, round(one.score, 6), one.wrong) for task_id, one in kept.items()]
        terms = self._terms.max_error, self._terms.confidence, self._terms.min_iou
        parts = [self._key, self._desk.version, terms, sorted(audits), sorted(said)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def _more(self, found: Outcome, missing: int) -> Outcome:
        """Draw as many audits as are missing, within the bound."""
        bound = self._terms.most_audits - found.audits
        notes = list(found.notes)
        if missing > bound:
            notes.append(
                f"{missing} more audits are needed, and --audits {self._terms.most_audits} allows "
                f"{max(bound, 0)}"
            )
        count = max(min(missing, bound), 0)
        found = replace(found, to_draw=missing, notes=tuple(notes))
        if self._dry_run or not count:
            return self._told(found)
        ids = draw_audits(self._desk, count)
        if len(ids) < count:
            notes.append(f"only {len(ids)} tasks were left to draw audits from")
        found = replace(found, drawn=len(ids), audits=found.audits + len(ids))
        return self._told(replace(found, open=found.open + len(ids), notes=tuple(notes)))

    def _at_first(self) -> int:
        """How many audits to begin with. Errors: `BadRequest` where too few are allowed."""
        delta = spent(1 - self._terms.confidence, look=1)
        least = least_audits(self._terms.max_error, 1 - delta)
        if least > self._terms.most_audits:
            raise BadRequest(
                f"{self._terms.max_error:.3g} at {self._terms.confidence:.3g} needs at least "
                f"{least:,} clean audits, and --audits allows {self._terms.most_audits:,}",
                advice=f"give --audits {math.ceil(_FIRST * least)}, or a larger --max-error",
            )
        return min(math.ceil(_FIRST * least), self._terms.most_audits)

    def _watched(self) -> tuple[Watch, str]:
        """Spot checks up to now, and why accepting is suspended, "" if it is not."""
        standing = self._store.standing(self._key)
        checks = self._store.checks(self._key)
        checks = [one for one in checks if one.drawn_at >= standing.resumed_at]
        waiting = [one for one in checks if one.wrong is None]
        answers = people_said(self._desk, [one.task_id for one in waiting])
        issued = {one.id: one for one in self._store.certificates(self._key)}
        said = judged_checks(self._desk, waiting, answers, issued)
        # Who saw an answer says nothing of it, for or against.
        lost = [*answers.gone, *(one for one in answers.not_blind if one not in said)]
        if not self._dry_run:
            self._store.note_judged(self._key, said)
            self._store.drop_checks(self._key, lost)
            self._book.release(self._key, [*said, *lost])
        late = [replace(one, wrong=said[one.task_id]) for one in waiting if one.task_id in said]
        late.sort(key=lambda one: [*said].index(one.task_id))
        verdicts = [one for one in checks if one.wrong is not None] + late
        monitor = _monitor(verdicts, issued)
        watch = Watch(monitor.seen, monitor.wrong, len(answers.open), monitor.evidence)
        if standing.suspended or not monitor.alarm:
            return watch, standing.suspended
        promised = sorted({issued[one.certificate].certificate.max_error for one in verdicts})
        why = (
            f"of {watch.answered} spot checks {watch.wrong} were wrong: no longer believable at "
            + " and ".join(f"{one:.3g}" for one in promised)
        )
        if not self._dry_run:
            self._store.note(self._key, suspended=why)
            self._book.certify(self._key, None)
        return watch, why

    def _drawn(self, kind: Withheld) -> list[Drawn]:
        return [one for one in self._book.drawn(self._key) if one.kind is kind]

    def _pool(self) -> Pool:
        up_to = self._store.standing(self._key).audits_to
        apart = {one.task_id for one in self._book.drawn(self._key)}
        return read_pool(self._desk, up_to=up_to, apart=apart)

    def _late(self, pool: Pool) -> list[str]:
        """What is said where predictions of this version are still on their way."""
        withheld = len(open_tasks(self._desk))
        expected = (pool.unlabelled - withheld) * (1 - self._desk.blind_share)
        return self._few(len(pool.scores) + pool.newer, pool.unlabelled, expected)

    def _late_again(self) -> list[str]:
        """The same before audits are drawn anew: only what is predicted is drawn then."""
        if not self._store.certificates(self._key):
            return []
        unlabelled = count_unlabelled(self._desk)
        expected = unlabelled * (1 - self._desk.blind_share)
        return self._few(count_predicted(self._desk), unlabelled, expected)

    def _few(self, there: int, unlabelled: int, expected: float) -> list[str]:
        if there >= _MOST_PREDICTED * expected:
            return []
        return [
            f"of {unlabelled} unlabelled tasks {there} have a prediction of the present model: "
            "nothing is certified before most of the others have. Run labelpilot prelabel "
            f"--project {self._desk.project.id} --only-unlabelled; label, skip or delete what it "
            "cannot read"
        ]

    def _told(self, found: Outcome) -> Outcome:
        """With the tab, and noted for the page."""
        if self._dry_run:
            return found
        found = replace(found, tab=show(self._desk))
        noted = {**found.as_dict(), "at": self._store.now()}
        self._store.note(self._key, last=json.dumps(noted))
        return found


def vouch(desk: Desk) -> None:
    """What is accepted under certificates that hold may be learned from. Errors: `StateError`."""
    since = desk.store.standing(desk.key).resumed_at
    accepted = reversed(desk.store.log(desk.key, fate=Fate.ACCEPTED))  # the newest counts
    desk.book.certify(
        desk.key, {one.task_id: one.annotation_id or 0 for one in accepted if one.at >= since}
    )


def undo(desk: Desk) -> dict[Fate, int]:
    """Take all back: annotations that nobody changed, the tab, the fields; nothing is withheld.

    Labels of people stay, and are learned from. Errors: `LabelStudioError`, `StateError`.
    """
    desk.book.certify(desk.key, None)
    counts = take_back(desk)
    renew(desk)
    return counts


def renew(desk: Desk) -> None:
    """Forget audits and spot checks, and a suspension with them: the next run draws new audits.

    The tab and the fields go too. Errors: as `undo`.
    """
    desk.store.withdraw(desk.key)
    hide(desk)
    desk.book.release(desk.key)
    desk.store.drop_checks(desk.key, [one.task_id for one in desk.store.checks(desk.key)])
    now = desk.store.now()
    desk.store.forget_looks(desk.key)
    desk.store.note(desk.key, audits_to=0, suspended="", resumed_at=now, last="{}")


def _monitor(verdicts: Sequence[Check], issued: Mapping[str, Issued]) -> Monitor:
    """Each check is held against its own certificate, whatever was promised since."""
    promised = [issued[one.certificate].certificate for one in verdicts]
    if not promised:
        return Monitor(max_error=0.5)  # it has seen nothing
    delta = max(1 - one.confidence for one in promised)
    monitor = Monitor(promised[0].max_error, delta=delta)
    for check, one in zip(verdicts, promised, strict=True):
        monitor = monitor.after(bool(check.wrong), max_error=one.max_error)
    return monitor


def _kept(drawn: Sequence[Drawn], verdicts: Judged, *, spent_on: str = "") -> Verdicts:
    """What audits say that are not spent, or on this certificate alone."""
    ids = [one.task_id for one in drawn if one.spent_on in ("", spent_on)]
    return {one: verdicts.verdicts[one] for one in ids if one in verdicts.verdicts}


def _unanswered(verdicts: Judged) -> list[str]:
    notes = []
    if verdicts.unanswered:
        task_id, why = next(iter(verdicts.unanswered.items()))
        many = len(verdicts.unanswered)
        notes.append(f"the model does not answer {many} audits: task {task_id}: {why}")
    if verdicts.not_blind:
        notes.append(
            f"{len(verdicts.not_blind)} audits were made from a prediction, task "
            f"{verdicts.not_blind[0]} for one: they count as wrong"
        )
    return notes


def _newer(pool: Pool) -> list[str]:
    if not pool.newer:
        return []
    return [
        f"{pool.newer} tasks came after the audits were drawn, and are left out; "
        "--new-audits draws anew, from all"
    ]
