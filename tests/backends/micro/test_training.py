"""A training in its own process: what comes of it, and that nothing of it stays behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from backends.errors import TrainingFailed
from backends.micro import training
from backends.micro.exchange import Request, Trained, read_held_out
from backends.micro.training import train
from micro_models import Progress, load
from micro_models.regions import Mask, Region
from tests.backends.micro.scenes import all_drawn, drawn


class Watched:
    """Calls `train` and keeps what it was told."""

    def __init__(
        self, request: Request, folder: Path, *, at: Callable[[Progress], None] = lambda _: None
    ) -> None:
        self.steps: list[Progress] = []
        self.early: list[Trained] = []
        self.asked: list[float] = []
        self._at = at
        self.trained = train(
            request,
            folder,
            told=self._told,
            go_on=lambda: self.asked.append(time.monotonic()),
            on_better=self.early.append,
        )

    def _told(self, progress: Progress) -> None:
        self.steps.append(progress)
        self._at(progress)


def ends(request: Request, folder: Path) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        Watched(request, folder)
    assert list(folder.glob("*")) == []
    assert "Traceback" not in str(caught.value)
    assert str(folder) not in str(caught.value)
    return caught.value


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if trains(one)]


def trains(process: psutil.Process) -> bool:
    try:
        return "backends.micro.child" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


@pytest.fixture(autouse=True, scope="module")
def on_a_busy_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_GRACE_S", 240.0)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Watched, list[int]]:
    """A training on nine examples, of which three cannot be used; how nice its process was."""
    folder = tmp_path_factory.mktemp("trained")
    examples = list(all_drawn(folder / "drawn", 9))
    examples[2].picture.unlink()
    whole = examples[4].picture.read_bytes()
    examples[4].picture.write_bytes(whole[: len(whole) // 2])
    mask = Mask(np.ones((10, 10), np.bool_))
    examples[6] = replace(examples[6], regions=(Region("disc", mask),))
    others = [(100 + n, drawn(folder / "drawn", 100 + n).picture) for n in range(3)]
    request = Request(
        tuple(examples), (*others, (104, folder / "none.png")), budget_s=5, seed=1, steps=12
    )
    nice: list[int] = []

    def look(_: Progress) -> None:
        if not nice:
            nice.extend(one.nice() for one in children())
            for picture in [one.picture for one in examples] + [path for _, path in others]:
                picture.unlink(missing_ok=True)  # as a cache does

    return request, Watched(request, folder / "work", at=look), nice


def test_the_model_is_on_disk_with_what_it_found_held_out(
    done: tuple[Request, Watched, list[int]],
) -> None:
    trained = done[1].trained
    model = load(trained.folder)
    assert model.version == trained.version
    assert set(model.labels) == {"disc", "square"}
    assert trained.report["examples"] == 6
    assert len(trained.held_out) == 9
    assert [n for n, found in enumerate(trained.held_out) if found is None] == [2, 4, 6]
    stored = read_held_out(trained.folder)
    assert sorted(stored) == [(n, None, 0) for n in (0, 1, 3, 5, 7, 8)]
    assert [stored.get((n, None, 0)) for n in range(9)] == list(trained.held_out)
    assert (trained.old, trained.later) == ((), ())


def test_examples_that_cannot_be_learned_from_are_left_out_and_told(
    done: tuple[Request, Watched, list[int]],
) -> None:
    trained = done[1].trained
    assert trained.left_out == (2, 4, 6)
    assert [trained.held_out[n] for n in trained.left_out] == [None] * 3
    assert any("task 2, 4, 6" in note for note in trained.report["notes"])


def test_other_tasks_that_can_be_read_have_a_certainty(
    done: tuple[Request, Watched, list[int]],
) -> None:
    certainty = done[1].trained.certainty
    assert certainty.keys() <= {100, 101, 102}
    assert certainty
    assert all(0 <= one <= 1 for one in certainty.values())


def test_progress_is_told_and_whether_to_go_on_is_asked(
    done: tuple[Request, Watched, list[int]],
) -> None:
    _, watched, nice = done
    assert watched.steps[0].stage == "reading pictures"
    assert {one.stage for one in watched.steps} >= {"forest, for now", "looking at other pictures"}
    assert len(watched.asked) > 3
    assert nice == [os.nice(0) + 5]


def test_only_models_are_left(done: tuple[Request, Watched, list[int]]) -> None:
    folder = done[1].trained.folder
    assert {one.name for one in folder.parent.iterdir()} <= {
        *("final", "final.json", "final-old.json"),
        *("early", "early.json", "early-old.json"),
    }
    assert children() == []


def test_the_next_model_is_compared_with_this_one(
    done: tuple[Request, Watched, list[int]], tmp_path: Path
) -> None:
    before = done[1].trained
    examples = all_drawn(tmp_path / "drawn", 12)
    secrets: list[str] = []

    def look(_: Progress) -> None:
        secrets.extend(name for one in children() for name in one.environ() if "API_KEY" in name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABEL_STUDIO_API_KEY", "secret")
        request = Request(examples, (), budget_s=5, seed=2, steps=12, rival_folder=before.folder)
        trained = Watched(request, tmp_path / "work", at=look).trained
    assert secrets == []
    assert trained.left_out == ()
    held = read_held_out(before.folder)
    learned = [n for n in range(12) if (n, None, 0) in held]
    assert [trained.old[n] for n in learned] == [held[n, None, 0] for n in learned]
    later = [n for n in range(12) if n not in learned and trained.old[n] is not None]
    assert list(trained.later) == later
    assert later
    assert all(found is not None for found in trained.held_out)


def test_who_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    request = Request(all_drawn(tmp_path / "drawn", 3), (), budget_s=60, seed=0)
    seen: list[psutil.Process] = []

    def go_on() -> None:
        if seen:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(
            request,
            tmp_path / "work",
            told=lambda _: seen.extend(children()),
            go_on=go_on,
            on_better=lambda _: None,
        )
    assert not any(one.is_running() for one in seen)
    assert list((tmp_path / "work").glob("*")) == []


SERVER = """
import sys
from pathlib import Path
from backends.micro.exchange import Request
from backends.micro.training import train
from tests.backends.micro.scenes import all_drawn

folder = Path(sys.argv[1])
train(
    Request(all_drawn(folder / "drawn", 3), (), budget_s=60, seed=0), folder / "work",
    told=lambda _: print("trains", flush=True), go_on=lambda: None, on_better=lambda _: None,
)
"""


def test_a_training_ends_with_whoever_started_it_however_that_ends(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert server.stdout is not None
    with server, server.stdout:
        assert server.stdout.readline() == b"trains\n"
        (child,) = psutil.Process(server.pid).children(recursive=True)
        server.kill()
        psutil.wait_procs([child], timeout=30)
        assert not child.is_running()


class TestProcessesThatFail:
    """What stands in for Python here does what trainings hopefully do not."""

    @pytest.fixture
    def request_(self, tmp_path: Path) -> Request:
        return Request(all_drawn(tmp_path / "drawn", 1), (), budget_s=1, seed=0)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("kill -9 $$", "out of memory"),
            ("echo 'Traceback: /secret' >&2; exit 1", "an error of its own"),
            ("kill -SEGV $$", "an error of its own"),
            ("exit 0", "an error of its own"),
            ('echo \'{"model": "early"}\'', "an error of its own"),
            ("printf '{\"prog'", "an error of its own"),
            ('echo \'{"failed": "disk full"}\'', "disk is full"),
            ("exec >&-; sleep 60", "an error of its own"),
            ("sleep 60 & sleep 60", "much longer than it may"),
        ],
    )
    def test_people_are_told_why(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        request_: Request,
        script: str,
        message: str,
    ) -> None:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        monkeypatch.setattr(training, "_TOO_LONG", 0.1)
        monkeypatch.setattr(training, "_GRACE_S", 0.5)
        assert message in str(ends(request_, tmp_path / "work"))

    def test_a_system_without_python_is_a_failure_too(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request_: Request
    ) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
        assert "could not begin" in str(ends(request_, tmp_path / "work"))

    def test_a_disk_without_room(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request_: Request
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space")

        monkeypatch.setattr(training, "write_request", full)
        assert "disk is full" in str(ends(request_, tmp_path / "work"))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"device": "hip:7"}, "LABELPILOT_TRAIN_DEVICE"), ({"examples": ()}, "has a region")],
)
def test_what_cannot_be_trained_is_told(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    request = Request(all_drawn(tmp_path / "drawn", 2), (), budget_s=5, seed=0)
    assert message in str(ends(replace(request, **change), tmp_path / "work"))


def test_a_process_that_is_killed_by_the_system_is_out_of_memory(tmp_path: Path) -> None:
    request = Request(all_drawn(tmp_path / "drawn", 3), (), budget_s=60, seed=0)

    def kill(_: Progress) -> None:
        for one in children():
            one.send_signal(signal.SIGKILL)

    with pytest.raises(TrainingFailed, match="out of memory"):
        Watched(request, tmp_path / "work", at=kill)
    assert list((tmp_path / "work").glob("*")) == []
