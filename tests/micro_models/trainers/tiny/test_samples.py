from __future__ import annotations

import numpy as np
import pytest

from micro_models.examples import Example
from micro_models.regions import Box, Image, Region, WholeImage
from micro_models.trainers.tiny import samples
from micro_models.trainers.tiny.recipe import Recipe
from micro_models.trainers.tiny.samples import Sampler
from micro_models.trainers.tiny.spec import Spec
from tests.micro_models.trainers.tiny.drawings import squares


def sampler(examples, *, scale=1.0, **recipe):
    return Sampler(examples, Spec.of(examples), scale=scale, recipe=Recipe(**recipe))


def redness(pixels):
    return pixels[..., 0].astype(float) - pixels[..., 1]


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_heat_lies_where_the_square_went(scale):
    drawn = sampler(squares(3), scale=scale, object_share=1.0, batch=16)
    batch = drawn.batch(np.random.default_rng(0))
    peaks = np.argwhere(batch.targets["heat"] == 1)
    assert len(peaks) >= 12
    middles = redness(batch.images[peaks[:, 0], peaks[:, 2] * 4 + 2, peaks[:, 3] * 4 + 2])
    assert np.median(middles) > 60


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_crops_lie_around_objects_as_often_as_the_recipe_says(share):
    far = squares(2, size=(1600, 1200), side=10)
    drawn = sampler(far, object_share=share, batch=40)
    heat = drawn.batch(np.random.default_rng(0)).targets["heat"]
    assert (heat == 1).any(axis=(1, 2, 3)).mean() == pytest.approx(share, abs=0.15)


def test_of_many_objects_those_that_a_crop_shows_are_asked():
    many = squares(1, each=30, side=8, size=(900, 200))
    batch = sampler(many, object_share=1.0).batch(np.random.default_rng(0))
    peaks = np.argwhere(batch.targets["heat"] == 1)
    assert len(peaks) > 12
    middles = redness(batch.images[peaks[:, 0], peaks[:, 2] * 4 + 2, peaks[:, 3] * 4 + 2])
    assert np.mean(middles > 40) > 0.9


def test_places_and_classes_are_asked_in_turns():
    both = [Example(one.picture, [*one.regions, Region("day", WholeImage())]) for one in squares(2)]
    drawn, rng = sampler(both, whole_share=0.5), np.random.default_rng(0)
    asked = [frozenset(drawn.batch(rng).targets) for _ in range(20)]
    assert frozenset({"classes"}) in asked
    assert any("heat" in names and "classes" not in names for names in asked)


def test_a_batch_is_the_generators_alone():
    one, same = (sampler(squares(2)).batch(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.images, same.images)


def test_grey_and_one_pixel_images_can_be_drawn():
    examples = [
        Example(Image(np.full((1, 1, 3), 7, np.uint8)), [Region("dot", Box(0, 0, 1, 1))]),
        Example(Image(np.zeros((9, 300, 3), np.uint8))),
    ]
    drawn = sampler(examples, scale=2.0)
    assert drawn.batch(np.random.default_rng(0)).images.shape == (8, 128, 128, 3)
    assert (drawn.std > 0).all()


def test_pictures_without_objects_do_not_crowd_out_the_others():
    empty = [Example(one.picture) for one in squares(40, seed=1)]
    drawn = sampler([*squares(2), *empty], object_share=0.5, batch=60)
    heat = drawn.batch(np.random.default_rng(0)).targets["heat"]
    assert (heat == 1).any(axis=(1, 2, 3)).mean() > 0.3


def test_rare_labels_are_looked_at_as_often_as_frequent_ones():
    frequent = squares(20)
    rare = [Example(one.picture, [Region("rare", one.regions[0].shape)]) for one in squares(1)]
    drawn = sampler([*frequent, *rare], object_share=1.0, batch=60)
    heat = drawn.batch(np.random.default_rng(0)).targets["heat"]
    assert (heat == 1).any(axis=(2, 3)).mean(axis=0) == pytest.approx([0.5, 0.5], abs=0.15)


@pytest.mark.parametrize("size", [(40_000, 3), (3, 40_000)])
def test_pictures_may_be_longer_than_opencv_moves(size):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    drawn = sampler([Example(Image(pixels), [Region("dot", Box(0, 0, 3, 3))])], object_share=1.0)
    assert (drawn.batch(np.random.default_rng(0)).targets["heat"] == 1).any()


def test_a_sample_of_the_pixels_tells_the_colours(monkeypatch):
    rows, columns = np.indices((90, 120))
    picture = Image(np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8))
    every = sampler([Example(picture, [Region("dot", Box(0, 0, 9, 9))])])
    monkeypatch.setattr(samples, "_MOST_COLORS", 500)
    some = sampler([Example(picture, [Region("dot", Box(0, 0, 9, 9))])])
    assert not np.array_equal(some.mean, every.mean)
    assert some.mean == pytest.approx(every.mean, abs=5)
    assert some.std == pytest.approx(every.std, abs=3)


def facing(label, *, whole):
    """A wedge that is bright where the label says; all of the picture, or a small part of it."""
    wedge = np.tile(np.linspace(20, 230, 24, dtype=np.uint8)[:, None], (24, 1, 3))
    wedge = wedge if label == "right" else wedge[:, ::-1]
    if whole:
        return Example(Image(wedge), [Region(label, WholeImage())])
    pixels = np.full((96, 128, 3), 120, np.uint8)
    pixels[40:64, 50:74] = wedge
    return Example(Image(pixels), [Region(label, Box(50, 40, 74, 64))])


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_is_mirrored_into_what_has_another_label(whole):
    both = [facing(label, whole=whole) for label in ("left", "right")]
    assert not sampler(both)._policy.mirror
    assert sampler(both[:1])._policy.mirror
