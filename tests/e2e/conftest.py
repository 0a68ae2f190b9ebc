"""One real Label Studio, one real browser, and one real `labelpilot serve` per engine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.e2e.browser import CHROMIUM, CHROMIUM_ARGS, Editor, log_in
from tests.e2e.stored import Bools
from tests.label_studio_server import ROOT, LabelStudioServer, free_port

CONFIGS = ROOT / "examples/label_configs"


@contextmanager
def labelpilot(studio: LabelStudioServer, folder: Path, **settings: str) -> Iterator[str]:
    """Run `labelpilot serve` as people do; gives its URL once its model is loaded."""
    port = free_port()
    environment = os.environ | {
        "LABELPILOT_DATA_DIR": str(folder),
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": studio.legacy_token,
        **settings,
    }
    command = [sys.executable, "-m", "backends.cli", "serve", "--port", str(port)]
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "labelpilot.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 90
        while "INFO backends.sam.engine: segmentation engine:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert "GrabCut answers instead" not in log.read_text(), log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture(scope="session")
def grabcut_server(label_studio: LabelStudioServer, tmp_path_factory: Any) -> Iterator[str]:
    with labelpilot(
        label_studio, tmp_path_factory.mktemp("grabcut"), LABELPILOT_SAM_MODEL="grabcut"
    ) as url:
        yield url


@pytest.fixture(scope="session")
def sam_server(
    label_studio: LabelStudioServer, small_sam: Path, tmp_path_factory: Any
) -> Iterator[str]:
    with labelpilot(
        label_studio,
        tmp_path_factory.mktemp("sam"),
        LABELPILOT_MODEL_DIR=str(small_sam.parent),
        LABELPILOT_SAM_MODEL=small_sam.name,
    ) as url:
        yield url


@pytest.fixture(scope="session")
def yolo_models(small_yolo: Path, tmp_path_factory: Any) -> Path:
    """A model folder with the small YOLOs as defaults, and the int8 ones of COCO if they are here.

    Under the names of the smallest YOLO11s, `yolo11n.pt` and so on, and under those of their tasks.
    """
    folder = Path(tmp_path_factory.mktemp("models"))
    defaults = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
    for task, suffix in defaults.items():
        shutil.copy(small_yolo / f"{task}.pt", folder)
        shutil.copy(small_yolo / f"{task}.pt", folder / f"yolo11n{suffix}.pt")
    for file in (ROOT.parent / "shared" / "weights").glob("*coco*-st.tflite"):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="session")
def yolo_server(
    label_studio: LabelStudioServer, yolo_models: Path, tmp_path_factory: Any
) -> Iterator[str]:
    """A server whose YOLOs know drawn shapes; GrabCut answers clicks."""
    with labelpilot(
        label_studio,
        tmp_path_factory.mktemp("yolo"),
        LABELPILOT_MODEL_DIR=str(yolo_models),
        LABELPILOT_SAM_MODEL="grabcut",
    ) as url:
        yield url


@pytest.fixture(params=["grabcut", "small sam"])
def engine(request: pytest.FixtureRequest, grabcut_server: str, sam_server: str) -> str:
    """The URL of a server, once for each engine."""
    return grabcut_server if request.param == "grabcut" else sam_server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@contextmanager
def annotator(browser: Browser, studio: LabelStudioServer, email: str) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 1300})
    log_in(context, studio.url, email, studio.password)
    yield context
    context.close()


@pytest.fixture(scope="session")
def first_annotator(browser: Browser, label_studio: LabelStudioServer) -> Iterator[BrowserContext]:
    with annotator(browser, label_studio, label_studio.email) as context:
        yield context


@pytest.fixture(scope="session")
def second_annotator(browser: Browser, label_studio: LabelStudioServer) -> Iterator[BrowserContext]:
    email = "second@example.com"
    with httpx.Client(base_url=label_studio.url) as client:
        client.get("/user/signup/")
        form = {"email": email, "password": label_studio.password, "allow_newsletters": "false"}
        token = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/user/signup/", data=form | token).status_code == 302
    with annotator(browser, label_studio, email) as context:
        yield context


@pytest.fixture
def editor(first_annotator: BrowserContext, label_studio: LabelStudioServer) -> Iterator[Editor]:
    page = first_annotator.new_page()
    yield Editor(page, label_studio.url)
    page.close()


@pytest.fixture
def second_editor(
    second_annotator: BrowserContext, label_studio: LabelStudioServer
) -> Iterator[Editor]:
    page = second_annotator.new_page()
    yield Editor(page, label_studio.url)
    page.close()


class Work:
    """One project with one task, connected to one server."""

    def __init__(self, studio: LabelStudioServer, project: int, task: int) -> None:
        self.studio, self.project, self.task = studio, project, task

    def wait_for_draft(self) -> None:
        """Wait until the editor has saved what is accepted; it does so after about 5 s."""
        deadline = time.monotonic() + 20
        while not self.studio.api("GET", f"/api/tasks/{self.task}/")["drafts"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def predictions(self) -> list[dict[str, Any]]:
        """The task's predictions, the oldest first."""
        found = self.studio.api("GET", f"/api/predictions/?task={self.task}")
        return sorted(found, key=lambda one: int(one["id"]))

    def stored(self) -> list[dict[str, Any]]:
        """The regions of the task's only annotation."""
        (annotation,) = self.studio.api("GET", f"/api/tasks/{self.task}/annotations/")
        return list(annotation["result"])


NewWork = Callable[..., Work]


@pytest.fixture
def new_work(label_studio: LabelStudioServer, tmp_path: Path) -> NewWork:
    """Make a project of a label config in examples/ with one image, connected to a server."""

    def make(url: str, image: NDArray[np.uint8], config: str = "to_brush") -> Work:
        file = tmp_path / "image.png"
        cv2.imwrite(str(file), image[..., ::-1])
        project = label_studio.add_project((CONFIGS / f"{config}.xml").read_text())
        (task,) = label_studio.upload(project, file)
        connect(label_studio, project, url)
        return Work(label_studio, project, task["id"])

    return make


def connect(studio: LabelStudioServer, project: int, url: str) -> None:
    """`labelpilot connect`, as people run it."""
    done = subprocess.run(
        [sys.executable, "-m", "backends.cli", "connect", f"--project={project}", f"--url={url}"],
        env=os.environ
        | {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_API_KEY": studio.legacy_token},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def percent(mask: Bools, x: float, y: float) -> tuple[float, float]:
    """A point in pixels of the mask's image as percent."""
    return 100 * x / mask.shape[1], 100 * y / mask.shape[0]
