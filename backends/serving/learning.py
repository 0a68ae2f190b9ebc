"""What the status page tells of training on submit: read from the database, nothing computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from backends.jobs.tables import JobState, State
from backends.label_studio.projects import KnownProject
from backends.micro.acceptance import SECONDS
from backends.micro.nouns import Acceptance, ModelVersion, Shown, Standing, Step
from backends.micro.rivalry import has_earned
from backends.micro.store import MicroStore
from backends.serving.curve import Curve, curve
from backends.serving.drawing import color_of
from backends.settings import Settings

PROJECTS_SHOWN = 10  # in full; others in a line each
LINES_SHOWN = 100
VERSIONS_SHOWN = 5
OLDER_SHOWN = 25
CURVES_SHOWN = 3
MORE_CURVES_SHOWN = 12
REGIONS_NAMED = 6
TRAININGS_READ = 100
ASSUMPTION = (
    f"assuming {SECONDS['rectangle']:g} s for a box drawn by hand, {SECONDS['polygon']:g} s for an "
    f"outline or mask, {SECONDS['keypoint']:g} s for a point, {SECONDS['choices']:g} s for a class"
)


class Trainings(Protocol):
    """What is needed of background jobs."""

    def recent_trainings(self, limit: int = 20) -> Sequence[JobState]:
        """Open ones first, then the newest."""


@dataclass(frozen=True)
class TrainingRow:
    """A training that goes on: `spent` of its budget, 0..1, and the rest in words."""

    scope: str
    stage: str
    spent: float
    details: str


@dataclass(frozen=True)
class VersionRow:
    """A trained model as people read it; `is_better` is None where there was nothing to compare."""

    id: str
    scope: str
    at: datetime
    labels: int
    quality: str
    baseline: str
    f1: str
    rival: str
    fate: str
    why: str
    is_current: bool
    is_on_disk: bool


@dataclass(frozen=True)
class Named:
    """A region in a picture's caption: its colour there, label, and score in percent."""

    color: str
    label: str
    percent: int


@dataclass(frozen=True)
class PictureRow:
    """An uncertain task: the address of its drawn picture, and of itself in Label Studio."""

    task_id: int
    picture: str
    task: str
    certainty: str
    regions: list[Named]
    more: int


@dataclass(frozen=True)
class ProjectLearning:
    """All about one project's learning.

    `starts` says when training begins, `answers` who labels tasks, `note` what it waits for; `more`
    counts versions that are not listed.
    """

    id: str
    key: str
    host: str
    labels: str
    starts: str
    answers: str
    note: str
    failure: str
    training: TrainingRow | None
    versions: list[VersionRow]
    older: list[VersionRow]
    more: int
    curves: list[Curve]
    more_curves: list[Curve]
    accepted: str
    spared: str
    pictures: list[PictureRow]


@dataclass(frozen=True)
class Learning:
    """The section of the page: projects where something happened last come first."""

    projects: list[ProjectLearning]
    others: list[str]
    first_at: int
    assumption: str = ASSUMPTION

    @property
    def is_training(self) -> bool:
        """Whether something changes every second."""
        return any(project.training for project in self.projects)


def learning(
    settings: Settings, store: MicroStore, jobs: Trainings, known: Iterable[KnownProject]
) -> Learning:
    """What to show, from a few queries per project; loads no model and asks no Label Studio.

    Errors: `StateError`.
    """
    hosts = {project.key: project.host for project in known}
    standings = sorted(store.standings(), key=lambda one: (-one.touched_at, one.project_key))
    trainings: dict[str, JobState] = {}
    for job in jobs.recent_trainings(TRAININGS_READ):
        trainings.setdefault(job.project_key, job)
    projects, others = [], []
    for standing in standings[:PROJECTS_SHOWN]:
        try:
            projects.append(_project(settings, store, standing, hosts, trainings))
        except Exception as error:  # noqa: BLE001 - one project must not take the page from all
            others.append(f"{_name(standing)}: cannot be shown ({type(error).__name__})")
    rest = standings[PROJECTS_SHOWN : PROJECTS_SHOWN + LINES_SHOWN]
    others += [f"{_name(one)}: {_count(one.labels)}" for one in rest]
    return Learning(projects, others, settings.train_first_at)


def learning_gauges(store: MicroStore, jobs: Trainings) -> dict[str, float]:
    """For /metrics: models that answer, trainings, and of the model promoted last its quality."""
    current = store.all_current()
    trainings = [job for job in jobs.recent_trainings(TRAININGS_READ) if job.open]
    told = {"micro_models": float(len(current)), "trainings_open": float(len(trainings))}
    last = max(current, key=lambda one: one.promoted_at or 0.0, default=None)
    if last is not None and last.quality is not None:
        told["micro_quality"] = last.quality
    return told


def _project(
    settings: Settings,
    store: MicroStore,
    standing: Standing,
    hosts: Mapping[str, str],
    trainings: Mapping[str, JobState],
) -> ProjectLearning:
    key = standing.project_key
    host = hosts.get(key) or settings.label_studio_url or ""
    versions, accepted = store.versions(key), store.acceptance(key)
    rows = [_version(one) for one in versions[: VERSIONS_SHOWN + OLDER_SHOWN]]
    curves = _curves(versions)
    job = trainings.get(key)
    training = _training(standing.step, job) if job is not None and job.open else None
    current = sorted(one.id for one in versions if one.is_current)
    # What a training has counted is noted at its end; what it found is there before.
    labels = standing.labels if training is None else len(store.known(key))
    return ProjectLearning(
        id=_id(standing),
        key=key,
        host=host,
        labels=_count(labels),
        starts="" if current else _starts(settings, labels),
        answers=_answers([one for one in versions if one.is_current]),
        note=standing.note or _waits(settings, standing, is_training=training is not None),
        failure=standing.failure or _fault(job),
        training=training,
        versions=rows[:VERSIONS_SHOWN],
        older=rows[VERSIONS_SHOWN:],
        more=max(0, len(versions) - VERSIONS_SHOWN - OLDER_SHOWN),
        curves=curves[:CURVES_SHOWN],
        more_curves=curves[CURVES_SHOWN : CURVES_SHOWN + MORE_CURVES_SHOWN],
        accepted=_accepted(accepted),
        spared=_duration(accepted.seconds),
        pictures=[_picture(one, key, host, current) for one in store.captions(key)],
    )


def _training(step: Step | None, job: JobState) -> TrainingRow:
    if step is None:
        waits = "waits for its turn" if job.state is State.QUEUED else "under way"
        return TrainingRow("", job.note or waits, 0.0, "")
    details = [f"step {step.step}"] if step.step else []
    details += [] if step.loss is None else [f"loss {step.loss:.3f}"]
    if step.remaining_s is not None:
        details.append(f"about {_duration(step.remaining_s)} left")
    spent = min(1.0, max(0.0, step.spent))
    return TrainingRow(step.scope, step.stage, spent, ", ".join(details))


def _fault(job: JobState | None) -> str:
    """What ended the last training, where its backend could not say so itself."""
    return job.note if job is not None and job.state is State.FAILED else ""


def _starts(settings: Settings, labels: int) -> str:
    at = settings.train_first_at
    if not at:
        return "training is switched off: LABELPILOT_TRAIN_FIRST_AT is 0"
    return f"training starts at {at}" if labels < at else ""


def _answers(models: Sequence[ModelVersion]) -> str:
    if not models:
        return ""
    if has_earned(models):
        return "micro-models label the tasks that are left"
    return "YOLO labels the tasks that are left: it found more in what was held out (F1 below)"


def _waits(settings: Settings, standing: Standing, *, is_training: bool) -> str:
    if is_training or not settings.train_first_at or standing.changes <= standing.seen:
        return ""
    return "something changed: a training begins when nobody has submitted for a moment"


def _version(version: ModelVersion) -> VersionRow:
    promoted = version.promoted_at is not None
    fate = "current" if version.is_current else "promoted, replaced" if promoted else "not promoted"
    return VersionRow(
        id=version.id,
        scope=version.scope,
        at=datetime.fromtimestamp(version.made_at, UTC),
        labels=version.labels,
        quality=_share(version.quality),
        baseline=_share(version.baseline),
        f1=_share(version.f1),
        rival=_share(version.rival),
        fate=fate,
        why=version.why,
        is_current=version.is_current,
        is_on_disk=version.is_on_disk,
    )


def _curves(versions: Sequence[ModelVersion]) -> list[Curve]:
    """One for each scope, that with the newest version first."""
    scopes: dict[str, list[ModelVersion]] = {}
    for version in versions:
        scopes.setdefault(version.scope, []).append(version)
    drawn = (curve(of_one) for of_one in scopes.values())
    return [one for one in drawn if one is not None]


def _accepted(accepted: Acceptance) -> str:
    if not accepted.predicted:
        return ""
    share = accepted.unchanged / accepted.predicted
    return f"{accepted.unchanged} of {accepted.predicted} regions, {share * 100:.0f} %"


def _picture(shown: Shown, key: str, host: str, current: Sequence[str]) -> PictureRow:
    # A new model draws something else: the address changes, so that browsers may keep it long.
    by = "-".join(current)[:64]
    link = f"{host.rstrip('/')}/projects/{key.split('.')[0]}/data?task={shown.task_id}"
    best = sorted(shown.regions, key=lambda region: -region.score)
    labels = [region.label for region in shown.regions]
    return PictureRow(
        task_id=shown.task_id,
        picture=f"pictures/{quote(key)}/{shown.task_id}.jpg?by={by}",
        # What /setup told is a stranger's: a link must not run anything.
        task=link if host.startswith(("http://", "https://")) else "",
        certainty=_share(shown.score),
        regions=[
            Named(color_of(region.label, labels), region.label, round(region.score * 100))
            for region in best[:REGIONS_NAMED]
        ],
        more=max(0, len(best) - REGIONS_NAMED),
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _id(standing: Standing) -> str:
    return standing.project_key.split(".")[0]


def _name(standing: Standing) -> str:
    return f"project {_id(standing)}"


def _count(labels: int) -> str:
    return f"{labels} labelled task{'' if labels == 1 else 's'}"
