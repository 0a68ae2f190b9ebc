"""A click on an image that a camera turned: every EXIF orientation, through the whole server."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Transpose

from backends.label_studio.brush import decode_rle
from micro_models.engines.sam import load_sam
from tests.backends.serving.conftest import Serve, point, predict_body, task
from tests.small_sam import draw_scene, point_in

WIDTH, HEIGHT = 160, 120
# How the pixels lie in the file, so that a browser, which applies the tag, shows them upright.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def data_uri(pixels: np.ndarray, orientation: int) -> str:
    image = PIL.Image.fromarray(pixels)
    turn = STORED[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    (image.transpose(turn) if turn is not None else image).save(file, "JPEG", quality=95, exif=exif)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("orientation", STORED)
def test_a_click_lands_where_the_annotator_sees_it(
    serve: Serve, small_sam: Path, tmp_path_factory: pytest.TempPathFactory, orientation: int
) -> None:
    cache = tmp_path_factory.getbasetemp() / "orientation"  # converted once for all
    client = serve(load=lambda _: load_sam(small_sam, device="cpu", cache_dir=cache))
    rng = np.random.default_rng(5)
    image, masks = draw_scene(rng, WIDTH, HEIGHT)
    uri = data_uri(image.pixels, orientation)
    for number, truth in enumerate(masks):
        x, y = point_in(rng, truth)
        prompt = point(100 * x / WIDTH, 100 * y / HEIGHT, name=f"p{number}")
        prompt |= {"original_width": WIDTH, "original_height": HEIGHT}
        answer = client.post("/predict", json=predict_body(task(image=uri), prompts=(prompt,)))
        (region,) = answer.json()["results"][0]["result"]
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        mask = decode_rle(region["value"]["rle"], width_px=WIDTH, height_px=HEIGHT)
        assert (mask & truth).sum() / (mask | truth).sum() >= 0.9
