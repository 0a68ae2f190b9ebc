"""What trainings share, and what one training of a project is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.interface import ImageSource, LabelledTask, Prelabeller, Project, VideoSource
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio


@dataclass(frozen=True)
class Tools:
    """What trainings share. `rival` labels tasks without learning; None where there is none."""

    settings: Settings
    store: MicroStore
    registry: Registry
    images: ImageSource
    videos: VideoSource
    rival: Prelabeller | None = None


@dataclass(frozen=True)
class Course:
    """One training of a project; `budget_s` is for all of its scopes.

    `pseudo`: tasks with what a certificate vouches for as their annotations; they are no labels.
    `asked`: a person wants it, however few labels there are. `go_on` raises when it is to stop;
    `early` is called when a first model answers while a better one is trained, with the tasks to
    be answered.
    """

    project: Project
    client: LabelStudio
    labelled: Sequence[LabelledTask]
    budget_s: float
    asked: bool
    go_on: Callable[[], None]
    early: Callable[[Sequence[int]], None]
    pseudo: Sequence[LabelledTask] = ()
