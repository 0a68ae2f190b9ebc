"""Clicks and boxes to masks without any weights, in the spirit of GrabCut (Rother et al. 2004).

Instead of OpenCV's Gaussian mixtures, which start from "everything in the box is object" and
often stay there, a pixel's prior comes from three cues that need no start: how much rarer its
colour is around the prompt's frame than inside (positive-unlabelled odds), its geodesic distance
to that frame and to the clicks (Bai and Sapiro 2007), and its place. Colour models, one for the
whole view and one per place, are then refitted between cuts as in GrabCut. All of it is
deterministic and works on a view of fixed size, so time hardly depends on the photo's.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from micro_models.engines import photo_pyramid
from micro_models.engines.photo_pyramid import View, Window
from micro_models.engines.pixel_evidence import (
    Floats,
    Ints,
    Palette,
    affinities,
    cut,
    differences,
    disc_mask,
    lab,
    log_odds,
    normalized,
    sigmoid,
)
from micro_models.engines.prompt_cues import (
    Aim,
    Bools,
    Scene,
    aim_of,
    frame,
    limits,
    pin,
    prior_of,
    scene_of,
    spot,
    unreached,
    windows_of,
)
from micro_models.regions import Click, Embedding, Image, Mask, Prompt, Segmentation

# Part of `version`: raise it when a change to the code may change an answer.
REVISION = 1


@dataclass(frozen=True)
class GrabCutSettings:
    """Sizes of the views in pixels, and how hard and how often to cut.

    `whole_bonus` is how much better, in estimated IoU, an object within a part of the photo must
    look than one as large as the photo before a single click is taken to mean the part. Raises
    ValueError for fewer than one refit.
    """

    sketch_px: int = 8_000
    view_px: int = 30_000
    edge_px: int = 120_000
    refits: int = 5
    sketch_refits: int = 2
    whole_bonus: float = 0.16
    local_refits: int = 2
    steps: int = 50
    edge_steps: int = 40
    ties: float = 14.0
    edge_ties: float = 6.0

    def __post_init__(self) -> None:
        if min(self.refits, self.sketch_refits) < 1:
            raise ValueError("refits and sketch_refits must be at least 1")


@dataclass(frozen=True, eq=False)
class _Models:
    """Colour models of object against background: tables of log odds per bin."""

    palette: Palette
    odds: Floats
    local_palette: Palette
    local_odds: Floats

    def evidence(self, index: Ints, local_index: Ints | None) -> Floats:
        """Log odds of each pixel from its bins."""
        overall = np.clip(self.odds[index], -3, 3)
        return overall if local_index is None else overall + self.local_odds[local_index]


@dataclass(frozen=True, eq=False)
class _Solution:
    """A labelling of a scene: u 0..1 up to `high`, the colour models it follows, its score."""

    scene: Scene
    u: Floats
    models: _Models
    high: Floats
    score: float


class GrabCut:
    """Segments from clicks, a box or both; needs no weights. Satisfies `Segmenter`."""

    name = "grabcut"
    device = "cpu"

    def __init__(self, settings: GrabCutSettings | None = None) -> None:
        self.settings = settings or GrabCutSettings()
        words = f"grabcut {REVISION} {sorted(asdict(self.settings).items())}"
        self.version = "grabcut-" + hashlib.sha256(words.encode()).hexdigest()[:12]

    def embed(self, image: Image) -> Embedding:
        """Keep the image as `photo_pyramid.store` does; about 0.2 s for 12 megapixels."""
        return Embedding(photo_pyramid.store(image.pixels), image.width_px, image.height_px)

    def segment(self, embedding: Embedding, prompt: Prompt) -> Segmentation:
        """The object's mask; empty with score 0 if nothing positive points into the image.

        The hint holds the window that was chosen, (1, 4) x0, y0, x1, y1, so that further clicks
        refine the same object at the same scale.
        """
        size = (embedding.width_px, embedding.height_px)
        aim = aim_of(prompt, size)
        if aim.box is None and not aim.positive:
            return Segmentation(Mask(np.zeros((size[1], size[0]), np.bool_)), 0.0)
        windows = windows_of(aim, size, prompt.hint)
        if len(windows) > 1:
            sketches = [self._solve(embedding, w, aim, sketch=True) for w in windows]
            scores = [sketch.score for sketch in sketches]
            scores[0] += self.settings.whole_bonus
            chosen = windows[int(np.argmax(scores))]
        else:
            chosen = windows[0]
        solution = self._solve(embedding, chosen, aim)
        fine_view, u = self._sharpened(embedding, solution, aim)
        mask = _pasted(fine_view, u, size)
        if not mask.any():
            mask = _pasted(solution.scene.view, solution.u, size)
        _obey(mask, aim.clicks, radius=min(int(fine_view.step_x), 3))
        hint = np.array([[chosen.x0, chosen.y0, chosen.x1, chosen.y1]], np.float32)
        score = solution.score if mask.any() else 0.0
        return Segmentation(Mask(mask), score, hint)

    def _solve(
        self, embedding: Embedding, window: Window, aim: Aim, *, sketch: bool = False
    ) -> _Solution:
        """Cut, refit the colour models, cut again; a sketch is small and only good for a score."""
        budget_px = self.settings.sketch_px if sketch else self.settings.view_px
        refits = self.settings.sketch_refits if sketch else self.settings.refits
        size = (embedding.width_px, embedding.height_px)
        scene = scene_of(photo_pyramid.read(embedding.arrays, size, window, budget_px=budget_px))
        palette = Palette.of(scene.flat, bins=(20, 24, 24))
        flat_index = palette.index(scene.flat)
        prior, allowed, near = prior_of(scene, aim, palette, flat_index)
        low, high = limits(scene, aim, allowed)
        # Edges grow with the side of a view and evidence with its area.
        strength = self.settings.ties * math.sqrt(scene.x.size / self.settings.view_px)
        ties = affinities(differences(scene.lab), strength=strength)
        palettes = (
            Palette.of(scene.lab, bins=(20, 24, 24)),
            Palette.of(scene.lab, bins=(8, 10, 10), cells=10),
        )
        indices = (palettes[0].index(scene.lab), palettes[1].index(scene.lab))
        pins = tuple(spot(scene, clicks) for clicks in (aim.positive, aim.negative))
        evidence = prior
        u = np.clip(sigmoid(prior), low, high)
        u = cut(prior, ties, u, low=low, high=high, steps=self.settings.steps)
        if not (u > 0.5).any():
            u = np.clip(_likeliest(prior, high), low, high)
        for turn in range(refits):
            models = _fitted(u, near, pins, palettes, indices)
            local = turn >= refits - self.settings.local_refits
            evidence = prior + models.evidence(indices[0], indices[1] if local else None)
            if aim.box is not None:
                evidence = evidence + unreached(scene, aim.box, u > 0.5)
            u = cut(evidence, ties, u, low=low, high=high, steps=self.settings.steps)
            if not (u > 0.5).any():
                u = np.clip(_likeliest(evidence, high), low, high)
        low, high = _tidied(scene, aim, u, low, high)
        u = np.clip(u, low, high)
        score = _score(scene, aim, u > 0.5, evidence, ties)
        return _Solution(scene, u, models, high, score)

    def _sharpened(
        self, embedding: Embedding, solution: _Solution, aim: Aim
    ) -> tuple[View, Floats]:
        """The object's surroundings at more pixels, cut again in a band about its edge."""
        u, (rows, columns) = solution.u, solution.scene.shape
        mask = (u > 0.5).astype(np.uint8)
        near = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        far = cv2.erode(mask, np.ones((5, 5), np.uint8))
        left, top, width, height = cv2.boundingRect(near)
        if not width:
            return solution.scene.view, u
        window = _part(solution.scene.view, left, top, left + width, top + height)
        size = (embedding.width_px, embedding.height_px)
        view = photo_pyramid.read(embedding.arrays, size, window, budget_px=self.settings.edge_px)
        if (
            view.step_x * view.step_y
            > 0.7 * solution.scene.view.step_x * solution.scene.view.step_y
        ):
            return solution.scene.view, u

        def larger(values: NDArray[Any]) -> Floats:
            part = values[top : top + height, left : left + width].astype(np.float32)
            grown = cv2.resize(part, view.pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            return np.asarray(grown, np.float32)

        colours, models = lab(view.pixels), solution.models
        part = (left / columns, top / rows, (left + width) / columns, (top + height) / rows)
        evidence = models.evidence(
            models.palette.index(colours), models.local_palette.index(colours, part)
        )
        low = (larger(far) > 0.99).astype(np.float32)
        high = np.minimum(larger(solution.high), (larger(near) > 0.01).astype(np.float32))
        pin(view, aim.clicks, low, high)
        high = np.maximum(low, high)
        ties = affinities(differences(colours), strength=self.settings.edge_ties)
        start = np.clip(larger(u), low, high)
        steps = self.settings.edge_steps
        return view, cut(evidence, ties, start, low=low, high=high, steps=steps)


def _part(view: View, x0: int, y0: int, x1: int, y1: int) -> Window:
    """View pixels [y0:y1, x0:x1] as a window of the image."""
    left, top = view.window.x0, view.window.y0
    return Window(
        left + x0 * view.step_x,
        top + y0 * view.step_y,
        left + x1 * view.step_x,
        top + y1 * view.step_y,
    )


def _likeliest(evidence: Floats, high: Floats) -> Floats:
    """1 at the better third of the pixels that may be object: what to start from again."""
    bar = np.quantile(evidence[high > 0], 0.65) if (high > 0).any() else 0.0
    return ((evidence >= bar) & (high > 0)).astype(np.float32)


def _fitted(
    u: Floats,
    near: Floats,
    pins: tuple[Floats, ...],
    palettes: tuple[Palette, Palette],
    indices: tuple[Ints, Ints],
) -> _Models:
    """Colour models of the labelling u; pixels at clicks (`pins`) count more."""
    palette, local = palettes
    objects = u + 20 * pins[0] * (u > 0.5)
    rest = (1 - u) * near + 20 * pins[1] * (u < 0.5)
    odds = log_odds(
        normalized(palette.density(indices[0], objects.astype(np.float32), sigma=1.0)),
        normalized(palette.density(indices[0], rest.astype(np.float32), sigma=1.0)),
        floor=2e-5,
    )
    local_odds = log_odds(
        local.density(indices[1], u, sigma=0.7),
        local.density(indices[1], 1 - u, sigma=0.7),
        floor=0.3,
    )
    return _Models(palette, odds, local, local_odds)


def _tidied(scene: Scene, aim: Aim, u: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Limits that drop stray parts and close pinholes: an object is one piece, or a few."""
    low, high = low.copy(), high.copy()
    mask = (u > 0.5).astype(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    kept = _kept_parts(scene, aim, np.asarray(parts, np.int64), stats[:, cv2.CC_STAT_AREA])
    stray = (mask > 0) & ~np.isin(parts, sorted(kept))
    high[stray] = 0
    low[stray] = 0
    mask[stray] = 0
    _, holes, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < 0.02 * mask.sum()
    small[0] = False
    for x, y in map(scene.at, aim.negative):
        small[holes[int(y), int(x)]] = False
    closed = small[holes] & (high > 0) & ~stray
    low[closed] = 1
    return low, high


def _kept_parts(scene: Scene, aim: Aim, parts: Ints, areas: NDArray[Any]) -> set[int]:
    """The numbers of the parts that make the object; `areas[n]` is that of part n, 0 the rest."""
    clicked = {int(parts[int(y), int(x)]) for x, y in map(scene.at, aim.positive)} - {0}
    if aim.box is None and clicked:
        return clicked
    left = areas.copy()
    left[0] = 0
    for x, y in map(scene.at, aim.negative):
        around = parts[max(int(y) - 2, 0) : int(y) + 3, max(int(x) - 2, 0) : int(x) + 3]
        left[[n for n in np.unique(around) if n not in clicked]] = 0
    if left.max() < 0.25 * areas[1:].max(initial=0):
        # The click trims the object itself: nothing else is large enough to be it.
        left = areas.copy()
        left[0] = 0
    return clicked | {int(n) for n in np.flatnonzero(left >= max(0.1 * left.max(), 1))}


def _features(
    scene: Scene, mask: Bools, evidence: Floats, ties: tuple[Floats, Floats]
) -> list[float]:
    """What tells a good mask from a bad one without the truth; each about 0..1."""
    right, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    strength = max(float(ties[0].max(initial=0)), float(ties[1].max(initial=0)), 1e-6)
    edge_length = int(right.sum() + down.sum())
    held = float(ties[0][right].sum() + ties[1][down].sum()) / max(edge_length, 1) / strength
    usual = (float(ties[0].mean()) + float(ties[1].mean())) / 2 / strength
    likely = sigmoid(evidence)
    agreed = float(likely[mask].sum()) / (int(mask.sum()) + float(likely[~mask].sum()) + 1e-6)
    area = float(mask.mean())
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    extent = 0.0
    if rows.size and columns.size:
        extent = float((np.ptp(rows) + 1) * (np.ptp(columns) + 1)) / mask.size
    rim = float(mask[frame(scene.shape)].mean())
    compact = 4 * math.pi * float(mask.sum()) / max(edge_length, 1) ** 2
    return [1.0, agreed, usual - held, area, area * area, extent, rim, compact]


# Ridge regression of the true IoU on `_features`, on photos and microscopy.
SCORE_CLICK = (-0.10, 0.22, 0.83, -0.32, 0.26, 0.0, -1.7, 0.32)
SCORE_BOX = (0.275, 0.70, 0.11, 0.0, 0.0, -0.17, 0.0, 0.0)


def _score(
    scene: Scene, aim: Aim, mask: Bools, evidence: Floats, ties: tuple[Floats, Floats]
) -> float:
    """Estimated IoU 0..1: a linear fit over `_features`."""
    factors = SCORE_CLICK if aim.box is None else SCORE_BOX
    return float(np.clip(np.dot(factors, _features(scene, mask, evidence, ties)), 0.01, 0.99))


def _pasted(view: View, u: Floats, size: tuple[int, int]) -> Bools:
    """The view's labelling, enlarged and put in its place: (height, width) bool."""
    full = np.zeros((size[1], size[0]), np.bool_)
    window = view.window
    x0, y0 = math.floor(window.x0), math.floor(window.y0)
    x1, y1 = min(math.ceil(window.x1), size[0]), min(math.ceil(window.y1), size[1])
    # Where each image pixel's centre lies in the view, in pixel centres.
    forth = np.array(
        [
            [1 / view.step_x, 0, (x0 + 0.5 - window.x0) / view.step_x - 0.5],
            [0, 1 / view.step_y, (y0 + 0.5 - window.y0) / view.step_y - 0.5],
        ]
    )
    grown = cv2.warpAffine(
        np.round(u * 255).astype(np.uint8),
        forth,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    full[y0:y1, x0:x1] = np.asarray(grown) > 127
    return full


def _obey(mask: Bools, clicks: tuple[Click, ...], *, radius: int) -> None:
    """Make the mask agree with each click about it; at one and the same pixel the newest wins."""
    height, width = mask.shape
    for click in clicks:
        x, y = int(click.x), int(click.y)
        x0, y0 = max(x - radius, 0), max(y - radius, 0)
        disc = disc_mask(
            (min(y + radius + 1, height) - y0, min(x + radius + 1, width) - x0),
            x - x0,
            y - y0,
            radius=radius,
        )
        mask[y0 : y0 + disc.shape[0], x0 : x0 + disc.shape[1]][disc] = click.positive
    for click in clicks:
        mask[int(click.y), int(click.x)] = click.positive
