"""Models that one machine makes and another one serves."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from backends.errors import ModelMissing, Unavailable
from backends.micro import shared_models
from backends.micro.nouns import ModelVersion
from backends.micro.registry import Registry
from backends.micro.shared_models import pack, unpack
from backends.micro.store import MicroStore
from backends.settings import Settings
from tests.backends.micro.test_registry import KEY, MB, add, version


class Machine:
    """A data folder of its own; the database and the store are everybody's."""

    def __init__(self, folder: Path, name: str, *, shares: bool = True) -> None:
        self.settings = Settings(
            _env_file=None,
            data_dir=folder / name,
            database_url=f"sqlite:///{folder / 'state.db'}",
            store_url=str(folder / "store") if shares else None,
            micro_disk_mb=10,
        )
        self.store = MicroStore(self.settings)
        self.registry = Registry(self.settings, self.store)

    def close(self) -> None:
        self.store.close()

    @property
    def current(self) -> ModelVersion:
        return self.store.current(KEY)["project"]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    with ExitStack() as opened:
        one = opened.enter_context(closing(Machine(tmp_path, "one")))
        other = opened.enter_context(closing(Machine(tmp_path, "other")))
        yield one, other


def stored(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "store").rglob("*") if path.is_file())


def test_what_one_trains_another_serves(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    add(one.registry, version(1), promote=True)
    assert other.registry.is_there(other.current)
    folder = other.registry.fetch(other.current)
    assert folder == other.registry.folder(version(1))
    assert folder.is_relative_to(other.settings.data_dir)
    assert (folder / "model.json").read_bytes() == b"x" * 10
    came_at = (folder / "model.json").stat().st_mtime_ns
    assert other.registry.fetch(other.current) == folder
    assert (folder / "model.json").stat().st_mtime_ns == came_at  # once is enough
    assert list((other.settings.data_dir / "micro" / ".work").iterdir()) == []


def test_one_promotes_and_goes_back_to_what_another_trained(
    machines: tuple[Machine, Machine],
) -> None:
    one, other = machines
    for number in (1, 2):
        add(one.registry, version(number), promote=True)
    assert other.registry.rollback(KEY, "project").id == version(1).id
    assert one.current.id == version(1).id
    other.registry.promote(KEY, "project", version(2).id)
    assert other.registry.fetch(one.current).is_dir()


def test_the_same_model_measured_anew_is_brought_anew(machines: tuple[Machine, Machine]) -> None:
    one, other = machines
    add(one.registry, version(1), promote=True)
    folder = other.registry.fetch(other.current)
    assert (folder / "held_out.json").read_text() == "[]"
    add(one.registry, version(1), found="[1]")
    assert (other.registry.fetch(other.current) / "held_out.json").read_text() == "[1]"


def test_a_model_that_is_gone_or_damaged_in_the_store_is_told_and_trained_anew(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    one, other = machines
    add(one.registry, version(1), promote=True)
    (archive,) = stored(tmp_path)
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    with pytest.raises(ModelMissing, match="damaged in the store"):
        other.registry.fetch(other.current)
    assert not other.registry.is_there(other.current)
    assert one.registry.is_there(one.current)  # it has its own
    add(one.registry, version(1))
    (archive,) = stored(tmp_path)
    archive.unlink()
    with pytest.raises(ModelMissing, match="not in the store any more"):
        other.registry.fetch(other.current)


def test_a_store_that_is_away_keeps_the_row_away_too(
    machines: tuple[Machine, Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    add(one.registry, version(1), promote=True)

    def fail(*_: object) -> None:
        raise Unavailable("the store cannot be written to (TimeoutError)")

    with monkeypatch.context() as away:
        away.setattr("backends.artifacts.Artifacts.put", fail)
        away.setattr("backends.artifacts.Artifacts.get", fail)
        with pytest.raises(Unavailable):
            add(one.registry, version(2))
        with pytest.raises(Unavailable):
            other.registry.fetch(other.current)
    assert [each.id for each in one.store.versions(KEY)] == [version(1).id]
    add(one.registry, version(2), promote=True)
    assert other.registry.fetch(other.current).is_dir()


def test_old_models_leave_the_store_and_what_has_no_row_does(
    machines: tuple[Machine, Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    for number in range(1, 6):
        add(one.registry, version(number), size=3 * MB, promote=number == 1)
    nobodys = tmp_path / "store" / "models" / "zz" / "nobodys.tar"
    nobodys.parent.mkdir()
    nobodys.write_bytes(b"x")
    one.registry.prune()
    assert nobodys.exists()  # its row may be on its way
    monkeypatch.setattr(shared_models, "_YOUNG_S", -60.0)
    other.registry._shared._swept_at = float("-inf")
    (other.settings.data_dir / "micro").mkdir(parents=True)
    other.registry.prune()
    left = {each.made_at for each in one.store.versions(KEY) if each.is_on_disk}
    assert left == {1, 4, 5}
    assert len(stored(tmp_path)) == 3
    for each in one.store.versions(KEY):
        assert one.registry.is_there(each) == (each.made_at in left)


def test_models_from_before_there_was_a_store_are_shared_at_the_start(tmp_path: Path) -> None:
    with closing(Machine(tmp_path, "one", shares=False)) as alone:
        add(alone.registry, version(1), promote=True)
        assert alone.current.archive is None
        assert not alone.registry.shares
        alone.registry.share()
    assert not (tmp_path / "store").exists()
    with (
        closing(Machine(tmp_path, "one")) as one,
        closing(Machine(tmp_path, "other")) as other,
    ):
        assert not other.registry.is_there(other.current)
        one.registry.share()
        assert other.registry.fetch(other.current).is_dir()
        before = stored(tmp_path)
        one.registry.share()
        assert stored(tmp_path) == before


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "link", ""])
def test_an_archive_writes_nowhere_else(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        if name == "link":
            info.type, info.linkname, info.size = tarfile.SYMTYPE, "/etc/passwd", 0
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises((ValueError, tarfile.TarError)):
        unpack(tmp_path / "bad.tar", tmp_path / "folder")
    assert not (tmp_path / "out").exists()


def test_the_same_files_give_the_same_archive(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text("x")
        (tmp_path / name / ".archive").write_text(name)
        pack(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()
    unpack(tmp_path / "one.tar", tmp_path / "back")
    assert {path.name for path in (tmp_path / "back").iterdir()} == {"model.json"}
