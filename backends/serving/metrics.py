"""What `/metrics` gives beside counted requests: read when somebody asks, never kept up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backends.jobs.figures import Figures, read_figures
from backends.jobs.tables import JobKind, State
from backends.micro.nouns import ModelVersion
from backends.sam.embeddings import CacheUse
from backends.sam.engine import EngineSlot
from backends.serving.bounded import Bounded
from backends.serving.work import Lane

_DATABASE_LIMIT_S = 1.0
_FOLDER_KEEP_S = 300.0  # a walk over many files
_ENDED = (State.DONE, State.FAILED)


@dataclass(frozen=True)
class Local:
    """What this process knows without asking anybody; every field is cheap to read."""

    use: Callable[[], CacheUse]
    engine: EngineSlot
    clicks: Lane
    opened: Lane
    bulk: Lane

    def families(self) -> Iterator[Metric]:
        """Of this process alone: sum over servers."""
        use = self.use()
        loaded, error = self.engine.now() is not None, self.engine.error()
        build = GaugeMetricFamily("labelpilot_build_info", "Always 1", labels=["version"])
        build.add_metric([installed_version("labelpilot")], 1)
        yield build
        yield _gauge("model_loaded", "Whether the model for clicks is there", float(loaded))
        yield _gauge("model_failed", "Whether it could not be loaded", float(error is not None))
        yield _gauge("clicks_pending", "Clicks in hand and in the queue", self.clicks.pending)
        yield _gauge("opened_pending", "The same of tasks just opened", self.opened.pending)
        yield _gauge("bulk_pending", "The same of other predictions", self.bulk.pending)
        yield _gauge("embeddings_in_memory", "Images whose embedding is in memory", use.images)
        yield _gauge("embedding_memory_bytes", "Memory that these take", use.memory_bytes)
        asked = CounterMetricFamily(
            "labelpilot_embeddings", "Embeddings asked for, by where they were", labels=["source"]
        )
        asked.add_metric(["memory"], use.memory_hits)
        asked.add_metric(["disk"], use.disk_hits)
        asked.add_metric(["computed"], use.computed)
        yield asked


class Metrics(Collector):
    """Everything that is read on a scrape. A scrape waits a second for the database at most.

    `current`: the micro-models that answer, of all projects.
    """

    def __init__(
        self,
        local: Local,
        database: sa.Engine,
        current: Callable[[], Iterable[ModelVersion]],
        *,
        media: Path,
    ) -> None:
        self._local, self._database, self._current = local, database, current
        self._stored = Bounded("metrics", self._read, limit_s=_DATABASE_LIMIT_S, keep_s=0.0)
        self._media = Bounded(
            "media-size", lambda: folder_bytes(media), limit_s=0.1, keep_s=_FOLDER_KEEP_S
        )
        self._media_bytes: int | None = None

    def collect(self) -> Iterator[Metric]:
        """All of it; what is in the database only where that answers."""
        yield from self._local.families()
        with suppress(TimeoutError, OSError):  # it is being measured: what it was
            self._media_bytes = self._media.answer()
        if self._media_bytes is not None:
            yield _gauge("media_cache_bytes", "Files of tasks on this disk", self._media_bytes)
        try:
            figures, current = self._stored.answer()
        except Exception:  # noqa: BLE001 - whatever it is: the rest is true
            yield _gauge("database_up", "Whether the database answers", 0)
            return
        yield _gauge("database_up", "Whether the database answers", 1)
        yield from _work(figures)
        yield from _models(current)

    def _read(self) -> tuple[Figures, list[ModelVersion]]:
        with self._database.connect() as connection:
            figures = read_figures(connection)
        return figures, list(self._current())


class DatabaseErrors:
    """Counts what the database could not do, whoever in this process asked for it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "labelpilot_database_errors",
            "Statements and connections that the database refused or lost",
            registry=registry,
        )
        sa.event.listen(sa.Engine, "handle_error", self._note)

    def close(self) -> None:
        """Count no more."""
        sa.event.remove(sa.Engine, "handle_error", self._note)

    def _note(self, context: sa.engine.ExceptionContext) -> None:
        # Of others, a row that is there already for one, the program makes something by itself.
        told = context.sqlalchemy_exception
        if isinstance(told, (sa.exc.OperationalError, sa.exc.InterfaceError)):
            self._count.inc()


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(path) / name).stat().st_size
            except OSError:
                continue  # somebody else removed it
    return total


def _work(figures: Figures) -> Iterator[Metric]:
    """Background work of all processes on the database: the same wherever it is asked."""
    by_kind: Mapping[JobKind, tuple[float, float, float]] = {
        kind: (one.jobs, one.tasks_left, one.oldest_s) for kind, one in figures.open.items()
    }
    for place, (name, about) in enumerate(
        [
            ("jobs_open", "Background jobs that go on"),
            ("job_tasks_left", "Listed tasks that these have to label"),
            ("job_oldest_seconds", "Age of the oldest of these"),
        ]
    ):
        yield _family(name, about, "kind", {kind: one[place] for kind, one in by_kind.items()})
    yield _gauge("job_tasks_failed", "Tasks that failed in the last hour", figures.failed)
    ended = {state: figures.ended.get(state) for state in _ENDED}
    yield _family(
        "trainings_ended",
        "Trainings that ended in the last hour",
        "state",
        {state: one.trainings if one else 0 for state, one in ended.items()},
    )
    yield _family(
        "training_seconds",
        "Mean time of these from being asked for to their end",
        "state",
        {state: one.seconds / one.trainings for state, one in ended.items() if one},
    )
    yield _family(
        "worker_heartbeat_age_seconds",
        "Time since a process that works in the background gave a sign of life",
        "worker",
        figures.heartbeats,
    )


def _models(current: list[ModelVersion]) -> Iterator[Metric]:
    yield _gauge("micro_models", "Models trained of annotations that answer", len(current))
    last = max(current, key=lambda one: one.promoted_at or 0.0, default=None)
    if last is not None and last.quality is not None:
        yield _gauge("micro_quality", "Quality of the one promoted last, 0..1", last.quality)


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"labelpilot_{name}", about, value=value)


def _family(name: str, about: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"labelpilot_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family
