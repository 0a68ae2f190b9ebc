"""What images look like, and where a model knows its way."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from micro_models.appearance import apart, describe
from micro_models.examples import image_of
from micro_models.fitting.limits import LEAST_REACH, Limits
from micro_models.regions import Image


def street(seed: int, *, size: tuple[int, int] = (160, 120)) -> Image:
    """Grey, with fine upright stripes, somewhere."""
    width, height = size
    columns = np.arange(width) * (160 / width) + 7 * seed
    rows = np.linspace(0, 30, height)[:, None, None]
    pixels = 120 + 40 * np.sin(columns / 2)[None, :, None] + rows
    return Image(np.broadcast_to(pixels, (height, width, 3)).clip(0, 255).astype(np.uint8))


def meadow(seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 25, (120, 160, 1))
    return Image(
        (np.array([60, 140, 50]) + cv2.GaussianBlur(noise, (5, 5), 0)[..., None] * 3)
        .clip(0, 255)
        .astype(np.uint8)
    )


def test_scenes_are_farther_apart_than_their_images() -> None:
    streets, meadows = (np.stack([describe(one(n)) for n in range(4)]) for one in (street, meadow))
    within = max(apart(streets, streets).max(), apart(meadows, meadows).max())
    assert apart(streets, meadows).min() > 3 * within


def test_its_size_is_no_matter() -> None:
    one, other = describe(street(0)), describe(street(0, size=(640, 480)))
    assert np.linalg.norm(one - other) < LEAST_REACH / 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 9), (2000, 3000)])
def test_every_image_has_a_description(shape: tuple[int, int]) -> None:
    for level in (0, 255):
        description = describe(Image(np.full((*shape, 3), level, np.uint8)))
        assert description.dtype == np.float32
        assert np.isfinite(description).all()


def test_a_strange_image_is_not_trusted() -> None:
    limits = Limits.of([street(n) for n in range(5)])
    assert limits.trust(street(99)) == 1
    assert limits.trust(meadow(0)) == 0


def test_a_project_of_all_kinds_trusts_all_of_them() -> None:
    limits = Limits.of([street(0), meadow(0), street(1), meadow(1)])
    assert limits.trust(street(5)) == limits.trust(meadow(5)) == 1


def test_one_image_has_limits_too() -> None:
    assert Limits.of([street(0)]).trust(street(3)) == 1
    assert Limits.of([street(0)]).trust(meadow(0)) == 0


def test_a_clip_is_known_from_five_of_its_frames_and_others_are_not(shared: Path) -> None:
    names = ("tld-pedestrian2", "tld-jumping", "otb-crossing")
    clips = {name: frames(shared / "data" / "video" / name) for name in names}
    for name, own in clips.items():
        limits = Limits.of(own[2::5][:5])
        assert min(limits.trust(image) for image in own) > 0.8
        for other in set(names) - {name}:
            assert max(limits.trust(image) for image in clips[other]) < 0.2


def frames(folder: Path) -> list[Image]:
    with (folder / "boxes.csv").open() as file:
        files = [row["file"] for row in csv.DictReader(file)]
    return [image_of(folder / "frames" / name) for name in files[:: len(files) // 24]]
