"""The status page: what a person wants to know when nothing appears in Label Studio."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, select_autoescape

from backends.errors import LabelpilotError
from backends.interface import Project
from backends.jobs.tables import JobState
from backends.label_studio.config import describe_mapping
from backends.serving import curve
from backends.serving.learning import learning
from backends.serving.services import Services, parsed

PAGE = Environment(
    loader=PackageLoader("backends.serving", "templates"), autoescape=select_autoescape(["html"])
).get_template("status.html")

JOBS_SHOWN = 10
FAILURES_SHOWN = 5


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
    """The page as HTML."""
    known = services.projects.all()
    return PAGE.render(
        settings=services.settings,
        engine=services.engine.now(),
        engine_error=services.engine.error(),
        use=services.embeddings.use(),
        clicks=services.clicks,
        bulk=services.bulk,
        projects=[_project(services, one.key, one.host, one.label_config) for one in known],
        learning=learning(services.settings, services.micro.store, services.jobs, known),
        width=curve.WIDTH,
        height=curve.HEIGHT,
        jobs=[_job(services, job) for job in services.jobs.recent_jobs(JOBS_SHOWN)],
        requests=services.journal.requests(),
        problems=services.journal.problems(),
    )


def _project(services: Services, key: str, host: str, label_config: str) -> ProjectRow:
    try:
        project = Project(key, parsed(label_config))
        mapping = [str(line) for line in describe_mapping(project.config)]
        return ProjectRow(
            key,
            host,
            [*mapping, *services.yolo.describe(project, load=False)],
            list(services.copilot.check(project.config, load=False)),
        )
    except LabelpilotError as error:
        return ProjectRow(key, host, [], [str(error)])
    except Exception as error:  # noqa: BLE001 - one project must not take the page from all
        return ProjectRow(
            key, host, [], [f"its label config cannot be shown ({type(error).__name__})"]
        )


def _job(services: Services, job: JobState) -> JobRow:
    failures = [f"task {task}: {reason}" for task, reason in services.jobs.failures(job.id)]
    left_s = job.left_s if job.open else None
    left = "" if left_s is None else f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
    return JobRow(job, left, failures[:FAILURES_SHOWN])
