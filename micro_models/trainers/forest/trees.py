"""Trees whose questions are asked of planes: a plane's value at an offset from a cell.

What a tree knows is in its leaves: a row of numbers, the mean over the samples that ended there.
Trees are arrays, so that a stored forest needs no code; extremely randomised ones are grown by
scikit-learn. P. Geurts, D. Ernst, L. Wehenkel, Machine Learning 63 (2006) 3-42; leaves that vote
as in J. Gall, V. Lempitsky, CVPR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micro_models.interface import ModelFileError
from micro_models.regions import Floats

Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

# No grown tree is deeper: it bounds the time of an answer.
DEPTH = 14

_TYPES = {
    "roots": np.int32,
    "feature": np.int32,
    "threshold": np.float32,
    "children": np.int32,
    "values": np.float32,
}


@dataclass(frozen=True, eq=False)
class Forest:
    """Nodes of all trees in one row; a leaf is its own child.

    `roots` (t,), `feature` (n,), `threshold` (n,), `children` (n, 2): at most the threshold,
    above it; `values` (n, d), what a leaf says; 0 for other nodes.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    children: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.roots)

    def votes(self, seen: Floats, offsets: Indices, at: Indices, trees: range) -> Floats:
        """(m, d) the sum over some trees of what their leaves say about the places `at` (m,).

        `seen` are flat planes, `offsets` (f,) where from a place a feature's value is.
        """
        steps, children = offsets.take(self.feature), self.children.ravel()
        total = np.zeros((len(at), self.values.shape[1]), np.float32)
        for tree in trees:
            node: Ints = np.full(len(at), self.roots[tree], np.int32)
            for _ in range(DEPTH):
                above = seen.take(steps.take(node) + at) > self.threshold.take(node)
                node = children.take(2 * node + above)
            total += self.values.take(node, axis=0)
        return total

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays by name, for `restored`."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def grown(seen: Floats, part: NDArray[np.intp], answers: Floats, *, seed: int) -> Forest:
    """One tree that tells the parts (n,) apart by what is seen (n, f); its leaves say (n, d).

    >>> seen = np.repeat(np.array([[0.0], [1.0]], np.float32), 5, axis=0)
    >>> tree = grown(seen, seen[:, 0].astype(int), seen * 10, seed=0)
    >>> tree.votes(np.array([0.9], np.float32), np.array([0]), np.array([0]), range(1))
    array([[10.]], dtype=float32)
    """
    from sklearn.tree import ExtraTreeClassifier

    tree = ExtraTreeClassifier(
        max_depth=DEPTH,
        min_samples_leaf=2,
        max_features="sqrt",
        class_weight="balanced",
        random_state=seed,
    )
    nodes = tree.fit(seen, part).tree_
    own = np.arange(nodes.node_count)
    is_leaf = nodes.children_left < 0
    children = np.stack([nodes.children_left, nodes.children_right], axis=1)
    return Forest(
        np.zeros(1, np.int32),
        np.where(is_leaf, 0, nodes.feature).astype(np.int32),
        np.where(is_leaf, 0, nodes.threshold).astype(np.float32),
        np.where(is_leaf[:, None], own[:, None], children).astype(np.int32),
        _means(nodes.apply(seen), answers, nodes.node_count),
    )


def joined(trees: list[Forest]) -> Forest:
    """One forest of several.

    >>> stump = Forest(*(np.zeros(1, np.int32) for _ in range(3)), np.zeros((1, 2), np.int32),
    ...                np.ones((1, 1), np.float32))
    >>> len(joined([stump, stump]))
    2
    """
    starts = np.cumsum([0] + [len(tree.feature) for tree in trees[:-1]]).astype(np.int32)
    return Forest(
        np.concatenate([tree.roots + start for tree, start in zip(trees, starts, strict=True)]),
        np.concatenate([tree.feature for tree in trees]),
        np.concatenate([tree.threshold for tree in trees]),
        np.concatenate([tree.children + start for tree, start in zip(trees, starts, strict=True)]),
        np.concatenate([tree.values for tree in trees]),
    )


def restored(arrays: Mapping[str, NDArray[Any]], *, features: int, width: int) -> Forest:
    """The forest of stored arrays whose leaves have `width` numbers.

    Errors: `ModelFileError` for arrays that are no forest: an answer never reads beyond them.
    """
    missing = sorted(set(_TYPES) - set(arrays))
    if missing:
        raise ModelFileError(f"the forest lacks {', '.join(missing)}; train the model again")
    forest = Forest(**{name: np.ascontiguousarray(arrays[name]) for name in _TYPES})
    nodes = len(forest.feature) if forest.feature.ndim == 1 else 0
    shapes = {"feature": (nodes,), "threshold": (nodes,), "children": (nodes, 2)}
    shapes |= {"roots": (forest.roots.size,), "values": (nodes, width)}
    for name, array in forest.arrays().items():
        if array.dtype != _TYPES[name] or array.shape != shapes[name] or not array.size:
            raise ModelFileError(f"the forest's {name} are {array.shape} {array.dtype}")
    bounds = ((forest.roots, nodes), (forest.children, nodes), (forest.feature, features))
    if any(array.min() < 0 or array.max() >= count for array, count in bounds):
        raise ModelFileError("the forest's nodes lead outside it; train the model again")
    if (np.diff(forest.roots) <= 0).any():
        raise ModelFileError("the forest's trees are out of order; train the model again")
    if not (np.isfinite(forest.threshold).all() and np.isfinite(forest.values).all()):
        raise ModelFileError("the forest holds numbers that are not finite; train the model again")
    return forest


def _means(leaf: Indices, answers: Floats, nodes: int) -> Floats:
    """(nodes, d) the mean answer (n, d) of the samples in each leaf (n,); 0 where there is none."""
    order = np.argsort(leaf, kind="stable")
    counts = np.bincount(leaf, minlength=nodes)
    full = np.flatnonzero(counts)
    firsts = np.cumsum(counts[full]) - counts[full]
    values = np.zeros((nodes, answers.shape[1]), np.float32)
    values[full] = np.add.reduceat(answers[order], firsts, axis=0) / counts[full][:, None]
    return values
