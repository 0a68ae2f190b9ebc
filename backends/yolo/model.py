"""The YOLO backend: tasks open with boxes, masks, points, classes and tracks already on them."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path

from backends.errors import BadLabelConfig, LabelpilotError, ModelMissing
from backends.interface import (
    AnnotationEvent,
    Background,
    Control,
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
from backends.label_studio.label_xml import attribute, label_names
from backends.settings import Settings
from backends.weights import fetch
from backends.yolo.labeller import Labeller, MakeTracker, Work
from backends.yolo.pipeline import SeenCache
from backends.yolo.plan import ReadyRun, Run, plan, prepare
from backends.yolo.report import findings_of_model, findings_of_run, lines
from backends.yolo.shelf import (
    LOADING_TAKES_S,
    Fetch,
    Load,
    ModelLoading,
    ModelShelf,
    yolo_runs_here,
)
from backends.yolo.targets import Target, Targets, find_targets
from micro_models.detections import Detector, Tracker

log = logging.getLogger(__name__)

NO_WEIGHTS = "yolo-no-weights"
NOTHING = "yolo-nothing"
NOT_INSTALLED = (
    "Nothing is pre-labelled: YOLO needs ultralytics (AGPL-3.0), which is not installed; "
    'pip install "labelpilot[ultralytics]", or set LABELPILOT_YOLO_MODEL=off.'
)
# Part of every version: count up when the same model and label config get other answers.
ANSWERS = 1
# /setup must answer within 3 s; to hash 100 MB takes a part of one.
VERSION_WAITS_S = 2.0
SEEN_BYTES = 100_000_000
VERSIONS_KEPT = 100


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
    into an answer is left for the next time that it is asked for.
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
    ) -> None:
        self._settings = settings
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
        self._versions: OrderedDict[str, None] = OrderedDict()  # the present one last
        self._versions_lock = threading.Lock()

    def version(self, project: Project | None) -> str:
        """A hash over weights, label config and settings; one for all projects without models."""
        version = self._version(self._runs(project.config)) if project else NO_WEIGHTS
        if version in (NO_WEIGHTS, NOTHING):
            return version
        with self._versions_lock:
            self._versions[version] = None
            self._versions.move_to_end(version)
            while len(self._versions) > VERSIONS_KEPT:
                self._versions.popitem(last=False)
        return version

    def wait(self, project: Project) -> str:
        """The version once all models that can be had are here, loaded or failed for good.

        Errors: `ModelMissing` if there is none, or one takes longer than ten minutes.
        """
        runs = self._runs(project.config)
        problem: LabelpilotError | None = None
        for run in runs:
            try:
                with self._shelf.borrowed(run.model):
                    pass
            except ModelLoading:
                raise
            except LabelpilotError as error:
                problem = problem or error
        if problem is not None and self._version(runs, wait_s=LOADING_TAKES_S) == NO_WEIGHTS:
            raise ModelMissing(problem.message, advice=problem.advice)
        return self.version(project)

    def versions(self) -> Sequence[str]:
        """Those that this process gave predictions, the one asked for last first."""
        with self._versions_lock:
            return list(reversed(self._versions))

    def serves(self, project: Project) -> bool:
        """Whether it has both a model and a control to fill; answers at once."""
        return self._version(self._runs(project.config)) not in (NO_WEIGHTS, NOTHING)

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control to fill, model or not."""
        return bool(self._targets(config).targets)

    def check(self, config: LabelConfig, *, wait_s: float = 0.0) -> Sequence[str]:
        """What is not pre-labelled and why, one sentence with its cure each.

        Begins to load the models; one that is not loaded after `wait_s` is not judged yet.
        """
        found = self._targets(config)
        problems = list(found.findings)
        if found.targets and self._settings.yolo_model != "off" and not yolo_runs_here():
            problems.append(NOT_INSTALLED)
        for run in self._runs(config):
            try:
                detector = self._loaded(run.model, wait_s)
            except LabelpilotError as error:
                problems.append(findings_of_model(run, error))
                continue
            if detector is not None:
                problems += findings_of_run(run, detector)
        return list(dict.fromkeys(problems))

    def describe(self, project: Project, *, wait_s: float = 0.0) -> Sequence[str]:
        """A line for each control: its model, and which class goes to which label.

        A model that is not loaded after `wait_s` says so.
        """
        return lines(self._runs(project.config), lambda model: self._loaded(model, wait_s))

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
        return self._label(project, tasks, progress=progress, wait_s=LOADING_TAKES_S)

    def _label(
        self,
        project: Project,
        tasks: Iterable[Task],
        *,
        wait_s: float,
        progress: TaskProgress | None = None,
    ) -> Generator[Labelled, None, None]:
        runs = self._runs(project.config)
        with ExitStack() as stack:
            ready = self._ready(runs, stack, wait_s=wait_s)
            work = Work(project, self._version(runs, wait_s=LOADING_TAKES_S), ready)
            yield from self._labeller.label(work, tasks, progress=progress)

    def _predict(self, project: Project, tasks: Sequence[Task]) -> list[Prediction | None]:
        runs = self._runs(project.config)
        if not runs or self._is_coming(runs):
            return [None] * len(tasks)
        version = self._version(runs, wait_s=LOADING_TAKES_S)
        if version == NO_WEIGHTS:
            self._shelf.find(runs[0].model)  # says what is missing
        videos = {run.medium.data_key for run in runs if run.is_video}
        pending = self._pending(project, version, tasks)
        todo = [
            task
            for task in tasks
            if task.id not in pending and not any(task.data.get(key) for key in videos)
        ]
        found: dict[int, Prediction | None] = {}
        for labelled in self._in_time(project, todo):
            found[id(labelled.task)] = labelled.prediction
            if labelled.error is not None:
                log.warning("task %s is not pre-labelled: %s", labelled.task.id, labelled.error)
        self._leave(
            project,
            version,
            [task for task in tasks if id(task) not in found and task.id not in pending],
        )
        return [found.get(id(task)) for task in tasks]

    def _in_time(self, project: Project, tasks: Sequence[Task]) -> Iterator[Labelled]:
        """What is labelled before the time is up that an answer may take."""
        if not tasks:
            return
        last = begun = time.monotonic()
        longest = 0.0
        with (
            suppress(ModelLoading),
            closing(self._label(project, tasks, wait_s=self._settings.answer_within_s)) as labelled,
        ):
            for one in labelled:
                yield one
                now = time.monotonic()
                longest, last = max(longest, now - last), now
                # Batches double at first: the next may take twice the longest.
                if now - begun + 2 * longest > self._settings.answer_within_s:
                    return

    def _pending(self, project: Project, version: str, tasks: Sequence[Task]) -> Collection[int]:
        """Those of the tasks that are labelled in the background already."""
        if self.background is None:
            return ()
        return self.background.pending(
            project, version, {task.id for task in tasks if task.id is not None}
        )

    def _leave(self, project: Project, version: str, tasks: Sequence[Task]) -> None:
        """Have the rest labelled in the background."""
        ids = [task.id for task in tasks if task.id is not None]
        if not ids:
            return
        if self.background is None:
            log.warning("%d tasks were left out for want of time: ask again", len(ids))
            return
        try:
            self.background.prelabel(project, version, ids)
        except LabelpilotError as error:
            log.warning("%d tasks are not pre-labelled in the background: %s", len(ids), error)

    def _runs(self, config: LabelConfig) -> list[Run]:
        return plan(self._targets(config).targets, self._shelf.default)

    def _targets(self, config: LabelConfig) -> Targets:
        return find_targets(config, min_score=self._settings.yolo_score_threshold)

    def _is_coming(self, runs: Sequence[Run]) -> bool:
        """Whether a model is being downloaded: then nothing is stored yet.

        Begins to load and download what is missing.
        """
        coming = False
        for run in runs:
            try:
                self._shelf.now(run.model)
                coming = coming or self._shelf.is_coming(run.model)
            except LabelpilotError:
                continue  # told by whoever needs the model
        return coming

    def _ready(self, runs: Sequence[Run], stack: ExitStack, *, wait_s: float) -> list[ReadyRun]:
        """The runs whose models are here.

        Errors: `ModelLoading` if one is still on its way; the first one's if there is none.
        """
        ready: list[ReadyRun] = []
        problems: list[LabelpilotError] = []
        for run in runs:
            try:
                detector = stack.enter_context(self._shelf.borrowed(run.model, wait_s=wait_s))
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

    def _version(self, runs: Sequence[Run], *, wait_s: float = VERSION_WAITS_S) -> str:
        if not runs:
            return NOTHING
        digests = [self._digest(run.model, wait_s) for run in runs]
        if not any(digests):
            return NO_WEIGHTS
        parts = [
            ANSWERS,
            self._settings.polygon_tolerance_px,
            self._settings.track_min_iou,
            *zip(
                digests, ([_asked(target) for target in run.targets] for run in runs), strict=True
            ),
        ]
        return f"yolo-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}"

    def _digest(self, model: str, wait_s: float) -> str | None:
        try:
            return self._shelf.digest(model, wait_s=wait_s)
        except LabelpilotError:
            return None

    def _loaded(self, model: str, wait_s: float) -> Detector | None:
        """The model; None while it is on its way. Errors: `ModelMissing`, `BadLabelConfig`."""
        found = self._shelf.now(model)
        if found is not None or wait_s <= 0:
            return found
        with self._shelf.borrowed(model, wait_s=wait_s) as detector:
            return detector


def _asked(target: Target) -> list[object]:
    """What of a control changes its answers."""
    labels = target.labels
    return [
        target.control.name,
        target.control.to_name,
        target.medium.data_key,
        target.kind.value,
        asdict(target.parameters),
        [attribute(target.control, name) for name in ("choice", "maxUsages")],
        [[label, label_names(labels, label), _said(labels, label)] for label in labels.labels],
        target.boxes and [target.boxes.name, list(target.boxes.labels)],
    ]


def _said(labels: Control, label: str) -> list[str]:
    """What a label's own attributes say to a model; its colour and hotkey are no matter."""
    said = labels.label_attributes.get(label, {})
    return [said.get("predicted_values", ""), said.get("model_index", "")]
