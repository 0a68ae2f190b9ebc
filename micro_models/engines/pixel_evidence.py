"""What speaks for object or background at a pixel, and the cut that weighs it.

Pure functions on small arrays; everything is deterministic and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
FAR = np.float32(1e6)


def lab(rgb: NDArray[np.uint8]) -> Floats:
    """(h, w, 3) RGB uint8 -> CIE Lab float32, L 0..100: equal distances look equally different."""
    return np.asarray(cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def smoothed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same image without texture, its edges kept (Gastal and Oliveira 2011)."""
    filtered = cv2.edgePreservingFilter(
        np.ascontiguousarray(rgb), flags=cv2.RECURS_FILTER, sigma_s=15, sigma_r=0.25
    )
    return np.asarray(filtered, np.uint8)


@dataclass(frozen=True, eq=False)
class Palette:
    """A grid of bins over the colours of one view and, with `cells` > 1, over its places too.

    Colour models are smoothed histograms over these bins: they take soft weights, need no
    starting point and no random numbers, and cost a millisecond.
    """

    low: Floats
    step: Floats
    bins: tuple[int, int, int]
    cells: int = 1

    @classmethod
    def of(cls, colours: Floats, *, bins: tuple[int, int, int], cells: int = 1) -> Palette:
        """Bins that span the colours (h, w, 3) that occur, none narrower than 1.5 Lab units."""
        flat = colours.reshape(-1, 3)
        low, high = flat.min(axis=0), flat.max(axis=0)
        step = np.maximum((high - low + 1e-3) / (np.array(bins) - 1e-3), 1.5)
        return cls(low.astype(np.float32), step.astype(np.float32), bins, cells)

    def index(
        self, colours: Floats, part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    ) -> Ints:
        """(h, w, 3) -> (h, w): the bin of each pixel.

        `part` is the part of the palette's view that the colours cover: x0, y0, x1, y1, 0..1.
        """
        height, width = colours.shape[:2]
        bins = ((colours - self.low) / self.step).astype(np.int64)
        np.clip(bins, 0, np.array(self.bins) - 1, out=bins)
        x0, y0, x1, y1 = part
        row = (y0 + (np.arange(height) + 0.5) / height * (y1 - y0)) * self.cells
        column = (x0 + (np.arange(width) + 0.5) / width * (x1 - x0)) * self.cells
        last = self.cells - 1
        rows = np.clip(row.astype(np.int64), 0, last)[:, None]
        places = rows * self.cells + np.clip(column.astype(np.int64), 0, last)[None, :]
        for channel in range(3):
            places = places * self.bins[channel] + bins[..., channel]
        return np.asarray(places, np.int64)

    def density(self, index: Ints, weight: Floats, *, sigma: float) -> Floats:
        """Weights (h, w) summed per bin, then blurred by `sigma` bins; (bins,)."""
        shape = (self.cells, self.cells, *self.bins)
        counts = np.bincount(index.ravel(), weight.ravel(), minlength=int(np.prod(shape)))
        grid: Floats = counts.astype(np.float32).reshape(shape)
        for axis in range(0 if self.cells > 1 else 2, 5):
            spread = 1.0 if axis < 2 else sigma
            grid = _blurred(grid, axis, spread)
        return grid.ravel()


def _blurred(grid: Floats, axis: int, sigma: float) -> Floats:
    kernel = cv2.getGaussianKernel(5 if sigma <= 1 else 7, sigma, cv2.CV_32F)
    moved = np.moveaxis(grid, axis, 0)
    flat = np.ascontiguousarray(moved).reshape(moved.shape[0], -1)
    done = cv2.filter2D(flat, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.moveaxis(np.asarray(done, np.float32).reshape(moved.shape), 0, axis)


def log_odds(objects: Floats, rest: Floats, *, floor: float) -> Floats:
    """Two densities (bins,) -> log of their ratio; > 0 where the object is more likely.

    `floor` is the mass that every bin has to begin with: colours hardly seen say nothing.
    """
    return np.asarray(np.log((objects + floor) / (rest + floor)), np.float32)


def normalized(density: Floats) -> Floats:
    """The density with sum 1; zeros stay zeros."""
    return density / max(float(density.sum()), 1e-6)


def differences(colours: Floats) -> tuple[Floats, Floats]:
    """(h, w, 3) -> distances of right neighbours (h, w - 1) and lower ones (h - 1, w)."""
    right = colours[:, 1:] - colours[:, :-1]
    down = colours[1:] - colours[:-1]
    return np.sqrt(np.einsum("hwc,hwc->hw", right, right)), np.sqrt(
        np.einsum("hwc,hwc->hw", down, down)
    )


def geodesic(seeds: NDArray[np.bool_], costs: tuple[Floats, Floats], *, rounds: int = 5) -> Floats:
    """(h, w) distance to the nearest seed along the cheapest 4-connected path; FAR without seeds.

    A row is relaxed at once: with C the running cost, d[x] = min over x' of d[x'] + |C[x] - C[x']|.
    Few rounds suffice because paths around many corners are rare; more only lower the distance.
    """
    along_x = np.zeros(seeds.shape, np.float32)
    np.cumsum(costs[0], axis=1, out=along_x[:, 1:])
    along_y = np.zeros(seeds.shape, np.float32)
    np.cumsum(costs[1], axis=0, out=along_y[1:])
    distance = np.where(seeds, np.float32(0), FAR)
    for _ in range(rounds):
        for axis, run in ((1, along_x), (0, along_y)):
            distance = np.minimum.accumulate(distance - run, axis=axis) + run
            back = np.flip(distance + run, axis=axis)
            distance = np.flip(np.minimum.accumulate(back, axis=axis), axis=axis) - run
    return np.asarray(np.maximum(distance, 0), np.float32)


def affinities(costs: tuple[Floats, Floats], *, strength: float) -> tuple[Floats, Floats]:
    """How much it costs to part two neighbours: `strength` where alike, little across an edge.

    The contrast term of GrabCut (Rother et al. 2004), with a small floor that keeps edges short.
    """
    squares = [cost * cost for cost in costs]
    count = sum(square.size for square in squares)
    mean = sum(float(square.sum()) for square in squares) / max(count, 1) + 1e-3
    right, down = (strength * (np.exp(square / (-2 * mean)) + 0.05) for square in squares)
    return right.astype(np.float32), down.astype(np.float32)


def cut(
    evidence: Floats,
    ties: tuple[Floats, Floats],
    start: Floats,
    *,
    low: Floats,
    high: Floats,
    steps: int,
) -> Floats:
    """The smooth labelling u (h, w) in low..high that follows `evidence` (> 0: object).

    Minimizes sum ties * |du| - evidence * u: the graph cut's convex form (Chan et al. 2006),
    solved by Chambolle and Pock's primal-dual steps (2011) from `start`.
    """
    step = np.float32(0.35)
    pull = step * evidence
    right, down = ties
    flow_x, flow_y = np.zeros_like(right), np.zeros_like(down)
    less_right, less_down = -right, -down
    u, ahead, new = start.copy(), start.copy(), np.empty_like(start)
    for _ in range(steps):
        flow_x += step * (ahead[:, 1:] - ahead[:, :-1])
        np.minimum(np.maximum(flow_x, less_right, out=flow_x), right, out=flow_x)
        flow_y += step * (ahead[1:] - ahead[:-1])
        np.minimum(np.maximum(flow_y, less_down, out=flow_y), down, out=flow_y)
        new[:, :-1] = flow_x
        new[:, -1] = 0
        new[:, 1:] -= flow_x
        new[:-1] += flow_y
        new[1:] -= flow_y
        new *= step
        new += pull
        new += u
        np.minimum(np.maximum(new, low, out=new), high, out=new)
        np.multiply(new, 2, out=ahead)
        ahead -= u
        u, new = new, u
    return u


def sigmoid(logit: Floats) -> Floats:
    """Log odds -> probability."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -20, 20))), np.float32)


def disc_mask(shape: Sequence[int], x: float, y: float, *, radius: int) -> NDArray[np.bool_]:
    """(h, w) True in a disc about the pixel that holds (x, y)."""
    canvas: Any = np.zeros((shape[0], shape[1]), np.uint8)
    cv2.circle(canvas, (int(x), int(y)), radius, (1,), -1)
    return np.asarray(canvas, np.bool_)
