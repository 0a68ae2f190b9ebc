"""One URL that does everything: Label Studio asks only the first backend of a project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backends.interface import (
    AnnotationEvent,
    Backend,
    Interaction,
    LabelConfig,
    Prediction,
    Project,
    Task,
)
from backends.label_studio.config import prompt_controls

# Label Studio asks for as many tasks at once when they are opened, for more when a person
# retrieves predictions. Only what is opened is worth preparing for clicks.
OPENED = 2


class PrelabellingBackend(Backend, Protocol):
    """A backend that labels tasks without being prompted, where it can."""

    def serving_version(self, project: Project) -> str | None:
        """Its version if it has both a model, here or on its way, and a control to fill."""

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control to fill, model or not."""

    def check(self, config: LabelConfig, *, load: bool = True) -> Sequence[str]:
        """As any backend's; begins to load models that it judges, unless not `load`."""


class Copilot:
    """Sends prompts to the segmenter, the rest to the pre-labeller; tells both of every event."""

    name = ""

    def __init__(self, *, segmenter: Backend, prelabeller: PrelabellingBackend) -> None:
        self._segmenter = segmenter
        self._prelabeller = prelabeller

    def version(self, project: Project | None) -> str:
        """The version that stored predictions carry: the pre-labeller's where it serves.

        Answers to prompts carry the segmenter's; Label Studio does not store those.
        """
        serving = self._prelabeller.serving_version(project) if project is not None else None
        return serving or self._segmenter.version(project)

    def versions(self) -> Sequence[str]:
        """The versions of both."""
        return [*self._segmenter.versions(), *self._prelabeller.versions()]

    def check(self, config: LabelConfig, *, load: bool = True) -> Sequence[str]:
        """What keeps clicks or pre-labels from working; a project may want only one of them.

        Begins to load the models of pre-labels, unless not `load`.
        """
        prompts, fills = prompt_controls(config), self._prelabeller.fills(config)
        clicks = self._segmenter.check(config) if prompts or not fills else ()
        labels = self._prelabeller.check(config, load=load) if fills or not prompts else ()
        return [*clicks, *labels]

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """Answer prompts; without prompts label the tasks, and prepare those for clicks."""
        if interaction is not None:
            return self._segmenter.predict(project, tasks, interaction)
        if len(tasks) <= OPENED:
            self._segmenter.predict(project, tasks, None)
        return self._prelabeller.predict(project, tasks, None)

    def notify(self, event: AnnotationEvent) -> None:
        """Pass the event on."""
        self._segmenter.notify(event)
        self._prelabeller.notify(event)
