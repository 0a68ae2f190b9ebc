"""What the status page shows of a review: read from the database, nothing computed but shares."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import numpy as np

from backends.review.estimating import Estimate, estimate
from backends.review.nouns import Line, Summary, Tally
from backends.review.store import ReviewStore
from micro_models.label_errors import ErrorKind

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
    # In one order whatever is answered: what people look at must not move.
    review = store.summary(project_key, unanswered=OPEN_SHOWN, answered=ANSWERED_SHOWN)
    if review is None:
        return None
    return ReviewPage(
        project_id=project_key.split(".")[0],
        key=project_key,
        made_at=datetime.fromtimestamp(review.made_at, UTC),
        judged=review.judged,
        suspects=review.suspects,
        cases=[_row(line, project_key, review) for line in review.lines],
        more=max(0, review.unanswered - OPEN_SHOWN),
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


def _row(line: Line, project_key: str, review: Summary) -> CaseRow:
    host = review.host
    link = f"{host.rstrip('/')}/projects/{project_key.split('.')[0]}/data?task={line.task_id}"
    details = f"task {line.task_id}"
    if line.kind is ErrorKind.LOW_IOU and line.iou is not None:
        details += f", IoU {line.iou:.2f}"
    if line.kind is ErrorKind.SPURIOUS and line.iou is not None:
        details += f", one thing labelled twice: IoU {line.iou:.2f} with another label"
    picture = f"../reviews/{quote(project_key)}/{line.id}.jpg?v={quote(review.version)}"
    return CaseRow(
        id=line.id,
        task_id=line.task_id,
        headline=line.headline,
        details=details,
        # A case keeps its id when another model suggests something else, a browser its picture.
        picture=picture,
        # What /setup told is a stranger's: a link must not run anything.
        task=link if host.startswith(("http://", "https://")) else "",
        answer="" if line.verdict is None else "wrong" if line.verdict else "right",
    )
