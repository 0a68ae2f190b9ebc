"""What else could stand in a request: each variation changes one place of a captured body."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]

VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 2**70, 1e308, -1e308, math.nan, math.inf, -math.inf, 0.5,
    "", "x" * 10_000, "\x00", "\ud800", "../../etc/passwd", "<View/>",
    [], [None], [[]], [{}], {}, {"result": None}, {"id": []}, DEEP,
)  # fmt: skip


def hostile_variations(body: Any) -> Iterator[tuple[str, Any]]:
    """(where and what, changed copy of the body); the body itself stays as it is.

    Every key is once removed, and every place once replaced by each of `VALUES`; a number also by
    its negative and by text.
    """
    for value in VALUES:
        yield f"the body = {_shown(value)}", value
    for path in _paths(body):
        where = ".".join(map(str, path))
        yield f"{where} removed", _changed(body, path)
        old = _at(body, path)
        numbers = (-old, str(old)) if isinstance(old, int | float) else ()
        for value in (*VALUES, *numbers):
            yield f"{where} = {_shown(value)}", _changed(body, path, value)


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children: Any = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list):
        children = enumerate(node)
    for key, child in children:
        yield (*path, key)
        yield from _paths(child, (*path, key))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


_REMOVED = object()


def _changed(body: Any, path: tuple[Any, ...], value: Any = _REMOVED) -> Any:
    changed = copy.deepcopy(body)
    parent = _at(changed, path[:-1])
    if value is _REMOVED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


def _shown(value: Any) -> str:
    return ascii(value)[:40]
