"""Class names of a model -> labels of a control, and what is left over on either side."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.interface import Control
from backends.label_studio.label_xml import label_names
from backends.yolo.parameters import listed, point_indexes

NAMES_SHOWN = 5
Rule = Callable[[str], str]


@dataclass(frozen=True)
class Ambiguity:
    """A class that several labels want; the first in the label config gets it."""

    class_name: str
    label: str
    losers: tuple[str, ...]


@dataclass(frozen=True)
class LabelMap:
    """`labels`: class name -> label; the rest is for people."""

    labels: Mapping[str, str]
    ambiguous: tuple[Ambiguity, ...]
    labels_without_class: tuple[str, ...]
    classes_without_label: tuple[str, ...]

    def __str__(self) -> str:
        pairs = [f"{name} → {label}" for name, label in self.labels.items()]
        parts = [shortened(pairs) if pairs else "no class matches a label"]
        if self.labels_without_class:
            parts.append(f"no class for {shortened(self.labels_without_class)}")
        if self.classes_without_label:
            count = len(self.classes_without_label)
            noun = "class" if count == 1 else "classes"
            parts.append(f"{count} {noun} without a label: {shortened(self.classes_without_label)}")
        parts += [
            f"{one.class_name} is wanted by {shortened((one.label, *one.losers))}: "
            f"{one.label} gets it"
            for one in self.ambiguous
        ]
        return "; ".join(parts)


def map_classes(
    classes: Sequence[str], control: Control, *, only: tuple[str, ...] | None = None
) -> LabelMap:
    """Match the classes of a model with the labels of `control`.

    A class goes to the label whose `predicted_values` name it, else to the label of the same name,
    else of the same name in another case, else with other spaces, hyphens or underscores. `only`
    leaves out all other classes.
    """
    wanted = _wanted(classes, only)
    books = _books(control)
    labels: dict[str, str] = {}
    ambiguous = []
    for name in wanted:
        found = _labels_for(name, books)
        if found:
            labels[name] = found[0]
        if len(found) > 1:
            ambiguous.append(Ambiguity(name, found[0], tuple(found[1:])))
    given = set(labels.values()) | _branches(control)
    return LabelMap(
        labels=labels,
        ambiguous=tuple(ambiguous),
        labels_without_class=tuple(label for label in control.labels if label not in given),
        classes_without_label=tuple(name for name in wanted if name not in labels),
    )


def map_points(
    classes: Sequence[str], control: Control, *, only: tuple[str, ...] | None = None
) -> dict[tuple[str, int], str]:
    """(class name, index of a point in its skeleton) -> label, by `model_index` of the labels.

    A label that names no `predicted_values` is the point of every class.
    """
    points: dict[tuple[str, int], str] = {}
    wanted = {name: _key(name) for name in _wanted(classes, only)}
    for label in control.labels:
        named = set(map(_key, _predicted(control, label)))
        for name, key in wanted.items():
            if not named or key in named:
                for index in point_indexes(control, label):
                    points.setdefault((name, index), label)
    return points


def point_report(
    classes: Sequence[str], control: Control, points: Mapping[tuple[str, int], str]
) -> LabelMap:
    """The same as a map of classes, for people: each class with the labels of its points."""
    labels: dict[str, list[str]] = {}
    for (name, _), label in points.items():
        labels.setdefault(name, []).append(label)
    given = set(points.values())
    return LabelMap(
        labels={name: shortened(found) for name, found in labels.items()},
        ambiguous=(),
        labels_without_class=tuple(label for label in control.labels if label not in given),
        classes_without_label=tuple(name for name in classes if name not in labels),
    )


def shortened(names: Iterable[str], shown: int = NAMES_SHOWN) -> str:
    """ "a, b and 3 more"; long names are cut."""
    cut = [name if len(name) <= 40 else name[:39] + "…" for name in names]
    rest = len(cut) - shown
    return ", ".join(cut[:shown]) + (f" and {rest} more" if rest > 0 else "")


def _wanted(classes: Sequence[str], only: tuple[str, ...] | None) -> list[str]:
    if only is None:
        return list(classes)
    keys = set(map(_key, only))
    return [name for name in classes if _key(name) in keys]


def _books(control: Control) -> list[tuple[Rule, dict[str, list[str]]]]:
    """Rules, the strictest first, each with the labels that stand under a name by that rule."""
    books = []
    for names_of in (_predicted, label_names):
        for rule in _RULES:
            book: dict[str, list[str]] = {}
            for label in control.labels:
                for name in dict.fromkeys(map(rule, names_of(control, label))):
                    book.setdefault(name, []).append(label)
            books.append((rule, book))
    return books


def _branches(control: Control) -> set[str]:
    """Labels that hold others; they need no class, since their leaves have them."""
    above = {path[:depth] for path in control.paths.values() for depth in range(1, len(path))}
    return {label for label, path in control.paths.items() if path in above}


def _labels_for(name: str, books: list[tuple[Rule, dict[str, list[str]]]]) -> list[str]:
    """The labels that match a class by the strictest rule that any of them meets."""
    found = (book.get(rule(name)) for rule, book in books)
    return next((labels for labels in found if labels), [])


def _predicted(control: Control, label: str) -> tuple[str, ...]:
    return listed(control.label_attributes.get(label, {}).get("predicted_values", ""))


def _exactly(name: str) -> str:
    return name


def _any_case(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _key(name: str) -> str:
    """Case and separators folded away."""
    return re.sub(r"[\s_\-]+", " ", _any_case(name)).strip()


_RULES: tuple[Rule, ...] = (_exactly, _any_case, _key)
