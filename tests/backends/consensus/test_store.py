"""Reports and annotated tasks kept in SQLite and Postgres; what the page shows of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from jinja2 import Environment, PackageLoader, select_autoescape
from pydantic import SecretStr

from backends.consensus.nouns import Rated, Report
from backends.consensus.page import LABELS_SHOWN, page, person_row
from backends.consensus.store import ConsensusStore
from backends.errors import StateError
from backends.settings import Settings

KEY = "7.1700000000"
BAD = Rated(2, "<b>Bo</b>", 3, 9, 0.25, 0.1, 0.5, {"Kätzchen": 0.5}, {"Kätzchen": 0.25})
NEW = Rated(3, "new", 1, 0, None, 0.0, 1.0)
REPORT = Report(
    project_key=KEY,
    version="consensus-0123456789",
    made_at=1_700_000_000.0,
    tasks=3,
    disagreements=1,
    people=(BAD, NEW),
    worst=((5, 0.125),),
    host="http://studio.example/",
    alpha=0.5,
    trust=0.75,
    lift=2.0,
    problems={9: "too many masks"},
)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConsensusStore]:
    settings = Settings(data_dir=tmp_path)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").add_database()
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
    store = ConsensusStore(settings)
    yield store
    store.close()


def test_a_report_comes_back_as_it_was_and_a_new_one_takes_its_place(
    store: ConsensusStore,
) -> None:
    assert store.report(KEY) is None
    store.put(REPORT)
    assert store.report(KEY) == REPORT
    newer = replace(REPORT, tasks=4, people=(), worst=(), trust=None, problems={})
    store.put(newer)
    store.put(replace(newer, project_key="8.1"))
    assert store.report(KEY) == newer
    store.drop(KEY)
    store.drop(KEY)
    assert store.report(KEY) is None
    assert store.report("8.1") is not None
    assert store.now() > 1_700_000_000


def test_annotated_tasks_are_remembered_once(store: ConsensusStore) -> None:
    store.note_annotated(KEY, [3, 1])
    store.note_annotated(KEY, [3])
    store.note_annotated("8.1", [3])
    assert store.annotated(KEY) == [1, 3]
    store.drop_annotated(KEY, [3, 99])
    store.drop_annotated(KEY, [])
    assert (store.annotated(KEY), store.annotated("8.1")) == ([1], [3])


def test_a_broken_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ConsensusStore(Settings(data_dir=tmp_path))
    with store._engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE consensus_reports"))
    with pytest.raises(StateError, match="consensus"):
        store.report(KEY)
    store.close()


def test_the_page_is_escaped_and_links_only_to_web_addresses(tmp_path: Path) -> None:
    store = ConsensusStore(Settings(data_dir=tmp_path))
    assert page(store, KEY) is None
    store.put(REPORT)
    shown = page(store, KEY)
    assert shown is not None
    assert [row.agreement for row in shown.people] == ["25.0%", ""]
    html = rendered(shown)
    assert "<b>Bo" not in html
    assert "&lt;b&gt;Bo" in html
    assert 'href="http://studio.example/projects/7/data?task=5"' in html
    assert "Krippendorff" in html
    store.put(replace(REPORT, host="javascript:alert(1)//"))
    unsafe = page(store, KEY)
    assert unsafe is not None
    assert "href" not in rendered(unsafe)
    store.close()


def rendered(shown: object) -> str:
    environment = Environment(
        loader=PackageLoader("backends.serving", "templates"), autoescape=select_autoescape()
    )
    return environment.get_template("consensus.html").render(page=shown)


def test_of_many_labels_the_worst_are_named() -> None:
    rates = {f"label {n}": n / 100 for n in range(20)}
    text = person_row(replace(BAD, misses=rates)).misses
    assert text.startswith("label 19 19%, label 18 18%")
    assert text.endswith(f"and {20 - LABELS_SHOWN} more")
