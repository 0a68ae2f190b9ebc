"""Read the XML of a label config into the nouns of `backends.interface`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from xml.etree.ElementTree import Element, ParseError  # nosec B405

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from backends.errors import BadLabelConfig
from backends.interface import Control, LabelConfig, Medium

MAX_CONFIG_CHARS = 1_000_000
# Every choice of a tree carries its path: without bounds a deep tree would fill the memory.
MAX_CHOICE_DEPTH = 100
MAX_PATH_CHARS = 4_000_000
# A tag may name many targets, and each label is looked for in each control.
MAX_TAGS = 500
MAX_LABELS_BY_CONTROLS = 1_000_000
_LABEL_TAGS = ("Label", "Choice")
_NOT_OBJECTS = ("header", "style", "view", "filter", "collapse", "relations")
# The editor takes tags in any case; what is compared here is spelled as in the documentation.
_SPELLING = {
    tag.lower(): tag
    for shape in ("KeyPoint", "Rectangle", "Brush", "Bitmask", "Polygon", "Ellipse")
    for tag in (shape, shape + "Labels")
} | {
    tag.lower(): tag
    for tag in (
        *_LABEL_TAGS, "Labels", "Choices", "Taxonomy", "VideoRectangle", "TimelineLabels",
        "Image", "Video", "Text",
    )
}  # fmt: skip


def parse_label_config(text: str) -> LabelConfig:
    """Read the XML of a label config; a control with two targets becomes two controls.

    Labels are what the editor writes into results: a `<Label>`'s alias, else its value. In a tree
    of choices these are joined by "/", and `Control.paths` has the parts. What the editor does not
    let people choose is no label. Labels that come from the task (`value="$labels"`) are unknown
    here: an empty tuple.
    Errors: `BadLabelConfig` naming the one cause.
    """
    root = _parse_xml(text)
    names = [tag.attrib["name"] for tag in root.iter() if tag.attrib.get("name")]
    if repeated := {name for name, count in Counter(names).items() if count > 1}:
        raise BadLabelConfig(
            f"several tags of the label config are named {_listed(repeated)}",
            advice="give every tag a name of its own",
        )
    controls = tuple(islice(_controls(root, set(names)), MAX_TAGS + 1))
    media = tuple(islice(_media(root), MAX_TAGS + 1))
    _check_size(controls, media)
    return LabelConfig(media=media, controls=controls, text=text)


def _parse_xml(text: str) -> Element:
    if not isinstance(text, str) or not text.strip():
        raise BadLabelConfig("the label config is empty", advice="add tags in Settings > Labeling")
    if len(text) > MAX_CONFIG_CHARS:
        raise BadLabelConfig(
            f"the label config has {len(text)} characters, more than {MAX_CONFIG_CHARS}",
            advice='take long lists of labels from the tasks: value="$labels"',
        )
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise BadLabelConfig("the label config holds a DTD or entities: refused") from None
    except (ParseError, ValueError, LookupError) as error:
        raise BadLabelConfig(f"the label config is not XML: {error}") from None
    if root.tag != "View":
        raise BadLabelConfig(f"the label config starts with <{root.tag}>, not with <View>")
    return root


def attribute(tag: Control | Medium, name: str) -> str:
    """The value of an attribute, whose name the editor takes in any case; "" if absent."""
    wanted = name.lower()
    return next((v for key, v in tag.attributes.items() if key.lower() == wanted), "")


def label_names(control: Control, label: str) -> tuple[str, ...]:
    """What a label may be called by: itself, its last name in a tree, and the name it shows."""
    path = control.paths.get(label, (label,))
    shown = control.label_attributes.get(label, {}).get("value", "")
    return tuple(dict.fromkeys(name for name in (label, path[-1], shown) if name))


def _controls(root: Element, names: set[str]) -> Iterator[Control]:
    for tag in root.iter():
        name, targets = tag.attrib.get("name"), tag.attrib.get("toName")
        if not name or not targets:
            continue
        labels = dict(_labels(tag))
        _check_paths(labels)
        joined: dict[str, tuple[str, ...]] = {}
        for path in labels:
            joined.setdefault("/".join(path), path)
        # Shared by the controls of all targets: a small config may name thousands of both.
        label_names, attributes = tuple(joined), dict(tag.attrib)
        label_attributes = {label: labels[path] for label, path in joined.items()}
        for to_name in (target.strip() for target in targets.split(",")):
            if to_name not in names:
                raise BadLabelConfig(
                    f'<{tag.tag} name="{name}"> has toName="{to_name}", which names no tag',
                    advice=f"its names: {_listed(names)}",
                )
            yield Control(
                tag=_spelled(tag.tag),
                name=name,
                to_name=to_name,
                labels=label_names,
                attributes=attributes,
                label_attributes=label_attributes,
                paths=joined if _holds_paths(tag) else {},
            )


def _labels(control: Element) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Paths and attributes of the labels at any depth, but not those of a control inside."""
    is_tree, only_leaves = _holds_paths(control), _holds_only_leaves(control)
    is_flat = _spelled(control.tag) == "Choices" and not is_tree
    stack: list[tuple[Element, tuple[str, ...]]] = [(tag, ()) for tag in reversed(control)]
    while stack:
        tag, above = stack.pop()
        if tag.attrib.get("toName"):
            continue
        label = tag.attrib.get("alias") or tag.attrib.get("value") or ""
        is_label = _spelled(tag.tag) in _LABEL_TAGS and label and not label.startswith("$")
        path = (*above, label) if is_label else above
        if len(path) > MAX_CHOICE_DEPTH:
            raise BadLabelConfig(f"choices are nested deeper than {MAX_CHOICE_DEPTH} levels")
        if not (is_label and is_flat):  # the editor passes over a choice in a choice
            stack.extend((child, path if is_tree else ()) for child in reversed(tag))
        if is_label and not (only_leaves and any(_spelled(c.tag) == "Choice" for c in tag)):
            yield path, dict(tag.attrib)


def _check_size(controls: Sequence[Control], media: Sequence[Medium]) -> None:
    if max(len(controls), len(media)) > MAX_TAGS:
        raise BadLabelConfig(
            f"the label config has more than {MAX_TAGS} controls or objects",
            advice="split the project",
        )
    if len(controls) * sum(len(one.labels) for one in controls) > MAX_LABELS_BY_CONTROLS:
        raise BadLabelConfig(
            "the label config has too many labels for so many controls",
            advice='take long lists of labels from the tasks: value="$labels"',
        )


def _check_paths(paths: Iterable[tuple[str, ...]]) -> None:
    if sum(len(part) + 1 for path in paths for part in path) > MAX_PATH_CHARS:
        raise BadLabelConfig(
            "the choices of the label config are too many, too deep or too long",
            advice="shorten the names of those that hold others",
        )


def _holds_paths(control: Element) -> bool:
    """Whether the editor writes paths into the results of this control."""
    tag = _spelled(control.tag)
    return tag == "Taxonomy" or (tag == "Choices" and _is_set(control, "allownested"))


def _holds_only_leaves(control: Element) -> bool:
    by_request = _spelled(control.tag) == "Taxonomy" and _is_set(control, "leafsonly")
    return by_request or (_spelled(control.tag) == "Choices" and _holds_paths(control))


def _is_set(tag: Element, name: str) -> bool:
    return any(key.lower() == name and value == "true" for key, value in tag.attrib.items())


def _media(root: Element) -> Iterator[Medium]:
    for tag in root.iter():
        name, attributes = tag.attrib.get("name"), dict(tag.attrib)
        value = attributes.get("value") or attributes.get("valueList")
        if name and value and "toName" not in attributes and tag.tag.lower() not in _NOT_OBJECTS:
            yield Medium(_spelled(tag.tag), name, value.removeprefix("$"), attributes)


def _spelled(tag: str) -> str:
    return _SPELLING.get(tag.lower(), tag)


def _listed(names: set[str]) -> str:
    """The first few: a hostile config must not make a huge message."""
    shown = [name[:50] for name in sorted(names)[:20]]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "")
