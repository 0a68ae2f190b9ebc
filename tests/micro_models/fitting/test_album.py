"""The pictures of a training: read once, together as small as they may be, a few of very many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from micro_models.examples import Example
from micro_models.fitting import album
from micro_models.fitting.album import Album, opened
from micro_models.pictures import UnreadableImage
from micro_models.regions import Box, Image, Mask, Point, Region, Shape, WholeImage


def blank(width: int, height: int) -> Image:
    return Image(np.zeros((height, width, 3), np.uint8))


def sizes(some: Album) -> list[tuple[int, ...]]:
    return [one.picture.pixels.shape[:2] for one in some.examples]  # type: ignore[union-attr]


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_large_pictures_are_made_smaller_together() -> None:
    box = Region("it", Box(20, 40, 60, 80))
    examples = [Example(blank(200, 100), [box]), Example(blank(200, 300))]
    some = opened(examples, rng=rng(), limit_px=20_000)
    assert sizes(some) == [(50, 100), (150, 100)]
    assert some.examples[0].regions[0].shape == Box(10, 20, 30, 40)
    assert some.factor == 0.5


def square(side: float) -> Region:
    return Region(f"{side}", Box(100, 100, 100 + side, 100 + side))


MASK = np.zeros((1600, 1600), np.bool_)
MASK[100:300, 100:300] = True


@pytest.mark.parametrize(
    ("regions", "factor"),
    [
        ([square(400)], 0.25),
        ([square(100)], 0.5),
        ([square(60)], 1.0),
        ([square(400)] * 9 + [square(60)], 1.0),  # a rare label is as important
        ([Region("it", Mask(MASK))], 0.25),
        ([Region("it", WholeImage())], 0.25),
        ([], 0.25),
        ([square(400), Region("it", Point(9, 9))], 1.0),
    ],
)
def test_very_large_pictures_are_halved_while_objects_stay_large(
    regions: list[Region], factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(album, "_MEAN_PX", 500.0**2)
    some = opened([Example(blank(1600, 1600), regions)], [blank(800, 1600)], rng=rng())
    assert some.factor == factor
    assert sizes(some) == [(1600 * factor, 1600 * factor)]
    assert some.unlabelled[0].pixels.shape[:2] == (1600 * factor, 800 * factor)


def test_one_very_large_picture_among_others_is_not_their_measure() -> None:
    examples = [Example(blank(300, 200))] * 30 + [Example(blank(3000, 2000))]
    assert opened(examples, rng=rng()).factor == 1.0


def test_files_and_images_become_equally_large(tmp_path: Path) -> None:
    pixels = np.zeros((101, 75, 3), np.uint8)
    pixels[20:60, 30:70] = 255
    for name in ("a.png", "b.jpg"):
        PIL.Image.fromarray(pixels).save(tmp_path / name)
    pictures = [Image(pixels), tmp_path / "a.png", str(tmp_path / "b.jpg")]
    some = opened([Example(one) for one in pictures], pictures, rng=rng(), limit_px=6000)
    images = [*(one.picture for one in some.examples), *some.unlabelled]
    assert len({one.pixels.shape for one in images}) == 1  # type: ignore[union-attr]
    assert all(12 < one.pixels.mean() / 4.3 < 14 for one in images)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [Mask(np.ones((60, 80), np.bool_))])
def test_a_mask_of_another_size_is_refused(shape: Shape) -> None:
    with pytest.raises(ValueError, match=r"the mask 'it' of example 1 is \(60, 80\).*\(7, 9\)"):
        opened([Example(blank(9, 7), [Region("it", shape)])], rng=rng())


def test_some_of_very_many_unlabelled_pictures_are_taken() -> None:
    images = [Image(np.full((4, 4, 3), n % 256, np.uint8)) for n in range(500)]
    one, other = (opened([], images, rng=rng()).unlabelled for _ in "12")
    assert len(one) == 60
    assert [a is b for a, b in zip(one, other, strict=True)] == [True] * 60
    assert len(opened([], images, rng=rng(), unlabelled_count=200).unlabelled) == 200


def test_each_picture_is_told_and_nothing_is_read_when_it_is_late(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    examples, others = [Example(blank(4, 4))] * 2, [blank(4, 4)] * 3

    def tell(number: int, count: int) -> None:
        told.append((number, count))

    some = opened(examples, others, rng=rng(), told=tell, is_late=lambda: len(told) > 3)
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert (len(some.unlabelled), some.skipped) == (2, 0)

    def stop(number: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(examples, rng=rng(), told=stop)


def test_what_cannot_be_read_is_named_or_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadableImage, match=r"broken\.jpg"):
        opened([Example(blank(4, 4)), Example(broken)], rng=rng())
    some = opened([Example(blank(4, 4))], [broken, blank(4, 4), tmp_path / "no"], rng=rng())
    assert (len(some.unlabelled), some.skipped) == (1, 2)
