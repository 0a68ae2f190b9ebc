"""Clicks that reach one server after another, as behind a load balancer without stickiness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from backends.database import open_database
from backends.errors import StateError
from backends.interface import Drawn
from backends.sam.memory import PromptMemory
from backends.sam.others import Others
from backends.sam.pointing import KEEP_S, Place, PointedObject
from backends.sam.prompt_store import PromptStore
from backends.settings import Settings
from micro_models.regions import Box, Click, Mask, RotatedBox, Segmentation

SIZE = (200, 100)
PLACE = Place("1.2", 7, "image", "digest")


class Server:
    """One of several, with its own memory and one database."""

    def __init__(self, settings: Settings, now: float = 1e9) -> None:
        self.now = now
        self.store = PromptStore(settings)
        self.others = Others(self.store, clock=lambda: self.now)
        self.memory = PromptMemory(self.others, clock=lambda: self.now)

    def hears(self, *drawn: Drawn, accepted: tuple[str, ...] = ()) -> PointedObject:
        self.now += 1
        pointed = self.memory.resolve(PLACE, drawn, accepted=frozenset(accepted), size_px=SIZE)
        self.settle()
        return pointed

    def answers(self, pointed: PointedObject, hint: np.ndarray | None = None) -> None:
        pixels = np.zeros(SIZE[::-1], np.bool_)
        pixels[:, :100] = True
        logits = np.arange(64 * 64, dtype=np.float32).reshape(64, 64) / 100
        answer = Segmentation(Mask(pixels), 0.5, logits if hint is None else hint)
        self.memory.remember(PLACE, pointed, answer, engine="sam-1")
        self.settle()

    def settle(self) -> None:
        """What is told to others in the background has been told."""
        self.others._writer.submit(lambda: None).result(30)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, database_url=None)


@pytest.fixture
def servers(settings: Settings) -> Iterator[tuple[Server, Server]]:
    both = Server(settings), Server(settings, now=1e9 + 5)
    yield both
    for one in both:
        one.memory.close()


def click(name: str, x: float, y: float, *, positive: bool = True) -> Drawn:
    return Drawn(name, Click(x, y, positive), "Größe")


def test_a_second_click_refines_on_whichever_server_it_lands(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    first = one.hears(click("a", 10, 10))
    one.answers(first)
    second = other.hears(click("a", 10, 10), click("b", 150, 10, positive=False))
    assert second.region_id == first.region_id
    assert second.clicks == (Click(10, 10), Click(150, 10, positive=False))
    hint = second.prompt("sam-1").hint
    assert hint is not None
    np.testing.assert_allclose(hint, np.arange(64 * 64).reshape(64, 64) / 100, rtol=1e-3)
    assert second.prompt("another-engine").hint is None
    other.answers(second)
    third = one.hears(click("a", 10, 10))  # the second was withdrawn
    assert (third.region_id, third.clicks) == (first.region_id, (Click(10, 10),))


def test_boxes_and_a_window_are_kept_exactly(servers: tuple[Server, Server]) -> None:
    one, other = servers
    for number, shape in enumerate((Box(1, 2, 30, 40), RotatedBox(50, 50, 20, 10, 33.3))):
        pointed = one.hears(Drawn(f"box{number}", shape, f"label{number}"))
        one.answers(pointed, np.array([[12345.25, 0, 1e-9, 7]], np.float32))
        found = {each.region_id: each for each in other.others.of(PLACE, known=[])}
        kept = found[pointed.region_id]
        assert (kept.box, kept.box_ids, kept.label) == (shape, pointed.box_ids, pointed.label)
        assert kept.hint is not None
        assert kept.hint.tolist() == np.array([[12345.25, 0, 1e-9, 7]], np.float32).tolist()
        assert kept.covers(Click(20, 20))
        assert not kept.covers(Click(150, 20))


def test_a_late_answer_does_not_undo_a_newer_click_on_another_server(
    servers: tuple[Server, Server],
) -> None:
    one, other = servers
    first = one.hears(click("a", 10, 10))
    second = other.hears(click("a", 10, 10), click("b", 20, 20))
    one.answers(first)  # it took its time
    third = other.hears(click("a", 10, 10), click("b", 20, 20), click("c", 30, 30))
    assert third.region_id == first.region_id == second.region_id
    assert third.hint is None
    assert len(third.clicks) == 3


def test_a_restarted_server_knows_what_was_pointed_at(settings: Settings) -> None:
    before = Server(settings)
    first = before.hears(click("a", 10, 10))
    before.answers(first)
    before.memory.close()
    after = Server(settings, now=before.now + 60)
    again = after.hears(click("a", 10, 10), click("b", 20, 20))
    assert again.region_id == first.region_id
    assert again.prompt("sam-1").hint is not None
    after.memory.close()


def test_what_is_old_is_forgotten_by_all(servers: tuple[Server, Server]) -> None:
    one, other = servers
    one.answers(one.hears(click("a", 10, 10)))
    one.now = other.now = one.now + KEEP_S + 1
    assert other.others.of(PLACE, known=[]) == []
    other.others._forgot_at = float("-inf")
    other.hears(click("z", 90, 90))
    other.settle()
    with open_database(Settings(_env_file=None, data_dir=one_folder(other))).connect() as reading:
        assert reading.execute(sa.text("SELECT count(*) FROM sam_prompts")).scalar() == 1


def test_without_the_database_a_server_goes_by_what_it_knows(
    servers: tuple[Server, Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, _ = servers
    asked: list[str] = []

    def fail(name: str) -> None:
        asked.append(name)
        raise StateError("the database of clicks failed (OperationalError)")

    for name in ("of", "put", "answer"):
        monkeypatch.setattr(one.store, name, lambda *_, name=name, **__: fail(name))
    first = one.hears(click("a", 10, 10))
    one.answers(first)
    second = one.hears(click("a", 10, 10), click("b", 20, 20))
    assert second.region_id == first.region_id
    assert second.prompt("sam-1").hint is not None
    assert asked == ["of"]  # once it has failed, no click waits for it
    assert caplog.text.count("other servers are not told") == 1


def one_folder(server: Server) -> Path:
    return Path(str(server.store._engine.url.database)).parent
