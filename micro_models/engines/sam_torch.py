"""SAM as two torch modules, image -> features and (features, prompt) -> masks, for any family.

The architecture of a segment-anything checkpoint is read from the shapes of its tensors, so that
any configuration loads. Source: Kirillov et al., Segment Anything, 2023; Ravi et al., SAM 2, 2024.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from micro_models.engines.checkpoints import CheckpointError, read_tensors
from micro_models.engines.sam_decoder import Decoder, blocks, flat
from micro_models.engines.sam_spec import Spec

log = logging.getLogger(__name__)

_KNOWN = {(768, 12): "vit_b", (1024, 24): "vit_l", (1280, 32): "vit_h"}
Array = NDArray[Any]


class Encoder(nn.Module):
    """(b, 3, size, size) normalised image -> float16 feature maps, arranged as `Decoder` asks.

    `features` gives one map (b, channels, grid, grid), or that one and finer ones.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run the image encoder."""
        dtype = next(self.features.parameters()).dtype
        maps = self.features(image.to(dtype))
        coarse, *fine = maps if isinstance(maps, tuple) else (maps,)
        arranged = [flat(coarse), *(blocks(finer, coarse.shape[-1]) for finer in fine)]
        return tuple(feature_map.half() for feature_map in arranged)


class TorchNetwork:
    """Both modules on one torch device; "cuda" computes in half precision, "cpu" in single."""

    def __init__(
        self, encoder: Encoder, decoder: Decoder, *, device: str, dtype: torch.dtype
    ) -> None:
        self.device = f"{device} (half precision)" if dtype == torch.half else f"{device} (torch)"
        self._place = torch.device(device)
        # eval() again: TinyViT keeps its attention biases aside, in the precision of that moment.
        self._encoder = encoder.to(self._place, dtype).eval()
        self._decoder = decoder.to(self._place)
        self._decoder.masks.to(dtype)
        self._one_image = threading.Lock()

    def encode(self, image: Array) -> list[Array]:
        """One image at a time: two at once take as long and twice the memory."""
        with self._one_image, torch.inference_mode():
            maps = self._encoder(torch.from_numpy(image).to(self._place))
            return [feature_map.cpu().numpy() for feature_map in maps]

    def decode(self, inputs: Sequence[Array], maps: Sequence[Array]) -> tuple[Array, Array]:
        """`Decoder.forward` on arrays."""
        with torch.inference_mode():
            tensors = [torch.from_numpy(array).to(self._place) for array in (*inputs, *maps)]
            logits, scores = self._decoder(*tensors)
            return logits[0].cpu().numpy(), scores[0].cpu().numpy()


def read_modules(path: Path, model: str | None) -> tuple[Spec, Encoder, Decoder]:
    """Build what a checkpoint holds. `model` is needed only where its tensors do not tell.

    Errors: `CheckpointError`.
    """
    tensors = read_tensors(path)
    try:
        if any(name.startswith(("sam_mask_decoder.", "image_encoder.layers.")) for name in tensors):
            from micro_models.engines import ultralytics_sam

            return ultralytics_sam.build(tensors, model)
        if "image_encoder.patch_embed.proj.weight" in tensors:
            return build_vit(tensors)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"the weights in {path.name} do not fit together ({str(error).splitlines()[0]}); "
            "get the official file again"
        ) from error
    raise CheckpointError(
        f"{path.name} is not a SAM checkpoint; known are SAM vit_b, vit_l, vit_h, MobileSAM and "
        "SAM 2.1 t, s, b+, l"
    )


def build_vit(tensors: Mapping[str, Tensor]) -> tuple[Spec, Encoder, Decoder]:
    """Build segment-anything's SAM in the configuration that the tensors' shapes tell.

    Errors: KeyError or RuntimeError where tensors are missing or contradict each other.
    """
    from segment_anything.modeling import Sam

    # On "meta" nothing is initialised at random: the tensors themselves become the weights.
    with torch.device("meta"):
        sam = Sam(_vit(tensors), *_prompting(tensors))
    sam.load_state_dict(dict(tensors), assign=True)
    sam.eval().requires_grad_(requires_grad=False)
    size = int(sam.image_encoder.img_size)
    width = int(tensors["image_encoder.patch_embed.proj.weight"].shape[0])
    depth = _count(tensors, "image_encoder.blocks.")
    spec = Spec(
        model=_KNOWN.get((width, depth), f"vit_{width}x{depth}"),
        image_size=size,
        mask_size=int(sam.prompt_encoder.mask_input_size[0]),
    )
    return (
        spec,
        Encoder(sam.image_encoder).eval(),
        Decoder(sam.prompt_encoder, sam.mask_decoder, image_size=size).eval(),
    )


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    places = {name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)}
    return len(places)


def _vit(tensors: Mapping[str, Tensor]) -> nn.Module:
    from segment_anything.modeling import ImageEncoderViT

    part = {
        name.removeprefix("image_encoder."): value
        for name, value in tensors.items()
        if name.startswith("image_encoder.")
    }
    width, _, patch, _ = part["patch_embed.proj.weight"].shape
    depth = _count(part, "blocks.")
    # rel_pos_h is (2 * side - 1, channels of one head), with side = what the block attends to.
    spans = [part[f"blocks.{index}.attn.rel_pos_h"] for index in range(depth)]
    sides = [(len(span) + 1) // 2 for span in spans]
    grid = int(part["pos_embed"].shape[1])
    return ImageEncoderViT(  # type: ignore[no-any-return]
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // spans[0].shape[1],
        mlp_ratio=part["blocks.0.mlp.lin1.weight"].shape[0] / width,
        out_chans=part["neck.0.weight"].shape[0],
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(sides) if min(sides) < grid else 0,
        global_attn_indexes=tuple(index for index, side in enumerate(sides) if side == grid),
    )


def _prompting(tensors: Mapping[str, Tensor]) -> tuple[nn.Module, nn.Module]:
    from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

    grid = int(tensors["image_encoder.pos_embed"].shape[1])
    patch = int(tensors["image_encoder.patch_embed.proj.weight"].shape[-1])
    tokens, channels = tensors["mask_decoder.mask_tokens.weight"].shape
    prompt_encoder = PromptEncoder(
        embed_dim=channels,
        image_embedding_size=(grid, grid),
        input_image_size=(grid * patch, grid * patch),
        mask_in_chans=tensors["prompt_encoder.mask_downscaling.3.weight"].shape[0],
    )
    layers = "mask_decoder.transformer.layers."
    mask_decoder = MaskDecoder(
        num_multimask_outputs=tokens - 1,
        transformer=TwoWayTransformer(
            depth=_count(tensors, layers),
            embedding_dim=channels,
            mlp_dim=tensors[f"{layers}0.mlp.lin1.weight"].shape[0],
            num_heads=8,  # the one number that no shape tells; all published SAMs use 8
        ),
        transformer_dim=channels,
        iou_head_depth=_count(tensors, "mask_decoder.iou_prediction_head.layers."),
        iou_head_hidden_dim=tensors["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )
    return prompt_encoder, mask_decoder


@dataclass(frozen=True)
class Part:
    """A module to convert, example inputs, and how many of them, first ones, grow on axis 1."""

    name: str
    module: nn.Module
    example: tuple[Tensor, ...]
    growing: int


def parts(spec: Spec, encoder: Encoder, decoder: Decoder) -> Iterator[Part]:
    """The model as three modules: "encoder", "points" and "decoder"."""
    image = torch.zeros(1, 3, spec.image_size, spec.image_size)
    points, labels = torch.full((1, 2, 2), spec.image_size / 2), torch.ones(1, 2)
    hint, has_hint = torch.zeros(1, 1, spec.mask_size, spec.mask_size), torch.zeros(1)
    with torch.inference_mode():
        maps = encoder(image)
        sparse = decoder.sparse(points, labels)
    yield Part("encoder", encoder, (image,), growing=0)
    yield Part("points", _Method(decoder, "sparse"), (points, labels), growing=2)
    yield Part("decoder", _Method(decoder, "decode"), (sparse, hint, has_hint, *maps), growing=1)


class _Method(nn.Module):
    """Another module's method as a module of its own."""

    def __init__(self, owner: nn.Module, name: str) -> None:
        super().__init__()
        self.owner = owner
        self.name = name

    def forward(self, *inputs: Tensor) -> Any:
        """Call it."""
        return getattr(self.owner, self.name)(*inputs)
