"""MobileSAM and SAM 2.1 out of ultralytics' builders.

Only its torch modules are used, none of its predictors (they keep the image between calls).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from micro_models.engines import ultralytics_runtime
from micro_models.engines.checkpoints import CheckpointError
from micro_models.engines.sam_decoder import Decoder
from micro_models.engines.sam_spec import Spec
from micro_models.engines.sam_torch import Encoder

# (channels of the first stage, number of blocks) of SAM 2.1's image encoder
_SAM2 = {
    (96, 12): ("sam2.1_t", "build_sam2_t"),
    (96, 16): ("sam2.1_s", "build_sam2_s"),
    (112, 24): ("sam2.1_b+", "build_sam2_b"),
    (144, 48): ("sam2.1_l", "build_sam2_l"),
}
_IMAGE_SIZE, _MASK_SIZE = 1024, 256


def build(tensors: Mapping[str, Tensor], model: str | None) -> tuple[Spec, Encoder, Decoder]:
    """Build MobileSAM or SAM 2.1 from a checkpoint's tensors.

    `model` is only named in errors: the tensors tell which model it is. Errors: `CheckpointError`
    for an unknown size or where ultralytics is missing, RuntimeError where tensors do not fit.
    """
    builders = ultralytics_runtime.module("models.sam.build")
    if "image_encoder.patch_embed.seq.0.c.weight" in tensors:
        sam = builders.build_mobile_sam()
        _fill(sam, tensors)
        _split_attention(sam.image_encoder)
        spec = Spec(model="mobile_sam", image_size=_IMAGE_SIZE, mask_size=_MASK_SIZE)
        decoder = Decoder(sam.prompt_encoder, sam.mask_decoder, image_size=_IMAGE_SIZE)
        return spec, Encoder(sam.image_encoder).eval(), decoder.eval()
    return _build_sam2(builders, tensors, model)


def _build_sam2(
    builders: ModuleType, tensors: Mapping[str, Tensor], model: str | None
) -> tuple[Spec, Encoder, Decoder]:
    blocks = "image_encoder.trunk.blocks."
    depth = len({name.split(".")[3] for name in tensors if name.startswith(blocks)})
    width = int(tensors["image_encoder.trunk.patch_embed.proj.weight"].shape[0])
    if (width, depth) not in _SAM2:
        raise CheckpointError(
            f"{model or 'this checkpoint'} has an image encoder of {depth} blocks from {width} "
            "channels, which is none of SAM 2.1 t, s, b+, l; get one of those"
        )
    name, builder = _SAM2[(width, depth)]
    # SAM 2.0 lacks this one; 2.1's image part works with either.
    if "no_obj_embed_spatial" not in tensors:
        name = name.replace("2.1", "2")
    sam = getattr(builders, builder)()
    _fill(sam, tensors)
    spec = Spec(
        model=name,
        image_size=_IMAGE_SIZE,
        mask_size=_MASK_SIZE,
        sam2=True,
        maps=("image", "fine_0", "fine_1"),
    )
    decoder = Decoder(sam.sam_prompt_encoder, sam.sam_mask_decoder, image_size=_IMAGE_SIZE)
    return spec, Encoder(_Sam2Features(sam)).eval(), decoder.eval()


class _Sam2Features(nn.Module):
    """SAM 2's image encoder for still images: (coarse, finest, finer) feature maps."""

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.finest = sam.sam_mask_decoder.conv_s0
        self.finer = sam.sam_mask_decoder.conv_s1
        # Added to every frame that has no memory, which is every still image.
        self.no_memory = nn.Parameter(sam.no_mem_embed.detach().reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 3, 1024, 1024) -> (1, 256, 64, 64), (1, 32, 256, 256), (1, 64, 128, 128)."""
        finest, finer, coarse = self.image_encoder(image)["backbone_fpn"]
        return coarse + self.no_memory, self.finest(finest), self.finer(finer)


class _SplitAttention(nn.Module):
    """TinyViT's attention with a layer each for queries, keys and values; the same numbers.

    As published one layer gives all three, interleaved, and taking them apart costs OpenVINO 7 % of
    the encoder's time.
    """

    def __init__(self, published: Any) -> None:
        super().__init__()
        self.heads, self.scale = published.num_heads, published.scale
        self.norm, self.proj = published.norm, published.proj
        self.register_buffer("bias", published.ab.detach())
        weights = published.qkv.weight.unflatten(0, (self.heads, 3, -1)).unbind(1)
        offsets = published.qkv.bias.unflatten(0, (self.heads, 3, -1)).unbind(1)
        layers = []
        for weight, offset in zip(weights, offsets, strict=True):
            layer = nn.Linear(weight.shape[-1], offset.numel())
            layer.weight.data, layer.bias.data = weight.flatten(0, 1), offset.flatten()
            layers.append(layer)
        self.queries, self.keys, self.values = layers

    def forward(self, tokens: Tensor) -> Tensor:
        """(windows, tokens, channels) -> the same shape."""
        tokens = self.norm(tokens)
        queries, keys, values = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        weights = (queries @ keys.transpose(-2, -1) * self.scale + self.bias).softmax(dim=-1)
        mixed: Tensor = self.proj((weights @ values).transpose(1, 2).flatten(2))
        return mixed


def _split_attention(encoder: nn.Module) -> None:
    for parent in list(encoder.modules()):
        for name, child in parent.named_children():
            if hasattr(child, "attention_bias_idxs") and child.d == child.key_dim:
                setattr(parent, name, _SplitAttention(child).requires_grad_(requires_grad=False))


def _fill(sam: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load what the image part needs; a video model's memory may be missing or extra."""
    missing, _ = sam.load_state_dict(dict(tensors), strict=False)
    needed = ("image_encoder.", "prompt_encoder.", "mask_decoder.", "sam_", "no_mem_embed")
    absent = [name for name in missing if name.startswith(needed)]
    if absent:
        raise CheckpointError(
            f"the checkpoint lacks {len(absent)} weights, {absent[0]} first; "
            "get the official file again"
        )
    sam.eval().requires_grad_(requires_grad=False)
