"""The YOLO backend: tasks open with boxes, masks, points, classes and tracks already on them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from backends.errors import BadLabelConfig, LabelpilotError, ModelMissing
from backends.interface import (
    AnnotationEvent,
    Background,
    ImageSource,
    Interaction,
    LabelConfig,
    Labelled,
    Prediction,
    Project,
    Task,
    TaskProgress,
    VideoSource,
)
from backends.jobs.answering import answer_in_time, leave
from backends.label_studio.blind import Blindfold
from backends.settings import Settings
from backends.weights import fetch
from backends.yolo.labeller import Labeller, MakeTracker, Work
from backends.yolo.plan import ReadyRun, Run, plan, prepare
from backends.yolo.report import findings_of_model, findings_of_run, lines
from backends.yolo.seen import SeenCache
from backends.yolo.shelf import (
    LOADING_TAKES_S,
    Fetch,
    Load,
    ModelLoading,
    ModelShelf,
    yolo_runs_here,
)
from backends.yolo.targets import Targets, find_targets
from backends.yolo.versions import (
    NO_WEIGHTS,
    NOT_YET,
    NOTHING,
    NamedVersions,
    is_stored,
    version_of,
)
from micro_models.detections import Detector, Tracker

log = logging.getLogger(__name__)

NOT_INSTALLED = (
    "Nothing is pre-labelled: YOLO needs ultralytics (AGPL-3.0), which is not installed; "
    'pip install "labelpilot[ultralytics]", or set LABELPILOT_YOLO_MODEL=off.'
)
# /setup must answer within 3 s; to hash 100 MB takes a part of one.
VERSION_WAITS_S = 2.0
SEEN_BYTES = 100_000_000


def yolo_loader(settings: Settings) -> Load:
    """How models are loaded: by ultralytics, on the device of the settings."""

    def load(path: Path) -> Detector:
        # Heavy, and needed only where a model is used.
        from micro_models.engines.yolo import load_yolo

        return load_yolo(path, device=settings.device, cache_dir=settings.data_path)

    return load


def make_tracker(
    kind: str, *, fps: float, min_score: float, settings: Mapping[str, str]
) -> Tracker:
    """A fresh tracker for one clip. Errors: ValueError."""
    from micro_models.engines import yolo_tracker

    return yolo_tracker.make_tracker(kind, fps=fps, min_score=min_score, settings=settings)


class YoloBackend:
    """Labels tasks before anyone opens them; the `Prelabeller` of background jobs as well.

    Collaborators are shared with the rest of the server. `background` None: what does not fit
    into an answer is left for the next time that it is asked for. `blindfold` None: it hides as the
    settings say.
    """

    name = "yolo"

    def __init__(
        self,
        *,
        settings: Settings,
        images: ImageSource,
        videos: VideoSource,
        background: Background | None = None,
        load: Load | None = None,
        make_tracker: MakeTracker = make_tracker,
        fetch: Fetch = fetch,
        blindfold: Blindfold | None = None,
    ) -> None:
        self._settings = settings
        self._blindfold = blindfold or Blindfold(settings.blind_share)
        self.background = background
        self._shelf = ModelShelf(settings, load=load or yolo_loader(settings), fetch=fetch)
        self._labeller = Labeller(
            images=images,
            videos=videos,
            make_tracker=make_tracker,
            seen=SeenCache(SEEN_BYTES),
            tolerance_px=settings.polygon_tolerance_px,
            track_min_iou=settings.track_min_iou,
        )
        self._named = NamedVersions()
        self._late_lock = threading.Lock()
        # By project and task id, left until their version is known.
        self._late: dict[str, dict[int | None, Task]] = {}

    def version(self, project: Project | None) -> str:
        """A hash over weights, label config and settings; one for all projects without models.

        While a model is being hashed or downloaded it is `NOT_YET`, after two seconds at most.
        """
        if project is None:
            return NO_WEIGHTS
        version = self._version(self._runs(project.config), wait_s=VERSION_WAITS_S)
        if is_stored(version):
            self._named.add(version)
        return version

    def serving_version(self, project: Project) -> str | None:
        """Its version if it has both a model, here or on its way, and a control to fill."""
        version = self.version(project)
        return None if version in (NO_WEIGHTS, NOTHING) else version

    def wait(self, project: Project) -> str:
        """The version once all models that can be had are here, loaded or failed for good.

        Errors: `ModelMissing` if there is none, or one takes longer than ten minutes.
        """
        runs = self._runs(project.config)
        problems: list[LabelpilotError] = []
        deadline = time.monotonic() + LOADING_TAKES_S
        for run in runs:
            try:
                with self._shelf.borrowed(run.model, wait_s=_left_s(deadline)):
                    pass
            except ModelLoading:
                raise
            except LabelpilotError as error:
                problems.append(error)
        version = self._known_version(runs, deadline)
        if version == NO_WEIGHTS and problems:
            raise ModelMissing(problems[0].message, advice=problems[0].advice)
        return version

    def versions(self) -> Sequence[str]:
        """Those that this process gave predictions, the one asked for last first."""
        return self._named.all()

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control to fill, model or not, if its attributes are right."""
        return self._targets(config).asked

    def check(
        self, config: LabelConfig, *, wait_s: float = 0.0, load: bool = True
    ) -> Sequence[str]:
        """What is not pre-labelled and why, one sentence with its cure each.

        Begins to load the models, unless not `load`; one that is not loaded after `wait_s` is not
        judged yet.
        """
        found = self._targets(config)
        problems = list(found.findings)
        if found.targets and self._settings.yolo_model != "off" and not yolo_runs_here():
            problems.append(NOT_INSTALLED)
        for run in self._runs(config):
            try:
                detector = self._loaded(run.model, wait_s, load=load)
            except LabelpilotError as error:
                problems.append(findings_of_model(run, error))
                continue
            if detector is not None:
                problems += findings_of_run(run, detector)
        return list(dict.fromkeys(problems))

    def describe(
        self, project: Project, *, wait_s: float = 0.0, load: bool = True
    ) -> Sequence[str]:
        """A line for each control: its model, and which class goes to which label.

        Models as in `check`; of one that is not loaded the line says so.
        """
        return lines(
            self._runs(project.config), lambda model: self._loaded(model, wait_s, load=load)
        )

    def notify(self, event: AnnotationEvent) -> None:
        """YOLO does not learn from annotations."""

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """What is ready within the settings' time; the rest, and videos, follow in background."""
        if interaction is not None:
            return [None] * len(tasks)
        try:
            return self._predict(project, tasks)
        except LabelpilotError as error:
            log.warning("%d tasks are not pre-labelled: %s", len(tasks), error)
            return [None] * len(tasks)

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        """Label tasks in order. Errors: `ModelMissing`, `BadLabelConfig`, which concern all."""
        deadline = time.monotonic() + LOADING_TAKES_S
        return self._label(project, tasks, deadline, progress=progress)

    def _label(
        self,
        project: Project,
        tasks: Iterable[Task],
        deadline: float,
        *,
        progress: TaskProgress | None = None,
    ) -> Generator[Labelled, None, None]:
        """`deadline` is for models to be ready; `ModelLoading` if one is not."""
        runs = self._runs(project.config)
        with ExitStack() as stack:
            ready = self._ready(runs, stack, deadline)
            work = Work(project, self._known_version(runs, deadline), ready)
            yield from self._labeller.label(work, tasks, progress=progress)

    def _predict(self, project: Project, tasks: Sequence[Task]) -> list[Prediction | None]:
        runs = self._runs(project.config)
        if not runs:
            return [None] * len(tasks)
        deadline = time.monotonic() + self._settings.answer_within_s
        self._begin(runs)
        version = self._version(runs, wait_s=_left_s(deadline))
        if version == NOT_YET:
            self._leave_later(project, tasks)
            return [None] * len(tasks)
        if version == NO_WEIGHTS:
            self._shelf.find(runs[0].model)  # says what is missing
        videos = {run.medium.data_key for run in runs if run.is_video}
        return answer_in_time(
            lambda some: self._label_loaded(project, some, deadline),
            tasks,
            project=project,
            version=version,
            deadline=deadline,
            background=self.background,
            later=lambda task: any(task.data.get(key) for key in videos),
            blindfold=self._blindfold,
        )

    def _label_loaded(
        self, project: Project, tasks: Sequence[Task], deadline: float
    ) -> Generator[Labelled, None, None]:
        """Nothing while a model is still on its way."""
        with suppress(ModelLoading):
            yield from self._label(project, tasks, deadline)

    def _leave_later(self, project: Project, tasks: Sequence[Task]) -> None:
        """Have the tasks labelled in the background once their version is known."""
        log.info("%d tasks wait for their model", len(tasks))
        with self._late_lock:
            is_waited_for = project.key in self._late
            late = self._late.setdefault(project.key, {})
            late.update((task.id, task) for task in tasks)
        if not is_waited_for:
            threading.Thread(
                target=self._leave_late, args=(project,), name="yolo-late", daemon=True
            ).start()

    def _leave_late(self, project: Project) -> None:
        version, problem = NOTHING, "no model fills a control"
        try:
            version = self.wait(project)
        except Exception as error:  # noqa: BLE001 - or nothing of the project were left again
            problem = str(error) if isinstance(error, LabelpilotError) else type(error).__name__
        with self._late_lock:
            tasks = self._late.pop(project.key)
        if is_stored(version):
            leave(self.background, project, version, list(tasks.values()))
        else:
            log.warning("%d tasks are not pre-labelled: %s", len(tasks), problem)

    def _runs(self, config: LabelConfig) -> list[Run]:
        return plan(self._targets(config).targets, self._shelf.default)

    def _targets(self, config: LabelConfig) -> Targets:
        return find_targets(config, min_score=self._settings.yolo_score_threshold)

    def _begin(self, runs: Sequence[Run]) -> None:
        """Begin to load and download what is missing; returns at once."""
        for run in runs:
            with suppress(LabelpilotError):  # told by whoever needs the model
                self._shelf.now(run.model)

    def _ready(self, runs: Sequence[Run], stack: ExitStack, deadline: float) -> list[ReadyRun]:
        """The runs whose models are here.

        Errors: `ModelLoading` if one is still on its way; the first one's if there is none.
        """
        ready: list[ReadyRun] = []
        problems: list[LabelpilotError] = []
        for run in runs:
            borrowed = self._shelf.borrowed(run.model, wait_s=_left_s(deadline))
            try:
                detector = stack.enter_context(borrowed)
            except ModelLoading:
                raise  # or what the others fill would be stored as if it were all
            except LabelpilotError as error:
                problems.append(error)
                continue
            prepared = prepare(run, detector)
            if prepared.fillings:
                ready.append(prepared)
            else:
                problems.append(BadLabelConfig(" ".join(findings_of_run(run, detector))))
        for problem in problems if ready else ():
            log.warning("some controls are not pre-labelled: %s", problem)
        if ready:
            return ready
        raise problems[0] if problems else BadLabelConfig("no control asks for a model")

    def _version(self, runs: Sequence[Run], *, wait_s: float) -> str:
        return version_of(runs, self._shelf, self._settings, wait_s=wait_s)

    def _known_version(self, runs: Sequence[Run], deadline: float) -> str:
        """Errors: `ModelLoading` if it is not known by then."""
        version = self._version(runs, wait_s=_left_s(deadline))
        if version == NOT_YET:
            raise ModelLoading("a model is still being made ready", advice="ask again in a moment")
        if is_stored(version):
            self._named.add(version)
        return version

    def _loaded(self, model: str, wait_s: float, *, load: bool) -> Detector | None:
        """The model; None while it is not loaded. Errors: `ModelMissing`, `BadLabelConfig`."""
        found = self._shelf.now(model) if load else self._shelf.peek(model)
        if found is not None or wait_s <= 0:
            return found
        with self._shelf.borrowed(model, wait_s=wait_s) as detector:
            return detector


def _left_s(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)
