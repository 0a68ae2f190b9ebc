"""One URL that does everything: Label Studio asks only the first backend of a project."""

from __future__ import annotations

from collections.abc import Sequence

from backends.interface import (
    AnnotationEvent,
    Backend,
    Interaction,
    LabelConfig,
    Prediction,
    Project,
    Task,
)


class Copilot:
    """Sends prompts to the segmenter, tells every backend of every event."""

    name = ""

    def __init__(self, *, segmenter: Backend) -> None:
        self._segmenter = segmenter

    def version(self, project: Project | None) -> str:
        """The segmenter's version."""
        return self._segmenter.version(project)

    def versions(self) -> Sequence[str]:
        """The segmenter's versions."""
        return self._segmenter.versions()

    def check(self, config: LabelConfig) -> Sequence[str]:
        """What in the label config cannot be served."""
        return self._segmenter.check(config)

    def predict(
        self, project: Project, tasks: Sequence[Task], interaction: Interaction | None
    ) -> Sequence[Prediction | None]:
        """Answer prompts; without prompts nothing is stored yet."""
        return self._segmenter.predict(project, tasks, interaction)

    def notify(self, event: AnnotationEvent) -> None:
        """Pass the event on."""
        self._segmenter.notify(event)
