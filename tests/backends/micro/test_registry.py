"""Models on disk: what is kept, what goes, and what a crash leaves."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backends.errors import ModelMissing, StateError
from backends.micro import version_store
from backends.micro.exchange import Trained
from backends.micro.nouns import ModelVersion
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings

KEY = "7.1700000000"
MB = 1 << 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, micro_disk_mb=10)


@pytest.fixture
def store(settings: Settings) -> Iterator[MicroStore]:
    with closing(MicroStore(settings)) as made:
        yield made


@pytest.fixture
def registry(settings: Settings, store: MicroStore) -> Registry:
    return Registry(settings, store)


def version(number: int, *, scope: str = "project", key: str = KEY) -> ModelVersion:
    return ModelVersion(f"{number:012x}", key, scope, float(number), 5, "hash", "why")


def add(
    registry: Registry,
    one: ModelVersion,
    *,
    size: int = 10,
    promote: bool = False,
    found: str = "[]",
) -> ModelVersion:
    with registry.workspace() as folder:
        made = folder / "training" / "final"
        made.mkdir(parents=True)
        (made / "model.json").write_bytes(b"x" * size)
        (made / "held_out.json").write_text(found)
        registry.add(Trained(made, one.id, {}, ()), one)
    if promote:
        registry.promote(one.project_key, one.scope, one.id)
    return one


def files(root: Path) -> set[str]:
    return {str(one.relative_to(root)) for one in root.rglob("*") if one.is_file()}


def test_a_model_is_in_its_place_and_the_workspace_is_gone(
    registry: Registry, store: MicroStore, tmp_path: Path
) -> None:
    one = add(registry, version(1))
    assert (registry.folder(one) / "model.json").is_file()
    assert registry.folder(one).is_relative_to(tmp_path / "micro" / KEY)
    assert store.versions(KEY) == [one]
    assert list((tmp_path / "micro" / ".work").iterdir()) == []


@pytest.mark.parametrize("scope", ["label Größe/../..", "scene=" + "夜" * 300, "a=.", "=", "a\nb"])
def test_scopes_and_projects_are_names_of_folders(
    registry: Registry, tmp_path: Path, scope: str
) -> None:
    odd = add(registry, version(1, scope=scope, key="../../7"))
    folder = registry.folder(odd)
    assert folder.is_dir()
    assert folder.resolve().parents[2] == (tmp_path / "micro").resolve()
    assert all(one.isascii() and len(one) < 60 for one in folder.parts[-3:])


def test_scopes_whose_names_look_alike_are_apart(registry: Registry) -> None:
    one, other = (registry.folder(version(1, scope=scope)) for scope in ("a=b c", "a=b/c"))
    assert one != other


@pytest.mark.parametrize("name", ["..", "a/b", "", "A1"])
def test_a_version_that_is_none_has_no_folder(registry: Registry, name: str) -> None:
    with pytest.raises(StateError):
        registry.promote(KEY, "project", name)


def test_the_same_model_again_is_no_second_one(registry: Registry, store: MicroStore) -> None:
    one = add(registry, version(1), promote=True)
    add(registry, one, found="[1]")
    assert (registry.folder(one) / "held_out.json").read_text() == "[1]"
    assert [found.is_current for found in store.versions(KEY)] == [True]


def test_rollback_goes_back_step_by_step_over_what_has_answered(
    registry: Registry, store: MicroStore
) -> None:
    for number in (1, 2, 4, 5):
        add(registry, version(number), promote=True)
    add(registry, version(3))
    add(registry, version(6))
    (registry.folder(version(2)) / "model.json").unlink()
    (registry.folder(version(2)) / "held_out.json").unlink()
    registry.folder(version(2)).rmdir()
    assert [registry.rollback(KEY, "project").made_at for _ in range(2)] == [4, 1]
    assert store.current(KEY)["project"].made_at == 1
    with pytest.raises(ModelMissing, match="no model of project before"):
        registry.rollback(KEY, "project")
    with pytest.raises(ModelMissing):
        registry.rollback(KEY, "label none")


def test_a_model_without_files_is_not_promoted_and_told(
    registry: Registry, store: MicroStore
) -> None:
    store.add_version(version(1))
    with pytest.raises(ModelMissing, match="files of model 000000000001 are gone"):
        registry.promote(KEY, "project", version(1).id)
    assert store.current(KEY) == {}
    assert not store.versions(KEY)[0].is_on_disk


def test_the_oldest_that_do_not_answer_go_first(registry: Registry, store: MicroStore) -> None:
    current = add(registry, version(1), size=4 * MB - 100, promote=True)
    other = add(registry, version(2, scope="label a"), size=3 * MB, promote=True)
    old, older = (add(registry, version(n, key="8.1"), size=3 * MB) for n in (4, 3))
    registry.prune()
    there = {one.id: one.is_on_disk for one in store.all_versions()}
    assert there == {current.id: True, other.id: True, old.id: True, older.id: False}
    assert [registry.folder(one).is_dir() for one in (current, other, old, older)] == [
        *(True, True, True),
        False,
    ]


def test_what_answers_is_never_removed_however_full_it_is(
    registry: Registry, store: MicroStore
) -> None:
    for number in (1, 2, 3):
        add(registry, version(number, scope=f"label {number}"), size=8 * MB, promote=True)
    registry.prune()
    assert all(registry.folder(one).is_dir() for one in store.all_versions())


def test_vanished_files_are_told(registry: Registry, store: MicroStore, tmp_path: Path) -> None:
    one = add(registry, version(1), promote=True)
    registry.folder(one).rename(tmp_path / "elsewhere")
    registry.prune()
    assert not store.versions(KEY)[0].is_on_disk


def test_a_folder_without_a_row_goes_when_it_is_old(registry: Registry, tmp_path: Path) -> None:
    add(registry, version(1))
    for name, age_s in (("0" * 12, 7200), ("1" * 12, 60)):
        folder = registry.folder(version(1)).with_name(name)
        folder.mkdir()
        (folder / "model.json").write_text("{}")
        os.utime(folder, (time.time() - age_s,) * 2)
    forgotten = tmp_path / "micro" / "9.1" / "project-x" / ("2" * 12)
    forgotten.mkdir(parents=True)
    os.utime(forgotten, (0, 0))
    registry.prune()
    left = {one.name for one in registry.folder(version(1)).parent.iterdir()}
    assert left == {version(1).id, "1" * 12}
    assert not (tmp_path / "micro" / "9.1").exists()


def test_the_files_of_versions_that_are_forgotten_go(
    registry: Registry, store: MicroStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_store, "KEPT", 1)
    versions = [add(registry, version(number)) for number in (1, 2)]
    for one in versions:
        os.utime(registry.folder(one), (0, 0))
    registry.prune()
    assert store.versions(KEY) == [versions[1]]
    assert [registry.folder(one).is_dir() for one in versions] == [False, True]


def hold(data_dir: Path, ready: object, end: object) -> None:
    settings = Settings(_env_file=None, data_dir=data_dir)
    with Registry(settings, MicroStore(settings)).workspace() as folder:
        (folder / "large").write_text("x")
        ready.set()  # type: ignore[attr-defined]
        end.wait()  # type: ignore[attr-defined]


def test_workspaces_of_killed_trainings_go_and_others_stay(
    registry: Registry, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready, end = spawn.Event(), spawn.Event()
    process = spawn.Process(target=hold, args=(tmp_path, ready, end))
    process.start()
    assert ready.wait(120)
    work = tmp_path / "micro" / ".work"
    with registry.workspace() as mine:
        registry.prune()
        assert len([one for one in work.iterdir() if one.is_dir()]) == 2
        process.kill()
        process.join()
        registry.prune()
        assert [one for one in work.iterdir() if one.is_dir()] == [mine]
    registry.prune()
    assert files(work) == set()


def test_a_workspace_that_fails_is_gone_too(registry: Registry, tmp_path: Path) -> None:
    def fail() -> None:
        with registry.workspace() as folder:
            (folder / "file").write_text("x")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert files(tmp_path / "micro" / ".work") == set()


def test_a_folder_that_cannot_be_written_to_is_told(settings: Settings, store: MicroStore) -> None:
    settings.data_path.joinpath("micro").write_text("a file")
    registry = Registry(settings, store)
    with pytest.raises(StateError, match="folder for models"), registry.workspace():
        pass
    registry.prune()
