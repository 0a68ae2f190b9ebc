"""Which micro-models a project has: what each learns, what it fills, which tasks it is for.

The attribute `scope` of a control, or of its `<Image>` for all controls on it, says: "project" (one
model for all tasks, the default), "label" (one for each label), else the name of a field of the
tasks' data (one for each of its values, as `scope="scene"`). A `<VideoRectangle>` has one model for
each clip. Controls that say the same share models; others' labels a model never learns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.interface import Control, LabelConfig, LabelledTask, Task
from backends.label_studio.annotations import first_image
from backends.label_studio.classes import CLASS_TAGS
from backends.label_studio.config import labels_control
from backends.label_studio.drawn import only_asks
from backends.label_studio.label_xml import attribute
from backends.micro.nouns import Scope, ScopeKind

MOST_SCOPES = 50
_MOST_CHARS = 200
_TOOLS = ("Rectangle", "Brush", "Bitmask", "Polygon", "Ellipse", "KeyPoint")
_TAGS = (*_TOOLS, *(f"{tool}Labels" for tool in _TOOLS), *CLASS_TAGS)
_PROJECT, _LABEL, _CLIP = str(ScopeKind.PROJECT), str(ScopeKind.LABEL), ""

Result = Mapping[str, Any]
Note = Callable[[str], None]


def _ignore(note: str) -> None:
    pass


@dataclass(frozen=True)
class _Group:
    """Controls on the image that say the same `scope`; of videos: `_CLIP`, which nobody can say."""

    said: str
    controls: tuple[Control, ...]


def image_controls(config: LabelConfig) -> tuple[Control, ...]:
    """The controls on the first image that a micro-model fills.

    Not those that only ask a model, that are about a single region, or that have no labels.
    """
    image = first_image(config)
    return tuple(
        control
        for control in config.controls
        if control.to_name == image
        and control.tag in _TAGS
        and attribute(control, "perRegion").lower() != "true"
        and labels_source(config, control) is not None
        and not _is_prompt(control, config)
    )


def video_controls(config: LabelConfig) -> tuple[Control, ...]:
    """The `<VideoRectangle>`s of videos that have `<Labels>` beside them."""
    videos = {medium.name for medium in config.media if medium.tag == "Video"}
    return tuple(
        control
        for control in config.controls
        if control.tag == "VideoRectangle"
        and control.to_name in videos
        and labels_control(config, control, None) is not None
    )


def labels_source(config: LabelConfig, control: Control) -> Control | None:
    """The control that has the labels: itself, or the `<Labels>` beside it; None without."""
    if control.tag.endswith("Labels") or control.tag in CLASS_TAGS:
        return control
    return labels_control(config, control, None)


def fills(config: LabelConfig) -> bool:
    """Whether there is a control that a micro-model can fill."""
    return bool(image_controls(config) or video_controls(config))


def scopes(
    config: LabelConfig, labelled: Sequence[LabelledTask], *, told: Note = _ignore
) -> list[Scope]:
    """The scopes that there is something to learn for, those with most labelled tasks first.

    At most `MOST_SCOPES`; `told` hears in a sentence what was left out, and why.
    """
    counts: Counter[Scope] = Counter()
    newest: dict[Scope, str] = {}
    for group in (*_groups(config), *_clips(config)):
        before = len(counts)
        for task in labelled:
            for scope in _of_task(group, config, task):
                counts[scope] += 1
                newest[scope] = max(newest.get(scope, ""), task.updated_at)
        if len(counts) == before and labelled and _is_nowhere(group, labelled):
            told(f'scope="{group.said[:50]}" names nothing that labelled tasks have')
    # Those of as many tasks: the ones that people work on.
    ordered = sorted(counts, key=lambda scope: (counts[scope], newest[scope]), reverse=True)
    if len(ordered) > MOST_SCOPES:
        told(f"of {len(ordered)} scopes the {MOST_SCOPES} with most labels have a model")
    return ordered[:MOST_SCOPES]


def scope_of(config: LabelConfig, key: str) -> Scope | None:
    """The scope of that key as the label config has it now; None where it has none any more."""
    for group in (*_groups(config), *_clips(config)):
        if group.said == _PROJECT:
            found: Scope | None = _project(group)
        elif group.said == _LABEL:
            found = _label(group, config, key.removeprefix(f"{_LABEL} "))
        elif group.said == _CLIP:
            found = _clip(group, key.removeprefix(f"{ScopeKind.CLIP} "))
        else:
            found = _field(group, key.removeprefix(f"{group.said}="))
        if found is not None and found.key == key:
            return found
    return None


def knows_any(config: LabelConfig, scope: Scope, labels: Collection[str]) -> bool:
    """Whether a control of the scope can hold one of the labels: they may have been renamed."""
    controls = [one for one in config.controls if one.name in scope.controls]
    sources = [labels_source(config, one) for one in controls]
    return any(_knows(source, label) for source in sources for label in labels)


def covers(scope: Scope, task: Task | LabelledTask) -> bool:
    """Whether a task's answer is for the model of this scope to give."""
    match scope.kind:
        case ScopeKind.FIELD:
            return field_value(task.data, scope.field) == scope.value
        case ScopeKind.CLIP:
            return str(task.id) == scope.value
        case _:
            return True


def field_value(data: Mapping[str, Any], field: str) -> str | None:
    """The value of a field as text; None for none, an empty or very long one, lists, objects.

    Neither are characters that no database takes.
    """
    value = data.get(field)
    if not isinstance(value, str | int | float):
        return None
    text = str(value)
    is_plain = "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)
    return text if is_plain and 0 < len(text) <= _MOST_CHARS else None


def check(config: LabelConfig) -> Sequence[str]:
    """What micro-models cannot learn or answer here, each with its cure; for people."""
    if not fills(config):
        return [
            "No control that a micro-model fills; add <RectangleLabels>, <PolygonLabels>, "
            "<BrushLabels>, <KeyPointLabels> or <Choices> on the first <Image>, or "
            "<VideoRectangle> with <Labels> on a <Video>."
        ]
    findings = [
        f'scope="{group.said[:50]}" cannot be a field of the data; write "project", "label" or a '
        "name without =."
        for group in _groups(config)
        if "=" in group.said
    ]
    findings += [
        f'scope on <VideoRectangle name="{control.name}"> changes nothing: each clip has a model '
        "of its own; take it away."
        for control in video_controls(config)
        if attribute(control, "scope")
    ]
    images = [medium.name for medium in config.media if medium.tag == "Image"]
    others = sorted({c.to_name for c in config.controls if c.tag in _TAGS} & set(images[1:]))
    if others:
        findings.append(
            f"Micro-models look at the first image only; what is on {', '.join(others)[:200]} is "
            "for people to label."
        )
    return findings


def _is_prompt(control: Control, config: LabelConfig) -> bool:
    """Whether all that it draws, whatever the label, asks a model that answers elsewhere."""
    source = labels_source(config, control)
    labels: Sequence[str | None] = source.labels if source is not None else ()
    return all(only_asks(control, config, label) for label in labels or (None,))


def _groups(config: LabelConfig) -> list[_Group]:
    said: dict[str, list[Control]] = {}
    media = {medium.name: medium for medium in config.media}
    for control in image_controls(config):
        source = labels_source(config, control) or control
        word = next(
            (
                text
                for tag in (control, source, media[control.to_name])
                if (text := attribute(tag, "scope").strip())
            ),
            _PROJECT,
        )
        is_kind = word.lower() in (_PROJECT, _LABEL)
        said.setdefault(word.lower() if is_kind else word, []).append(control)
    return [_Group(word, tuple(controls)) for word, controls in said.items()]


def _of_task(group: _Group, config: LabelConfig, task: LabelledTask) -> Iterator[Scope]:
    """The scopes of a group that a labelled task shows something of."""
    drawn = _drawn(task, _names(group.controls, config))
    if not drawn:
        return
    if group.said == _PROJECT:
        yield _project(group)
    elif group.said == _LABEL:
        for label in sorted({name for result in drawn for name in _labels(result, group)}):
            scope = _label(group, config, label)
            if scope is not None:
                yield scope
    elif group.said == _CLIP:
        yield _clip(group, str(task.id))
    elif (value := field_value(task.data, group.said)) is not None:
        scope = _field(group, value)
        if scope is not None:
            yield scope


def _project(group: _Group) -> Scope:
    return Scope(ScopeKind.PROJECT, tuple(control.name for control in group.controls))


def _field(group: _Group, value: str) -> Scope | None:
    if "=" in group.said:
        return None  # two fields' values would go by one name
    names = tuple(control.name for control in group.controls)
    return Scope(ScopeKind.FIELD, names, field=group.said, value=value)


def _label(group: _Group, config: LabelConfig, label: str) -> Scope | None:
    knowing = [c for c in group.controls if _knows(labels_source(config, c), label)]
    if not knowing:
        return None
    # The points of an object's skeleton have labels of their own.
    bones = [
        control
        for control in group.controls
        if _is_skeleton(control) and any("Rectangle" in one.tag for one in knowing)
    ]
    names = dict.fromkeys(control.name for control in (*knowing, *bones))
    return Scope(ScopeKind.LABEL, tuple(names), labels=frozenset([label]), value=label)


def _clips(config: LabelConfig) -> list[_Group]:
    controls = video_controls(config)
    return [_Group(_CLIP, controls)] if controls else []


def _clip(group: _Group, task_id: str) -> Scope:
    names = tuple(control.name for control in group.controls)
    return Scope(ScopeKind.CLIP, names, value=task_id)


def _is_nowhere(group: _Group, labelled: Sequence[LabelledTask]) -> bool:
    """Whether it is a field that no labelled task has."""
    if group.said in (_PROJECT, _LABEL, _CLIP):
        return False
    return not any(field_value(task.data, group.said) for task in labelled)


def _knows(control: Control | None, label: str) -> bool:
    return control is not None and (not control.labels or label in control.labels)


def _is_skeleton(control: Control) -> bool:
    return control.tag == "KeyPointLabels" and len(control.labels) > 1


def _names(controls: Sequence[Control], config: LabelConfig) -> frozenset[str]:
    """The names under which results of these controls come, that of `<Labels>` included."""
    sources = [labels_source(config, control) for control in controls]
    return frozenset(one.name for one in (*controls, *sources) if one is not None)


def _drawn(task: LabelledTask, names: frozenset[str]) -> list[Result]:
    """What submitted annotations hold of these controls."""
    return [
        result
        for annotation in task.annotations
        if not annotation.get("was_cancelled") and isinstance(annotation.get("result"), list)
        for result in annotation["result"]
        if isinstance(result, Mapping) and result.get("from_name") in names
    ]


def _labels(result: Result, group: _Group) -> Iterator[str]:
    """The labels in a result, but those of a skeleton's points."""
    value, kind = result.get("value"), result.get("type")
    if not isinstance(value, Mapping) or not isinstance(kind, str):
        return
    bones = {control.name for control in group.controls if _is_skeleton(control)}
    if result.get("parentID") and result.get("from_name") in bones:
        return
    for key in dict.fromkeys((kind, "labels")):
        names = value.get(key)
        for name in names if isinstance(names, list) else ():
            path = name if isinstance(name, list) else [name]
            if path and all(isinstance(part, str) for part in path):
                yield "/".join(path)
