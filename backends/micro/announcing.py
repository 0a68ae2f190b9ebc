"""Has predictions follow the models that answer now, and Label Studio go by their version."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from backends.errors import LabelStudioRefused
from backends.interface import Background, Project
from backends.label_studio.client import LabelStudios
from backends.label_studio.sampling import align
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.store import MicroStore
from backends.micro.versions import is_ours

log = logging.getLogger(__name__)

_ALIGN_TRIES = 20  # a second each, while the first predictions are on their way


class Serving(Protocol):
    """Who answers for a project."""

    def scopes(self, project: Project, *, anew: bool) -> Collection[Scope]:
        """Those with a model that may answer, read `anew` from the database."""

    def serving_version(self, project: Project) -> str | None:
        """The version of their answers, if they have earned their place."""

    def rival_version(self, project: Project) -> str | None:
        """The version of the pre-labeller's answers, if it has any."""


class Announcer:
    """Refreshes predictions. `background` None: nobody could."""

    def __init__(
        self,
        serving: Serving,
        *,
        studios: LabelStudios,
        store: MicroStore,
        background: Callable[[], Background | None],
    ) -> None:
        self._serving, self._studios, self._store = serving, studios, store
        self._background = background

    def __call__(
        self,
        project: Project,
        first: Sequence[int] = (),
        *,
        anyway: bool = False,
        is_early: bool = False,
        go_on: Callable[[], None] | None = None,
    ) -> None:
        """See `learning.Announce`."""
        current = self._store.current(project.key)
        scopes = self._serving.scopes(project, anew=True)
        served = self._serving.serving_version(project)
        before, background = self._store.standing(project.key).announced, self._background()
        if served is None and before and scopes:
            # What answered is no longer trusted. Where it only has no place any more in the label
            # config, nobody knows of anything better than what it said.
            served = self._serving.rival_version(project)
        if background is None:
            return
        if served is not None and (served != before or first or anyway):
            # A clip's tracks are of a task that has labels, which nobody would refresh else.
            clips = [int(one.value) for one in scopes if one.kind is ScopeKind.CLIP]
            others = not is_early and not (clips and len(clips) == len(scopes))
            tasks = [*first, *(task for task in clips if task not in first)]
            background.refresh(project, served, first=tasks, others=others)
            self._align(project, served, go_on)
        if not is_early:
            ids = {scope: one.id for scope, one in current.items()}
            self._store.note_announced(project.key, served or "", models=ids)

    def _align(self, project: Project, version: str, go_on: Callable[[], None] | None) -> None:
        """Let uncertainty sampling go by the scores of this version; a convenience."""
        client = self._studios.sdk(project.key)
        try:
            for _ in range(_ALIGN_TRIES if go_on else 1):
                if align(client, project.id, version, ours=is_ours):
                    return
                if go_on is not None:
                    go_on()
                    time.sleep(1.0)
        except LabelStudioRefused as error:
            log.warning("project %s: uncertainty sampling is not set up: %s", project.id, error)
