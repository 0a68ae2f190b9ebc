"""SAM's mask decoder, rearranged to be fast on a CPU; the same numbers as the published one.

The published decoder projects all of the image's thousands of tokens to keys, values and queries
to meet a handful of prompt tokens. Here each projection is moved over to the handful's side:
q (K W)^T = (q W^T) K^T. Feature maps stay (positions, channels) throughout, so that nothing large
is ever transposed, and the two upscalings, whose kernels do not overlap, are matrix products too.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class Decoder(nn.Module):
    """Points and a hint on encoded features -> every mask token's logits and predicted IoU.

    Points are (b, n, 2) in pixels of the encoder's input, labels (b, n) float: 1 belongs, 0 does
    not, 2 and 3 a box's corners, -1 padding. `has_hint` (b,) is 0 or 1. Maps are as `flat` and
    `blocks` give them. Gives logits (b, tokens, side, side) and IoU (b, tokens); token 0 is the
    single-mask token.
    """

    position: Tensor

    def __init__(self, prompt_encoder: Any, mask_decoder: Any, *, image_size: int) -> None:
        super().__init__()
        self.prompts = prompt_encoder
        self.masks = mask_decoder
        self.image_size = image_size
        self.grid = int(prompt_encoder.image_embedding_size[0])
        self.register_buffer("position", flat(prompt_encoder.get_dense_pe().detach()))

    def forward(
        self, points: Tensor, labels: Tensor, hint: Tensor, has_hint: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode prompts."""
        return self.decode(self.sparse(points, labels), hint, has_hint, *maps)

    def decode(
        self, sparse: Tensor, hint: Tensor, has_hint: Tensor, *maps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """`forward` from embedded points on: the part that may compute in low precision."""
        dtype = self.masks.iou_token.weight.dtype
        image, *fine = [feature_map.to(dtype) for feature_map in maps]
        tokens = torch.cat([self._own(len(sparse)), sparse.to(dtype)], dim=1)
        image = image + self.dense(hint, has_hint).to(dtype)
        tokens, image = self._transform(tokens, image)
        first = 1 if getattr(self.masks, "pred_obj_scores", False) else 0
        last = first + 1 + int(self.masks.num_mask_tokens)
        logits = self._logits(image, tokens[:, first + 1 : last], fine)
        scores = self.masks.iou_prediction_head(tokens[:, first])
        return logits.float(), scores.float()

    def sparse(self, points: Tensor, labels: Tensor) -> Tensor:
        """(b, n, 2) points and (b, n) labels -> (b, n, channels).

        Wants single precision: bfloat16 knows a point to four pixels only.
        """
        matrix = 2 * math.pi * self.prompts.pe_layer.positional_encoding_gaussian_matrix
        scaled = 2 * points / self.image_size - 1
        angles = scaled @ matrix
        kind = labels.unsqueeze(-1)
        embedded: Tensor = torch.cat([angles.sin(), angles.cos()], dim=-1) * (kind >= 0)
        embedded = embedded + self.prompts.not_a_point_embed.weight * (kind == -1)
        for index, weights in enumerate(self.prompts.point_embeddings):
            embedded = embedded + weights.weight * (kind == index)
        return embedded

    def dense(self, hint: Tensor, has_hint: Tensor) -> Tensor:
        """(b, 1, side, side) logits and (b,) whether they count -> (b, positions, channels)."""
        given = has_hint.reshape(-1, 1, 1)
        nothing: Tensor = self.prompts.no_mask_embed.weight
        return given * flat(self.prompts.mask_downscaling(hint)) + (1 - given) * nothing

    def _own(self, count: int) -> Tensor:
        masks = self.masks
        own = [masks.iou_token.weight, masks.mask_tokens.weight]
        if getattr(masks, "pred_obj_scores", False):
            own.insert(0, masks.obj_score_token.weight)
        return torch.cat(own).unsqueeze(0).expand(count, -1, -1)

    def _transform(self, start: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        transformer = self.masks.transformer
        position = self.position.to(image.dtype)
        tokens = start
        for layer in transformer.layers:
            if layer.skip_first_layer_pe:
                tokens = layer.self_attn(q=tokens, k=tokens, v=tokens)
            else:
                query = tokens + start
                tokens = tokens + layer.self_attn(q=query, k=query, v=tokens)
            tokens = layer.norm1(tokens)
            placed = image + position
            attention = layer.cross_attn_token_to_image
            tokens = layer.norm2(tokens + _tokens_see(attention, tokens + start, placed, image))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            attention = layer.cross_attn_image_to_token
            image = layer.norm4(image + _image_sees(attention, placed, tokens + start, tokens))
        final = transformer.final_attn_token_to_image
        seen = _tokens_see(final, tokens + start, image + position, image)
        final_tokens: Tensor = transformer.norm_final_attn(tokens + seen)
        return final_tokens, image

    def _logits(self, image: Tensor, tokens: Tensor, fine: list[Tensor]) -> Tensor:
        first, norm, act, second, last_act = self.masks.output_upscaling
        up = _upscale(first, image.unsqueeze(2))  # (b, positions, 4, channels)
        up = up + fine[1] if fine else up
        up = nn.functional.layer_norm(up, up.shape[-1:], norm.weight, norm.bias, norm.eps)
        up = _upscale(second, act(up))  # (b, positions, 16, channels)
        up = last_act(up + fine[0] if fine else up)
        heads = self.masks.output_hypernetworks_mlps
        weights = torch.stack([head(tokens[:, i]) for i, head in enumerate(heads)], dim=1)
        logits = weights @ up.flatten(1, 2).transpose(1, 2)  # (b, masks, positions * 16)
        grid = self.grid
        logits = logits.reshape(len(tokens), -1, grid, grid, 2, 2, 2, 2)
        ordered: Tensor = logits.permute(0, 1, 2, 4, 6, 3, 5, 7)
        return ordered.reshape(*logits.shape[:2], 4 * grid, 4 * grid)


def flat(feature_map: Tensor) -> Tensor:
    """(b, channels, height, width) -> (b, height * width, channels)."""
    return feature_map.flatten(2).transpose(1, 2)


def blocks(feature_map: Tensor, grid: int) -> Tensor:
    """(b, channels, 2**k * grid, 2**k * grid) -> (b, grid * grid, 4**k, channels).

    The 4**k pixels of a block are in the order in which `k` doublings make them.
    """
    # int(): a tracer hands out sizes as tensors.
    times = (int(feature_map.shape[-1]) // int(grid)).bit_length() - 1
    count, channels = feature_map.shape[:2]
    side = (grid, *(2,) * times)
    # Axes: image, channel, row's grid place and its `times` halvings, column's likewise.
    split = feature_map.reshape(count, channels, *side, *side)
    pairs = [axis for level in range(times) for axis in (3 + level, 4 + times + level)]
    ordered = split.permute(0, 2, 3 + times, *pairs, 1)
    return ordered.reshape(count, grid * grid, 4**times, channels)


def _upscale(convolution: Any, pixels: Tensor) -> Tensor:
    """A stride-2 transposed convolution with a 2x2 kernel: (b, p, k, in) -> (b, p, 4 k, out)."""
    weights = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (4 * out, in)
    up = nn.functional.linear(pixels, weights, convolution.bias.repeat(4))
    return up.reshape(*pixels.shape[:2], 4 * pixels.shape[2], -1)


def _split(weights: Tensor, heads: int) -> Tensor:
    """(heads * c, channels) -> (heads, c, channels)."""
    return weights.reshape(heads, -1, weights.shape[1])


def _by_head(projected: Tensor, heads: int) -> Tensor:
    """(b, n, heads * c) -> (b, heads, n, c)."""
    count, tokens, channels = projected.shape
    return projected.reshape(count, tokens, heads, channels // heads).transpose(1, 2)


def _tokens_see(attention: Any, query: Tensor, placed: Tensor, image: Tensor) -> Tensor:
    """Attention of (b, n, c) tokens to (b, positions, c) image features; (b, n, c)."""
    heads = attention.num_heads
    count, tokens, channels = query.shape
    q = _by_head(attention.q_proj(query), heads)
    q = q @ _split(attention.k_proj.weight, heads) / math.sqrt(q.shape[-1])
    # The keys' bias shifts all scores of a token alike: softmax does not see it.
    weights = (q.flatten(1, 2) @ placed.transpose(1, 2)).softmax(dim=-1)
    seen = (weights @ image).reshape(count, heads, tokens, channels)
    values = seen @ _split(attention.v_proj.weight, heads).transpose(1, 2)
    joined = values.transpose(1, 2).flatten(2) + attention.v_proj.bias
    answer: Tensor = attention.out_proj(joined)
    return answer


def _image_sees(attention: Any, placed: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of (b, positions, c) image features to (b, n, c) tokens; (b, positions, c)."""
    heads = attention.num_heads
    count, tokens, channels = key.shape
    k = _by_head(attention.k_proj(key), heads)
    k = k / math.sqrt(k.shape[-1])
    bias = k @ attention.q_proj.bias.reshape(heads, -1, 1)  # (b, heads, n, 1)
    k = k @ _split(attention.q_proj.weight, heads)  # (b, heads, n, c)
    scores = (k.flatten(1, 2) @ placed.transpose(1, 2)).reshape(count, heads, tokens, -1) + bias
    weights = scores.softmax(dim=2).flatten(1, 2)  # (b, heads * n, positions)
    v = _by_head(attention.v_proj(value), heads)
    v = v @ attention.out_proj.weight.reshape(channels, heads, -1).permute(1, 2, 0)
    answer: Tensor = weights.transpose(1, 2) @ v.flatten(1, 2) + attention.out_proj.bias
    return answer
