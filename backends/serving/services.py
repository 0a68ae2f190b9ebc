"""Wires every object of the server, in one place."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from backends.artifacts import open_artifacts
from backends.copilot.model import Copilot
from backends.database import close_database, open_database
from backends.errors import BadLabelConfig, BadRequest, Damaged, StateError
from backends.interface import Backend, LabelConfig, Prelabeller, Project, Task
from backends.jobs.jobs import Jobs
from backends.label_studio.audits import AuditBook
from backends.label_studio.blind import Blindfold
from backends.label_studio.client import LabelStudios, next_tasks
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.media import MediaStore
from backends.label_studio.projects import ProjectBook
from backends.logs import Threads
from backends.micro.model import MicroBackend
from backends.sam.embeddings import EmbeddingCache
from backends.sam.engine import EngineSlot, LoadEngine, load_engine
from backends.sam.model import NextTasks, SamBackend
from backends.sam.others import Others
from backends.sam.prompt_store import PromptStore
from backends.serving.journal import Journal, Told
from backends.serving.metrics import DatabaseErrors, Local, Metrics
from backends.serving.pictures import Pictures
from backends.serving.project_page import ToolStores
from backends.serving.readiness import (
    Readiness,
    artifacts_check,
    database_check,
    folder_check,
    model_check,
)
from backends.serving.reviewing import Reviewing
from backends.serving.work import Lane
from backends.settings import Settings
from backends.yolo.model import YoloBackend

MEGABYTE = 1_000_000
# Longer than this nobody looks at a picture and hopes.
CLICK_WAITS_S = 4.0
# A bulk request may take all of Label Studio's patience; two at a time leave cores for clicks.
BULK_THREADS, BULK_NICE = 2, 10
# Somebody waits for the task, too, yet not as for a click.
OPENED_THREADS, OPENED_NICE = 2, 5
# Label Studio waits a second for a webhook, and never sends it again.
EVENT_THREADS = 2


@dataclass(frozen=True)
class Services:
    """Everything that a request may need."""

    settings: Settings
    projects: ProjectBook
    studios: LabelStudios
    images: MediaStore
    engine: EngineSlot
    embeddings: EmbeddingCache
    sam: SamBackend
    yolo: YoloBackend
    micro: MicroBackend
    copilot: Copilot
    audits: AuditBook
    blindfold: Blindfold
    jobs: Jobs
    journal: Journal
    told: Told
    clicks: Lane
    opened: Lane
    bulk: Lane
    events: Threads
    pictures: Pictures
    tools: ToolStores
    reviewing: Reviewing
    database: sa.Engine
    database_errors: DatabaseErrors
    readiness: Readiness

    @property
    def backends(self) -> tuple[Backend, ...]:
        """What is served, the one URL that does everything first."""
        return (self.copilot, self.sam, self.yolo, self.micro)

    def project(self, key: str, label_config: str | None) -> Project:
        """A project with its label config: the request's own, else what /setup brought.

        Errors: `BadRequest` if neither is there, `BadLabelConfig`.
        """
        if label_config is None:
            known = self.projects.get(key)
            if known is None:
                raise BadRequest(
                    f"project {key} is unknown and the request carries no label_config",
                    advice="open the project's Settings > Model once, so that it calls /setup",
                )
            label_config = known.label_config
        return Project(key, parsed(label_config))

    def start(self) -> None:
        """Load the model for clicks, and work in the background from now on; returns at once."""
        self.engine.start()
        self.jobs.start()
        self.micro.start()

    def close(self) -> None:
        """Stop threads; what is being computed is finished."""
        logging.getLogger().removeHandler(self.journal)
        self.micro.close()
        self.jobs.close()
        self.sam.close()
        self.clicks.close()
        self.opened.close()
        self.bulk.close()
        self.events.shutdown()
        self.pictures.close()
        self.reviewing.close()
        self.tools.close()
        self.images.close()
        self.studios.close()
        self.audits.close()
        self.projects.close()
        self.database_errors.close()
        close_database(self.database)


def parsed(label_config: str) -> LabelConfig:
    """A label config, parsed once. Errors: `BadLabelConfig`."""
    found = _parsed(label_config)
    if isinstance(found, BadLabelConfig):
        raise BadLabelConfig(found.message, advice=found.advice)
    return found


@lru_cache(maxsize=64)
def _parsed(label_config: str) -> LabelConfig | BadLabelConfig:
    """What is wrong is remembered too: to find it may take a second, and each page view asks."""
    try:
        return parse_label_config(label_config)
    except BadLabelConfig as error:
        return BadLabelConfig(error.message, advice=error.advice)


def check_state(settings: Settings) -> None:
    """Make sure that state can be kept. Errors: `StateError` naming the folder or database."""
    try:
        settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=settings.data_path):
            pass
    except OSError as error:
        raise StateError(
            f"the data folder {settings.data_path} cannot be used: {error.strerror}",
            advice="set LABELPILOT_DATA_DIR to a folder that this user may write to",
        ) from error
    try:
        ProjectBook(settings).all()
    except Damaged:
        raise
    except (StateError, SQLAlchemyError, ImportError, ValueError) as error:
        raise StateError(
            f"the database cannot be opened ({type(error.__cause__ or error).__name__})",
            advice="correct LABELPILOT_DATABASE_URL, or leave it out to use SQLite; a Postgres "
            "URL needs its driver installed",
        ) from error


def make_services(settings: Settings, load: LoadEngine = load_engine) -> Services:
    """Build the server's objects; the model loads on in the background."""
    projects = ProjectBook(settings)
    studios = LabelStudios(settings, projects)
    engine = EngineSlot(settings, load)
    embeddings = _embeddings(settings)
    images = MediaStore(settings, studios)
    sam = _sam(settings, studios, images, engine, embeddings)
    audits = AuditBook(settings)
    blindfold = Blindfold(settings.blind_share, audits.blind)
    yolo = YoloBackend(settings=settings, images=images, videos=images, blindfold=blindfold)
    micro = MicroBackend(
        settings=settings,
        images=images,
        videos=images,
        studios=studios,
        projects=projects,
        rival=yolo,
        blindfold=blindfold,
    )
    jobs = _jobs(settings, studios, projects, yolo, micro, blindfold)
    clicks = Lane(
        "click",
        threads=settings.workers,
        queue_length=settings.queue_length,
        longest_wait_s=CLICK_WAITS_S,
    )
    opened = Lane(
        "opened", threads=OPENED_THREADS, queue_length=settings.queue_length, nice=OPENED_NICE
    )
    bulk = Lane("bulk", threads=BULK_THREADS, queue_length=settings.queue_length, nice=BULK_NICE)
    tools = ToolStores.of(settings)
    database = open_database(settings)
    journal = Journal()
    local = Local(embeddings.use, engine, clicks, opened, bulk)
    media = settings.data_path / "media"
    journal.registry.register(Metrics(local, database, micro.store.all_current, media=media))
    logging.getLogger().addHandler(journal)
    return Services(
        settings=settings,
        projects=projects,
        studios=studios,
        images=images,
        engine=engine,
        embeddings=embeddings,
        sam=sam,
        yolo=yolo,
        micro=micro,
        copilot=Copilot(segmenter=sam, prelabellers=[micro, yolo]),
        audits=audits,
        blindfold=blindfold,
        jobs=jobs,
        journal=journal,
        told=Told(),
        clicks=clicks,
        opened=opened,
        bulk=bulk,
        events=Threads(EVENT_THREADS, thread_name_prefix="event"),
        pictures=Pictures(micro.store, images, studios, projects),
        tools=tools,
        reviewing=Reviewing(tools.review, images, studios),
        database=database,
        database_errors=DatabaseErrors(journal.registry),
        readiness=_readiness(settings, engine, database),
    )


def _readiness(settings: Settings, engine: EngineSlot, database: sa.Engine) -> Readiness:
    checks = {
        "models": model_check(engine),
        "database": database_check(database),
        "store": folder_check(settings.data_path),
    }
    if (artifacts := open_artifacts(settings)) is not None:
        checks["shared store"] = artifacts_check(artifacts)
    return Readiness(checks)


def _embeddings(settings: Settings) -> EmbeddingCache:
    return EmbeddingCache(
        settings.data_path / "embeddings",
        memory_bytes=settings.embedding_memory_mb * MEGABYTE,
        disk_bytes=settings.embedding_disk_mb * MEGABYTE,
        artifacts=open_artifacts(settings),
    )


def _sam(
    settings: Settings,
    studios: LabelStudios,
    images: MediaStore,
    engine: EngineSlot,
    embeddings: EmbeddingCache,
) -> SamBackend:
    return SamBackend(
        engine=engine,
        images=images,
        embeddings=embeddings,
        next_tasks=_following(studios, settings.prefetch_tasks),
        polygon_tolerance_px=settings.polygon_tolerance_px,
        others=Others(PromptStore(settings)),
    )


def _jobs(
    settings: Settings,
    studios: LabelStudios,
    projects: ProjectBook,
    yolo: YoloBackend,
    micro: MicroBackend,
    blindfold: Blindfold,
) -> Jobs:
    """Background work of both pre-labellers; trainings too, unless they are switched off."""
    prelabellers: dict[str, Prelabeller] = {yolo.name: yolo, micro.name: micro}
    jobs = Jobs(settings, studios, projects, prelabellers, blindfold=blindfold)
    yolo.background = micro.background = jobs
    if settings.train_first_at:
        jobs.learner = micro
    return jobs


def _following(studios: LabelStudios, limit: int) -> NextTasks:
    """The next tasks in the project's order, as many as are embedded ahead."""

    def following(project: Project, task: Task) -> Sequence[Task]:
        if limit == 0 or task.id is None:
            return []
        found = next_tasks(studios.sdk(project.key), project.id, after_id=task.id, limit=limit)
        return [Task(task_id, data) for task_id, data in found]

    return following
