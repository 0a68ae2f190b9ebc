"""Pre-labels and clicks in one project, and a server that has no YOLO."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from micro_models.detections import DetectorTask
from tests.e2e.browser import Editor
from tests.e2e.conftest import CONFIGS, labelpilot
from tests.e2e.stored import iou, mask_of
from tests.e2e.test_clicks import corners
from tests.e2e.test_yolo import SHAPES, example, label_of, new_work, region_of, unpadded
from tests.label_studio_server import LabelStudioServer
from tests.small_yolo import draw

pytestmark = pytest.mark.e2e


def test_clicks_beside_what_is_there_already(
    yolo_server: str, label_studio: LabelStudioServer, editor: Editor, tmp_path: Path
) -> None:
    image, truth = draw(DetectorTask.SEGMENT, 54)
    (unlabelled,) = [one for one in truth if one.label == "triangle"]  # has no label of its own
    xml = example("yolo_and_clicks", SHAPES)
    work = new_work(label_studio, yolo_server, xml, image.pixels, tmp_path)
    editor.show(work.project, work.task)
    (predicted,) = work.predictions()
    ids = [one["id"] for one in predicted["result"]]
    assert [one["id"] for one in editor.regions()] == ids
    editor.assist()
    drawn = region_of(unlabelled, (image.width_px, image.height_px))
    with editor.answered():
        editor.drag(*corners(drawn), "Disc")
    (suggestion,) = editor.suggestions()
    editor.accept()
    editor.submit()
    # For an accepted mask the page once asks for an address that it made of an object.
    assert [error for error in editor.errors if "[object%20Object]" not in error] == []
    *before, added = work.stored()
    assert unpadded(before) == unpadded(predicted["result"])
    assert (added["id"], added["type"], label_of(added)) == (
        suggestion["id"],
        "brushlabels",
        "Disc",
    )
    assert iou(mask_of(added), drawn) >= 0.8


def test_without_a_model_nothing_is_stored_and_the_cure_is_told(
    label_studio: LabelStudioServer, editor: Editor, tmp_path: Path
) -> None:
    image, _ = draw(DetectorTask.DETECT, 18)
    folder = tmp_path / "server"
    with labelpilot(label_studio, folder, LABELPILOT_SAM_MODEL="grabcut") as url:
        xml = (CONFIGS / "yolo_boxes.xml").read_text()
        work = new_work(label_studio, url, xml, image.pixels, tmp_path)
        editor.open(work.project, work.task)
        assert editor.regions() == []
        assert work.predictions() == []
        assert editor.errors == []
        told = httpx.get(url).text
        log = (folder / "labelpilot.log").read_text()
    for text in (told, log):
        assert "yolo11n.pt is not in the model folder" in text
        assert "labelpilot weights get yolo11n" in text
    assert "Traceback" not in log
