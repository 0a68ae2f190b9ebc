"""The micro backend: it learns from every submit, and labels what is left."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from backends.errors import LabelpilotError, ModelMissing, Unavailable
from backends.interface import (
    AnnotationEvent,
    Background,
    EventKind,
    ImageSource,
    Interaction,
    LabelConfig,
    Labelled,
    Prediction,
    Prelabeller,
    Project,
    Task,
    TaskProgress,
    VideoFile,
    VideoSource,
)
from backends.jobs.answering import answer_in_time
from backends.label_studio.blind import Blindfold
from backends.label_studio.client import LabelStudios
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.projects import ProjectBook
from backends.micro.announcing import Announcer
from backends.micro.clips import clip_examples
from backends.micro.course import Tools
from backends.micro.doubtful import KEPT, Doubtful, Least
from backends.micro.gathering import clip_medium
from backends.micro.keeper import Keeper
from backends.micro.labeller import Labeller, Work
from backends.micro.learning import Learner
from backends.micro.nouns import ModelVersion, Scope, ScopeKind
from backends.micro.owed import Owed
from backends.micro.registry import Registry
from backends.micro.rivalry import trusted
from backends.micro.scopes import check, fills, knows_any, scope_of
from backends.micro.shelf import Load, ModelShelf, load_model
from backends.micro.store import MicroStore
from backends.micro.sync import present_project
from backends.micro.versions import FAMILY, UNTRAINED, is_ours, is_stored, project_version
from backends.settings import Settings
from micro_models.regions import Region

log = logging.getLogger(__name__)

_SUBMISSIONS = frozenset(
    {EventKind.ANNOTATION_CREATED, EventKind.ANNOTATION_UPDATED, EventKind.ANNOTATIONS_CREATED}
)
# Current models are read this often at most: /setup and each answer ask for them.
_READ_EVERY_S = 0.5
# A webhook that got lost on its way is made up for when somebody next opens the project.
_MEET_AGAIN_S = 3_600.0
_SHARING_S = 10.0  # the end waits so long for models that are on their way to the store
_KNOWN_PROJECTS, _KNOWN_VERSIONS = 50, 20  # that /versions tells
_MOST_PROJECTS = 10_000  # in memory; anyone may ask for keys that nobody knows


@dataclass(frozen=True)
class _Current:
    models: Mapping[str, ModelVersion]
    read_at: float


class MicroBackend:
    """Small models that are trained in the background, one or more for each project.

    `Backend` to the server, `Prelabeller` and `Learner` to background jobs. `background` is set
    once the jobs are made. `rival` is the pre-labeller that a model has to be better than.
    """

    name = FAMILY

    def __init__(
        self,
        *,
        settings: Settings,
        images: ImageSource,
        videos: VideoSource,
        studios: LabelStudios,
        projects: ProjectBook,
        rival: Prelabeller | None = None,
        background: Background | None = None,
        load: Load = load_model,
        blindfold: Blindfold | None = None,
    ) -> None:
        self._settings, self._studios, self._projects = settings, studios, projects
        self._blindfold = blindfold or Blindfold(settings.blind_share)
        self.store = MicroStore(settings)
        self.registry = Registry(settings, self.store)
        self.background = background
        self._rival = rival
        self._labeller = Labeller(
            images=images,
            videos=videos,
            shelf=ModelShelf(settings, self.registry.fetch, load=load),
            settings=settings,
        )
        self.tools = tools = Tools(settings, self.store, self.registry, images, videos, rival)
        self._announce = Announcer(
            self, studios=studios, store=self.store, background=lambda: self.background
        )
        self._learner = Learner(tools, studios, self._announce)
        self._keeper: Keeper | None = None
        self._sharing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._current: dict[str, _Current] = {}
        self._met: dict[str, float] = {}
        self._owed, self._has_met_all = Owed(self._note), False
        self._doubtful = Doubtful()

    def start(self) -> None:
        """Watch for what is to be learned, what a missed webhook lost too; returns at once."""
        if self._settings.train_first_at == 0 or self.background is None:
            return
        self._keeper = Keeper(
            self._settings, self.store, self.background, self.announce, settle=self._catch_up
        )
        self._keeper.start()
        if self.registry.shares:
            self._sharing = threading.Thread(target=self._share, name="micro-share", daemon=True)
            self._sharing.start()

    def _catch_up(self) -> None:
        """What was missed while this process, or the database, was away. Errors: `Unavailable`."""
        self._owed.settle()
        if not self._has_met_all:
            self._meet([project.key for project in self._projects.all()])
            self._has_met_all = True

    def _share(self) -> None:
        """Let other machines have the models that are on this one."""
        try:
            self.registry.share()
        except LabelpilotError as error:  # the next start tries again
            log.warning("models are not shared: %s", error)

    def close(self) -> None:
        """Stop watching."""
        if self._keeper is not None:
            self._keeper.close()
        if self._sharing is not None:
            self._sharing.join(_SHARING_S)
        self.store.close()

    def version(self, project: Project | None) -> str:
        """A hash over the current models and the label config; one for all without models.

        Where tasks may be left to the pre-labeller, over its models too.
        """
        if project is None:
            return UNTRAINED
        self._meet([project.key])
        return self._version(project, self._ids(project))

    def serving_version(self, project: Project) -> str | None:
        """Its version where a model has earned its place: it is no worse than the pre-labeller."""
        self._meet([project.key])
        return self.version(project) if trusted(self._models(project)) else None

    def scopes(self, project: Project, *, anew: bool) -> Collection[Scope]:
        """Those with a model that may answer, read `anew` from the database."""
        if anew:
            self._read(project.key)
        return self._models(project).keys()

    def wait(self, project: Project) -> str:
        """The version. Errors: `ModelMissing` where nothing was trained yet."""
        if self._rival is not None and self._leaves_tasks(project):
            with suppress(LabelpilotError):  # then it leaves them alone
                self._rival.wait(project)
        self._read(project.key)  # who asks for it may have made it a moment ago, elsewhere
        version = self.version(project)
        if not is_stored(version):
            raise ModelMissing(
                "no micro-model of this project has been trained yet",
                advice=f"label {self._settings.train_first_at} tasks, and wait a minute",
            )
        return version

    def versions(self) -> Sequence[str]:
        """Of all known projects: the present one, and those of models that answered before."""
        found: dict[str, None] = {}
        for known in self._projects.all()[:_KNOWN_PROJECTS]:
            with suppress(LabelpilotError):
                project = Project(known.key, parse_label_config(known.label_config))
                present = self._ids(project)
                found[self._version(project, present)] = None
                for one in self.store.versions(known.key)[:_KNOWN_VERSIONS]:
                    if one.promoted_at is not None:
                        found[self._version(project, {**present, one.scope: one.id})] = None
        return [version for version in found if is_stored(version)]

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control that a micro-model can fill."""
        return self._settings.train_first_at > 0 and fills(config)

    def check(
        self,
        config: LabelConfig,
        *,
        load: bool = True,  # noqa: ARG002 - nothing is loaded to judge
    ) -> Sequence[str]:
        """What micro-models cannot learn or answer here, each with its cure."""
        return check(config)

    def notify(self, event: AnnotationEvent) -> None:
        """Note that there may be something to learn; a few milliseconds.

        Errors: `Unavailable` while the database is away; then it is noted later all the same.
        """
        if self._settings.train_first_at == 0:
            return
        many = max(len(event.annotation_ids), 1) if event.kind in _SUBMISSIONS else 0
        self._owed.note(event.project_id, event.kind, many)
        if self._keeper is not None:
            self._keeper.wake()

    def _note(self, project_id: int, kind: EventKind, submissions: int) -> None:
        self.store.note_event(
            [one.key for one in self._projects.all() if one.id == project_id],
            submissions=submissions,
            asked=kind is EventKind.START_TRAINING,
            tasks_came=kind is EventKind.TASKS_CREATED,
        )

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """What is ready within the settings' time; the rest, and videos, follow in background."""
        version = self.version(project)
        if interaction is not None or not is_stored(version):
            return [None] * len(tasks)
        videos = {medium.data_key for medium in project.config.media if medium.tag == "Video"}
        try:
            return answer_in_time(
                lambda some: self._label(project, some, None),
                tasks,
                project=project,
                version=version,
                deadline=time.monotonic() + self._settings.answer_within_s,
                background=self.background,
                later=lambda task: any(task.data.get(key) for key in videos),
                blindfold=self._blindfold,
            )
        except LabelpilotError as error:
            log.warning("%d tasks are not pre-labelled: %s", len(tasks), error)
            return [None] * len(tasks)

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        """Label tasks in order. Errors: `ModelMissing`, which concerns all."""
        return self._label(project, tasks, progress)

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """See `backends.interface.Learner`."""
        self._learner.learn(project_key, go_on=go_on, tell=tell)

    def give_up(self, project_key: str, reason: str) -> None:
        """See `backends.interface.Learner`."""
        self._learner.give_up(project_key, reason)

    def announce(self, project_key: str) -> None:
        """Have predictions refreshed to the present models. Errors: `LabelpilotError`."""
        self._announce(present_project(self._studios.sdk(project_key), project_key))

    def rival_version(self, project: Project) -> str | None:
        """The version of the pre-labeller's answers, if it has any."""
        version = self._rival.version(project) if self._rival is not None else ""
        return version if is_ours(version) else None

    def _label(
        self, project: Project, tasks: Iterable[Task], progress: TaskProgress | None
    ) -> Generator[Labelled, None, None]:
        version = self.wait(project)
        models = trusted(self._models(project)) or self._models(project)
        doubtful = self._doubtful.of(project.key, version)

        def show(task_id: int, score: float, regions: Sequence[Region]) -> None:
            if not self._blindfold.hidden(project, [Task(task_id, {})]):
                doubtful.add(task_id, score, regions)

        work = Work(project, version, models, known=partial(self._known, project))
        try:
            for is_ours, some in groupby(tasks, lambda task: bool(work.of(task))):
                if is_ours or self._rival is None:
                    yield from self._labeller.label(work, some, progress=progress, shown=show)
                else:
                    yield from self._left(project, version, list(some), progress)
        finally:
            self._show(project.key, version, doubtful)

    def _left(
        self, project: Project, version: str, tasks: Sequence[Task], progress: TaskProgress | None
    ) -> Iterator[Labelled]:
        """What the pre-labeller says of tasks that no model is for, under our version.

        For a project goes by one version: what carries another is hidden.
        """
        if self._rival is None or self.rival_version(project) is None:
            yield from map(Labelled, tasks)
            return
        for one in self._rival.label(project, tasks, progress=progress):
            found = one.prediction
            yield replace(one, prediction=found and replace(found, version=version))

    def _show(self, project_key: str, version: str, doubtful: Least) -> None:
        """Keep the least sure ones for the status page, unless it has more of them already."""
        news = doubtful.news()
        if news and (len(news) == KEPT or len(news) >= len(self.store.captions(project_key))):
            self.store.put_shown(project_key, version, news)

    def _known(
        self, project: Project, task: Task, video: VideoFile
    ) -> Mapping[int, tuple[Region, ...]]:
        """By frame what people drew in a task's video."""
        found = self.store.labelled(project.key, task_id=task.id) if task.id is not None else []
        if not found:
            return {}
        annotations = [dict(one) for one in found[0].annotations]
        truth = clip_examples(
            annotations, project.config, video, medium=clip_medium(project.config), data=task.data
        )
        return truth.known

    def _models(self, project: Project) -> dict[Scope, ModelVersion]:
        """The models that may answer, as they were a moment ago: they are there, and fit."""
        with self._lock:
            known = self._current.get(project.key)
        if known is None or time.monotonic() - known.read_at > _READ_EVERY_S:
            known = self._read(project.key)
        found = {scope_of(project.config, key): one for key, one in known.models.items()}
        return {
            scope: one
            for scope, one in found.items()
            if scope is not None and self._is_fit(project.config, scope, one)
        }

    def _is_fit(self, config: LabelConfig, scope: Scope, version: ModelVersion) -> bool:
        """Whether a model is there, and one of its labels still has a place."""
        labels = version.report.get("labels")
        return self.registry.is_there(version) and (not labels or knows_any(config, scope, labels))

    def _ids(self, project: Project) -> dict[str, str]:
        return {scope.key: one.id for scope, one in self._models(project).items()}

    def _version(self, project: Project, ids: Mapping[str, str]) -> str:
        """What predictions carry if models with these ids, by scope, answer."""
        others = self.rival_version(project) if ids and self._leaves_tasks(project) else None
        return project_version(
            project.config,
            {**ids, "others": others} if others else ids,
            threshold=self._settings.micro_score_threshold,
        )

    def _leaves_tasks(self, project: Project) -> bool:
        """Whether there may be tasks that no model is for."""
        kinds = {scope.kind for scope in self._models(project)}
        return ScopeKind.FIELD in kinds and self._rival is not None

    def _read(self, project_key: str) -> _Current:
        read = _Current(self.store.current(project_key), time.monotonic())
        with self._lock:
            if len(self._current) > _MOST_PROJECTS:
                self._current.clear()
            self._current[project_key] = read
        return read

    def _meet(self, project_keys: Sequence[str]) -> None:
        """Have these compared with Label Studio, now and then: nobody knows what was missed."""
        if self._keeper is None:
            return
        now = time.monotonic()
        with self._lock:
            new = [key for key in project_keys if self._met.get(key, 0.0) <= now]
            self._met.update(dict.fromkeys(new, now + _MEET_AGAIN_S))
        try:
            known = [key for key in new if self._projects.get(key) is not None]
            if known:
                self.store.note_event(known, submissions=0)
        except Unavailable:
            with self._lock:
                self._met.update(dict.fromkeys(new, now))
            raise
