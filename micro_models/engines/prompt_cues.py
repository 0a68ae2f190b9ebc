"""What a prompt says about the pixels of a view, before anything is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.engines.photo_pyramid import View, Window
from micro_models.engines.pixel_evidence import (
    FAR,
    Floats,
    Ints,
    Palette,
    differences,
    disc_mask,
    geodesic,
    lab,
    log_odds,
    normalized,
    smoothed,
)
from micro_models.regions import Box, Click, Prompt, RotatedBox

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Aim:
    """A prompt within the image: clicks oldest first; the box as centre, half sides, angle."""

    clicks: tuple[Click, ...]
    box: RotatedBox | None

    @property
    def positive(self) -> tuple[Click, ...]:
        """Those that belong to the object."""
        return tuple(click for click in self.clicks if click.positive)

    @property
    def negative(self) -> tuple[Click, ...]:
        """Those that do not."""
        return tuple(click for click in self.clicks if not click.positive)


@dataclass(frozen=True, eq=False)
class Scene:
    """One view, measured: everything below that does not depend on the prompt."""

    view: View
    lab: Floats
    flat: Floats
    costs: tuple[Floats, Floats]
    x: Floats
    y: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the view."""
        return self.lab.shape[0], self.lab.shape[1]

    def at(self, click: Click) -> tuple[float, float]:
        """A click's place in view pixels, within the view."""
        window, (height, width) = self.view.window, self.shape
        x = (click.x - window.x0) / self.view.step_x
        y = (click.y - window.y0) / self.view.step_y
        return min(max(x, 0.0), width - 1e-3), min(max(y, 0.0), height - 1e-3)

    def in_box(self, box: RotatedBox) -> tuple[Floats, Floats]:
        """Each pixel's place in the box's own coordinates, -1..1 within it."""
        window = self.view.window
        return _in_box(
            box, window.x0 + self.x * self.view.step_x, window.y0 + self.y * self.view.step_y
        )


def aim_of(prompt: Prompt, size: tuple[int, int]) -> Aim:
    """The prompt clipped to the image; a box without area becomes a click at its centre."""
    width, height = size
    clicks = tuple(
        Click(min(max(c.x, 0.0), width - 1e-3), min(max(c.y, 0.0), height - 1e-3), c.positive)
        for c in prompt.clicks
    )
    box = prompt.box
    if box is None:
        return Aim(clicks, None)
    if isinstance(box, Box):
        left, right = max(box.x0, 0.0), min(box.x1, float(width))
        top, bottom = max(box.y0, 0.0), min(box.y1, float(height))
        if left > right or top > bottom:
            return Aim(clicks, None)
        box = RotatedBox((left + right) / 2, (top + bottom) / 2, right - left, bottom - top, 0.0)
    if box.width_px >= 1 and box.height_px >= 1:
        corners = box.corners()
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        outside = x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height
        return Aim(clicks, None if outside else _widened(box, clicks))
    inside = 0 <= box.center_x <= width and 0 <= box.center_y <= height
    if not inside or any(click.positive for click in clicks):
        return Aim(clicks, None)
    x, y = min(box.center_x, width - 1e-3), min(box.center_y, height - 1e-3)
    return Aim((Click(x, y), *clicks), None)


def _widened(box: RotatedBox, clicks: tuple[Click, ...]) -> RotatedBox:
    """The box, grown about its centre until it holds every positive click."""
    grow_x = grow_y = 1.0
    for click in clicks:
        if click.positive:
            u, v = _in_box(box, np.float32(click.x), np.float32(click.y))
            grow_x, grow_y = max(grow_x, abs(float(u)) * 1.02), max(grow_y, abs(float(v)) * 1.02)
    return RotatedBox(
        box.center_x, box.center_y, box.width_px * grow_x, box.height_px * grow_y, box.angle_deg
    )


def _in_box(box: RotatedBox, x: Any, y: Any) -> tuple[Any, Any]:
    """Image coordinates -> the box's own, -1..1 within it."""
    angle = math.radians(box.angle_deg)
    dx, dy = x - box.center_x, y - box.center_y
    along = dx * math.cos(angle) + dy * math.sin(angle)
    across = dy * math.cos(angle) - dx * math.sin(angle)
    return along / (box.width_px / 2), across / (box.height_px / 2)


def windows_of(aim: Aim, size: tuple[int, int], hint: Floats | None) -> list[Window]:
    """Where to look: about the box, else the hint's window, else squares about the clicks."""
    width, height = size

    def about(x0: float, y0: float, x1: float, y1: float, margin: float) -> Window:
        return Window(
            max(x0 - margin, 0.0),
            max(y0 - margin, 0.0),
            min(x1 + margin, float(width)),
            min(y1 + margin, float(height)),
        )

    if aim.box is not None:
        corners = aim.box.corners()
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return [about(x0, y0, x1, y1, 0.3 * max(x1 - x0, y1 - y0) + 1)]
    xs, ys = [c.x for c in aim.positive], [c.y for c in aim.positive]
    bounds = (min(xs), min(ys), max(xs), max(ys))
    if hint is not None and hint.shape == (1, 4) and np.isfinite(hint).all():
        x0, y0, x1, y1 = (float(value) for value in hint[0])
        margin = 0.15 * max(x1 - x0, y1 - y0)
        inner = about(*bounds, margin)
        window = about(
            min(x0, inner.x0), min(y0, inner.y0), max(x1, inner.x1), max(y1, inner.y1), 0
        )
        if window.x1 - window.x0 >= 1 and window.y1 - window.y0 >= 1:
            return [window]
    windows = [Window(0.0, 0.0, float(width), float(height))]
    side = max(width, height) / 2
    while side >= 24 and len(windows) < 4:
        window = about(*bounds, side / 2)
        if window.area_px < 0.7 * windows[-1].area_px:
            windows.append(window)
        side /= 2
    return windows


def scene_of(view: View) -> Scene:
    """Measure a view."""
    flat = lab(smoothed(view.pixels))
    height, width = flat.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    return Scene(view, lab(view.pixels), flat, differences(flat), x, y)


def _distance2(scene: Scene, clicks: tuple[Click, ...]) -> Floats:
    """Squared distance to the nearest click in parts of the view's mean side; FAR without any."""
    nearest = np.full(scene.shape, FAR, np.float32)
    for click in clicks:
        x, y = scene.at(click)
        np.minimum(nearest, (scene.x - x) ** 2 + (scene.y - y) ** 2, out=nearest)
    return np.asarray(nearest / (scene.shape[0] * scene.shape[1]), np.float32)


def spot(scene: Scene, clicks: tuple[Click, ...]) -> Floats:
    """1 at the clicks, falling to 0 within a tenth of the view."""
    spread = np.exp(_distance2(scene, clicks) / (-2 * 0.05**2))
    return np.asarray(spread, np.float32)


def _seeds(scene: Scene, clicks: tuple[Click, ...]) -> Bools:
    seeds = np.zeros(scene.shape, np.bool_)
    for click in clicks:
        seeds |= disc_mask(scene.shape, *scene.at(click), radius=1)
    return seeds


def frame(shape: tuple[int, int]) -> Bools:
    """(h, w) True in the outermost rows and columns."""
    frame = np.ones(shape, np.bool_)
    frame[1:-1, 1:-1] = False
    return frame


def prior_of(scene: Scene, aim: Aim, palette: Palette, index: Ints) -> tuple[Floats, Bools, Floats]:
    """Log odds before any cut, where the object may be, and how much each pixel outside counts.

    The cues were chosen by logistic regression that left out one photo at a time, the factors
    then fitted on all 25; how much the prior counts beside the colour models was set by trial.
    """
    if aim.box is None:
        allowed: Bools = np.ones(scene.shape, np.bool_)
        near: Floats = np.ones(scene.shape, np.float32)
        prior = 0.4 * np.clip(_click_prior(scene, aim, palette, index), -6, 6)
    else:
        raw, allowed, near = _box_prior(scene, aim.box, palette, index)
        prior = 0.25 * np.clip(raw, -6, 6)
    if aim.clicks and (aim.negative or aim.box is not None):
        prior = prior + 4 * _nearest_click(scene, aim)
    return prior.astype(np.float32), allowed, near


def unreached(scene: Scene, box: RotatedBox, mask: Bools) -> Floats:
    """1 beyond the mask's end on each side where it stays short of the box's, else 0.

    People draw boxes tight: an object reaches all four sides (Lempitsky et al. 2009).
    """
    beyond = np.zeros(scene.shape, np.float32)
    if not mask.any():
        return beyond
    u, v = scene.in_box(box)
    for side in (u, -u, v, -v):
        end = float(side[mask].max())
        if end < 0.9:
            beyond += side > end - 0.05
    return beyond


def _box_prior(
    scene: Scene, box: RotatedBox, palette: Palette, index: Ints
) -> tuple[Floats, Bools, Floats]:
    u, v = scene.in_box(box)
    reach = np.maximum(np.abs(u), np.abs(v))
    allowed = reach <= 1
    if not allowed.any():
        allowed = reach <= reach.min()
    outside = ~allowed
    if outside.mean() < 0.02:
        outside = outside | frame(scene.shape)
    near = (outside * np.exp(np.maximum(reach - 1, 0) / -0.15)).astype(np.float32)
    within = normalized(palette.density(index, allowed.astype(np.float32), sigma=1.0))
    around = normalized(palette.density(index, near, sigma=1.0))
    rarer = log_odds(within, around, floor=2e-5)[index]
    depth = geodesic(outside, scene.costs)
    depth = depth / (depth[allowed].mean() + 1e-3)
    prior = 1.28 * rarer + 1.54 * depth - 0.26 * (u * u + v * v) - 3.28
    return prior.astype(np.float32), allowed, near + allowed


def _click_prior(scene: Scene, aim: Aim, palette: Palette, index: Ints) -> Floats:
    height, width = scene.shape
    reach = geodesic(_seeds(scene, aim.positive), scene.costs)
    reach = reach / (reach.mean() + 1e-3)
    away2 = _distance2(scene, aim.positive)
    border = np.minimum(
        np.minimum(scene.x, width - scene.x) / width, np.minimum(scene.y, height - scene.y) / height
    )
    strip = np.exp(border / -0.06).astype(np.float32)
    everything = normalized(palette.density(index, np.ones(scene.shape, np.float32), sigma=1.0))
    rim = normalized(palette.density(index, strip, sigma=1.0))
    rarer = log_odds(everything, rim, floor=2e-5)[index]
    alike = (spot(scene, aim.positive) * np.exp(reach / -0.3)).astype(np.float32)
    far = (1 - np.exp(away2 / (-2 * 0.35**2)) + 2 * spot(scene, aim.negative)).astype(np.float32)
    similar = log_odds(
        normalized(palette.density(index, alike, sigma=1.5)),
        normalized(palette.density(index, far, sigma=1.5)),
        floor=2e-5,
    )[index]
    background = (frame(scene.shape) | _seeds(scene, aim.negative)) & ~_seeds(scene, aim.positive)
    depth = geodesic(background, scene.costs)
    depth = depth / (depth.mean() + 1e-3)
    prior = (
        -1.88 * np.log(reach + 0.05)
        - 3.8 * away2
        + 1.43 * rarer
        + 0.35 * similar
        + 1.05 * depth
        - 4.36
    )
    return np.asarray(prior, np.float32)


def _nearest_click(scene: Scene, aim: Aim) -> Floats:
    """-1..1: which kind of click is nearer in place and colour; 0 far from all."""
    paths = []
    for clicks in (aim.positive, aim.negative):
        if clicks:
            path = geodesic(_seeds(scene, clicks), scene.costs)
            paths.append(path / (path.mean() + 1e-3) + 3 * np.sqrt(_distance2(scene, clicks)))
        else:
            paths.append(np.full(scene.shape, 10.0, np.float32))
    to_positive, to_negative = paths
    side = (to_negative - to_positive) / (to_negative + to_positive + 1e-3)
    return np.asarray(side * np.exp(-2 * np.minimum(to_positive, to_negative)), np.float32)


def limits(scene: Scene, aim: Aim, allowed: Bools) -> tuple[Floats, Floats]:
    """What is certain: u must lie in low..high. The newest click wins."""
    low, high = np.zeros(scene.shape, np.float32), allowed.astype(np.float32)
    pin(scene.view, aim.clicks, low, high)
    return low, high


def pin(view: View, clicks: tuple[Click, ...], low: Floats, high: Floats) -> None:
    """Fix the pixels about the clicks that lie in the view, in place; the newest click wins."""
    for click in clicks:
        x = (click.x - view.window.x0) / view.step_x
        y = (click.y - view.window.y0) / view.step_y
        if 0 <= x < low.shape[1] and 0 <= y < low.shape[0]:
            disc = disc_mask(low.shape, x, y, radius=1)
            low[disc] = high[disc] = float(click.positive)
