"""kill -9 of workers at random moments, many times: nothing is lost, nothing doubled.

Twelve times on each database; `LABELPILOT_TEST_WORKER_KILLS=100` for more. The whole program is
killed by `tests/e2e/test_kills.py`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack

import pytest

from backends.jobs.tables import PrelabelOptions
from tests.backends.jobs import conftest as of_jobs
from tests.backends.jobs.box_labeller import CONFIG, BoxLabeller, jobs_of
from tests.backends.jobs.conftest import MakeSettings, project, until
from tests.backends.jobs.studios import SmallStudio
from tests.backends.jobs.workers import worker_process

database_url = of_jobs.database_url
pytestmark = pytest.mark.timeout(1_200)

KILLS = int(os.environ.get("LABELPILOT_TEST_WORKER_KILLS", "12"))
TASKS_A_KILL = 60
AT_ONCE = 2
LONGEST_S = 5.0  # a start and some work


def test_workers_that_are_killed_again_and_again_lose_and_double_nothing(
    small: SmallStudio, make_settings: MakeSettings, database_url: str | None
) -> None:
    rng = random.Random(7)
    settings = make_settings(small, database_url)
    key = small.add_project(CONFIG)
    ids = small.add_tasks(key, ["x"] * (KILLS * TASKS_A_KILL))
    in_work = 0
    with jobs_of(settings, BoxLabeller()) as jobs, ExitStack() as last:

        def start(stack: ExitStack):  # type: ignore[no-untyped-def]
            worker = worker_process(settings, task_s=0.01, lands_s=1.0, quiet=False)
            return stack.enter_context(worker)

        job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        stacks = [ExitStack() for _ in range(AT_ONCE)]
        workers = [start(stack) for stack in stacks]
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.0, LONGEST_S / AT_ONCE))
            victim = rng.randrange(AT_ONCE)
            in_work += bool(jobs._store.turns.begun())
            workers[victim].send_signal(signal.SIGKILL)
            stacks[victim].close()
            workers[victim] = start(stacks[victim])
            if not jobs.job(job_id).open:  # they were quicker: more of it
                ids = small.add_tasks(key, ["x"] * TASKS_A_KILL * 4)
                job_id = jobs.prelabel_project(project(key), PrelabelOptions())
        for stack in stacks:
            last.push(stack.pop_all())
        until(lambda: not jobs.job(job_id).open, 240, lambda: str(jobs.job(job_id)))
        job = jobs.job(job_id)
    found = small.versions(key)
    lost = [one for one in ids if not found[one]]
    doubled = [one for one in ids if len(found[one]) > 1]
    print(f"{KILLS} kills, {in_work} of them with work in hand, {len(ids)} tasks: ", end="")
    print(f"{len(lost)} lost, {len(doubled)} doubled")
    assert (job.state, job.failed) == ("done", 0), jobs
    assert (lost, doubled) == ([], [])
    assert in_work > KILLS // 3, "the kills should hit work"
