"""The status page: what a person wants to know when nothing appears in Label Studio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from backends.errors import LabelpilotError
from backends.interface import Project
from backends.jobs.tables import JobState
from backends.label_studio.config import describe_mapping
from backends.label_studio.projects import KnownProject
from backends.serving import curve
from backends.serving.learning import Sources, learning
from backends.serving.opened import opened
from backends.serving.services import Services, parsed
from backends.serving.templating import TEMPLATES

JOBS_SHOWN = 10
FAILURES_SHOWN = 5
T = TypeVar("T")


@dataclass(frozen=True)
class ProjectRow:
    """One project: what prompts and pictures become, and what to mend in its label config."""

    key: str
    host: str
    mapping: list[str]
    problems: list[str]


@dataclass(frozen=True)
class JobRow:
    """A background job, and why its first failed tasks failed."""

    job: JobState
    left: str
    failures: list[str]


def status_page(services: Services) -> str:
    """The page as HTML; what cannot be read is said to be so, and is not shown as empty."""
    faults: list[str] = []
    known = _read(services.projects.all, faults)
    return TEMPLATES.get_template("status.html").render(
        root="",
        settings=services.settings,
        engine=services.engine.now(),
        engine_error=services.engine.error(),
        use=services.embeddings.use(),
        clicks=services.clicks,
        bulk=services.bulk,
        projects=known and [_project(services, one) for one in known],
        learning=_read(lambda: learning(_sources(services, known or [])), faults),
        width=curve.WIDTH,
        height=curve.HEIGHT,
        jobs=_read(lambda: _jobs(services), faults),
        requests=services.journal.requests(),
        problems=services.journal.problems(),
        fault="; ".join(dict.fromkeys(faults)),
    )


def _read(read: Callable[[], T], faults: list[str]) -> T | None:
    """What is read; None, and why, where it cannot be."""
    try:
        return read()
    except LabelpilotError as error:
        faults.append(str(error))
    except Exception as error:  # noqa: BLE001 - the rest of the page is true all the same
        faults.append(f"the database cannot be read ({type(error).__name__})")
    return None


def _sources(services: Services, known: list[KnownProject]) -> Sources:
    return Sources(
        settings=services.settings,
        store=services.micro.store,
        jobs=services.jobs,
        known=known,
        parsed=parsed,
        serves=lambda project: services.micro.serving_version(project) is not None,
    )


def _project(services: Services, known: KnownProject) -> ProjectRow:
    try:
        project = Project(known.key, parsed(known.label_config))
        prompts = [str(line) for line in describe_mapping(project.config)]
        findings = services.copilot.check(project.config, load=False)
        mapping, problems = opened(services, project, findings, load=False)
        return ProjectRow(known.key, known.host, [*prompts, *mapping], problems)
    except LabelpilotError as error:
        return ProjectRow(known.key, known.host, [], [str(error)])
    except Exception as error:  # noqa: BLE001 - one project must not take the page from all
        problem = f"its label config cannot be shown ({type(error).__name__})"
        return ProjectRow(known.key, known.host, [], [problem])


def _jobs(services: Services) -> list[JobRow]:
    return [_job(services, job) for job in services.jobs.recent_jobs(JOBS_SHOWN)]


def _job(services: Services, job: JobState) -> JobRow:
    failures = [f"task {task}: {reason}" for task, reason in services.jobs.failures(job.id)]
    left_s = job.left_s if job.open else None
    left = "" if left_s is None else f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
    return JobRow(job, left, failures[:FAILURES_SHOWN])
