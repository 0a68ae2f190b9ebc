"""A training and what follows it, while Label Studio answers every other request wrongly."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import connect, labelpilot
from tests.e2e.labelled_clip import ClipProject, camera_clip, wait_until
from tests.e2e.test_train_on_submit import settled
from tests.faults.unreliable import Answer, Asked, Unreliable
from tests.label_studio_server import LabelStudioServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

JSON = {"Content-Type": "application/json"}
WRONG: tuple[Answer | None, ...] = (
    (500, JSON, b'{"detail": "Server Error"}'),
    (502, {"Content-Type": "text/html"}, b"<html><body>Bad gateway</body></html>"),
    (429, JSON, b'{"detail": "throttled"}'),
    (200, {"Content-Type": "image/jpeg"}, b"\xff\xd8\xff\xe0 no text at all \x80\x81"),
    (200, JSON, b"[]"),
    None,  # half a body
)
SECONDS = 45.0


def test_a_project_learns_and_is_refreshed_all_the_same(
    label_studio: LabelStudioServer, tmp_path: Path
) -> None:
    project = ClipProject(label_studio, "unreliable", camera_clip(tmp_path / "clip", 60))
    proxy, chance = Unreliable(label_studio.url), random.Random(1)
    spoilt = 0

    def spoil(asked: Asked, answer: Answer) -> Answer | None:
        nonlocal spoilt
        if not asked.path.startswith("/api/") or chance.random() < 0.5:
            return answer
        spoilt += 1
        return chance.choice(WRONG)

    log = tmp_path / "pilot" / "labelpilot.log"
    with labelpilot(
        label_studio,
        tmp_path / "pilot",
        LABELPILOT_SAM_MODEL="grabcut",
        LABEL_STUDIO_URL=proxy.url,
    ) as url:
        connect(label_studio, project.id, url)
        proxy.spoil = spoil
        until = time.monotonic() + SECONDS
        for task in project.spread(6):
            project.submit(task)
        while time.monotonic() < until:
            time.sleep(1)
        proxy.spoil = None
        wait_until(lambda: settled(project, whatever="micro-"), log.read_text, within_s=400)
    proxy.close()
    assert spoilt > 5
    assert "a fault in labelpilot" not in log.read_text()
    assert "Traceback" not in log.read_text()
