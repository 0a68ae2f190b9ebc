from __future__ import annotations

from typing import Any

import pytest

from backends.interface import LabelledTask, Task
from backends.label_studio.label_xml import parse_label_config
from backends.micro import scopes as module
from backends.micro.nouns import Scope, ScopeKind
from backends.micro.scopes import check, covers, field_value, fills, scope_of, scopes

LABELS = '<Label value="Кот"/><Label value="Dog"/>'
BOXES = f'<RectangleLabels name="box" toName="image" {{}}>{LABELS}</RectangleLabels>'
BONES = (
    '<KeyPointLabels name="bones" toName="image"><Label value="a"/><Label value="b"/>'
    "</KeyPointLabels>"
)
CHOICES = (
    '<Choices name="time" toName="image" {}><Choice value="day"/><Choice value="Dog"/></Choices>'
)
VIDEO = '<Video name="video" value="$video"/><VideoRectangle name="track" toName="video" {}/>'


def config(*controls: str, image: str = ""):
    body = "".join(controls).replace("{}", "")
    return parse_label_config(f'<View><Image name="image" value="$image" {image}/>{body}</View>')


def clip_config(attributes: str = ""):
    labels = '<Labels name="kind" toName="video"><Label value="car"/></Labels>'
    return parse_label_config(f"<View>{VIDEO.format(attributes)}{labels}</View>")


def labelled(number: int, *drawn: tuple[str, str], cancelled=False, at="2024", **data: Any):
    """A task with an annotation of (control, label)s."""
    kinds = {"box": "rectanglelabels", "time": "choices", "bones": "keypointlabels"}
    result = [
        {"from_name": name, "type": kind, "value": {kind: [label]}}
        for name, label in drawn
        for kind in [kinds.get(name, "labels")]
    ]
    return LabelledTask(number, at, data, ({"result": result, "was_cancelled": cancelled},))


def keys(found) -> list[str]:
    return [scope.key for scope in found]


def test_a_project_has_one_model_unless_it_says_otherwise() -> None:
    tasks = [labelled(1, ("box", "Dog"), ("time", "day")), labelled(2)]
    assert scopes(config(BOXES, CHOICES.format("")), tasks) == [
        Scope(ScopeKind.PROJECT, ("box", "time"))
    ]
    assert scopes(config(BOXES), []) == []
    assert scopes(config(BOXES), [labelled(1)]) == []  # nothing drawn yet: nothing to learn
    assert scopes(config(BOXES), [labelled(1, ("box", "Dog"), cancelled=True)]) == []


def test_a_model_for_each_label() -> None:
    each = config(BOXES.format('scope="Label"'), BONES, CHOICES.format(""), image='scope="label"')
    tasks = [
        labelled(1, ("box", "Кот"), ("box", "Кот")),
        labelled(2, ("box", "Dog"), ("box", "gone")),
        labelled(3, ("time", "Dog")),
        labelled(4, ("time", "day")),
    ]
    found = scopes(each, tasks)
    assert keys(found) == ["label Dog", "label Кот", "label day"]
    # A box may be the whole of a skeleton.
    assert [one.controls for one in found] == [
        ("box", "time", "bones"),
        ("box", "bones"),
        ("time",),
    ]
    assert found[1].labels == {"Кот"}


def test_points_of_a_skeleton_have_no_model_of_their_own() -> None:
    each = config(BOXES, BONES, image='scope="label"')
    task = labelled(1, ("box", "Dog"), ("bones", "a"), ("bones", "b"))
    task.annotations[0]["result"][1]["parentID"] = "r"
    assert keys(scopes(each, [task])) == ["label Dog", "label b"]


def test_a_model_for_each_value_of_a_field() -> None:
    each = config(BOXES.format('scope="scene"'), CHOICES.format(""))
    values: list[Any] = ["night", "night", "Ночь", 7, 7.5, True, None, "", ["a"], "x" * 201]
    tasks = [labelled(n, ("box", "Dog"), scene=value) for n, value in enumerate(values)]
    found = scopes(each, [*tasks, labelled(99, ("time", "day"))])
    assert found[0] == Scope(ScopeKind.FIELD, ("box",), field="scene", value="night")
    assert set(keys(found)) == {
        "scene=night", "scene=Ночь", "scene=7", "scene=7.5", "scene=True", "project",
    }  # fmt: skip
    assert [covers(found[0], Task(n, {"scene": value})) for n, value in enumerate(values)] == [
        value == "night" for value in values
    ]
    assert field_value({}, "scene") is None


def test_a_field_that_no_task_has_is_told() -> None:
    notes: list[str] = []
    each = config(BOXES.format('scope="scen"'))
    assert scopes(each, [labelled(1, ("box", "Dog"), scene="a")], told=notes.append) == []
    assert notes == ['scope="scen" names nothing that labelled tasks have']


def test_a_model_for_each_clip() -> None:
    tasks = [labelled(3, ("track", "car")), labelled(12, ("track", "car")), labelled(4)]
    found = scopes(clip_config(), tasks)
    assert found[0].controls == ("track",)
    assert sorted(keys(found)) == ["clip 12", "clip 3"]
    assert [covers(found[0], Task(number, {})) for number in (3, 12)].count(True) == 1


def test_too_many_scopes_are_told_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SCOPES", 2)
    notes: list[str] = []
    tasks = [labelled(n, ("track", "car"), at=f"202{n}") for n in range(4)]
    assert keys(scopes(clip_config(), tasks, told=notes.append)) == ["clip 3", "clip 2"]
    assert notes == ["of 4 scopes the 2 with most labels have a model"]


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ('<Rectangle name="a" toName="image"/><Labels name="l" toName="image">L</Labels>', True),
        ('<Ellipse name="a" toName="image"/>', False),  # no label: nobody could say what it is
        ('<Choices name="a" toName="image" perRegion="true"><Choice value="x"/></Choices>', False),
        ('<TextArea name="a" toName="image"/>', False),
        ('<Taxonomy name="a" toName="image"><Choice value="x"/></Taxonomy>', True),
        ('<BrushLabels name="a" toName="image" value="$labels"/>', True),
        ('<KeyPointLabels name="a" toName="image" smartOnly="true">L</KeyPointLabels>', False),
        (
            '<RectangleLabels name="a" toName="image" smartOnly="true">L</RectangleLabels>'
            '<BrushLabels name="b" toName="image">L</BrushLabels>',
            True,  # the brush
        ),
    ],
)
def test_what_is_filled(control: str, said: bool) -> None:
    found = config(control.replace("L<", f"{LABELS}<"))
    assert fills(found) is said
    assert (check(found) == []) is said
    assert all(one.name != "a" for one in module.image_controls(found) if "smartOnly" in control)


def test_what_is_wrong_is_told() -> None:
    assert "=" in check(config(BOXES.format('scope="a=b"')))[0]
    assert "each clip" in check(clip_config('scope="scene"'))[0]
    second = config(
        BOXES,
        '<Image name="two" value="$two"/>',
        BOXES.replace("box", "other").replace('toName="image"', 'toName="two"'),
    )
    assert "two" in check(second)[0]
    assert scopes(config(BOXES.format('scope="a=b"')), [labelled(1, ("box", "Dog"))]) == []


def test_a_scope_is_found_again_by_its_key() -> None:
    mixed = config(BOXES.format('scope="scene"'), CHOICES.format('scope="label"'), BONES)
    tasks = [labelled(1, ("box", "Dog"), ("time", "day"), ("bones", "a"), scene="a=b")]
    found = scopes(mixed, tasks)
    assert sorted(keys(found)) == ["label day", "project", "scene=a=b"]
    assert [scope_of(mixed, one.key) for one in found] == found
    assert scope_of(clip_config(), "clip 7") == Scope(ScopeKind.CLIP, ("track",), value="7")
    for key in ("label Кот", "clip 7", "other=1", "", "scene"):
        assert scope_of(mixed, key) is None
