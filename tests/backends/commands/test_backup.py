"""Backups: what went in comes out, in either database; what is wrong changes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from backends.backup import archive, restoring, rows
from backends.backup.archive import BadBackup
from backends.backup.restoring import restore
from backends.backup.rows import LEFT_OUT
from backends.backup.saving import back_up
from backends.cli import app
from backends.database import METADATA, close_database, open_database, revisions
from backends.errors import StateError
from backends.interface import Project
from backends.jobs.store import JobStore
from backends.jobs.tables import TASKS, TURNS, Sent, State, TurnState
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.projects import ProjectBook
from backends.micro.nouns import ModelVersion
from backends.micro.registry import Registry
from backends.micro.store import MicroStore
from backends.settings import Settings
from tests.backends.micro.test_registry import add
from tests.postgres import PostgresServer

KEY, SECRET = "7.1700000000", "0123456789abcdef0123456789abcdef01234567"
CONFIG = """<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">
<Label value="Cat"/></RectangleLabels></View>"""
MakeSettings = Callable[..., Settings]
Tables = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def new(tmp_path: Path) -> MakeSettings:
    """Settings of an installation of its own."""

    def make(name: str, url: str | None = None, **changes: object) -> Settings:
        values = {"data_dir": tmp_path / name, "database_url": url, **changes}
        return Settings(_env_file=None, **values)  # type: ignore[arg-type]

    return make


@pytest.fixture
def full(new: MakeSettings) -> Settings:
    settings = new("full")
    fill(settings)
    return settings


def version(number: int, *, scope: str = "label Größe/M", key: str = KEY) -> ModelVersion:
    return ModelVersion(f"{number:012x}", key, scope, float(number), 5, "hash", "why")


def fill(settings: Settings) -> None:
    """Something real in it: a project, two models, an open job; and a row in every other table."""
    with closing(ProjectBook(settings)) as book:
        book.remember(KEY, host="http://ls", access_token=SECRET, label_config=CONFIG)
    with closing(MicroStore(settings)) as store:
        registry = Registry(settings, store)
        add(registry, version(1), size=100)
        add(registry, version(2), size=3_000_000, promote=True)
    jobs = JobStore(settings)
    project = Project(KEY, parse_label_config(CONFIG))
    jobs.create(project, "yolo-1", None, [[1, 2, 3], [4, 5]])
    begun, waits = jobs.turns.unsent()
    jobs.turns.mark_sent([begun, waits])
    turn = jobs.turns.begin(*begun)
    assert turn is not None
    jobs.turns.note_sent(turn, jobs.turns.task_ids(turn)[:1])
    close_database(jobs.engine)
    engine = open_database(settings)
    with engine.begin() as connection:
        for table in METADATA.tables.values():
            # Of one more than are read and written at once.
            some = [invented(table, n) for n in range(1_100 if table.name == "audits" else 3)]
            if not connection.execute(sa.select(table).limit(1)).first():
                connection.execute(sa.insert(table), some)
    close_database(engine)


def invented(table: sa.Table, number: int) -> dict[str, object]:
    def value(column: sa.Column[Any]) -> object:
        if isinstance(column.type, sa.LargeBinary):
            return bytes(range(256)) + number.to_bytes(4, "big")
        if isinstance(column.type, sa.Float):
            return number / 3 + 1.7e9
        if isinstance(column.type, sa.Integer):
            return number
        if column.nullable and number % 2:
            return None
        return f"é\u2028\"'\\{number}"

    return {column.name: value(column) for column in table.columns}


def content(settings: Settings) -> Tables:
    """Everything that a backup has, as it comes out of a restore."""
    engine = open_database(settings)
    with engine.connect() as connection:
        found = {
            table.name: sorted(
                (tuple(row) for row in connection.execute(sa.select(*kept(table)))), key=repr
            )
            for table in rows.tables()
        }
    close_database(engine)
    return found


def kept(table: sa.Table) -> list[sa.Column[Any]]:
    """Without what gets a new value: names of turns, and what only holds where it was."""
    anew = {
        "projects": {"access_token"},
        "micro_versions": {"archive", "archive_bytes"},
        "job_tasks": {"turn_id"},
        "job_turns": {"id", "state", "owner", "starts", "delays", "not_before"},
    }
    return [column for column in table.columns if column.name not in anew.get(table.name, ())]


def models(settings: Settings) -> dict[str, str]:
    root = settings.data_path / "micro"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and not any(part[0] == "." for part in path.relative_to(root).parts)
    }


def test_what_went_in_comes_out(full: Settings, new: MakeSettings, tmp_path: Path) -> None:
    saved = back_up(full, tmp_path / "b.zip")
    other = new("other")
    restored = restore(other, tmp_path / "b.zip", force=False)
    assert content(other) == content(full)
    assert models(other) == models(full)
    assert len(models(full)) == 4
    assert (saved.models, restored.models, saved.missing) == (2, 2, ())
    assert saved.rows == restored.rows == sum(map(len, content(full).values())) > 1_000
    with closing(MicroStore(other)) as store:
        (current,) = store.all_current()
        assert Registry(other, store).fetch(current).is_dir()


@pytest.mark.parametrize("goes_first", ["sqlite", "postgres"])
def test_either_database_takes_the_other_s(
    goes_first: str,
    full: Settings,
    new: MakeSettings,
    tmp_path: Path,
    postgres: PostgresServer,
) -> None:
    between = new("between", postgres.add_database())
    back_up(full, tmp_path / "1.zip")
    restore(between, tmp_path / "1.zip", force=False)
    if goes_first == "sqlite":
        assert content(between) == content(full)
        return
    back_up(between, tmp_path / "2.zip")
    last = new("last")
    restore(last, tmp_path / "2.zip", force=False)
    assert content(last) == content(full)
    assert models(last) == models(full)


def test_every_table_is_in_it_or_left_out_on_purpose(full: Settings, tmp_path: Path) -> None:
    back_up(full, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        saved = {name.split("/")[1][:-6] for name in file.namelist() if name[:6] == "tables"}
    assert saved == METADATA.tables.keys() - LEFT_OUT
    engine = open_database(full)
    there = set(sa.inspect(engine).get_table_names())
    close_database(engine)
    assert there >= METADATA.tables.keys()


def test_it_holds_no_token_and_is_for_its_owner_alone(full: Settings, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    back_up(full, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            assert SECRET.encode() not in file.read(name), name


def test_unfinished_turns_wait_for_a_worker_under_new_names(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")
    other = new("other")
    restore(other, tmp_path / "b.zip", force=False)
    before, after = JobStore(full), JobStore(other)
    (job,) = [one for one in after.recent(5) if one.open]
    assert (job.state, job.total) == (State.RUNNING, 5)
    assert before.turns.unsent() == []  # all were sent: DBOS has them
    found = after.turns.unsent()
    assert len(found) == 2
    with before.engine.connect() as connection:
        old = {row.id for row in connection.execute(sa.select(TURNS.c.id))}
    assert not old & {turn_id for turn_id, _ in found}
    with after.engine.connect() as connection:
        states = list(connection.execute(sa.select(TURNS.c.state)).scalars())
        sent = list(connection.execute(sa.select(TASKS.c.sent)).scalars())
    assert states == [TurnState.NEW] * 2
    assert sorted(sent) == [Sent.NO] * 4 + [Sent.ADDED]  # that one may have been stored
    turn = after.turns.begin(*found[0])
    assert turn is not None
    assert after.turns.task_ids(turn) in ([1, 2, 3], [4, 5])
    for store in (before, after):
        close_database(store.engine)


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
for number in range(10_000, 1_000_000):
    with connection:
        connection.execute("INSERT INTO audits_ever VALUES ('w', ?)", [number])
        connection.execute("INSERT INTO certified_annotations VALUES ('w', ?, 1)", [number])
    print(number, flush=True)
"""


def test_a_backup_is_of_one_moment_while_another_process_writes(
    full: Settings, tmp_path: Path
) -> None:
    """It adds to two tables in each transaction; no backup sees one without the other."""
    command = [sys.executable, "-c", WRITER, str(full.data_path / "state.db")]
    seen = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for count in range(4):
            assert writer.stdout.readline()  # it is at it
            path = tmp_path / f"{count}.zip"
            back_up(full, path)
            with zipfile.ZipFile(path) as file:
                first, second = (
                    file.read(f"tables/{name}.jsonl").count(b'"w"')
                    for name in ("audits_ever", "certified_annotations")
                )
            assert first == second
            seen.append(first)
        writer.kill()
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def test_a_model_that_goes_meanwhile_is_named(full: Settings, tmp_path: Path) -> None:
    with closing(MicroStore(full)) as store:
        folder = Registry(full, store).folder(version(1))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    saved = back_up(full, tmp_path / "b.zip")
    assert saved.missing == (version(1).id,)
    assert saved.models == 1


@pytest.mark.parametrize("has_store", [True, False])
def test_models_of_other_machines_are_brought_from_the_store(
    has_store: bool, new: MakeSettings, tmp_path: Path
) -> None:
    """As seen from a machine that has trained none of them; and into another store, or none."""
    maker = new("maker", store_url=SecretStr(f"file://{tmp_path}/store"))
    fill(maker)
    asked = new("asked", store_url=maker.store_url)
    asked.data_path.mkdir()
    with (
        closing(sqlite3.connect(maker.data_path / "state.db")) as here,
        closing(sqlite3.connect(asked.data_path / "state.db")) as there,
    ):
        here.backup(there)
    assert models(asked) == {}
    assert back_up(asked, tmp_path / "b.zip").models == 2
    other_store = SecretStr(f"file://{tmp_path}/store-2") if has_store else None
    other = new("other", store_url=other_store)
    restore(other, tmp_path / "b.zip", force=False)
    assert models(other) == models(maker)
    with closing(MicroStore(other)) as store:
        registry = Registry(other, store)
        for one in store.all_versions():
            assert registry.fetch(one).is_dir()
            assert one.archive is None  # the old store's name of it
        if has_store:
            registry.share()
            assert all(one.archive for one in store.all_versions())


def test_a_full_database_is_left_alone_unless_forced(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")
    other = new("other")
    with closing(ProjectBook(other)) as book:
        book.remember("9.1", host="h", access_token=None, label_config="<View/>")
    before = content(other)
    with pytest.raises(StateError, match=r"not empty.*--force"):
        restore(other, tmp_path / "b.zip", force=False)
    assert content(other) == before
    assert models(other) == {}
    restore(other, tmp_path / "b.zip", force=True)
    assert content(other) == content(full)


def test_forced_it_mends_a_damaged_model(full: Settings, tmp_path: Path) -> None:
    before = models(full)
    back_up(full, tmp_path / "b.zip")
    with closing(MicroStore(full)) as store:
        (Registry(full, store).folder(version(2)) / "model.json").write_bytes(b"broken")
    forget_workers(full)
    restore(full, tmp_path / "b.zip", force=True)
    assert models(full) == before
    assert not list(full.data_path.glob(".restoring-*"))


def test_a_worker_that_is_at_it_is_not_disturbed(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")
    other = new("other")
    jobs = JobStore(other)
    jobs.seen("machine-1", dead_after_s=40)
    with pytest.raises(StateError, match="works on this database"):
        restore(other, tmp_path / "b.zip", force=True)
    jobs.forget(["machine-1"])
    restore(other, tmp_path / "b.zip", force=True)
    close_database(jobs.engine)


def forget_workers(settings: Settings) -> None:
    engine = open_database(settings)
    with engine.begin() as connection:
        connection.execute(sa.delete(METADATA.tables["job_workers"]))
    close_database(engine)


def rewritten(
    source: Path, target: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None]
) -> Path:
    """A copy whose members, and manifest, somebody changed; the manifest's hashes are right."""
    with zipfile.ZipFile(source) as file:
        members = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(members, manifest)
    manifest["members"] = {
        name: {"sha256": hashlib.sha256(one).hexdigest(), "size": len(one)}
        for name, one in members.items()
    }
    with zipfile.ZipFile(target, "w") as file:
        for name, one in members.items():
            file.writestr(name, one)
        file.writestr("manifest.json", json.dumps(manifest))
    return target


def refused(other: Settings, path: Path, match: str) -> None:
    """The backup is refused as `match` says, and nothing is there that was not."""
    before = sorted(other.data_path.rglob("*")) if other.data_path.exists() else []
    with pytest.raises(StateError, match=match):
        restore(other, path, force=False)
    assert models(other) == {}
    assert all(not found for found in content(other).values())
    new_files = {path.name for path in other.data_path.rglob("*")} - {path.name for path in before}
    assert new_files <= {"state.db", "state.db-wal", "state.db-shm", "micro", ".lock", ".work"}


def test_a_flipped_byte_is_found_or_is_none_of_the_content(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    whole = tmp_path / "b.zip"
    back_up(full, whole)
    bytes_of, found = whole.read_bytes(), 0
    for place in range(100, len(bytes_of), len(bytes_of) // 12):
        broken = tmp_path / "broken.zip"
        flipped = bytearray(bytes_of)
        flipped[place] ^= 0xFF
        broken.write_bytes(flipped)
        other = new(f"other-{place}")
        try:
            restore(other, broken, force=False)
        except BadBackup:
            found += 1
            assert all(not rows for rows in content(other).values())
        else:  # the time of a file, or what else stands between them
            assert content(other) == content(full)
            assert models(other) == models(full)
    assert found >= 9


@pytest.mark.parametrize("size", [0, 10, 5_000])
def test_a_file_that_was_cut_off_is_no_backup(
    size: int, full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")
    cut = tmp_path / "cut.zip"
    cut.write_bytes((tmp_path / "b.zip").read_bytes()[:size])
    refused(new("other"), cut, "no backup, or damaged")
    refused(new("other"), tmp_path / "none.zip", "cannot be read")


@pytest.mark.parametrize(
    "name",
    [
        "../../evil",
        "/etc/evil",
        "micro/../../../../evil/x",
        "micro/a/b/c/../x",
        "micro/a/b/c/.hidden",
        "micro\\..\\evil",
        "micro/a/b/000000000009/x",
        "tables/sqlite_master.jsonl",
        "tables/job_workers.jsonl",
        "evil",
        "micro//b/c/d",
    ],
)
def test_a_member_that_leads_elsewhere_is_refused(
    name: str, full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")

    def evil(members: dict[str, bytes], _: dict[str, Any]) -> None:
        members[name] = b"evil"

    path = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", evil)
    refused(new("other"), path, "none of its own|no release has|do not name|other files")
    assert not [found for found in tmp_path.rglob("*") if found.name in ("evil", "x")]


def test_what_the_manifest_does_not_name_is_refused(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    path = tmp_path / "b.zip"
    back_up(full, path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("more", b"")
    refused(new("other"), path, "other files")


def row_of(members: dict[str, bytes], table: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(members[f"tables/{table}.jsonl"].splitlines()[0])
    return row


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("micro_versions", "id", "../../../evil"),
        ("micro_versions", "id", {"base64": "eA=="}),
        ("micro_versions", "scope", 7),
        ("projects", "no_such_column", 1),
        ("projects", "key", None),
        ("micro_shown", "content", {"base64": "no base64"}),
        ("jobs", "id", {"other": 1}),
    ],
)
def test_hostile_rows_change_nothing(
    table: str, column: str, value: object, full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")

    def evil(members: dict[str, bytes], _: dict[str, Any]) -> None:
        row = {**row_of(members, table), column: value}
        members[f"tables/{table}.jsonl"] = json.dumps(row).encode()

    path = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", evil)
    refused(new("other"), path, "cannot be|something else|did not take|do not name")


def test_a_backup_of_a_later_release_is_refused(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    back_up(full, tmp_path / "b.zip")

    def later(_: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest.update(revision="9999", labelpilot="9.0")

    path = rewritten(tmp_path / "b.zip", tmp_path / "later.zip", later)
    refused(new("other"), path, "later release, 9.0")


def test_a_backup_of_an_earlier_release_takes_defaults(
    full: Settings, new: MakeSettings, tmp_path: Path
) -> None:
    """As release 0.1.0 would have written it: without what came after its first tables."""
    back_up(full, tmp_path / "b.zip")
    later = {"archive", "archive_bytes", "own_only", "begun", "blind"}

    def earlier(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["revision"] = revisions()[0]
        for name, lines in members.items():
            if name.startswith("tables/"):
                told = [json.loads(line) for line in lines.splitlines()]
                less = [{k: v for k, v in one.items() if k not in later} for one in told]
                members[name] = "\n".join(json.dumps(one) for one in less).encode()

    path = rewritten(tmp_path / "b.zip", tmp_path / "old.zip", earlier)
    other = new("other")
    assert restore(other, path, force=False).models == 2
    assert models(other) == models(full)
    (job,) = [one for one in JobStore(other).recent(5) if one.open]
    assert job.blind == 0


def test_a_full_disk_leaves_no_half_of_a_backup(
    full: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    def no_room(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(archive.Writer, "finish", lambda *_, **__: no_room())
    with pytest.raises(StateError, match="No space left on device"):
        back_up(full, folder / "b.zip")
    assert list(folder.iterdir()) == []
    with pytest.raises(StateError, match="cannot be written"):
        back_up(full, tmp_path / "nowhere" / "b.zip")


def test_a_disk_that_fills_while_restoring_changes_nothing(
    full: Settings, new: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(full, tmp_path / "b.zip")

    def full_disk(*_: object) -> Iterator[bytes]:
        yield b"x"
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(restoring, "chunks", full_disk)
    refused(new("other"), tmp_path / "b.zip", "No space left on device")


def test_models_that_need_more_than_is_free_are_refused_first(
    full: Settings, new: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(full, tmp_path / "b.zip")

    @dataclasses.dataclass
    class Usage:
        free: int = 1_000

    monkeypatch.setattr(restoring.shutil, "disk_usage", lambda _: Usage())
    refused(new("other"), tmp_path / "b.zip", "the models need 3 MB")


def test_a_database_that_fails_at_the_end_puts_models_back(
    full: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(full, tmp_path / "b.zip")
    forget_workers(full)
    before, held = models(full), content(full)

    def fails(*_: object) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("gone"))

    sa.event.listen(sa.Engine, "commit", fails)
    try:
        with pytest.raises(StateError, match="it is as it was"):
            restore(full, tmp_path / "b.zip", force=True)
    finally:
        sa.event.remove(sa.Engine, "commit", fails)
    assert models(full) == before
    assert content(full) == held


def test_nothing_is_overwritten(full: Settings, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_text("something else")
    with pytest.raises(StateError, match="is there already"):
        back_up(full, path)
    assert path.read_text() == "something else"


def test_a_manifest_that_is_none_is_told(new: MakeSettings, tmp_path: Path) -> None:
    for number, told in enumerate(["[]", "{}", '{"format": 1}', "no json"]):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("manifest.json", told)
        path = tmp_path / f"{number}.zip"
        path.write_bytes(stream.getvalue())
        with pytest.raises(BadBackup, match="no manifest"):
            restore(new("other"), path, force=False)


def test_the_commands(
    full: Settings, new: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(full.data_path))
    done = CliRunner().invoke(app, ["backup", "b.zip"])
    assert done.exit_code == 0, done.output
    assert "2 models" in done.output
    again = CliRunner().invoke(app, ["backup", "b.zip"])
    assert again.exit_code == 1
    assert "choose another name" in again.output
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "other"))
    done = CliRunner().invoke(app, ["restore", "b.zip"])
    assert done.exit_code == 0, done.output
    assert content(new("other")) == content(full)
    done = CliRunner().invoke(app, ["restore", "b.zip"])
    assert done.exit_code == 1
    assert "--force" in done.output
