"""Read the XML of a label config into the nouns of `backends.interface`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from backends.errors import BadLabelConfig
from backends.interface import Control, LabelConfig, Medium

MAX_CONFIG_CHARS = 1_000_000
_LABEL_TAGS = ("Label", "Choice")
_NOT_OBJECTS = ("header", "style", "view", "filter", "collapse", "relations")
# The editor takes tags in any case; what is compared here is spelled as in the documentation.
_SPELLING = {
    tag.lower(): tag
    for shape in ("KeyPoint", "Rectangle", "Brush", "Bitmask", "Polygon", "Ellipse")
    for tag in (shape, shape + "Labels")
} | {tag.lower(): tag for tag in (*_LABEL_TAGS, "Labels", "Choices", "Image", "Video", "Text")}


def parse_label_config(text: str) -> LabelConfig:
    """Read the XML of a label config; a control with two targets becomes two controls.

    Labels are what the editor writes into results: a `<Label>`'s alias, else its value. Labels
    that come from the task (`value="$labels"`) are unknown here: an empty tuple.
    Errors: `BadLabelConfig` naming the one cause.
    """
    root = _parse_xml(text)
    names = [tag.attrib["name"] for tag in root.iter() if tag.attrib.get("name")]
    if repeated := {name for name, count in Counter(names).items() if count > 1}:
        raise BadLabelConfig(
            f"several tags of the label config are named {_listed(repeated)}",
            advice="give every tag a name of its own",
        )
    controls = tuple(_controls(root, set(names)))
    return LabelConfig(media=tuple(_media(root)), controls=controls, text=text)


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


def _controls(root: Element, names: set[str]) -> Iterator[Control]:
    for tag in root.iter():
        name, targets = tag.attrib.get("name"), tag.attrib.get("toName")
        if not name or not targets:
            continue
        labels = dict(_labels(tag))
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
                labels=tuple(labels),
                attributes=dict(tag.attrib),
                label_attributes=labels,
            )


def _labels(control: Element) -> Iterator[tuple[str, dict[str, str]]]:
    """Labels at any depth (Taxonomy nests them), but not those of a control inside."""
    stack = list(reversed(control))
    while stack:
        tag = stack.pop()
        if tag.attrib.get("toName"):
            continue
        stack.extend(reversed(tag))
        label = tag.attrib.get("alias") or tag.attrib.get("value")
        if _spelled(tag.tag) in _LABEL_TAGS and label and not label.startswith("$"):
            yield label, dict(tag.attrib)


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
