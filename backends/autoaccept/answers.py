"""Of which class an answer is, as Label Studio stores it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NOTHING, SEVERAL = "(nothing found)", "(several classes)"


def class_of(result: Sequence[Mapping[str, Any]]) -> str:
    """The one class of all that an answer names; `SEVERAL`, or `NOTHING` where it names none.

    >>> car = {"type": "rectanglelabels", "value": {"rectanglelabels": ["Car"]}}
    >>> class_of([car, car]), class_of([])
    ('Car', '(nothing found)')
    """
    named = set()
    for item in result:
        labels = (item.get("value") or {}).get(item.get("type") or "")
        named |= {str(label) for label in labels} if isinstance(labels, list) else set()
    if len(named) > 1:
        return SEVERAL
    return named.pop() if named else NOTHING
