"""What is kept of background work, beside what DBOS keeps to hand it out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import sqlalchemy as sa

from backends.database import METADATA
from backends.interface import Project
from backends.label_studio.tasks import TaskFilter

LONGEST_DELAY_S = 900.0  # of a turn that waits

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("project_key", sa.String(64), nullable=False, index=True),
    sa.Column("version", sa.Text, nullable=False),
    # Of the label config: tells a changed one from a worker that lacks the model.
    sa.Column("config_digest", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False, server_default="prelabel"),
    # What the command asked for; NULL for the rest of a "Retrieve predictions" and for trainings.
    sa.Column("options", sa.Text),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("note", sa.Text, nullable=False, default=""),
    sa.Column("listed_to", sa.Integer, nullable=False, default=0),
    sa.Column("listed", sa.Integer, nullable=False, default=0),
    sa.Column("total", sa.Integer, nullable=False, default=0),
    sa.Column("stored", sa.Integer, nullable=False, default=0),
    sa.Column("skipped", sa.Integer, nullable=False, default=0),
    sa.Column("failed", sa.Integer, nullable=False, default=0),
    # Of those that were skipped: their predictions are withheld.
    sa.Column("blind", sa.Integer, nullable=False, server_default="0"),
    sa.Column("worked_s", sa.Float, nullable=False, default=0.0),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
)
# A turn is what one worker takes at a time: a job's listing, some tasks to label, or a training.
#
# - `attempt` counts workflows: DBOS does (turn, attempt) once. A turn that somebody must do anew
#   gets the next attempt and is NEW again. Two ways lead there: `put_back`, by the worker itself
#   (it stops, or what it needs is away), and `take_back`, by others when that worker is dead.
# - `owner` is who began it last. Whoever finds another one there has lost the turn, and notes
#   nothing any more.
# - `starts` counts beginnings without a task done since: those whose worker died. From the third
#   on the turn is halved, so that an image that kills workers is found alone. Progress, and a
#   `put_back`, set it to 0; a `take_back` leaves it.
# - `delays` counts the `put_back`s in a row that were for want of something (Label Studio, a model,
#   the database); each is longer than the one before, and after twenty the job ends.
# - `take_away` takes tasks out of a turn when they are done; the next worker does those left.
TURNS = sa.Table(
    "job_turns",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("job_id", sa.String(32), nullable=False, index=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("state", sa.String(8), nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("starts", sa.Integer, nullable=False, default=0),
    sa.Column("delays", sa.Integer, nullable=False, default=0),
    sa.Column("owner", sa.String(32)),
    sa.Column("not_before", sa.Float, nullable=False, default=0.0),
    # Turns are handed out in this order.
    sa.Column("made_at", sa.Float, nullable=False, server_default="0"),
)
TRAINING = "training"  # stands where jobs of predictions have a version
# The key keeps a task from being labelled twice at a time, whoever asks. A row goes when its task
# is done, in the same transaction that counts it. An open training has one row, of no task: by it,
# a project has one at a time.
TASKS = sa.Table(
    "job_tasks",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.String(32), nullable=False, index=True),
    sa.Column("turn_id", sa.String(32), nullable=False, index=True),
    # The order within a turn.
    sa.Column("position", sa.Integer, nullable=False, server_default="0"),
    # A `Sent`, noted before a prediction is sent: whoever finds it knows that one may still land.
    sa.Column("sent", sa.Integer, nullable=False, default=0),
    sa.Column("frames_done", sa.Integer, nullable=False, default=0),
    sa.Column("frames", sa.Integer, nullable=False, default=0),
)
# What models say of blind tasks, which Label Studio is not told.
UNSHOWN = sa.Table(
    "job_unshown",
    METADATA,
    sa.Column("project_key", sa.String(64), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
FAILURES = sa.Table(
    "job_failures",
    METADATA,
    sa.Column("job_id", sa.String(32), primary_key=True),
    sa.Column("task_id", sa.Integer, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("failed_at", sa.Float, nullable=False),
)
WORKERS = sa.Table(
    "job_workers",
    METADATA,
    sa.Column("executor_id", sa.String(200), primary_key=True),
    sa.Column("seen_at", sa.Float, nullable=False),
)


class State(StrEnum):
    """Where a job stands; the first two are open, the others final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


OPEN = (State.QUEUED, State.RUNNING)


class JobKind(StrEnum):
    """What a job is for: tasks that somebody asked for, a new version everywhere, a training."""

    PRELABEL = "prelabel"
    REFRESH = "refresh"
    TRAIN = "train"


class TurnKind(StrEnum):
    """What a turn does; FIRST labels what goes before all else of its job, its listing too."""

    LIST = "list"
    LABEL = "label"
    FIRST = "first"
    TRAIN = "train"


class Sent(IntEnum):
    """How a prediction of a task was sent: of its own, or in the place of an older one.

    The first may be doubled if it is sent again before it has landed, the second never is.
    """

    NO = 0
    ADDED = 1
    IN_PLACE = 2


class TurnState(StrEnum):
    """`NEW` waits to be handed to DBOS's queue, `SENT` was, `DONE` needs nothing more."""

    NEW = "new"
    SENT = "sent"
    DONE = "done"


@dataclass(frozen=True)
class PrelabelOptions:
    """Which tasks of a project to label, and what becomes of their older predictions.

    `replace`: new predictions take the place of those of earlier versions of the same backend;
    `limit` counts tasks without a prediction of the present version, in id order.
    """

    tasks: TaskFilter = field(default_factory=TaskFilter)
    replace: bool = False
    limit: int | None = None

    def text(self) -> str:
        """The same for the same options: by it an unfinished job is found again."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> PrelabelOptions:
        """What `text` wrote."""
        value = json.loads(text)
        tasks = value["tasks"] | {"items": tuple(value["tasks"]["items"])}
        return cls(TaskFilter(**tasks), value["replace"], value["limit"])


@dataclass(frozen=True)
class Clip:
    """A video that is being tracked: frames done, and frames in all."""

    task_id: int
    done: int
    frames: int


@dataclass(frozen=True)
class JobState:
    """A job for people. `note` says what it waits for, or why it ended otherwise than done.

    A training has no tasks, and no version that anything is stored under.
    `total` is an estimate until `listed`. `skipped` were labelled already, are gone, or had nothing
    to store; `blind` of them are served without prediction. Times are seconds since 1970; `rate` is
    tasks per second, 0 before the first.
    """

    id: str
    project_key: str
    kind: JobKind
    version: str
    config_digest: str
    options: PrelabelOptions | None
    state: State
    note: str
    listed: bool
    total: int
    stored: int
    skipped: int
    failed: int
    rate: float
    created_at: float
    updated_at: float
    finished_at: float | None
    clips: tuple[Clip, ...] = ()
    blind: int = 0

    @property
    def project_id(self) -> int:
        """The project's id in Label Studio."""
        return int(self.project_key.split(".")[0])

    @property
    def finished(self) -> int:
        """Tasks that need nothing more."""
        return self.stored + self.skipped + self.failed

    @property
    def left_s(self) -> float | None:
        """About how long it still takes; None when nobody knows."""
        return (self.total - self.finished) / self.rate if self.rate else None

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.state in OPEN


@dataclass(frozen=True)
class Turn:
    """A turn that a worker holds, until another one has taken it over (`owner` tells)."""

    id: str
    kind: TurnKind
    owner: str
    starts: int
    delays: int
    job: JobState


def family(version: str) -> str:
    """Which backend a version is of: "yolo" for "yolo-3f5a..."."""
    return version.rpartition("-")[0]


def config_digest(project: Project) -> str:
    """A hash of its label config."""
    return hashlib.blake2b(project.config.text.encode(), digest_size=16).hexdigest()


def job_state(row: sa.Row[Any], clips: tuple[Clip, ...] = ()) -> JobState:
    """A row of `JOBS` as a noun."""
    finished = row.stored + row.skipped + row.failed
    return JobState(
        id=row.id,
        project_key=row.project_key,
        kind=JobKind(row.kind),
        version=row.version,
        config_digest=row.config_digest,
        options=PrelabelOptions.read(row.options) if row.options else None,
        state=State(row.state),
        note=row.note,
        listed=bool(row.listed),
        total=max(row.total, finished),
        stored=row.stored,
        skipped=row.skipped,
        failed=row.failed,
        rate=finished / row.worked_s if row.worked_s else 0.0,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        clips=clips,
        blind=row.blind,
    )
