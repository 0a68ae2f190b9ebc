from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backends.copilot.model import Copilot
from backends.yolo import shelf, versions
from backends.yolo.model import YoloBackend
from backends.yolo.plan import plan
from backends.yolo.targets import find_targets
from backends.yolo.versions import NOT_YET, version_of
from tests.backends.yolo.fakes import (
    FakeDetector,
    FakeImages,
    FakeVideos,
    project,
    settings,
    until,
)

TWO_MODELS = project(
    '<Image name="image" value="$image"/>'
    + "".join(
        f'<RectangleLabels name="{name}" toName="image" model_path="{name}.pt">'
        '<Label value="person"/></RectangleLabels>'
        for name in ("quick", "slow")
    )
)


class Segmenter:
    def version(self, project: object) -> str:
        return "sam-1"


def test_what_is_not_hashed_yet_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_hash, hashed = threading.Event(), shelf.digest

    def slowly(path: Path, *, cache_dir: Path) -> str:
        assert path.name != "slow.pt" or may_hash.wait(20)
        return hashed(path, cache_dir=cache_dir)

    monkeypatch.setattr(shelf, "digest", slowly)
    monkeypatch.setattr("backends.yolo.model.VERSION_WAITS_S", 0.2)
    given = settings(tmp_path)
    for name in ("quick", "slow"):
        (given.model_path / f"{name}.pt").write_bytes(name.encode())
    yolo = YoloBackend(
        settings=given,
        images=FakeImages(),
        videos=FakeVideos(),
        load=lambda path: FakeDetector(()),
    )
    copilot = Copilot(segmenter=Segmenter(), prelabellers=[yolo])
    # Neither the segmenter's nor one that no prediction will carry as if it were a hash.
    assert copilot.version(TWO_MODELS) == NOT_YET
    assert yolo.versions() == []
    may_hash.set()
    until(lambda: yolo.version(TWO_MODELS) != NOT_YET)
    assert copilot.version(TWO_MODELS) == yolo.wait(TWO_MODELS)
    assert yolo.versions() == [yolo.version(TWO_MODELS)]


@dataclass
class Clock:
    """Time goes by only while something waits."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class NeverHashed:
    """A shelf whose models take forever to hash."""

    clock: Clock
    begun: list[str] = field(default_factory=list)

    def digest(self, name: str, *, wait_s: float) -> str | None:
        self.begun.append(name)
        self.clock.now += wait_s
        return None


def test_all_models_are_hashed_at_once_and_waited_for_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(versions, "time", clock)
    never = NeverHashed(clock)
    runs = plan(find_targets(TWO_MODELS.config, min_score=0.5).targets, lambda task: None)
    assert version_of(runs, never, settings(tmp_path), wait_s=2.0) == NOT_YET
    assert clock.now == 2.0
    assert set(never.begun) == {"quick.pt", "slow.pt"}


def test_models_are_loaded_within_one_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, waits = Clock(), []

    @contextmanager
    def borrowed(self: object, name: str, *, wait_s: float) -> Iterator[FakeDetector]:
        waits.append(wait_s)
        clock.now += 400
        yield FakeDetector(())

    given = settings(tmp_path)
    for name in ("quick", "slow"):
        (given.model_path / f"{name}.pt").write_bytes(name.encode())
    monkeypatch.setattr("backends.yolo.model.time", clock)
    monkeypatch.setattr(shelf.ModelShelf, "borrowed", borrowed)
    yolo = YoloBackend(settings=given, images=FakeImages(), videos=FakeVideos())
    until(lambda: yolo.version(TWO_MODELS) != NOT_YET)  # hashed
    assert list(yolo.label(TWO_MODELS, [])) == []
    assert waits == [600.0, 200.0]


IMAGE = '<Image name="i" value="$i"/>'
VIDEO = """<Video name="v" value="$v"{rate}/><VideoRectangle name="r" toName="v"/>
<Labels name="{labels}" toName="v"><Label value="person"/></Labels>"""


@pytest.mark.parametrize(
    "alike",
    [
        [
            VIDEO.format(rate=rate, labels=labels)
            for rate, labels in (("", "l"), (' frameRate="30"', "l"), ("", "renamed"))
        ],
        [
            f'{IMAGE}<{tag} name="m" toName="i"><Label value="person"/></{tag}>'
            for tag in ("BrushLabels", "BitmaskLabels")
        ],
        [
            f'{IMAGE}<Rectangle name="m" toName="i"/><Labels name="{name}" toName="i">'
            '<Label value="person"/></Labels>'
            for name in ("a", "b")
        ],
        [
            f'{IMAGE}<Choices name="m" toName="i" {nested}><Choice value="person"/></Choices>'
            for nested in ("", 'allowNested="true"')
        ],
    ],
)
def test_what_changes_the_stored_result_changes_the_version(
    tmp_path: Path, alike: list[str]
) -> None:
    given = settings(tmp_path, yolo_model="yolo11n.pt")
    yolo = YoloBackend(
        settings=given, images=FakeImages(), videos=FakeVideos(), load=lambda path: FakeDetector(())
    )
    assert len({yolo.wait(project(xml)) for xml in alike}) == len(alike)
