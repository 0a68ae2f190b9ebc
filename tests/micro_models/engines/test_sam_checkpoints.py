"""Every kind of SAM checkpoint loads: shapes tell the configuration, and the numbers are right."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from micro_models.engines import ultralytics_runtime
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.sam import load_sam
from micro_models.engines.sam_decoder import Decoder, blocks, flat
from micro_models.engines.sam_spec import Spec
from micro_models.engines.sam_torch import build_vit
from micro_models.engines.sam_transforms import choose, full_mask
from micro_models.regions import Click, Image, Prompt


def random_sam(**encoder: Any) -> nn.Module:
    """segment-anything's SAM in some configuration, with random weights."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    torch.manual_seed(0)
    sam = Sam(
        ImageEncoderViT(
            **encoder,
            out_chans=64,
            use_rel_pos=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        ),
        PromptEncoder(64, (8, 8), (encoder["img_size"],) * 2, mask_in_chans=16),
        MaskDecoder(
            transformer_dim=64,
            transformer=TwoWayTransformer(depth=3, embedding_dim=64, num_heads=8, mlp_dim=96),
            iou_head_depth=2,
            iou_head_hidden_dim=40,
        ),
    )
    for parameter in sam.parameters():
        nn.init.normal_(parameter, std=0.1)
    return sam.eval().requires_grad_(requires_grad=False)


CONFIGURATIONS = [
    {"img_size": 64, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3}
    | {"window_size": 3, "global_attn_indexes": (1,), "mlp_ratio": 2},
    {"img_size": 128, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2}
    | {"window_size": 0, "global_attn_indexes": (), "mlp_ratio": 4},
]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_any_configuration_is_read_from_the_shapes(configuration: dict[str, Any]) -> None:
    sam = random_sam(**configuration)
    spec, encoder, decoder = build_vit(sam.state_dict())
    assert (spec.image_size, spec.mask_size) == (configuration["img_size"], 32)
    image = torch.randn(1, 3, spec.image_size, spec.image_size)
    features = sam.image_encoder(image)
    assert torch.allclose(encoder(image)[0].float(), flat(features), atol=5e-3)

    points = torch.tensor([[[5.5, 20.5], [40.5, 3.5]]])
    labels = torch.tensor([[1, 0]])
    box = torch.tensor([[4.5, 5.5, 50.5, 60.5]])
    hint = torch.randn(1, 1, 32, 32)
    # The published prompt encoder takes pixel indices and adds half a pixel itself.
    sparse, dense = sam.prompt_encoder((points - 0.5, labels), box - 0.5, hint)
    logits, scores = sam.mask_decoder.predict_masks(
        features, sam.prompt_encoder.get_dense_pe(), sparse, dense
    )
    ours = decoder(
        torch.cat([points, box.reshape(1, 2, 2)], dim=1),
        torch.tensor([[1.0, 0.0, 2.0, 3.0]]),
        hint,
        torch.ones(1),
        flat(features),
    )
    assert torch.allclose(ours[0], logits, atol=1e-4 * float(logits.abs().max()))
    assert torch.allclose(ours[1], scores, atol=1e-4 * float(scores.abs().max()))


def test_official_sizes_are_named() -> None:
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        tensors = sam_model_registry["vit_b"]().state_dict()
        spec, _, _ = build_vit(tensors)
    assert spec == Spec(model="vit_b", image_size=1024, mask_size=256)


def test_a_missing_weight_is_told(tmp_path: Path) -> None:
    tensors = random_sam(**CONFIGURATIONS[0]).state_dict()
    del tensors["mask_decoder.iou_token.weight"]
    torch.save(tensors, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match="do not fit together"):
        load_sam(tmp_path / "part.pth", device="cpu-torch", cache_dir=tmp_path)


def test_a_lone_click_takes_the_best_of_several_and_more_take_the_single_mask() -> None:
    spec = Spec(model="any", image_size=64, mask_size=16)
    logits, scores = np.full((4, 16, 16), 9.0), np.array([0.99, 0.2, np.nan, 0.7])
    click = Click(1, 1)
    lone = Prompt((click,))
    assert choose(logits, scores, lone, spec) == 3
    hinted = Prompt((click,), hint=np.zeros((16, 16), np.float32))
    for more in (Prompt((click, click)), hinted):
        assert choose(logits, scores, more, spec) == 0
    unstable = logits.copy()
    unstable[0] = 0.01
    sam2 = Spec(model="any", image_size=64, mask_size=16, sam2=True)
    assert choose(unstable, scores, hinted, spec) == 0
    assert choose(unstable, scores, hinted, sam2) == 3
    assert choose(logits, scores, hinted, sam2) == 0


def test_masks_are_enlarged_as_the_published_predictor_does() -> None:
    rng = np.random.default_rng(0)
    spec = Spec(model="any", image_size=256, mask_size=64)
    logits = rng.normal(size=(64, 64)).astype(np.float32)
    mask = full_mask(logits, spec, width_px=300, height_px=170).pixels
    enlarged = nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], size=(256, 256), mode="bilinear"
    )[..., :145, :]
    enlarged = nn.functional.interpolate(enlarged, size=(170, 300), mode="bilinear")
    assert np.mean(mask == (enlarged[0, 0] > 0).numpy()) > 0.999


@pytest.fixture(scope="module")
def builders() -> Any:
    if find_spec("ultralytics") is None:  # imported by itself it changes Pillow for all
        pytest.skip("skipped: ultralytics is not installed")
    return ultralytics_runtime.module("models.sam.build")


def photo() -> Image:
    return Image(np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8))


def test_mobile_sam_loads_as_published(builders: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = builders.build_mobile_sam()
    torch.save(sam.state_dict(), tmp_path / "renamed.pt")
    engine = load_sam(tmp_path / "renamed.pt", device="cpu-torch", cache_dir=tmp_path)
    assert engine.name == "mobile_sam"
    embedding = engine.embed(photo())
    assert embedding.arrays["image"].shape == (1, 4096, 256)
    found = engine.segment(embedding, Prompt((Click(80, 45),)))
    assert found.mask.pixels.shape == (90, 160)
    assert found.hint is not None
    assert found.hint.shape == (256, 256)


@pytest.mark.parametrize("size", ["t", "s"])
def test_sam2_loads_as_published(builders: Any, tmp_path: Path, size: str) -> None:
    torch.manual_seed(0)
    sam = getattr(builders, f"build_sam2_{size}")()
    tensors = {**sam.state_dict(), "no_obj_embed_spatial": torch.zeros(1, 64)}
    torch.save({"model": tensors}, tmp_path / "renamed.pt")
    engine = load_sam(tmp_path / "renamed.pt", device="cpu-torch", cache_dir=tmp_path)
    assert engine.name == f"sam2.1_{size}"
    if size == "t":
        embedding = engine.embed(photo())
        found = engine.segment(embedding, Prompt((Click(80, 45), Click(9, 9, positive=False))))
        assert found.mask.pixels.shape == (90, 160)
        assert found.hint is not None
        assert np.abs(found.hint).max() <= 32


def test_sam2_decodes_as_published(builders: Any) -> None:
    torch.manual_seed(0)
    sam = builders.build_sam2_t()
    for parameter in sam.sam_mask_decoder.parameters():
        nn.init.normal_(parameter, std=0.05)
    decoder = Decoder(sam.sam_prompt_encoder, sam.sam_mask_decoder, image_size=1024)
    coarse, finer, finest = (
        torch.randn(1, channels, side, side) for channels, side in ((256, 64), (64, 128), (32, 256))
    )
    points, labels = torch.tensor([[[300.0, 200.0], [9.0, 600.0]]]), torch.tensor([[1, 0]])
    with torch.inference_mode():
        sparse, dense = sam.sam_prompt_encoder((points - 0.5, labels), None, None)
        logits, scores, _, _ = sam.sam_mask_decoder.predict_masks(
            coarse,
            sam.sam_prompt_encoder.get_dense_pe(),
            sparse,
            dense,
            repeat_image=False,
            high_res_features=[finest, finer],
        )
        ours = decoder(
            torch.cat([points, torch.zeros(1, 1, 2)], dim=1),
            torch.tensor([[1.0, 0.0, -1.0]]),
            torch.zeros(1, 1, 256, 256),
            torch.zeros(1),
            flat(coarse),
            blocks(finest, 64),
            blocks(finer, 64),
        )
    assert torch.allclose(ours[0], logits, atol=1e-4 * float(logits.abs().max()))
    assert torch.allclose(ours[1], scores, atol=1e-4)


def test_without_ultralytics_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    monkeypatch.setitem(sys.modules, "ultralytics.models.sam", None)
    torch.save({"image_encoder.layers.0.x": torch.zeros(1)}, tmp_path / "mobile_sam.pt")
    with pytest.raises(CheckpointError, match=r'pip install "labelpilot\[ultralytics\]"'):
        load_sam(tmp_path / "mobile_sam.pt", device="cpu", cache_dir=tmp_path)
