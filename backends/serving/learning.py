"""What the status page tells of training on submit: read from the database, nothing computed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from backends.errors import BadLabelConfig
from backends.interface import LabelConfig, Project
from backends.jobs.tables import JobState, State
from backends.label_studio.projects import KnownProject
from backends.micro.acceptance import SECONDS
from backends.micro.nouns import Acceptance, ModelVersion, Shown, Standing, Step
from backends.micro.scopes import fills
from backends.micro.store import MicroStore
from backends.serving.answering import who_answers
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


@dataclass(frozen=True)
class Sources:
    """What the section is read from; `parsed` and `serves` raise `LabelpilotError`.

    `serves`: whether micro-models answer for a project.
    """

    settings: Settings
    store: MicroStore
    jobs: Trainings
    known: Sequence[KnownProject]
    parsed: Callable[[str], LabelConfig]
    serves: Callable[[Project], bool]

    def project(self, key: str) -> Project | None:
        """None where `/setup` named none of this key, or its label config cannot be read."""
        one = next((one for one in self.known if one.key == key), None)
        try:
            return Project(key, self.parsed(one.label_config)) if one is not None else None
        except BadLabelConfig:
            return None

    def host(self, key: str) -> str:
        """Where its Label Studio is, for links."""
        told = next((one.host for one in self.known if one.key == key), "")
        return told or self.settings.label_studio_url or ""


def learning(sources: Sources) -> Learning:
    """What to show, from a few queries per project; loads no model and asks no Label Studio.

    Errors: `StateError`.
    """
    every = sources.store.standings()
    standings = sorted(every, key=lambda one: (-one.touched_at, one.project_key))
    trainings: dict[str, JobState] = {}
    for job in sources.jobs.recent_trainings(TRAININGS_READ):
        trainings.setdefault(job.project_key, job)
    projects, others = [], []
    for standing in standings[:PROJECTS_SHOWN]:
        try:
            projects.append(_project(sources, standing, trainings.get(standing.project_key)))
        except Exception as error:  # noqa: BLE001 - one project must not take the page from all
            name = _name(standing.project_key)
            others.append(f"{name}: cannot be shown ({type(error).__name__})")
    rest = standings[PROJECTS_SHOWN : PROJECTS_SHOWN + LINES_SHOWN]
    others += [f"{_name(one.project_key)}: {_labels(one, one.labels)}" for one in rest]
    others += _unheard(sources, {one.project_key for one in every})[:LINES_SHOWN]
    return Learning(projects, others, sources.settings.train_first_at)


def _unheard(sources: Sources, heard: Collection[str]) -> list[str]:
    """A line for each project that could learn, and of which nothing has come."""
    if not sources.settings.train_first_at:
        return []
    found = [sources.project(one.key) for one in sources.known if one.key not in heard]
    return [
        f"{_name(one.key)}: none of its annotations is known here"
        for one in found
        if one is not None and fills(one.config)
    ]


def _project(sources: Sources, standing: Standing, job: JobState | None) -> ProjectLearning:
    key, settings, store = standing.project_key, sources.settings, sources.store
    host, project = sources.host(key), sources.project(key)
    versions, accepted = store.versions(key), store.acceptance(key)
    rows = [_version(one) for one in versions[: VERSIONS_SHOWN + OLDER_SHOWN]]
    curves = _curves(versions)
    training = _training(standing.step, job) if job is not None and job.open else None
    current = [one for one in versions if one.is_current]
    # What a training has counted is noted at its end; what it found is there before.
    labels = standing.labels if training is None else store.count_labelled(key)
    return ProjectLearning(
        id=_id(key),
        key=key,
        host=host,
        labels=_labels(standing, labels),
        starts=_starts(settings, labels, has_models=bool(current)),
        answers=who_answers(project, current, serves=sources.serves(project)) if project else "",
        note=_note(settings, standing, job),
        failure=_failure(standing, job),
        training=training,
        versions=rows[:VERSIONS_SHOWN],
        older=rows[VERSIONS_SHOWN:],
        more=max(0, len(versions) - VERSIONS_SHOWN - OLDER_SHOWN),
        curves=curves[:CURVES_SHOWN],
        more_curves=curves[CURVES_SHOWN : CURVES_SHOWN + MORE_CURVES_SHOWN],
        accepted=_accepted(accepted),
        spared=_duration(accepted.seconds),
        pictures=[
            _picture(one, key, host, sorted(version.id for version in current))
            for one in store.captions(key)
            if not store.labelled(key, task_id=one.task_id)  # nobody has labelled it since
        ],
    )


def _training(step: Step | None, job: JobState) -> TrainingRow:
    if step is None or job.note:  # what waits may have been at a step before
        waits = "waits for its turn" if job.state is State.QUEUED else "under way"
        return TrainingRow("", job.note or waits, 0.0, "")
    details = [f"step {step.step}"] if step.step else []
    details += [] if step.loss is None else [f"loss {step.loss:.3f}"]
    if step.remaining_s is not None:
        details.append(f"about {_duration(step.remaining_s)} left")
    spent = min(1.0, max(0.0, step.spent))
    return TrainingRow(step.scope, step.stage, spent, ", ".join(details))


def _failure(standing: Standing, job: JobState | None) -> str:
    """What ended the last training, where its backend could not say so itself too."""
    if job is not None and job.state is State.CANCELLED:
        return ""
    return standing.failure or (job.note if job and job.state is State.FAILED else "")


def _starts(settings: Settings, labels: int, *, has_models: bool) -> str:
    at = settings.train_first_at
    if not at:
        return "nothing is trained: LABELPILOT_TRAIN_FIRST_AT is 0"
    return f"training starts at {at}" if labels < at and not has_models else ""


def _note(settings: Settings, standing: Standing, job: JobState | None) -> str:
    """What it waits for, else what the last training that came through had to say."""
    if job is not None and job.open:
        return ""
    if settings.train_first_at and standing.changes > standing.seen:
        return "something changed since: a training begins when nobody has submitted for a moment"
    if job is not None and job.state is State.CANCELLED:
        return "the last training was cancelled: what changed is learned after the next submit"
    return "" if job is not None and job.state is State.FAILED else standing.note


def _version(version: ModelVersion) -> VersionRow:
    promoted = version.promoted_at is not None
    fate = "current" if version.is_current else "promoted before" if promoted else "not promoted"
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


def _id(key: str) -> str:
    return key.split(".")[0]


def _name(key: str) -> str:
    return f"project {_id(key)}"


def _labels(standing: Standing, labels: int) -> str:
    """How many there are, where somebody has counted them."""
    if not labels and not standing.seen:
        return "labelled tasks are not counted yet"
    return f"{labels} labelled task{'' if labels == 1 else 's'}"
