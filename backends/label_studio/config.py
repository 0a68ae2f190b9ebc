"""Choose, by one rule, which control of a label config an answer goes to; say what to mend.

The rule: one answer has one kind. The kind is that of `labelpilot_output="brush"` (or bitmask,
polygon, ellipse, rectangle) on a prompt control that knows the label, else on the `<Image>` tag,
else the first of `OutputKind` for which a control targets the image and knows the label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from backends.errors import BadLabelConfig
from backends.interface import Control, LabelConfig
from backends.label_studio.label_xml import parse_label_config

__all__ = [
    "Output",
    "OutputKind",
    "PromptMapping",
    "check_label_config",
    "choose_output",
    "describe_mapping",
    "find_control",
    "is_background",
    "labels_control",
    "parse_label_config",
    "prompt_controls",
]

OUTPUT_ATTRIBUTE = "labelpilot_output"
BACKGROUND_ATTRIBUTE = "labelpilot_background"


class OutputKind(StrEnum):
    """The kinds of answer, most exact first: without an override the first present is taken."""

    BRUSH = "brush"
    BITMASK = "bitmask"
    POLYGON = "polygon"
    ELLIPSE = "ellipse"
    RECTANGLE = "rectangle"


@dataclass(frozen=True)
class Output:
    """The control that an answer goes to.

    `labels_control` is the `<Labels>` tag that names the label where the control itself has none,
    as in `<Labels>` + `<Brush>`.
    """

    kind: OutputKind
    control: Control
    labels_control: Control | None = None


@dataclass(frozen=True)
class PromptMapping:
    """What a smart tool leads to: `labels` of `prompt` become regions of `output`.

    `output` is None where nothing can hold the answer. As text: a line for people.
    """

    prompt: Control
    labels: tuple[str | None, ...]
    output: Output | None

    def __str__(self) -> str:
        labels = _listed("any label" if label is None else label for label in self.labels)
        target = (
            f"<{self.output.control.tag} {self.output.control.name}> as {self.output.kind}"
            if self.output
            else "nothing"
        )
        return f"<{self.prompt.tag} {self.prompt.name}> ({labels}) gives {target}"


_PROMPT_TAGS = ("KeyPointLabels", "KeyPoint", "RectangleLabels", "Rectangle")
_KIND_TAGS = {kind: (f"{kind.capitalize()}Labels", kind.capitalize()) for kind in OutputKind}
_KIND_OF = {tag: kind for kind, tags in _KIND_TAGS.items() for tag in tags}


def choose_output(
    config: LabelConfig, to_name: str, label: str | None, *, prompt: str | None = None
) -> Output:
    """The one control for answers about `label` on the medium `to_name`; the rule stands above.

    `label` None stands for a prompt without a label; `prompt` is the name of the control that was
    drawn with, None for any. Errors: `BadLabelConfig` when the override
    names no kind or a kind that has no control, or when no control knows the label.
    """
    outputs = _outputs(config, to_name, label)
    wanted = _override(config, to_name, label, prompt)
    about = f'toName="{to_name}"' + (f' and label "{label}"' if label is not None else "")
    if wanted is None and not outputs:
        raise BadLabelConfig(
            f"no control can hold an answer for {about}",
            advice=f'add <BrushLabels name="brush" toName="{to_name}" smart="false"> with that '
            "label (or PolygonLabels, RectangleLabels, BitmaskLabels, EllipseLabels)",
        )
    if wanted is None:
        return next(iter(outputs.values()))
    for kind, output in outputs.items():
        if kind == wanted:
            return output
    raise BadLabelConfig(
        f'{OUTPUT_ATTRIBUTE}="{wanted}" names no kind that has a control for {about}',
        advice=f"choose among {_listed(outputs) or 'none: add a result control first'}, or add a "
        f"control for another of {_listed(OutputKind)}",
    )


def find_control(config: LabelConfig, name: str, to_name: str | None = None) -> Control:
    """The control of this name, of several targets that of `to_name`, else the first.

    Errors: `BadLabelConfig` when there is none.
    """
    for control in config.controls:
        if control.name == name and to_name in (None, control.to_name):
            return control
    raise BadLabelConfig(f'the label config has no control named "{name}"')


def labels_control(config: LabelConfig, control: Control, label: str | None) -> Control | None:
    """The `<Labels>` tag that names the label where the control itself has none; None without."""
    if control.tag.endswith("Labels"):
        return None
    return _labels_beside(config, control.to_name, label)


def is_background(config: LabelConfig, control_name: str, label: str | None) -> bool:
    """Whether points of this label say what the object is not.

    Said by `<Label value="Background" labelpilot_background="true"/>`, or by
    `labelpilot_background="Background"` on the control or on the image.
    """
    if label is None:
        return False
    for control in config.controls:
        if control.name == control_name:
            own = control.label_attributes.get(label, {}).get(BACKGROUND_ATTRIBUTE, "")
            named = {control.attributes.get(BACKGROUND_ATTRIBUTE)} | {
                medium.attributes.get(BACKGROUND_ATTRIBUTE)
                for medium in config.media
                if medium.name == control.to_name
            }
            if own.lower() == "true" or label in named:
                return True
    return False


def prompt_controls(config: LabelConfig) -> list[Control]:
    """The points and rectangles on images that have a smart tool: all but `smart="false"`."""
    images = {medium.name for medium in config.media if medium.tag == "Image"}
    return [
        control
        for control in config.controls
        if control.tag in _PROMPT_TAGS and control.to_name in images and _is_smart(control)
    ]


def describe_mapping(config: LabelConfig) -> list[PromptMapping]:
    """What each smart tool leads to; labels that lead to the same control stand together."""
    mappings = []
    for prompt in prompt_controls(config):
        grouped: dict[str | None, tuple[Output | None, list[str | None]]] = {}
        for label in _prompt_labels(config, prompt):
            try:
                output: Output | None = choose_output(
                    config, prompt.to_name, label, prompt=prompt.name
                )
            except BadLabelConfig:
                output = None
            name = output.control.name if output else None
            grouped.setdefault(name, (output, []))[1].append(label)
        mappings += [PromptMapping(prompt, tuple(ls), output) for output, ls in grouped.values()]
    return mappings


def check_label_config(config: LabelConfig) -> list[str]:
    """What keeps a click from becoming a region, one sentence with its cure each; [] if nothing."""
    images = [medium for medium in config.media if medium.tag == "Image"]
    if not images:
        return ['The config has no image; add <Image name="image" value="$image"/>.']
    problems = list(_broken_smart_tools(config))
    prompts = prompt_controls(config)
    problems += [
        f'No smart tool points to <Image name="{image.name}">; add <KeyPointLabels '
        f'name="point" toName="{image.name}" smart="true"> with your labels.'
        for image in images
        if not any(prompt.to_name == image.name for prompt in prompts)
    ]
    for prompt in prompts:
        problems += _lost_labels(config, prompt)
    return list(dict.fromkeys(problems))


def _broken_smart_tools(config: LabelConfig) -> Iterator[str]:
    for control in config.controls:
        kind = _KIND_OF.get(control.tag)
        if kind in (OutputKind.BRUSH, OutputKind.BITMASK) and _is_smart(control):
            yield (
                f'The smart tool of <{control.tag} name="{control.name}"> sends nothing in '
                f'Label Studio 1.23, yet is on by default; add smart="false" to it.'
            )


def _lost_labels(config: LabelConfig, prompt: Control) -> Iterator[str]:
    """Labels that can be prompted but not answered, grouped by their cause."""
    lost: dict[str, list[str]] = {}
    source = _labels_source(config, prompt)
    for label in _prompt_labels(config, prompt):
        try:
            choose_output(config, prompt.to_name, label, prompt=prompt.name)
        except BadLabelConfig as error:
            lost.setdefault(error.advice, []).append(label or "any label")
    for advice, labels in lost.items():
        yield (
            f'Prompts of <{prompt.tag} name="{prompt.name}"> with {_listed(labels)} can become no '
            f"region; {advice}."
        )
    background = prompt.attributes.get(BACKGROUND_ATTRIBUTE)
    if background and source.labels and background not in source.labels:
        yield (
            f'{BACKGROUND_ATTRIBUTE}="{background}" on <{prompt.tag} name="{prompt.name}"> names '
            f'none of its labels; add <Label value="{background}"/>.'
        )


def _prompt_labels(config: LabelConfig, prompt: Control) -> tuple[str | None, ...]:
    """The labels that ask for an answer; (None,) when there are none or the task brings them."""
    source = _labels_source(config, prompt)
    asked = [label for label in source.labels if not is_background(config, source.name, label)]
    return tuple(asked) or (None,)


def _labels_source(config: LabelConfig, control: Control) -> Control:
    """The control that names the labels: itself, or the `<Labels>` beside it."""
    if control.tag.endswith("Labels"):
        return control
    return _labels_beside(config, control.to_name, None) or control


def _is_smart(control: Control) -> bool:
    return control.attributes.get("smart", "true").lower() != "false"


def _knows(control: Control, label: str | None) -> bool:
    """Whether the control may hold the label; one whose labels the task brings may hold any."""
    return label is None or not control.labels or label in control.known


def _outputs(config: LabelConfig, to_name: str, label: str | None) -> dict[OutputKind, Output]:
    """Every possible output, most exact first."""
    outputs = {}
    for kind in OutputKind:
        labelled, plain = _KIND_TAGS[kind]
        for tag in (labelled, plain) if label is not None else (plain, labelled):
            found = _output(config, tag, to_name, label)
            if found is not None:
                outputs[kind] = found
                break
    return outputs


def _output(config: LabelConfig, tag: str, to_name: str, label: str | None) -> Output | None:
    for control in config.controls:
        if control.tag != tag or control.to_name != to_name:
            continue
        if not tag.endswith("Labels"):
            beside = _labels_beside(config, to_name, label)
            if beside is not None or label is None:
                return Output(_KIND_OF[tag], control, beside)
        elif _knows(control, label):
            return Output(_KIND_OF[tag], control)
    return None


def _override(
    config: LabelConfig, to_name: str, label: str | None, prompt: str | None
) -> str | None:
    said = [
        control.attributes.get(OUTPUT_ATTRIBUTE)
        for control in prompt_controls(config)
        if control.to_name == to_name
        and prompt in (None, control.name)
        and _knows(_labels_source(config, control), label)
    ] + [
        medium.attributes.get(OUTPUT_ATTRIBUTE) for medium in config.media if medium.name == to_name
    ]
    return next((kind.strip().lower() for kind in said if kind), None)


def _labels_beside(config: LabelConfig, to_name: str, label: str | None) -> Control | None:
    for control in config.controls:
        if control.tag == "Labels" and control.to_name == to_name and _knows(control, label):
            return control
    return None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
