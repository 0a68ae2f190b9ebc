import copy

import pytest

from backends.label_studio.annotations import Reading, read_annotation
from backends.label_studio.config import parse_label_config
from tests.backends.label_studio.annotated import (
    CHOICES,
    LABELS,
    SIZE_PX,
    TAGS,
    box,
    choice,
    config,
    key_point,
    point,
    rectangle,
    result,
    whole,
)

CLASSES = config(
    "Rectangle",
    f'<Choices name="choices" toName="image">{CHOICES}</Choices>',
    f'<Choices name="about" toName="image" perRegion="true">{CHOICES}</Choices>',
    '<Taxonomy name="tree" toName="image"><Choice value="Animals"><Choice value="cat"/></Choice>'
    "</Taxonomy>",
)


def pair(tool, *labels, name="r", **value):
    """The two results of `<Labels>` beside a tool."""
    common = {"id": name, "to_name": "image", "original_width": 200, "original_height": 100}
    shape = common | {"from_name": tool, "type": tool, "value": value}
    return [shape, common | {"from_name": "l", "type": "labels",
                             "value": {**value, "labels": list(labels)}}]  # fmt: skip


PAIRS = config(
    f'<Labels name="l" toName="image">{LABELS}</Labels>',
    *(f'<{tag} name="{tag.lower()}" toName="image"/>' for tag in TAGS),
    '<MagicWand name="magicwand" toName="image"/>',
)
PLACE = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}

READ = {
    "nothing": (config(), [], []),
    "a box": (config(), [rectangle("Кот")], [box("Кот")]),
    "a box drawn backwards": (
        config(), [rectangle("Dog", x=40, y=60, width=-30, height=-40)], [box("Dog")]
    ),
    "a box a little over the edge": (
        config(),
        [rectangle("Dog", x=-0.5, y=20, width=101.3, height=80.004)],
        [box("Dog", 0, 20, 200, 100)],
    ),
    "a box half outside": (
        config(), [rectangle("Dog", x=-30, y=-40, width=70, height=100)], [box("Dog", 0, 0, 80, 60)]
    ),
    "several labels": (config(), [rectangle("Кот", "Dog")], [box("Кот"), box("Dog")]),
    "doubled": (
        config(),
        [rectangle("Кот"), rectangle("Кот", name="again", x=10.0001), rectangle("Dog", name="d"),
         key_point("Dog"), key_point("Dog", name="q"), rectangle("Кот")],
        [box("Кот"), box("Dog"), point("Dog")],
    ),
    "an accepted prediction has its score": (
        config(), [rectangle("Dog") | {"score": 0.2, "origin": "prediction-changed"}], [box("Dog")]
    ),
    "percents need no size": (
        config(),
        [{key: value for key, value in rectangle("Dog").items() if not key.startswith("orig")}],
        [box("Dog")],
    ),
    "of a thumbnail": (
        config(), [rectangle("Dog") | {"original_width": 20, "original_height": 10}], [box("Dog")]
    ),
    "the view turned": (config(), [rectangle("Dog") | {"image_rotation": 90}], [box("Dog")]),
    "without an id": (
        config(), [{**rectangle("Dog"), "id": None}, {**key_point("Dog"), "id": 7}],
        [box("Dog"), point("Dog")],
    ),
    "classes": (
        CLASSES,
        [choice("day", "night"), choice(["Animals", "cat"], ["Animals"], control="tree",
                                        kind="taxonomy"), choice("day", name="again")],
        [whole("day"), whole("night"), whole("Animals/cat"), whole("Animals")],
    ),
    "classes about a region": (
        CLASSES,
        [rectangle("Dog"), choice("day", name="r"), choice("night", control="about", name="gone")],
        [box("Dog")],
    ),
    "what is no region": (
        config(),
        [{"type": "relation", "from_id": "r", "to_id": "r", "direction": "right"},
         {"type": "rating", "id": "s", "to_name": "image", "from_name": "s",
          "value": {"rating": 4}},
         {"type": "textarea", "id": "r", "to_name": "image", "from_name": "t",
          "value": {**PLACE, "text": ["a"]}}, rectangle("Dog")],
        [box("Dog")],
    ),
    "another picture of a list": (config(), [rectangle("Dog") | {"item_index": 1}], []),
    "pairs": (
        PAIRS,
        [*pair("rectangle", "Кот", "Dog", **PLACE),
         *pair("keypoint", "Dog", name="p", x=10, y=20, width=1)],
        [box("Кот"), box("Dog"), point("Dog")],
    ),
    "labels that the task brings": (
        config('<RectangleLabels name="rectangle" toName="image" value="$names"/>'),
        [rectangle("anything")],
        [box("anything")],
    ),
    "the prompt's label left on the answer": (
        config(),
        [rectangle("Dog"), {**rectangle("Dog"), "type": "keypointlabels", "from_name": "keypoint",
                            "value": {**PLACE, "keypointlabels": ["Кот"]}}],
        [box("Dog")],
    ),
    "the answer without a label": (
        config(),
        [rectangle(), {**rectangle(), "type": "keypointlabels", "from_name": "keypoint",
                       "value": {**PLACE, "keypointlabels": ["Кот"]}}],
        [box("Кот")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name):
    label_config, results, regions = READ[name]
    before = copy.deepcopy(results)
    reading = read_annotation(results, label_config, size_px=SIZE_PX)
    assert reading == Reading(tuple(regions), ())
    assert reading.is_complete
    assert results == before


BACKGROUND = '<Label value="Dog"/><Label value="not it" labelpilot_background="true"/>'
SMART = f'<RectangleLabels name="rectangle" toName="image" smart="true">{LABELS}</RectangleLabels>'
ONLY_SMART = SMART.replace('smart="true"', 'smart="true" smartOnly="true"')
SMART_POINTS = f'<KeyPointLabels name="kp" toName="image" smart="true">{LABELS}</KeyPointLabels>'
LEFT_OUT = {
    "an open prompt": (config(), [key_point("Dog", is_positive=True)], "open prompt"),
    "a negative one": (config(), [key_point("Dog", is_positive=False)], "open prompt"),
    "a prompt of a pair": (
        PAIRS,
        [one | {"is_positive": True} for one in pair("keypoint", "Dog", x=10, y=20, width=1)],
        "open prompt",
    ),
    "background": (
        config(f'<KeyPointLabels name="keypoint" toName="image">{BACKGROUND}</KeyPointLabels>'),
        [key_point("not it")],
        "open prompt",
    ),
    "a rectangle that only asks": (config(ONLY_SMART, "Brush"), [rectangle("Dog")], "open prompt"),
    "no label": (config(), [rectangle()], "no label"),
    "half a pair": (PAIRS, pair("rectangle", **PLACE)[:1], "no label"),
    "unknown label": (config(), [rectangle("Zebra")], 'no label "Zebra"'),
    "unknown class": (CLASSES, [choice("dusk")], 'no choice "dusk"'),
    "a class that is no text": (CLASSES, [choice(4)], "is no text"),
    "another kind": (config(), [result("vector", "Dog", vertices=[])], "no micro-model learns"),
    "not an object": (config(), [None], "result 0"),
    "no list": (config(), {"a": 1}, "no list"),
    "no image": (
        parse_label_config('<View><Text name="t" value="$t"/></View>'), [], "has no image"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_told(name):
    label_config, results, words = LEFT_OUT[name]
    reading = read_annotation(results, label_config, size_px=SIZE_PX)
    assert reading.regions == ()
    assert len(reading.problems) == 1
    assert words in reading.problems[0]
    assert not reading.is_complete


@pytest.mark.parametrize("controls", [(SMART, "Brush"), (ONLY_SMART,), (ONLY_SMART, SMART_POINTS)])
def test_a_rectangle_of_a_smart_tool_is_no_prompt_by_that_alone(controls):
    reading = read_annotation([rectangle("Dog")], config(*controls), size_px=SIZE_PX)
    assert reading == Reading((box("Dog"),))


def test_each_picture_of_a_task_has_its_own():
    two = parse_label_config(
        '<View><Image name="a" value="$a"/><Image name="b" value="$b"/>'
        f'<RectangleLabels name="rectangle" toName="a,b">{LABELS}</RectangleLabels>'
        f'<Choices name="choices" toName="b">{CHOICES}</Choices></View>'
    )
    results = [
        rectangle("Dog") | {"to_name": "a"},
        rectangle("Кот", name="s") | {"to_name": "b"},
        choice("day") | {"to_name": "b"},
        rectangle("Dog", name="t") | {"to_name": "c"},
    ]
    first = read_annotation(results, two, size_px=SIZE_PX)
    second = read_annotation(results, two, size_px=(100, 100), to_name="b")
    assert first == Reading((box("Dog"),), ('region "t": it is on no picture',))
    assert second.regions == (box("Кот", 10, 20, 40, 60), whole("day"))
