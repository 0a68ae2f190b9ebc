"""Learning curves measured in a process of their own, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from backends.advise import measuring
from backends.advise.child import read_runs, scores, write_runs
from backends.advise.design import Design
from backends.advise.measuring import Subject, measured
from backends.advise.nouns import Measured, Run
from backends.advise.store import AdviseStore
from backends.advise.targets import Metric
from backends.errors import TrainingFailed
from backends.micro.exchange import Material
from backends.settings import Settings
from micro_models.regions import Box, Region, WholeImage

KEY = "7.1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AdviseStore]:
    with closing(AdviseStore(Settings(data_dir=tmp_path / "data"))) as made:
        yield made


class Tried:
    """Calls `measured` and keeps what it was told."""

    def __init__(
        self,
        store: AdviseStore,
        room: Path,
        material: Sequence[Material],
        *,
        families: Sequence[str] = ("forest",),
        budget_s: float = 400.0,
    ) -> None:
        room.mkdir()
        self.told: list[str] = []
        self.asked = 0
        self.found: list[Measured] = measured(
            Subject(KEY, "project", tuple(material)),
            store,
            room,
            families=families,
            budget_s=budget_s,
            device="cpu",
            tell=lambda text, part: self.told.append(f"{text} {0 <= part <= 1}"),
            go_on=self._go_on,
            steps=1,
        )

    def _go_on(self) -> None:
        self.asked += 1

    @property
    def trainings(self) -> list[str]:
        return [line for line in self.told if " learns " in line]


def pictures(folder: Path, count: int) -> list[Material]:
    """Dark ones and bright ones."""
    found = []
    for number in range(count):
        path, label = folder / f"{number}.png", ("dark", "bright")[number % 2]
        pixels = np.random.default_rng(number).integers(0, 60, (36, 48, 3), np.uint8)
        PIL.Image.fromarray(pixels + np.uint8(150 * (number % 2))).save(path)
        found.append(Material(number, path, (Region(label, WholeImage()),)))
    return found


def test_models_learn_in_a_process_and_are_scored_on_what_they_did_not_see(
    store: AdviseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = pictures(tmp_path, 8)
    material[3].picture.write_bytes(b"no picture")
    runs = (Run("forest", 0, (0, 1), (4, 5, 6)), Run("forest", 0, (0, 1, 2, 3), (4, 5, 6)))
    monkeypatch.setattr(measuring, "design", lambda *_, **__: Design(runs, {"forest": 3.0}))
    tried = Tried(store, tmp_path / "1", material)
    assert tried.asked > 1
    assert tried.told[0] == "reading pictures True"
    assert tried.trainings == [f"forest learns {n} labels, draw 1 True" for n in (2, 4)]
    digests = Subject(KEY, "project", tuple(material)).digests
    assert [one.train for one in tried.found] == [
        frozenset(digests[n] for n in (0, 1)),
        frozenset(digests[n] for n in (0, 1, 2)),
    ]
    for one in tried.found:
        assert one.test == frozenset(digests[n] for n in (4, 5, 6))
        assert one.scores[Metric.ACCURACY] == 1
    assert store.points(KEY, "project") == tried.found


class Process:
    """Stands for the process: tells what it is given."""

    told: Sequence[dict[str, object]] = ()

    def __init__(self, module: str, room: Path, *, most_s: float) -> None:
        assert (module, most_s > 0) == ("backends.advise.child", True)
        self.runs, self.budgets_s = read_runs(room / "runs.json")

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def messages(self, go_on: object) -> Iterator[dict[str, object]]:
        yield {"unreadable": []}
        yield from self.told
        for number in range(len(self.runs)):
            yield {"run": number, "scores": {"mAP50": 0.5}, "took_s": 0.0}

    @staticmethod
    def failure(message: dict[str, object]) -> TrainingFailed | None:
        return TrainingFailed("out of memory") if "failed" in message else None

    def check(self) -> None:
        pass


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> type[Process]:
    made = type("Told", (Process,), {})
    monkeypatch.setattr(measuring, "Process", made)
    return made


def some(folder: Path, count: int) -> list[Material]:
    return [
        Material(n, folder / f"{n}.png", (Region("car", Box(n, 0, n + 9, 9)),))
        for n in range(count)
    ]


def test_points_of_a_label_that_changed_are_measured_again(
    store: AdviseStore, tmp_path: Path, process: type[Process]
) -> None:
    material = some(tmp_path, 24)
    first = Tried(store, tmp_path / "1", material)
    changed = [replace(material[0], regions=()), *material[1:]]
    then = Tried(store, tmp_path / "2", changed)
    assert 0 < len(then.trainings) <= len(first.trainings)
    gone = Subject(KEY, "project", tuple(material)).digests[0]
    assert not any(gone in one.train | one.test for one in then.found)


def test_a_repeat_is_instant(store: AdviseStore, tmp_path: Path, process: type[Process]) -> None:
    both = ("forest", "tiny")
    first = Tried(store, tmp_path / "1", some(tmp_path, 24), families=both)
    again = Tried(store, tmp_path / "2", some(tmp_path, 24), families=both)
    assert (again.told, again.asked) == ([], 0)
    assert len(again.found) == len(first.found) == len(first.trainings)
    more = Tried(store, tmp_path / "3", some(tmp_path, 48), families=both)
    assert 0 < len(more.trainings) < len(first.trainings) * 2
    assert len(more.found) > len(first.found)


def test_what_was_measured_before_a_failure_stays(
    store: AdviseStore, tmp_path: Path, process: type[Process]
) -> None:
    process.told = [
        {"run": 0, "scores": {"mAP50": 0.5}, "took_s": 0.0},
        {"run": 1, "scores": {}, "took_s": 0.0},
        {"failed": "out of memory"},
    ]
    with pytest.raises(TrainingFailed, match="memory"):
        Tried(store, tmp_path / "1", some(tmp_path, 24))
    assert len(store.points(KEY, "project")) == 1


def test_nothing_is_begun_for_which_there_is_no_time(
    store: AdviseStore, tmp_path: Path, process: type[Process]
) -> None:
    process.told = [{"run": 0, "scores": {"mAP50": 0.5}, "took_s": 1000.0}]
    assert len(Tried(store, tmp_path / "1", some(tmp_path, 24)).found) == 1


def test_runs_in_a_file(tmp_path: Path) -> None:
    runs = [Run("forest", 0, (0, 2), (1,)), Run("tiny", 1, (1,), (0, 2))]
    write_runs(runs, {"forest": 3.0, "tiny": 8.0}, tmp_path / "runs")
    assert read_runs(tmp_path / "runs") == (runs, {"forest": 3.0, "tiny": 8.0})


ANT = Region("ant", WholeImage(), 0.9)


def test_scores() -> None:
    car = Region("car", Box(0, 0, 9, 9))
    assert scores([[ANT, car]], [[ANT, car]]) == {"accuracy": 1.0, "mAP50": 1.0}
    assert scores([[]], [[]]) == {}
