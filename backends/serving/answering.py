"""Who labels a project's tasks, in words: its micro-models, YOLO, or nobody."""

from __future__ import annotations

from collections.abc import Sequence

from backends.interface import Project
from backends.micro.nouns import ModelVersion
from backends.micro.rivalry import trusted
from backends.micro.scopes import scope_of

_YOLO = "YOLO answers when a task is opened, or its predictions are retrieved"
_BECAUSE = "it found more in what was held out (F1 below)"
_NO_PLACE = (
    "no model answers: what they find has no place in the label config any more, or their files "
    "are gone"
)


def who_answers(project: Project, current: Sequence[ModelVersion], *, serves: bool) -> str:
    """Who labels what is left; "" while there is no model that could.

    `serves`: whether the micro backend does, which looks at the models' files too.
    """
    if not current:
        return ""
    found = {scope_of(project.config, one.scope): one for one in current}
    fit = {scope: one for scope, one in found.items() if scope is not None}
    earned = trusted(fit)
    if not fit or (earned and not serves):
        return _NO_PLACE
    if not earned:
        return f"{_YOLO}: {_BECAUSE}"
    others = sorted(one.scope for scope, one in fit.items() if scope not in earned)
    words = "micro-models label the tasks that are left"
    return words + (f", but not {', '.join(others)}: {_YOLO}, {_BECAUSE}" if others else "")
