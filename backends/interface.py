"""What the server asks of a backend, and the nouns that pass between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from backends.errors import LabelpilotError
from micro_models.regions import Box, Click, Image, Region, RotatedBox
from micro_models.tracks import Track


@dataclass(frozen=True)
class Control:
    """A control tag of a label config, such as `<BrushLabels name="brush" toName="image">`.

    `paths`: where labels lie in a tree (Taxonomy, nested Choices), each one's names from the root;
    the label "Animals/dog" has the path ("Animals", "dog").
    """

    tag: str
    name: str
    to_name: str
    labels: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    label_attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def known(self) -> frozenset[str]:
        """The labels, to look one up among thousands."""
        return frozenset(self.labels)


@dataclass(frozen=True)
class Medium:
    """An object tag, such as `<Image name="image" value="$image"/>`.

    `data_key` is the key of the task's data that holds the URL: "image" for `$image`.
    """

    tag: str
    name: str
    data_key: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelConfig:
    """A project's label config. `text` is the XML that it was read from."""

    media: tuple[Medium, ...]
    controls: tuple[Control, ...]
    text: str


@dataclass(frozen=True)
class Project:
    """One project of one Label Studio. `key` is `"<id>.<created_at unix>"`, unique among hosts."""

    key: str
    config: LabelConfig

    @property
    def id(self) -> int:
        """The id that Label Studio's API takes."""
        return int(self.key.split(".")[0])


@dataclass(frozen=True)
class Task:
    """A task as Label Studio sent it.

    `stored_regions`: ids in its annotations and drafts. `user`: whose drafts came along, which is
    the only mark of who asks; None before the first draft.
    """

    id: int | None
    data: Mapping[str, Any]
    stored_regions: frozenset[str] = frozenset()
    user: str | None = None


@dataclass(frozen=True)
class LabelledTask:
    """A task with annotations as Label Studio has them: `updated_at` tells whether they changed.

    `annotations` are those of people, `own` those that labelpilot stored under its own account.
    """

    id: int
    updated_at: str
    data: Mapping[str, Any]
    annotations: tuple[Mapping[str, Any], ...]
    own: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Drawn:
    """One prompt as the annotator drew it, in pixels of the `Interaction`'s size.

    `smart` is False for a region drawn with the ordinary tool; `control` is the name of the
    control that it was drawn with.
    """

    id: str
    shape: Click | Box | RotatedBox
    label: str | None = None
    smart: bool = True
    control: str | None = None


@dataclass(frozen=True)
class Interaction:
    """The open prompts of one interactive request, oldest first, all of one label and medium."""

    drawn: tuple[Drawn, ...]
    to_name: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class PlacedRegion:
    """A region with its stable id and the name of the control that it belongs to.

    `parent` is the id of the region that it is a part of, as a key point is of its object's box.
    `width_percent` is how large a key point is drawn, in percent of the image's width. `to_name`
    and `size_px` (width, height) are there where a task has several images: which one it is on,
    and how large that is.
    """

    id: str
    region: Region
    control: str
    parent: str | None = None
    width_percent: float | None = None
    to_name: str | None = None
    size_px: tuple[int, int] | None = None


@dataclass(frozen=True)
class PlacedTrack:
    """An object's way through a video, with its stable id and its `<VideoRectangle>`'s name."""

    id: str
    track: Track
    control: str


@dataclass(frozen=True)
class Clip:
    """A video's length: frames, and frames per second."""

    frames: int
    fps: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one task; sizes are those of the upright image or of a frame in pixels.

    `clip` is there where regions hold tracks.
    """

    regions: tuple[PlacedRegion | PlacedTrack, ...]
    score: float
    version: str
    width_px: int
    height_px: int
    clip: Clip | None = None


class EventKind(Enum):
    """Annotation events that Label Studio really sends."""

    ANNOTATION_CREATED = "ANNOTATION_CREATED"
    ANNOTATION_UPDATED = "ANNOTATION_UPDATED"
    ANNOTATIONS_CREATED = "ANNOTATIONS_CREATED"
    ANNOTATIONS_DELETED = "ANNOTATIONS_DELETED"
    TASKS_CREATED = "TASKS_CREATED"
    TASKS_DELETED = "TASKS_DELETED"
    PROJECT_UPDATED = "PROJECT_UPDATED"
    START_TRAINING = "START_TRAINING"


@dataclass(frozen=True)
class AnnotationEvent:
    """A webhook call: what happened in which project (by id), to which tasks and annotations."""

    kind: EventKind
    project_id: int
    task_ids: tuple[int, ...] = ()
    annotation_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class ImageFile:
    """An image that lies on this machine; `digest` hashes its bytes, sizes are upright pixels."""

    path: Path
    digest: str
    width_px: int
    height_px: int


class ImageSource(Protocol):
    """Brings a task's image to this machine."""

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        """Fetch `url` unless it is here already. Errors: `MediaError` with its one cause.

        `task_id` lets Label Studio sign cloud storage addresses such as `s3://`.
        """

    def read(self, file: ImageFile) -> Image:
        """Decode to upright RGB."""


@dataclass(frozen=True)
class VideoFile:
    """A video that lies on this machine; sizes are those of an upright frame in pixels."""

    path: Path
    digest: str
    width_px: int
    height_px: int
    clip: Clip


class VideoSource(Protocol):
    """Brings a task's video to this machine."""

    def locate_video(self, url: str, project_key: str, task_id: int | None = None) -> VideoFile:
        """Fetch `url` unless it is here already. Errors: `MediaError` with its one cause."""

    def frames(self, file: VideoFile) -> Iterator[Image]:
        """Decode to upright RGB, one frame after the other, all of `file.clip.frames`.

        A frame that cannot be decoded is the one before it. Errors: `MediaError` if there is none.
        """


@dataclass(frozen=True)
class Labelled:
    """What a pre-labeller made of one task: a prediction, or why there is none.

    Neither where there is nothing to store and nothing to mend.
    """

    task: Task
    prediction: Prediction | None = None
    error: LabelpilotError | None = None


TaskProgress = Callable[[Task, int, int], None]  # task, frames done, frames in all


class Prelabeller(Protocol):
    """A backend as background jobs see it."""

    def version(self, project: Project) -> str:
        """The version that predictions of this project carry; answers at once.

        While a model is not known yet (downloaded or hashed) it is one that nothing is stored
        under: `wait` gives the one that counts.
        """

    def wait(self, project: Project) -> str:
        """The version once the models of the project are here, loaded or failed for good.

        Takes as long as loading and downloading do. Errors: `ModelMissing` if none can be had.
        """

    def label(
        self, project: Project, tasks: Iterable[Task], *, progress: TaskProgress | None = None
    ) -> Iterator[Labelled]:
        """Label tasks in order, each as soon as it is ready; whoever stops asking stops the work.

        Fetching, decoding and computing overlap. One bad task costs none but itself. `progress`
        is told of videos, which take long. Errors: `ModelMissing` and others that concern all.
        """


class Learner(Protocol):
    """A backend that learns from annotations, as background jobs see it."""

    def learn(
        self, project_key: str, *, go_on: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        """Compare with Label Studio's present state, train if there is something new, promote.

        Takes minutes. `go_on` raises when it is to stop, `tell` is told what it waits for. Whoever
        does it again, from any point on, does no harm. Errors: `LabelpilotError`; what answered
        before, or a first model of the training, goes on answering.
        """

    def give_up(self, project_key: str, reason: str) -> None:
        """A training has failed for good: tell people, and wait for something new to learn."""


class Background(Protocol):
    """Durable work that goes on after an answer, as backends see it."""

    def train(self, project_key: str) -> None:
        """Have a project's models trained, after what is being trained there already if anything.

        One training of a project goes on at a time, whoever asks. Returns at once. Errors:
        `StateError`.
        """

    def is_training(self, project_key: str) -> bool:
        """Whether a training of the project waits or goes on. Errors: `StateError`."""

    def refresh(
        self, project: Project, version: str, *, first: Sequence[int] = (), others: bool = True
    ) -> None:
        """Have predictions of `version` stored for tasks without annotations; our older ones go.

        `first` in their order, whether they have annotations or not, then, if `others`, the rest of
        the project. What was to be refreshed to another version no longer is. Returns at once.
        Errors: `StateError`.
        """

    def prelabel(self, project: Project, version: str, task_ids: Sequence[int]) -> None:
        """Have tasks labelled and their predictions stored; those under way already are left so.

        Returns at once. Errors: `StateError`.
        """

    def pending(self, project: Project, version: str, task_ids: Collection[int]) -> Collection[int]:
        """Those of `task_ids` that are being labelled or wait for it. Errors: `StateError`."""


class Backend(Protocol):
    """One model family behind Label Studio's protocol."""

    @property
    def name(self) -> str:
        """The sub-path it is served under."""

    def version(self, project: Project | None) -> str:
        """The model version for a project, None standing for a project without a readable label
        config; never empty, answers at once.
        """

    def versions(self) -> Sequence[str]:
        """All versions that predictions may carry, the present one first; answers at once."""

    def check(self, config: LabelConfig) -> Sequence[str]:
        """What in a label config this backend cannot serve, each with its cure; for people."""

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """One answer per task, in order; None where there is nothing to store.

        A task that fails is None too and its error is reported through the log and status page;
        an interactive request raises instead.
        """

    def notify(self, event: AnnotationEvent) -> None:
        """Take note of an event; returns at once."""
