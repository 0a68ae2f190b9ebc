"""How surely regions would be seen that lay where nobody labelled anything."""

from __future__ import annotations

import numpy as np

from micro_models.evaluation.overlap import bounds, similarities
from micro_models.label_errors.rates import Values
from micro_models.label_errors.sightings import Scene
from micro_models.regions import Box, Region

# Places tried for each region, and how alike to a label it may still be there.
_TRIES, _FREE = 20, 0.1
# Multiples of these fill a square evenly: M. Roberts, The Unreasonable Effectiveness of
# Quasirandom Sequences (2018). So there is no chance in it.
_STEPS = np.array([0.7548776662466927, 0.5698402909980532])


def alike_elsewhere(scene: Scene) -> Values:
    """(n, m) how alike the box around each given region is to all findings, put on empty ground.

    Rows are nan where nothing was empty, or the region has no extent.
    """
    result = np.full(scene.alike.shape, np.nan)
    given, found = _boxes(scene.given), _boxes(scene.found)
    if not given or not found:
        return result
    edges = np.array([[one.x0, one.y0, one.x1, one.y1] for one in [*given, *found]])
    low, high = edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)
    for row, box in enumerate(given):
        size = np.array([box.x1 - box.x0, box.y1 - box.y0])
        if not size.all():
            continue
        numbers = np.arange(1, _TRIES + 1)[:, None] + row * _TRIES
        corners = low + numbers * _STEPS % 1 * np.maximum(high - low - size, 0)
        places = [Box(*corner, *(corner + size)) for corner in corners]
        free = np.flatnonzero(similarities(places, given).max(axis=1) < _FREE)
        if len(free):
            result[row] = similarities([places[free[0]]], found)[0]
    return result


def _boxes(regions: tuple[Region, ...]) -> list[Box]:
    return [bounds(one.shape) for one in regions]
