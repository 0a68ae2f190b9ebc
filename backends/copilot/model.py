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
    Prelabeller,
    Project,
    Task,
)
from backends.label_studio.config import prompt_controls

# Label Studio asks for as many tasks at once when they are opened, for more when a person
# retrieves predictions. Only what is opened is worth preparing for clicks.
OPENED = 2


class PrelabellingBackend(Backend, Prelabeller, Protocol):
    """A backend that labels tasks without being prompted, where it can."""

    def serving_version(self, project: Project) -> str | None:
        """Its version if it has both a model, here or on its way, and a control to fill."""

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control to fill, model or not."""

    def check(self, config: LabelConfig, *, load: bool = True) -> Sequence[str]:
        """As any backend's; begins to load models that it judges, unless not `load`."""


class Copilot:
    """Sends prompts to the segmenter, the rest to a pre-labeller; tells all of every event.

    Of `prelabellers` the first that serves a project answers there: what was trained on the
    project itself, where it has earned that, comes before what was trained on something else.
    """

    name = ""

    def __init__(self, *, segmenter: Backend, prelabellers: Sequence[PrelabellingBackend]) -> None:
        self._segmenter = segmenter
        self._prelabellers = prelabellers

    def prelabeller(self, project: Project) -> PrelabellingBackend:
        """Which one answers for a project; the last where none serves, which says why."""
        serving = (one for one in self._prelabellers if one.serving_version(project) is not None)
        return next(serving, self._prelabellers[-1])

    def version(self, project: Project | None) -> str:
        """The version that stored predictions carry: the pre-labeller's where one serves.

        Answers to prompts carry the segmenter's; Label Studio does not store those.
        """
        serving = self.prelabeller(project).serving_version(project) if project else None
        return serving or self._segmenter.version(project)

    def versions(self) -> Sequence[str]:
        """The versions of all."""
        labels = [version for one in self._prelabellers for version in one.versions()]
        return [*self._segmenter.versions(), *labels]

    def check(self, config: LabelConfig, *, load: bool = True) -> Sequence[str]:
        """What keeps clicks or pre-labels from working; a project may want only one of them.

        Begins to load the models of pre-labels, unless not `load`.
        """
        prompts = prompt_controls(config)
        filling = [one for one in self._prelabellers if one.fills(config)]
        clicks = self._segmenter.check(config) if prompts or not filling else ()
        asked = filling or ([] if prompts else self._prelabellers)
        labels = [problem for one in asked for problem in one.check(config, load=load)]
        return list(dict.fromkeys([*clicks, *labels]))

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """Answer prompts; without prompts label the tasks, and prepare those for clicks."""
        if interaction is not None:
            return self._segmenter.predict(project, tasks, interaction)
        if len(tasks) <= OPENED:
            self._segmenter.predict(project, tasks, None)
        return self.prelabeller(project).predict(project, tasks, None)

    def notify(self, event: AnnotationEvent) -> None:
        """Pass the event on."""
        for backend in (self._segmenter, *self._prelabellers):
            backend.notify(event)
