"""Each database and each Label Studio that jobs are tested with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.interface import Project
from backends.jobs.jobs import Jobs
from backends.jobs.tables import JobState
from backends.label_studio.label_xml import parse_label_config
from backends.settings import Settings
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.studios import RealStudio, SmallStudio, Studio

MakeSettings = Callable[..., Settings]
MakeJobs = Callable[..., Jobs]


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres").add_database()
    return url


@pytest.fixture
def small() -> Iterator[SmallStudio]:
    studio = SmallStudio()
    yield studio
    studio.close()


@pytest.fixture(params=["small", pytest.param("real", marks=pytest.mark.e2e)])
def studio(request: pytest.FixtureRequest) -> Studio:
    if request.param == "small":
        small: SmallStudio = request.getfixturevalue("small")
        return small
    return RealStudio(request.getfixturevalue("label_studio"))


@pytest.fixture
def make_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Studio, str | None], Settings]:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's

    def make(studio: Studio, database_url: str | None) -> Settings:
        return Settings(
            data_dir=tmp_path / "data",
            database_url=database_url,
            label_studio_url=studio.url,
            label_studio_api_key=studio.token,
        )

    return make


@pytest.fixture
def settings(make_settings: MakeSettings, studio: Studio, database_url: str | None) -> Settings:
    return make_settings(studio, database_url)


@pytest.fixture
def labeller() -> BoxLabeller:
    return BoxLabeller()


@pytest.fixture
def jobs(settings: Settings, labeller: BoxLabeller) -> Iterator[Jobs]:
    with jobs_of(settings, labeller) as made:
        yield made


@pytest.fixture
def quick(small: SmallStudio, make_settings: MakeSettings, labeller: BoxLabeller) -> Iterator[Jobs]:
    """Jobs on SQLite and the small Label Studio, for what depends on neither."""
    with jobs_of(make_settings(small, None), labeller) as made:
        yield made


def project(key: str) -> Project:
    return Project(key, parse_label_config(CONFIG))


def ended(jobs: Jobs, job_id: str, timeout_s: float = 60) -> JobState:
    """The job when it is no longer open."""
    until(lambda: not jobs.job(job_id).open, timeout_s, lambda: str(jobs.job(job_id)))
    return jobs.job(job_id)


def until(
    seen: Callable[[], object], timeout_s: float = 60, tell: Callable[[], str] = lambda: ""
) -> None:
    deadline = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)
