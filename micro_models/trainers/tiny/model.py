"""A trained tiny network as a detector of whatever it was taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.interface import ModelFileError, State
from micro_models.regions import Image, Region
from micro_models.trainers.tiny.decode import decode
from micro_models.trainers.tiny.inference import Inference
from micro_models.trainers.tiny.layout import MULTIPLE, POOLED, STRIDE, shapes
from micro_models.trainers.tiny.scale import fitted, spans, view
from micro_models.trainers.tiny.spec import Spec

Arrays = Mapping[str, NDArray[np.float32]]
_FORMAT = 1
# Up to so many pixels, at the working scale, are computed at once.
_AT_ONCE_PX = 1_500_000
_TILE_PX, _OVERLAP_PX = 1024, 192
# Images beyond it are looked at smaller than they should be, or the maps would fill the memory.
_MOST_PX = 100_000_000


class TinyModel:
    """Answers of one trained network; never changes, safe to call from many threads.

    `scale`: pixels that the network sees for one of the image's. `arrays` as `layout.shapes` tells.
    """

    def __init__(self, spec: Spec, arrays: Arrays, *, scale: float) -> None:
        self._spec, self._arrays, self._scale = spec, _copied(arrays), scale
        self._run = Inference(spec.heads, self._arrays, exclusive=spec.exclusive)

    @property
    def labels(self) -> Sequence[str]:
        """What it can find, sorted."""
        return self._spec.labels

    def detect(self, images: Sequence[Image], *, min_score: float = 0.0) -> list[list[Region]]:
        """Per image its regions, best first. Scores rank; nothing has calibrated them."""
        return [self._detect(image, max(min_score, 0.01)) for image in images]

    def state(self) -> State:
        """All of it, for `restored`."""
        settings = {"format": _FORMAT, "spec": self._spec.to_json(), "scale": self._scale}
        return State(settings, _copied(self._arrays))

    def _detect(self, image: Image, min_score: float) -> list[Region]:
        outputs: dict[str, NDArray[np.float32]] = {}
        width_px, height_px = image.width_px, image.height_px
        scale = min(self._scale, (_MOST_PX / (width_px * height_px)) ** 0.5)
        seen, exact = fitted(image.pixels, scale=scale, multiple=MULTIPLE)
        if self._spec.located:
            outputs = self._dense(seen)
        if self._spec.classes:
            outputs["classes"] = self._run(view(image.pixels)[None])["classes"][0]
        return decode(
            outputs,
            self._spec,
            width_px=width_px,
            height_px=height_px,
            scale=exact,
            stride=STRIDE,
            min_score=min_score,
        )

    def _dense(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """By dense head (channels, h / 4, w / 4); large images in tiles that are put together."""
        height, width = pixels.shape[:2]
        if height * width <= _AT_ONCE_PX:
            found = self._run(pixels[None])
            return {name: of[0] for name, of in found.items() if name not in POOLED}
        whole: dict[str, NDArray[np.float32]] = {
            name: np.empty((channels, height // STRIDE, width // STRIDE), np.float32)
            for name, channels in self._spec.heads.items()
            if name not in POOLED
        }
        for rows in spans(height, tile=_TILE_PX, overlap=_OVERLAP_PX):
            for columns in spans(width, tile=_TILE_PX, overlap=_OVERLAP_PX):
                found = self._run(pixels[None, slice(*rows), slice(*columns)])
                for name, map_ in whole.items():
                    _put(map_, found[name][0], rows[0] // STRIDE, columns[0] // STRIDE)
        return whole


def _copied(arrays: Arrays) -> dict[str, NDArray[np.float32]]:
    """What others hold may be written to; a model never changes."""
    return {name: array.copy() for name, array in arrays.items()}


def _put(whole: NDArray[np.float32], tile: NDArray[np.float32], row: int, column: int) -> None:
    """The tile but the half of its overlap that the tile before knows better."""
    half = _OVERLAP_PX // 2 // STRIDE
    top, left = half if row else 0, half if column else 0
    rows, columns = tile.shape[1:]
    whole[:, row + top : row + rows, column + left : column + columns] = tile[:, top:, left:]


def restored(state: State) -> TinyModel:
    """The model whose state it is.

    Errors: `ModelFileError` for a state that does not fit together.
    """
    settings = dict(state.settings)
    if settings.get("format") != _FORMAT:
        raise _broken(f"its format is {settings.get('format')!r}, this version reads {_FORMAT}")
    spec = Spec.from_json(settings.get("spec"))
    scale = settings.get("scale")
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not 0 < scale <= 16:
        raise _broken(f"a scale is within 0..16, not {scale!r}")
    wanted = shapes(spec.heads)
    if set(state.arrays) != set(wanted):
        raise _broken(f"it has other arrays: {sorted(set(state.arrays) ^ set(wanted))[:5]}")
    for name, shape in wanted.items():
        _check(name, state.arrays[name], shape)
    return TinyModel(spec, state.arrays, scale=float(scale))


def _check(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        raise _broken(f"{name} is {array.shape} {array.dtype}, not {shape} float32")
    if not np.isfinite(array).all():
        raise _broken(f"{name} has numbers that are not finite")
    if name == "std" and not (array > 0).all():
        raise _broken("std has numbers that are not above 0")


def _broken(why: str) -> ModelFileError:
    return ModelFileError(f"this tiny model is damaged, train it again: {why}")
