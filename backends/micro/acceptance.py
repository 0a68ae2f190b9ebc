"""How much of what people were shown they left as it was, and the drawing that spared them.

The seconds are an assumption, the same for everybody, not a measurement of this annotator:

- 7 s for a box: Papadopoulos et al., Extreme clicking for efficient object annotation, ICCV 2017.
  Of a video's track every key frame is a box.
- 79 s for an outline or mask: 22 hours for 1,000 of them, Lin et al., Microsoft COCO, ECCV 2014.
- 2.4 s for a point, and 1 s for a class: Bearman et al., What's the point, ECCV 2016.
- 7 s for an ellipse: a guess, as for a box.

Nothing is taken off for looking at a region before it is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.micro.nouns import Acceptance

# By the beginning of a result's type.
SECONDS = {
    "videorectangle": 7.0,
    "rectangle": 7.0,
    "ellipse": 7.0,
    "polygon": 79.0,
    "brush": 79.0,
    "bitmask": 79.0,
    "keypoint": 2.4,
    "choices": 1.0,
    "taxonomy": 1.0,
}
# The editor computes coordinates anew; in percent of the picture, a hundredth is below a pixel.
_SAME = 0.01
# So the editor marks what nobody touched; of a track it marks no change.
_UNTOUCHED = "prediction"
_UNMARKED = "videorectangle"

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def accepted(prediction_result: Any, annotation_result: Any) -> Acceptance:
    """Of the regions of a prediction, those that the annotation made from it holds unchanged.

    A region is what has one id, its shape and labels together; a class of the picture is one too.
    What a person added to a region, such as a class, does not change it. A prediction may be
    renewed while it is open, and of what was shown then only the annotation tells.

    >>> box = {"id": "a", "type": "rectanglelabels", "from_name": "r",
    ...        "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["car"]}}
    >>> accepted([box, {**box, "id": "b"}], [box])
    Acceptance(predicted=2, unchanged=1, seconds=7.0)
    """
    predicted, now = _by_region(prediction_result), _by_region(annotation_result)
    untouched = {
        name: results for name, results in now.items() if any(_is_untouched(one) for one in results)
    }
    shown = {**untouched, **predicted}
    same = [
        results
        for name, results in shown.items()
        if name in untouched or all(_is_among(one, now.get(name, ())) for one in results)
    ]
    seconds = sum(_seconds(one) for results in same for one in results)
    return Acceptance(len(shown), len(same), seconds)


def together(of_each: Sequence[Acceptance]) -> Acceptance:
    """The sum: of several annotators of a task each was shown its regions, and spared drawing.

    >>> together([Acceptance(2, 1, 7.0), Acceptance(2, 2, 14.0)])
    Acceptance(predicted=4, unchanged=3, seconds=21.0)
    """
    return Acceptance(
        sum(one.predicted for one in of_each),
        sum(one.unchanged for one in of_each),
        sum(one.seconds for one in of_each),
    )


def _by_region(result: Any) -> Results:
    regions: dict[str, list[Mapping[str, Any]]] = {}
    for one in result if isinstance(result, list | tuple) else ():
        if isinstance(one, Mapping) and isinstance(one.get("value"), Mapping) and one.get("id"):
            regions.setdefault(str(one["id"]), []).append(one)
    return regions


def _seconds(one: Mapping[str, Any]) -> float:
    kind = str(one.get("type"))
    each = next((s for name, s in SECONDS.items() if kind.startswith(name)), 0.0)
    sequence = one["value"].get("sequence")
    return each * (len(sequence) if isinstance(sequence, list) else 1)


def _is_among(one: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> bool:
    return any(_is_same(one, other) for other in results)


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """`other` may hold more, such as what the editor always writes."""
    if any(one.get(key) != other.get(key) for key in ("from_name", "type")):
        return False
    value, now = one["value"], other["value"]
    return all(_alike(value[key], now.get(key)) for key in value)


def _is_untouched(one: Mapping[str, Any]) -> bool:
    return one.get("origin") == _UNTOUCHED and one.get("type") != _UNMARKED


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return bool(one) == bool(other)
    if isinstance(one, int | float):
        return abs(one - other) <= _SAME if isinstance(other, int | float) else not one
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return all(_alike(one[key], other.get(key)) for key in one)
    return bool(one == other)
