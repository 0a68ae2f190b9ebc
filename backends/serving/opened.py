"""What becomes of a task that is opened without a prompt: which model fills its controls."""

from __future__ import annotations

from collections.abc import Sequence

from backends.interface import Project
from backends.serving.services import Services

MICRO_FILLS = "a task that is opened ← micro-models of this project (status page, Learning)"


def opened(
    services: Services, project: Project, findings: Sequence[str], *, load: bool = True
) -> tuple[list[str], list[str]]:
    """Lines on who fills which control, and of the copilot's findings those that then matter.

    What YOLO cannot fill is no matter where the project has models of its own that answer. Begins
    to load YOLO's models, unless not `load`.
    """
    if services.micro.serving_version(project) is None:
        return list(services.yolo.describe(project, load=load)), list(findings)
    of_yolo = services.yolo.check(project.config, load=load)
    return [MICRO_FILLS], [one for one in findings if one not in of_yolo]
