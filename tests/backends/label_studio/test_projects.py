import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.label_studio.projects import ProjectBook
from backends.settings import Settings

MakeSettings = Callable[..., Settings]


def remember(book: ProjectBook, key: str, number: int = 0) -> None:
    book.remember(key, host=f"http://h{number}", access_token="t" * 40, label_config="<View/>")


def test_projects_survive_a_restart(settings: MakeSettings) -> None:
    made = settings()
    remember(ProjectBook(made), "7.1700000000")
    again = ProjectBook(made)
    project = again.get("7.1700000000")
    assert project is not None
    assert (project.id, project.host, project.access_token) == (7, "http://h0", "t" * 40)
    assert project.label_config == "<View/>"
    assert [known.key for known in again.all()] == ["7.1700000000"]
    assert again.get("8.1") is None


def test_a_new_host_replaces_the_token_too(settings: MakeSettings) -> None:
    book = ProjectBook(settings())
    remember(book, "7.1")
    book.remember("7.1", host="http://new", access_token=None, label_config="")
    assert [(p.host, p.access_token) for p in book.all()] == [("http://new", None)]
    assert book.get("7.1") == book.all()[0]


def test_the_token_does_not_show(settings: MakeSettings) -> None:
    book = ProjectBook(settings())
    remember(book, "7.1")
    assert "t" * 40 not in repr(book.get("7.1"))


def test_only_the_owner_reads_the_file(settings: MakeSettings) -> None:
    made = settings()
    remember(ProjectBook(made), "7.1")
    for path in made.data_path.glob("state.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with sqlite3.connect(made.data_path / "state.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_another_process_is_noticed(settings: MakeSettings) -> None:
    made = settings()
    one, other = ProjectBook(made, refresh_s=0), ProjectBook(made)
    remember(one, "7.1", 1)
    remember(other, "7.1", 2)
    project = one.get("7.1")
    assert project is not None
    assert project.host == "http://h2"


def test_many_threads_write(settings: MakeSettings) -> None:
    made = settings()
    books = [ProjectBook(made), ProjectBook(made)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: remember(books[i % 2], f"{i % 5}.1", i), range(40)))
    assert len(books[0].all()) == 5


def test_a_database_url_is_used(settings: MakeSettings, tmp_path) -> None:
    made = settings(database_url=f"sqlite:///{tmp_path / 'other.db'}")
    remember(ProjectBook(made), "7.1")
    assert (tmp_path / "other.db").exists()
    assert not (made.data_path / "state.db").exists()
    with pytest.raises(ValueError, match="invalid literal"):
        _ = ProjectBook(made).remember("x.1", host="", access_token="", label_config="").id
