"""When the backend fails, the page stays usable and the failed prompt is not stored as a label."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest

from tests.e2e.browser import Editor
from tests.e2e.conftest import CONFIGS, Work, connect, labelpilot
from tests.e2e.stored import iou, mask_of
from tests.e2e.test_clicks import middle, scene
from tests.label_studio_server import LabelStudioServer

pytestmark = pytest.mark.e2e


class Pictures(ThreadingHTTPServer):
    """Serves one picture to browsers always, to everybody else unless `broken`."""

    broken = True

    def __init__(self, png: bytes) -> None:
        self.png = png
        super().__init__(("127.0.0.1", 0), PicturesHandler)


class PicturesHandler(BaseHTTPRequestHandler):
    server: Pictures

    def do_GET(self) -> None:
        failing = self.server.broken and "Mozilla" not in self.headers["User-Agent"]
        self.send_response(503 if failing else 200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Access-Control-Allow-Origin", "*")  # the editor draws it on a canvas
        self.send_header("Content-Length", str(0 if failing else len(self.server.png)))
        self.end_headers()
        if not failing:
            self.wfile.write(self.server.png)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    png = cv2.imencode(".png", scene()[0][..., ::-1])[1].tobytes()
    with Pictures(png) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("auto_accept", [False, True], ids=["accept", "auto-accept"])
def test_the_page_stays_usable(
    auto_accept: bool,
    pictures: Pictures,
    label_studio: LabelStudioServer,
    editor: Editor,
    tmp_path: Path,
) -> None:
    host = f"127.0.0.1:{pictures.server_port}"
    settings = {
        "LABELPILOT_SAM_MODEL": "grabcut",
        "LABELPILOT_MEDIA_ALLOWED_HOSTS": host,
        "LABELPILOT_MEDIA_TIMEOUT_S": "2",
    }
    with labelpilot(label_studio, tmp_path, **settings) as url:
        project = label_studio.add_project((CONFIGS / "to_brush.xml").read_text())
        task = label_studio.add_task(project, {"image": f"http://{host}/scene.png"})
        connect(label_studio, project, url)
        work = Work(label_studio, project, task)
        mask = scene()[1][0]
        x, y = middle(mask)
        editor.open(project, task, auto_accept=auto_accept)
        with editor.answered() as answer:
            editor.click(x, y, "Cat")
        assert "errors" in answer.json
        assert editor.suggestions() == []
        pictures.broken = False
        with editor.answered() as answer:
            editor.click(x + 1, y + 1, "Cat")
        assert "errors" not in answer.json
        if not auto_accept:
            editor.accept()
        assert [each["type"] for each in editor.regions()] == ["brushregion"]
        editor.submit()
        (stored,) = work.stored()
        assert iou(mask_of(stored), mask) >= 0.85
