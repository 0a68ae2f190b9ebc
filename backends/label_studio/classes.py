"""Classes of a whole image as results of `<Choices>` and `<Taxonomy>`, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.errors import BadRequest
from backends.interface import Control
from backends.label_studio.label_xml import attribute
from micro_models.regions import Region, WholeImage

Json = dict[str, Any]

CLASS_TAGS = ("Choices", "Taxonomy")


def chosen(control: Control, regions: Sequence[Region]) -> list[Region]:
    """The regions that fit into the control together, best first, each label once.

    `<Choices>` takes one unless `choice="multiple"`, `<Taxonomy>` up to its `maxUsages`.
    """
    best: dict[str, Region] = {}
    for region in sorted(regions, key=lambda region: -region.score):
        best.setdefault(region.label, region)
    return list(best.values())[: at_most(control)]


def at_most(control: Control) -> int | None:
    """How many classes a control takes together; None: any number."""
    if control.tag == "Choices":
        return None if attribute(control, "choice") == "multiple" else 1
    most = attribute(control, "maxusages")
    return int(most) or None if most.isdecimal() and len(most) < 9 else None


def encode_classes(control: Control, labels: Sequence[str]) -> Json:
    """The value of the one result that holds all the labels."""
    kind = control.tag.lower()
    if not control.paths and kind == "choices":
        return {kind: list(labels)}
    return {kind: [list(control.paths.get(label, (label,))) for label in labels]}


def decode_classes(item: Any) -> list[Region]:
    """A result of type choices or taxonomy as regions; paths become labels joined by "/".

    Errors: `BadRequest`.
    """
    kind = item.get("type") if isinstance(item, Mapping) else None
    value = item.get("value") if isinstance(item, Mapping) else None
    names = value.get(kind) if isinstance(value, Mapping) and isinstance(kind, str) else None
    if not isinstance(names, list):
        raise BadRequest(f"a result of type {str(kind)[:40]} holds no list of classes")
    paths = [name if isinstance(name, list) else [name] for name in names]
    if not all(path and all(isinstance(part, str) for part in path) for path in paths):
        raise BadRequest(f"a class of a result of type {str(kind)[:40]} is no text")
    return [Region("/".join(path), WholeImage(), score_of(item)) for path in paths]


def score_of(item: Mapping[str, Any]) -> float:
    """The score of a result; 1 for what a person made or what is no score."""
    score = item.get("score")
    if isinstance(score, bool) or not isinstance(score, float | int) or not 0 <= score <= 1:
        return 1.0
    return float(score)
