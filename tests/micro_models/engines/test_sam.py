"""The small SAM proves where prompts land, and that every runtime gives the same mask."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from micro_models.engines import openvino_runtime, sam
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.sam import load_sam
from micro_models.engines.sam_spec import Spec
from micro_models.engines.sam_torch import TorchNetwork, read_modules
from micro_models.interface import Segmenter
from micro_models.regions import Bools, Box, Click, Embedding, Image, Prompt, RotatedBox
from tests.small_sam import box_of, draw_badge, draw_scene, point_in

SIZES = {"landscape": (640, 480), "portrait": (270, 480), "tiny": (48, 40), "large": (2000, 1500)}


def iou(a: Bools, b: Bools) -> float:
    return float(np.count_nonzero(a & b) / max(1, np.count_nonzero(a | b)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engine(small_sam: Path, cache: Path) -> Segmenter:
    return load_sam(small_sam, device="cpu", cache_dir=cache)


@pytest.fixture(scope="module")
def reference(small_sam: Path, cache: Path) -> Segmenter:
    return load_sam(small_sam, device="cpu-torch", cache_dir=cache)


def answer(engine: Segmenter, image: Image, prompt: Prompt) -> Bools:
    return engine.segment(engine.embed(image), prompt).mask.pixels


@pytest.mark.parametrize("size", SIZES)
def test_clicks_and_boxes_land_where_they_were_put(engine: Segmenter, size: str) -> None:
    rng = np.random.default_rng(1)
    clicked, boxed = [], []
    for _ in range(4):
        image, masks = draw_scene(rng, *SIZES[size])
        embedding = engine.embed(image)
        for mask in masks:
            click = Prompt((Click(*point_in(rng, mask)),))
            clicked.append(iou(engine.segment(embedding, click).mask.pixels, mask))
            box = Prompt((), box_of(mask))
            boxed.append(iou(engine.segment(embedding, box).mask.pixels, mask))
    assert np.mean(clicked) >= 0.9
    assert np.mean(boxed) >= 0.9


@pytest.mark.parametrize("size", SIZES)
def test_a_negative_click_takes_its_part_off(engine: Segmenter, size: str) -> None:
    rng = np.random.default_rng(2)
    found: dict[str, list[float]] = {"box, negative": [], "hinted": [], "clicks": []}
    for _ in range(6):
        image, whole, inner = draw_badge(rng, *SIZES[size])
        ring, box = whole & ~inner, box_of(whole)
        on = Click(*point_in(rng, ring))
        off = Click(*point_in(rng, inner), positive=False)
        embedding = engine.embed(image)
        both = engine.segment(embedding, Prompt((on, Click(off.x, off.y))))
        assert (both.mask.pixels & inner).sum() > 0.6 * inner.sum()  # else there is nothing to cut
        answers = {
            "box, negative": Prompt((off,), box),
            "hinted": Prompt((on, off), hint=engine.segment(embedding, Prompt((on,))).hint),
            "clicks": Prompt((on, off)),
        }
        for kind, prompt in answers.items():
            found[kind].append(iou(engine.segment(embedding, prompt).mask.pixels, ring))
    assert {kind: np.mean(ious) for kind, ious in found.items() if np.mean(ious) < 0.9} == {}


def prompts(mask: Bools, hint: Any) -> dict[str, Prompt]:
    rng = np.random.default_rng(3)
    on, box = Click(*point_in(rng, mask)), box_of(mask)
    off = Click(*point_in(rng, ~mask), positive=False)
    middle, sides = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), (box.x1 - box.x0, 30)
    return {
        "click": Prompt((on,)),
        "clicks": Prompt((on, off, Click(on.x + 2, on.y))),
        "box": Prompt((), box),
        "box and click": Prompt((off,), box),
        "rotated box": Prompt((), RotatedBox(*middle, *sides, angle_deg=30)),
        "hint": Prompt((on, off), hint=hint),
        "twenty clicks": Prompt((on, off) * 10),
    }


def test_openvino_and_torch_give_the_same_masks(engine: Segmenter, reference: Segmenter) -> None:
    rng = np.random.default_rng(4)
    assert engine.device == "cpu (openvino)"
    assert reference.device == "cpu (torch)"
    assert engine.version == reference.version
    for width, height in ((640, 480), (300, 500), (50, 60)):
        image, masks = draw_scene(rng, width, height)
        embeddings = engine.embed(image), reference.embed(image)
        hint = reference.segment(embeddings[1], Prompt((), box_of(masks[0]))).hint
        for kind, prompt in prompts(masks[0], hint).items():
            ours = engine.segment(embeddings[0], prompt)
            theirs = reference.segment(embeddings[1], prompt)
            assert iou(ours.mask.pixels, theirs.mask.pixels) >= 0.98, kind
            assert ours.score == pytest.approx(theirs.score, abs=0.05), kind


def test_half_precision_gives_the_same_masks(small_sam: Path, reference: Segmenter) -> None:
    spec, encoder, decoder = read_modules(small_sam, None)
    network = TorchNetwork(encoder, decoder, device="cpu", dtype=torch.half)
    half = sam.Sam(network, spec, version="half")
    assert half.device == "cpu (half precision)"
    image, masks = draw_scene(np.random.default_rng(5), 400, 300)
    for mask in masks:
        for kind, prompt in prompts(mask, None).items():
            same = iou(answer(half, image, prompt), answer(reference, image, prompt))
            assert same >= 0.98, kind


def test_embeddings_of_one_runtime_serve_the_other(engine: Segmenter, reference: Segmenter) -> None:
    image, masks = draw_scene(np.random.default_rng(6), 320, 240)
    embedding = reference.embed(image)
    assert all(array.dtype == np.float16 for array in embedding.arrays.values())
    prompt = Prompt((), box_of(masks[0]))
    ours, theirs = engine.segment(embedding, prompt), reference.segment(embedding, prompt)
    assert iou(ours.mask.pixels, theirs.mask.pixels) >= 0.98


def test_eight_threads_on_eight_images_get_their_own_masks(engine: Segmenter) -> None:
    rng = np.random.default_rng(7)
    scenes = [draw_scene(rng, 160 + 10 * index, 120) for index in range(8)]
    clicks = [Prompt((Click(*point_in(rng, masks[0])),)) for _, masks in scenes]
    embeddings = [engine.embed(image) for image, _ in scenes]
    alone = [engine.segment(e, p).mask.pixels for e, p in zip(embeddings, clicks, strict=True)]
    start = threading.Barrier(8)

    def work(index: int) -> int:
        start.wait()
        again = engine.embed(scenes[index][0])
        return sum(
            np.array_equal(engine.segment(e, clicks[index]).mask.pixels, alone[index])
            for e in [embeddings[index], again] * 63
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [126] * 8


def test_refining_with_the_hint_mends_the_mask(engine: Segmenter) -> None:
    rng = np.random.default_rng(8)
    before, after = [], []
    for _ in range(10):
        image, whole, inner = draw_badge(rng, 300, 200)
        ring = whole & ~inner
        embedding = engine.embed(image)
        first = engine.segment(embedding, Prompt((), box_of(whole)))
        off = Click(*point_in(rng, inner), positive=False)
        assert first.hint is not None
        assert first.hint.dtype == np.float32
        second = engine.segment(embedding, Prompt((off,), box_of(whole), hint=first.hint))
        unhinted = engine.segment(embedding, Prompt((off,), box_of(whole)))
        assert not np.array_equal(second.hint, unhinted.hint)
        before.append(iou(first.mask.pixels, ring))
        after.append(iou(second.mask.pixels, ring))
    assert np.mean(after) > np.mean(before) + 0.1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 4000), (3000, 2), (40_000, 3)])
def test_any_size_is_answered_in_kind(engine: Segmenter, width: int, height: int) -> None:
    image = Image(np.full((height, width, 3), 90, np.uint8))
    everywhere = [
        Prompt((Click(-5, 1e9), Click(0, 0, positive=False))),
        Prompt((), Box(-10, -10, 1e7, 1e7)),
        Prompt((), Box(1e6, 1e6, 1e7, 1e7)),
        Prompt((), RotatedBox(0, 0, 50, 10, angle_deg=45)),
    ]
    embedding = engine.embed(image)
    for prompt in everywhere:
        found = engine.segment(embedding, prompt)
        assert found.mask.pixels.shape == (height, width)
        assert 0 <= found.score <= 1


def test_prompts_outside_are_those_at_the_edge(engine: Segmenter) -> None:
    image, _ = draw_scene(np.random.default_rng(9), 200, 100)
    outside = answer(engine, image, Prompt((Click(-50, 400),), Box(-9, -9, 150, 900)))
    edge = answer(engine, image, Prompt((Click(0.5, 99.5),), Box(0, 0, 150, 100)))
    assert np.array_equal(outside, edge)


def test_a_second_start_reads_no_weights(
    small_sam: Path, cache: Path, engine: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the weights were read again")

    monkeypatch.setattr("micro_models.engines.sam_torch.read_modules", refuse)
    again = load_sam(small_sam, device="cpu", cache_dir=cache)
    assert (again.version, again.name) == (engine.version, engine.name)
    image, masks = draw_scene(np.random.default_rng(10), 200, 200)
    prompt = Prompt((), box_of(masks[0]))
    assert np.array_equal(answer(again, image, prompt), answer(engine, image, prompt))


def test_a_damaged_conversion_is_made_again(
    small_sam: Path, cache: Path, engine: Segmenter, tmp_path: Path
) -> None:
    mark = engine.version.rpartition("-")[2]
    shutil.copytree(cache / "openvino" / mark, tmp_path / "openvino" / mark)
    (tmp_path / "openvino" / mark / "decoder.xml").write_text("damaged")
    mended = load_sam(small_sam, device="cpu", cache_dir=tmp_path)
    image, masks = draw_scene(np.random.default_rng(11), 200, 200)
    prompt = Prompt((), box_of(masks[0]))
    assert np.array_equal(answer(mended, image, prompt), answer(engine, image, prompt))
    assert [entry.name for entry in (tmp_path / "openvino").iterdir()] == [mark]


def test_the_version_follows_the_weights(small_sam: Path, tmp_path: Path) -> None:
    tensors = torch.load(small_sam, weights_only=True)
    tensors["mask_decoder.iou_token.weight"] += 1
    torch.save(tensors, tmp_path / "other.pt")
    versions = {
        load_sam(path, device="cpu-torch", cache_dir=tmp_path).version
        for path in (small_sam, tmp_path / "other.pt")
    }
    assert len(versions) == 2


def test_a_foreign_embedding_or_hint_is_refused(engine: Segmenter) -> None:
    image, _ = draw_scene(np.random.default_rng(12), 64, 64)
    with pytest.raises(ValueError, match="a hint of"):
        answer(engine, image, Prompt((Click(1, 1),), hint=np.zeros((3, 3), np.float32)))
    with pytest.raises(ValueError, match="the embedding is not one of"):
        engine.segment(Embedding({}, 64, 64), Prompt((Click(1, 1),)))


@pytest.mark.parametrize("device", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_named(small_sam: Path, cache: Path, device: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot be put on the device '{device}'"):
        load_sam(small_sam, device=device, cache_dir=cache)


class FullGpu:
    """A GPU that is out of memory, so often."""

    device = "cuda:0 (half precision)"

    def __init__(self, network: sam.Network, failures: int) -> None:
        self.network = network
        self.failures = failures

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")

    def encode(self, image: Any) -> list[Any]:
        self._fail()
        return self.network.encode(image)

    def decode(self, inputs: Sequence[Any], maps: Sequence[Any]) -> tuple[Any, Any]:
        self._fail()
        return self.network.decode(inputs, maps)


@pytest.mark.parametrize(("failures", "built"), [(1, 0), (2, 1), (99, 1)])
def test_a_full_gpu_is_tried_again_then_left_for_the_cpu(
    small_sam: Path, cache: Path, engine: Segmenter, failures: int, built: int
) -> None:
    spec, network = _converted(cache, engine)
    made = []

    def on_cpu() -> sam.Network:
        made.append(network)
        return network

    spare = sam.Spare(FullGpu(network, failures), on_cpu)
    image, masks = draw_scene(np.random.default_rng(13), 100, 80)
    prompt = Prompt((), box_of(masks[0]))
    found = answer(sam.Sam(spare, spec, version="spare"), image, prompt)
    assert np.array_equal(found, answer(engine, image, prompt))
    assert len(made) == built


def _converted(cache: Path, engine: Segmenter) -> tuple[Spec, sam.Network]:
    def refuse() -> Any:
        raise AssertionError("converted already")

    mark = engine.version.rpartition("-")[2]
    return openvino_runtime.convert(cache / "openvino" / mark, refuse)
