"""Label Studio answers wrongly in the middle of a job: it waits, says so, and goes on by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from backends.jobs import turns, uploads
from backends.jobs.tables import PrelabelOptions
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, ended, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.faults.unreliable import Answer, Asked, Spoil, Unreliable

JSON = {"Content-Type": "application/json"}
PAGE = b"<!DOCTYPE html><html><body>Bad gateway</body></html>"
REVOKED = b'{"status_code": 401, "detail": "Invalid token."}'
MANY = 600


def _always(*answer: object) -> Spoil:
    return lambda _asked, _answer: answer  # type: ignore[return-value]


def _slow(_asked: Asked, answer: Answer) -> Answer:
    time.sleep(1.5)
    return answer


FAULTS: dict[str, tuple[Spoil, str]] = {
    "500": (_always(500, JSON, b'{"detail": "Server Error"}'), "answered 500"),
    "502, a page": (_always(502, {"Content-Type": "text/html"}, PAGE), "a web page"),
    "429": (_always(429, JSON, b'{"detail": "throttled"}'), "answered 429"),
    "429, come back in an hour": (
        _always(429, JSON | {"Retry-After": "3600"}, b'{"detail": "throttled"}'),
        "answered 429",
    ),
    "a page": (_always(200, {"Content-Type": "text/html"}, PAGE), "a web page"),
    "no JSON": (_always(200, JSON, b'{"tasks": ['), "answered 200"),
    "other JSON": (_always(200, JSON, b"[]"), "of another form"),
    "null": (_always(200, JSON, b"null"), "of another form"),
    "half a body": (lambda _asked, _answer: None, "could not be reached"),
    "slow": (_slow, "did not answer in time"),
    "a revoked token": (_always(401, JSON, REVOKED), "the token is not accepted"),
}


@pytest.fixture
def proxy(small: SmallStudio) -> Iterator[Unreliable]:
    made = Unreliable(small.url)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "WAITS_S", (0.05, 0.1))
    monkeypatch.setattr(uploads, "LANDS_WITHIN_S", 0.5)
    monkeypatch.setattr(turns, "FIRST_DELAY_S", 0.2)
    monkeypatch.setattr(turns, "LONGEST_DELAY_S", 0.5)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_outlives_a_label_studio_that_answers_wrongly(
    proxy: Unreliable, small: SmallStudio, make_settings: MakeSettings, fault: str
) -> None:
    spoil, said = FAULTS[fault]
    settings = make_settings(small, None).model_copy(
        update={"label_studio_url": proxy.url, "media_timeout_s": 1.0}
    )
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * MANY)
    with jobs_of(settings, BoxLabeller(task_s=0.005)) as jobs:
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        until(lambda: jobs.job(job_id).finished, tell=lambda: str(jobs.job(job_id)))
        proxy.spoil = spoil
        until(lambda: said in jobs.job(job_id).note, 30, lambda: str(jobs.job(job_id)))
        until(lambda: proxy.spoilt > 2)
        assert jobs.job(job_id).open
        assert "t" * 40 not in jobs.job(job_id).note
        proxy.spoil = None
        job = ended(jobs, job_id, 150)
    assert (job.state, job.finished, job.failed, job.note) == ("done", MANY, 0, "")
    assert small.versions(key) == {one: ["box-1"] for one in ids}


def test_a_task_and_then_the_project_deleted_in_the_middle(
    small: SmallStudio, make_settings: MakeSettings
) -> None:
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * MANY)
    other = small.add_project(CONFIG)
    some = small.add_tasks(other, ["x"] * 5)
    with jobs_of(make_settings(small, None), BoxLabeller(task_s=0.005)) as jobs:
        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        jobs.start()
        until(lambda: jobs.job(job_id).finished)
        small.delete_task(ids[-1])
        small.delete_project(key)
        job = ended(jobs, job_id)
        assert job.state == "failed"
        assert "404" in job.note
        # The next project is served as if nothing had been.
        assert ended(jobs, jobs.prelabel_project(project(other), PrelabelOptions())).stored == 5
    assert small.versions(other) == {one: ["box-1"] for one in some}
