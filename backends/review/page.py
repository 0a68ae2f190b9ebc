"""What the status page shows of a review: read from the database, nothing computed but shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import numpy as np

from backends.review.estimating import Estimate, estimate
from backends.review.nouns import Case, Tally
from backends.review.store import ReviewStore

OPEN_SHOWN = 60
ANSWERED_SHOWN = 400
NOTES_SHOWN = 10


@dataclass(frozen=True)
class CaseRow:
    """A case as people see it: known ones look like all others.

    `picture` is relative to /projects/; `task` is its address in Label Studio, "" if unknown;
    `answer` is "wrong", "right" or "".
    """

    id: str
    task_id: int
    headline: str
    details: str
    picture: str
    task: str
    answer: str


@dataclass(frozen=True)
class ReviewPage:
    """A project's review: the next `cases` to answer and the last answered; `more` wait."""

    project_id: str
    key: str
    made_at: datetime
    judged: int
    suspects: int
    cases: list[CaseRow]
    more: int
    told: list[str]
    notes: list[str]


def page(store: ReviewStore, project_key: str) -> ReviewPage | None:
    """None where there was no review yet, or it was undone. Errors: `StateError`."""
    review = store.review(project_key)
    if review is None:
        return None
    rows = [_row(case, project_key, review.host) for case in review.cases]
    unanswered = [row for row in rows if not row.answer]
    # In one order whatever is answered: what people look at must not move.
    left_out = {row.id for row in unanswered[OPEN_SHOWN:]}
    left_out |= {row.id for row in [row for row in rows if row.answer][:-ANSWERED_SHOWN]}
    return ReviewPage(
        project_id=project_key.split(".")[0],
        key=project_key,
        made_at=datetime.fromtimestamp(review.made_at, UTC),
        judged=review.judged,
        suspects=sum(case.known is None for case in review.cases),
        cases=[row for row in rows if row.id not in left_out],
        more=max(0, len(unanswered) - OPEN_SHOWN),
        told=told(store.tally(project_key)),
        notes=list(review.notes[:NOTES_SHOWN]),
    )


def told(tally: Tally) -> list[str]:
    """Lines for people on what the answers say, corrected for the reviewer's own mistakes."""
    found = estimate(tally, rng=np.random.default_rng(0))
    if not (tally.real or tally.known_right or tally.known_wrong):
        return ["no case is answered yet"]
    lines = [f"{tally.called_wrong} of {tally.real} suspects answered were called wrong"]
    if found.errors is not None:
        value, low, high = found.errors
        lines.append(
            f"truly wrong among them: about {value:.0f} (95% interval {low:.0f} to {high:.0f}), "
            "corrected for the reviewer's own mistakes"
        )
    else:
        lines.append(
            "how many are truly wrong cannot be told yet: it takes more answers, known cases "
            "among them"
        )
    lines += _mistakes(found, tally)
    return lines


def _mistakes(found: Estimate, tally: Tally) -> list[str]:
    lines = []
    if found.false_yes is not None:
        lines.append(
            f"of {tally.known_right} right labels mixed in, {tally.false_yes} were called wrong: "
            f"{found.false_yes}"
        )
    if found.false_no is not None:
        lines.append(
            f"of {tally.known_wrong} errors mixed in, {tally.false_no} were called right: "
            f"{found.false_no}"
        )
    return lines


def _row(case: Case, project_key: str, host: str) -> CaseRow:
    one = case.suspect
    link = f"{host.rstrip('/')}/projects/{project_key.split('.')[0]}/data?task={one.task_id}"
    details = [f"task {one.task_id}"] + ([f"IoU {one.iou:.2f}"] if one.iou is not None else [])
    return CaseRow(
        id=one.id,
        task_id=one.task_id,
        headline=one.headline,
        details=", ".join(details),
        picture=f"../reviews/{quote(project_key)}/{one.id}.jpg",
        # What /setup told is a stranger's: a link must not run anything.
        task=link if host.startswith(("http://", "https://")) else "",
        answer="" if case.verdict is None else "wrong" if case.verdict else "right",
    )
