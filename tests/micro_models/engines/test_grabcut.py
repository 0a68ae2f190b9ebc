"""The weight-free engine: right on drawn shapes, calm on odd input, the same in every thread."""

import runpy
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from micro_models.clicks import clicks_to_iou, iou_within
from micro_models.engines.grabcut import GrabCut, GrabCutSettings
from micro_models.interface import Segmenter
from micro_models.regions import Box, Click, Image, Prompt, RotatedBox

PHOTOS = Path(__file__).parents[4] / "shared/data/segmentation/grabcut"
ENGINE = GrabCut()


def ask(image: Image, *clicks: Click, box: Box | RotatedBox | None = None):
    return ENGINE.segment(ENGINE.embed(image), Prompt(clicks, box))


def drawn(shape: str, seed: int = 0, width: int = 320, height: int = 240):
    """An image with a shape on a noisy background, and the shape's mask."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((height, width), np.uint8)
    x, y, r = width // 2, height // 2, height // 4
    if shape == "disc":
        cv2.circle(truth, (x, y), r, 1, -1)
    elif shape == "bar":
        cv2.ellipse(truth, (x, y), (r * 2, r // 2), 30, 0, 360, 1, -1)
    elif shape == "ring":
        cv2.circle(truth, (x, y), r, 1, -1)
        cv2.circle(truth, (x, y), r // 2, 0, -1)
    else:
        points = [[x - r, y + r], [x, y - r], [x + r, y + r]]
        cv2.fillPoly(truth, [np.array(points, np.int32)], 1)
    back, front = np.array([60, 120, 70]), np.array([190, 90, 50])
    shade = np.linspace(-20, 20, width)[None, :, None]
    pixels = np.where(truth[..., None] > 0, front, back) + shade
    pixels = pixels + rng.normal(0, 8, pixels.shape)
    return Image(np.clip(pixels, 0, 255).astype(np.uint8)), truth > 0


def box_of(truth: np.ndarray) -> Box:
    ys, xs = np.nonzero(truth)
    return Box(float(xs.min()), float(ys.min()), xs.max() + 1.0, ys.max() + 1.0)


def a_pixel_of(truth: np.ndarray) -> Click:
    depth = cv2.distanceTransform(truth.astype(np.uint8), cv2.DIST_L2, 5)
    y, x = np.unravel_index(depth.argmax(), depth.shape)
    return Click(x + 0.5, y + 0.5)


def test_it_is_a_segmenter():
    segmenter: Segmenter = ENGINE
    assert (segmenter.name, segmenter.device) == ("grabcut", "cpu")
    assert segmenter.version == GrabCut().version
    assert segmenter.version != GrabCut(GrabCutSettings(refits=3)).version
    with pytest.raises(ValueError, match="at least 1"):
        GrabCutSettings(refits=0)


@pytest.mark.parametrize("shape", ["disc", "bar", "ring", "triangle"])
def test_drawn_shapes_from_a_box(shape):
    image, truth = drawn(shape)
    answer = ask(image, box=box_of(truth))
    assert iou_within(truth, answer.mask.pixels) >= 0.95
    assert answer.score >= 0.6


@pytest.mark.parametrize("shape", ["disc", "bar", "triangle"])
def test_drawn_shapes_from_a_click(shape):
    image, truth = drawn(shape)
    answer = ask(image, a_pixel_of(truth))
    assert iou_within(truth, answer.mask.pixels) >= 0.95


@pytest.mark.parametrize("shape", ["disc", "bar", "ring", "triangle"])
def test_drawn_shapes_from_a_box_and_a_click(shape):
    image, truth = drawn(shape)
    answer = ask(image, a_pixel_of(truth), box=box_of(truth))
    assert iou_within(truth, answer.mask.pixels) >= 0.95


def test_negative_click_opens_a_hole():
    image, truth = drawn("ring")
    clicks = (a_pixel_of(truth), Click(160, 120, positive=False))
    assert iou_within(truth, ask(image, *clicks).mask.pixels) >= 0.95


def test_rotated_box():
    image, truth = drawn("bar")
    answer = ask(image, box=RotatedBox(160, 120, 242, 62, 30))
    assert iou_within(truth, answer.mask.pixels) >= 0.95
    corner = RotatedBox(160, 120, 242, 62, 30).corners().astype(int)
    outside = np.ones(truth.shape, np.uint8)
    cv2.fillPoly(outside, [corner], 0)
    spill = answer.mask.pixels & (cv2.erode(outside, np.ones((7, 7), np.uint8)) > 0)
    assert not spill.any()


def test_negative_click_removes_the_second_object():
    image, left = drawn("disc")
    pixels = np.concatenate([image.pixels, image.pixels], axis=1)
    truth = np.concatenate([left, np.zeros_like(left)], axis=1)
    both = Box(0, 0, 640, 240)
    before = ask(Image(pixels), box=both).mask.pixels
    after = ask(Image(pixels), Click(480, 120, positive=False), box=both).mask.pixels
    assert before[120, 480]
    assert not after[120, 480]
    assert iou_within(truth, after) >= 0.9


def test_small_object_in_a_large_photo_is_seen_at_full_size():
    rng = np.random.default_rng(1)
    pixels = cv2.resize(rng.integers(90, 130, (40, 60, 3), dtype=np.uint8), (3000, 2000))
    truth = np.zeros((2000, 3000), np.uint8)
    cv2.circle(truth, (2311, 633), 35, 1, -1)
    pixels[truth > 0] = (200, 60, 40)
    image = Image(pixels)
    assert iou_within(truth > 0, ask(image, box=box_of(truth)).mask.pixels) >= 0.93
    assert iou_within(truth > 0, ask(image, Click(2311, 633)).mask.pixels) >= 0.9


def test_embedding_is_small_and_not_changed():
    noise = np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8)
    embedding = ENGINE.embed(Image(noise))
    assert embedding.nbytes <= 6_000_000
    before = {name: array.copy() for name, array in embedding.arrays.items()}
    ENGINE.segment(embedding, Prompt((Click(2000, 1500),)))
    for name, array in embedding.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def odd_images():
    rng = np.random.default_rng(0)
    yield from (Image(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in SIZES)
    yield Image(np.full((50, 70, 3), 128, np.uint8))
    yield Image(np.zeros((50, 70, 3), np.uint8))
    grey = rng.integers(0, 255, (50, 70, 1), dtype=np.uint8)
    yield Image(np.repeat(grey, 3, axis=2))


SIZES = [(1, 1), (2, 2), (5, 3), (1, 300), (4000, 2), (17, 23)]


def odd_prompts(width: int, height: int):
    far = 1e7
    yield Prompt((Click(width / 2, height / 2),))
    yield Prompt((Click(-far, far), Click(far, -far, positive=False)))
    yield Prompt(box=Box(0, 0, width, height))
    yield Prompt(box=Box(-far, -far, far, far))
    yield Prompt(box=Box(width / 2, height / 2, width / 2, height / 2))
    yield Prompt(box=Box(0, height / 2, width, height / 2))
    yield Prompt(box=Box(width * 2, height * 2, width * 3, height * 3))
    yield Prompt(box=RotatedBox(width / 2, height / 2, width / 2, height / 3, 77))
    yield Prompt(box=RotatedBox(width, height, width, 0, 10))
    yield Prompt(box=RotatedBox(0, 0, far, far, 45))
    yield Prompt((Click(width / 2, height / 2, positive=False),), Box(0, 0, width, height))
    yield Prompt((Click(width - 0.1, height - 0.1),), Box(0, 0, width / 3, height / 3))
    yield Prompt((Click(0, 0),), hint=np.full((1, 4), np.nan, np.float32))
    yield Prompt((Click(0, 0),), hint=np.array([[far, far, -far, -far]], np.float32))
    yield Prompt((Click(0, 0),), hint=np.zeros((3, 7), np.float32))


@pytest.mark.parametrize("image", list(odd_images()), ids=lambda image: str(image.pixels.shape))
def test_odd_images_and_prompts_get_a_mask_that_obeys_the_clicks(image):
    embedding = ENGINE.embed(image)
    for prompt in odd_prompts(image.width_px, image.height_px):
        answer = ENGINE.segment(embedding, prompt)
        mask = answer.mask.pixels
        assert mask.shape == image.pixels.shape[:2]
        assert answer.score == 0 or mask.any()
        taken = {}
        for click in prompt.clicks:
            x = int(min(max(click.x, 0), image.width_px - 1))
            y = int(min(max(click.y, 0), image.height_px - 1))
            taken[x, y] = click.positive
        for (x, y), positive in taken.items():
            assert mask[y, x] == positive, prompt


def test_only_negative_clicks_and_boxes_elsewhere_give_nothing():
    image, _ = drawn("disc")
    elsewhere = (Box(400, 300, 500, 400), RotatedBox(-100, -100, 20, 20, 5))
    answers = [ask(image, Click(9, 9, positive=False)), *(ask(image, box=b) for b in elsewhere)]
    assert [(answer.mask.area_px, answer.score) for answer in answers] == [(0, 0.0)] * 3


def test_forty_megapixels():
    pixels = np.full((5000, 8000, 3), 90, np.uint8)
    cv2.circle(pixels, (4000, 2500), 900, (30, 160, 60), -1)
    truth = pixels[..., 0] == 30
    image = Image(pixels)
    answer = ask(image, Click(4000, 2500))
    assert iou_within(truth, answer.mask.pixels) >= 0.97
    assert iou_within(truth, ask(image, box=box_of(truth)).mask.pixels) >= 0.97


def test_refining_keeps_the_window():
    image, truth = drawn("disc")
    embedding = ENGINE.embed(image)
    first = ENGINE.segment(embedding, Prompt((a_pixel_of(truth),)))
    clicks = (a_pixel_of(truth), Click(5, 5, positive=False))
    second = ENGINE.segment(embedding, Prompt(clicks, hint=first.hint))
    np.testing.assert_array_equal(first.hint, second.hint)
    assert iou_within(truth, second.mask.pixels) >= 0.95


def test_eight_threads_on_eight_images_get_the_same_masks_as_one():
    shapes = ["disc", "bar", "ring", "triangle"] * 2
    jobs = []
    for seed, shape in enumerate(shapes):
        image, truth = drawn(shape, seed, 200 + 10 * seed, 150)
        jobs.append((ENGINE.embed(image), Prompt((a_pixel_of(truth),), box_of(truth))))
    alone = [ENGINE.segment(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda job: ENGINE.segment(*job), jobs * 4))
    for n, answer in enumerate(together):
        expected = alone[n % 8]
        np.testing.assert_array_equal(answer.mask.pixels, expected.mask.pixels)
        assert answer.score == expected.score


def test_the_benchmark_runs_on_any_folder_of_photos(tmp_path, capsys):
    script = runpy.run_path(str(Path(__file__).parents[3] / "examples/grabcut_benchmark.py"))
    image, truth = drawn("disc")
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/disc.jpg"), image.pixels[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "masks/disc.png"), truth.astype(np.uint8) * 255)
    script["main"](["--data", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "plain OpenCV" in shown
    assert "first click, 12 megapixels" in shown
    script["main"](["--data", str(tmp_path / "absent")])
    assert "absent" in capsys.readouterr().out


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="skipped: no ../shared")
def test_quality_on_photos():
    ious, scores, needed = [], [], []
    for n, path in enumerate(sorted((PHOTOS / "masks").glob("*.png"))):
        labels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        pixels = cv2.imread(str(PHOTOS / "images" / f"{path.stem}.jpg"))[:, :, ::-1]
        embedding = ENGINE.embed(Image(np.ascontiguousarray(pixels)))
        truth, ignore = labels == 255, labels == 128
        answer = ENGINE.segment(embedding, Prompt(box=box_of(truth)))
        ious.append(iou_within(truth, answer.mask.pixels, ignore))
        scores.append(answer.score)
        if n % 2 == 0:
            segment = partial(ENGINE.segment, embedding)
            curve = clicks_to_iou(segment, truth, ignore=ignore, max_clicks=6)
            needed.append(curve.clicks[0.85])
    assert np.mean(ious) >= 0.88
    assert np.median(ious) >= 0.92
    assert np.corrcoef(ious, scores)[0, 1] >= 0.65
    assert np.mean(needed) <= 2.8, needed
