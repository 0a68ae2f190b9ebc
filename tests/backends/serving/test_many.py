"""Many annotators at once: everyone gets the mask of the image that they clicked on."""

from __future__ import annotations

import base64
import threading

import cv2
import httpx
import numpy as np

from backends.label_studio.brush import decode_rle
from backends.serving.app import create_app
from backends.settings import Settings
from micro_models.regions import Bools, Embedding, Image, Mask, Prompt, Segmentation
from tests.backends.serving.conftest import point, predict_body, task
from tests.live import live

IMAGES, ROUNDS, SIZE = 8, 125, (64, 48)


class ColourEngine:
    """A Segmenter whose mask is every pixel of the clicked pixel's colour."""

    name = "colour"
    version = "colour-1"
    device = "paper"

    def embed(self, image: Image) -> Embedding:
        return Embedding({"pixels": image.pixels}, image.width_px, image.height_px)

    def segment(self, embedding: Embedding, prompt: Prompt) -> Segmentation:
        pixels, click = embedding.arrays["pixels"], prompt.clicks[-1]
        return Segmentation(Mask((pixels == pixels[int(click.y), int(click.x)]).all(axis=2)), 0.9)


def drawn(number: int) -> tuple[str, Bools]:
    """An image with a box of its own size, as a data URI, and the box."""
    mask = np.zeros(SIZE[::-1], np.bool_)
    mask[24 - number - 2 : 24 + number + 2, 10 : 20 + 4 * number] = True
    pixels = np.where(mask[..., None], (10 * number, 200, 30), (0, 0, number)).astype(np.uint8)
    _, png = cv2.imencode(".png", pixels)
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode(), mask


def test_eight_annotators_on_eight_images_get_a_thousand_right_masks(settings: Settings) -> None:
    wrong: list[str] = []
    right: list[int] = []

    def annotate(url: str, number: int) -> None:
        image, truth = drawn(number)
        with httpx.Client(base_url=url, timeout=60) as client:
            for turn in range(ROUNDS):
                # Two annotators share each task id pair, as overlapping projects do.
                prompt = point(100 * 15 / 64, 50, name=f"p{number}-{turn}")
                body = predict_body(task(number // 2, image), prompts=(prompt,))
                answer = client.post("/predict", json=body)
                (region,) = answer.json()["results"][0]["result"]
                mask = decode_rle(region["value"]["rle"], width_px=SIZE[0], height_px=SIZE[1])
                if (mask == truth).all():
                    right.append(turn)
                else:
                    wrong.append(f"image {number}, turn {turn}")

    with live(create_app(settings, lambda _: ColourEngine())) as url:
        threads = [threading.Thread(target=annotate, args=(url, n)) for n in range(IMAGES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(right) == IMAGES * ROUNDS
