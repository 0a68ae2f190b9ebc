"""A project of 240 tasks, a model that is wrong where it is unsure, and runs of the tool on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.autoaccept.desk import Desk, alone
from backends.autoaccept.nouns import Terms
from backends.autoaccept.store import AutoacceptStore
from backends.autoaccept.tool import Autoaccept, Outcome, renew, undo
from backends.label_studio.audits import AuditBook
from backends.settings import Settings
from tests.backends.autoaccept.studio import PROJECT, VERSION, Model, Studio

TASKS = range(1, 241)
TERMS = Terms(max_error=0.1, confidence=0.9, keep_checking=0.1, most_audits=200)


def truth(task_id: int) -> str:
    return "Käse" if task_id % 3 else "Wurst"


def unsure(task_id: int) -> bool:
    """Of these every second answer is wrong."""
    return task_id % 10 < 3


def sure_model() -> Model:
    """Scores say how likely each answer is right."""
    answers: dict[int, tuple[str, float] | None] = {}
    for task_id in TASKS:
        is_wrong = unsure(task_id) and task_id % 2 == 0
        right, wrong = truth(task_id), "Wurst" if truth(task_id) == "Käse" else "Käse"
        score = (0.5 if unsure(task_id) else 0.9) + task_id / 10_000
        answers[task_id] = (wrong if is_wrong else right), score
    return Model(answers)


@dataclass
class World:
    """All that a run works with."""

    studio: Studio
    model: Model
    store: AutoacceptStore
    book: AuditBook
    terms: Terms = TERMS
    version: str = VERSION
    seed: int = 0
    blind_share: float = 0.0

    @property
    def key(self) -> str:
        return PROJECT.key

    def desk(self, go_on: Any = lambda: None) -> Desk:
        return Desk(
            client=self.studio,  # type: ignore[arg-type]
            project=PROJECT,
            prelabeller=self.model,
            version=self.version,
            store=self.store,
            book=self.book,
            rng=np.random.default_rng(self.seed),
            tell=lambda text, part: None,
            go_on=go_on,
            blind_share=self.blind_share,
        )

    def run(self, *, dry_run: bool = False, **terms: Any) -> Outcome:
        with alone(self.store, self.key) as go_on:
            desk = self.desk(go_on)
            some = replace(self.terms, **terms)
            return Autoaccept(desk, some, dry_run=dry_run).run()

    def undo(self) -> Any:
        with alone(self.store, self.key) as go_on:
            return undo(self.desk(go_on))

    def renew(self) -> None:
        with alone(self.store, self.key) as go_on:
            renew(self.desk(go_on))

    def drawn(self) -> list[int]:
        return [one.task_id for one in self.book.drawn(self.key)]

    def answer(self, *, but: int = 0) -> list[int]:
        """People label what is drawn and open, all `but` so many; the ids."""
        there = [one for one in self.drawn() if one in self.studio.found]
        found = [one for one in there if not self.studio.found[one].annotations]
        done = found[: len(found) - but]
        for task_id in done:
            self.studio.label(task_id, truth(task_id))
        return done

    def certified(self) -> Outcome:
        """Draw, answer, draw more if needed, until the first acceptance."""
        for _ in range(5):
            found = self.run()
            if found.accepted.accepted:
                return found
            self.answer()
        raise AssertionError(found)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=None)
    studio, model = Studio(TASKS), sure_model()
    studio.predict(model, TASKS)
    with closing(AutoacceptStore(settings)) as store, closing(AuditBook(settings)) as book:
        yield World(studio, model, store, book)
