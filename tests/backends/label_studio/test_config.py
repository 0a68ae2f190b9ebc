import pytest

from backends.errors import BadLabelConfig
from backends.label_studio.config import (
    OutputKind,
    check_label_config,
    choose_output,
    describe_mapping,
    find_control,
    is_background,
    labels_control,
    parse_label_config,
    prompt_controls,
)
from backends.label_studio.label_xml import attribute, label_names

IMAGE = '<Image name="image" value="$image"/>'
LABELS = '<Label value="Cat"/><Label value="Dog"/>'


def config(*tags):
    return parse_label_config(f"<View>{''.join(tags)}</View>")


def control(tag, name=None, labels=LABELS, extra="", to="image"):
    return f'<{tag} name="{name or tag}" toName="{to}" {extra}>{labels}</{tag}>'


POINTS = control("KeyPointLabels", "kp")
BOXES = control("RectangleLabels", "rect")
BRUSH = control("BrushLabels", "brush", extra='smart="false"')
BOMB = '<!DOCTYPE b [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><View><Text name="&b;"/></View>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        (None, "empty"),
        (7, "empty"),
        ("<View>", "not XML"),
        ("hello", "not XML"),
        ("<View/><View/>", "not XML"),
        ('<View name="\x00"/>', "not XML"),
        ("<View>\ud800</View>", "not XML"),
        ("<View>" + "x" * 1_000_001 + "</View>", "1000014 characters"),
        ("<Image name='image' value='$image'/>", "not with <View>"),
        (BOMB, "DTD or entities"),
        ('<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>', "DTD or entities"),
        ('<View><BrushLabels name="b" toName="img"/></View>', 'toName="img", which names no tag'),
        ('<View><Text name="a" value="$a"/><Image name="a" value="$b"/></View>', "named a"),
    ],
)
def test_what_is_no_label_config_says_why(text, message):
    with pytest.raises(BadLabelConfig, match=message):
        parse_label_config(text)


def test_deep_nesting_is_read():
    parse_label_config("<View>" * 20_000 + IMAGE + "</View>" * 20_000)


def test_deeply_nested_choices_are_refused_before_their_paths_fill_the_memory():
    deep = '<Choice value="x">' * 5_000 + "</Choice>" * 5_000
    with pytest.raises(BadLabelConfig, match="deeper than 100 levels"):
        config(IMAGE, control("Taxonomy", labels=deep))
    # The editor writes no paths for these, and takes none but the first.
    assert config(IMAGE, control("Choices", labels=deep)).controls[0].labels == ("x",)


def test_nested_views_headers_comments_and_unicode():
    read = config(
        "<Style>.a {}</Style><Header name='h' value='Кошки'/><!-- <Image/> -->",
        f"<View><View>{IMAGE}</View></View>",
        control("KeyPointLabels", "kp", '<Label value="Кошка 猫" background="red"/>'),
    )
    assert [(medium.tag, medium.name, medium.data_key) for medium in read.media] == [
        ("Image", "image", "image")
    ]
    assert read.controls[0].labels == ("Кошка 猫",)
    assert read.controls[0].label_attributes["Кошка 猫"]["background"] == "red"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ('<Label value="Cat" alias="c"/><Label value="Dog"/>', ("c", "Dog")),
        ('<View><Header value="x"/><Label value="Cat"/></View>', ("Cat",)),
        ('<Choice value="a"><Choice value="b"/></Choice><Choice value="c"/>', ("a", "b", "c")),
        ('<Label value="$labels"/>', ()),
        ("<Label/>", ()),
        ("", ()),
        ('<label value="Cat"/>', ("Cat",)),
    ],
)
def test_labels_are_what_the_editor_writes(labels, expected):
    assert config(IMAGE, control("BrushLabels", labels=labels)).controls[0].labels == expected


def test_labels_of_an_inner_control_are_its_own():
    inner = control("Choices", "inner", '<Choice value="in"/>')
    read = config(IMAGE, control("Labels", "outer", f'<Label value="out"/>{inner}'))
    assert {c.name: c.labels for c in read.controls} == {"outer": ("out",), "inner": ("in",)}


def test_a_config_without_an_image_parses():
    text = '<Text name="t" value="$t"/>'
    read = config(text, control("Choices", "c", '<Choice value="x"/>', to="t"))
    assert [medium.tag for medium in read.media] == ["Text"]


def test_a_control_with_two_targets_becomes_two():
    read = config(
        '<Image name="a" value="$left"/><Image name="b" valueList="$right"/>',
        control("KeyPointLabels", "kp", to="a,b"),
        control("BrushLabels", "brush", to="a", extra='smart="false"'),
        control("PolygonLabels", "poly", to="b"),
    )
    assert [(c.name, c.to_name) for c in read.controls[:2]] == [("kp", "a"), ("kp", "b")]
    assert [medium.data_key for medium in read.media] == ["left", "right"]
    assert choose_output(read, "a", "Cat").kind == OutputKind.BRUSH
    assert choose_output(read, "b", "Cat").kind == OutputKind.POLYGON
    assert find_control(read, "poly").to_name == "b"
    assert find_control(read, "kp").to_name == "a"
    assert find_control(read, "kp", "b").to_name == "b"


@pytest.mark.parametrize(
    "tag", ["Choices", "Taxonomy", "VideoRectangle", "TimelineLabels", "KeyPointLabels", "Labels"]
)
@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_every_control_is_known_in_any_case(tag, spelled):
    read = config('<VIDEO name="image" value="$v"/>', control(spelled(tag), "c"))
    assert [medium.tag for medium in read.media] == ["Video"]
    assert read.controls[0].tag == tag


def test_attributes_of_labels_and_tags_are_kept():
    label = '<Label value="Cat" alias="c" predicted_values="cat,tiger" model_classes="15"/>'
    read = config(IMAGE, control("RectangleLabels", "r", label, 'Model_Path="a.pt"'))
    (boxes,) = read.controls
    assert boxes.label_attributes["c"]["predicted_values"] == "cat,tiger"
    assert boxes.attributes["Model_Path"] == "a.pt"
    assert attribute(boxes, "model_path") == "a.pt"
    assert attribute(boxes, "model_conf") == ""
    assert label_names(boxes, "c") == ("c", "Cat")


def test_a_config_without_tags_is_empty():
    read = parse_label_config("<View/>")
    assert (read.media, read.controls) == ((), ())


def test_tags_are_taken_in_any_case_as_by_the_editor():
    read = config(IMAGE, POINTS, control("brushlabels", "b", extra='smart="false"'))
    assert choose_output(read, "image", "Cat").control.tag == "BrushLabels"


OTHERS = [
    control("EllipseLabels"), control("PolygonLabels"), control("BitmaskLabels"),
    control("BrushLabels"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("present", "kind"),
    [(0, "rectangle"), (1, "ellipse"), (2, "polygon"), (3, "bitmask"), (4, "brush")],
)
def test_the_most_exact_kind_present_is_chosen(present, kind):
    read = config(IMAGE, POINTS, BOXES, *OTHERS[:present])
    assert choose_output(read, "image", "Cat").kind == kind


def test_a_control_that_lacks_the_label_is_passed_over():
    only_dog = control("BrushLabels", "brush", '<Label value="Dog"/>')
    read = config(IMAGE, POINTS, only_dog, control("PolygonLabels"))
    assert choose_output(read, "image", "Cat").kind == OutputKind.POLYGON
    assert choose_output(read, "image", "Dog").kind == OutputKind.BRUSH


def test_a_control_with_labels_from_the_task_takes_any_label():
    dynamic = '<BrushLabels name="b" toName="image" value="$labels"/>'
    assert choose_output(config(IMAGE, dynamic), "image", "Zebra").control.name == "b"


def test_no_control_for_a_label_names_it():
    with pytest.raises(BadLabelConfig, match=r'label "Zebra".*add <BrushLabels'):
        choose_output(config(IMAGE, POINTS, BRUSH), "image", "Zebra")


@pytest.mark.parametrize("form", ["KeyPoint", "Rectangle"])
def test_the_pair_form_gives_both_controls(form):
    labels = control("Labels", "lab")
    pair = f'<{form} name="p" toName="image"/><Brush name="br" toName="image" smart="false"/>'
    read = config(IMAGE, labels, pair)
    output = choose_output(read, "image", "Dog")
    assert (output.control.name, output.labels_control.name) == ("br", "lab")
    assert find_control(read, "br") == output.control
    assert labels_control(read, output.control, "Dog") == output.labels_control
    assert labels_control(read, output.control, "Zebra") is None
    assert check_label_config(read) == []
    with pytest.raises(BadLabelConfig):
        choose_output(read, "image", "Zebra")


def test_a_prompt_without_a_label_prefers_a_control_without_labels():
    plain = '<Brush name="plain" toName="image" smart="false"/>'
    assert choose_output(config(IMAGE, BRUSH, plain), "image", None).control.name == "plain"
    assert choose_output(config(IMAGE, BRUSH), "image", None).control.name == "brush"


@pytest.mark.parametrize("kind", ["polygon", "Rectangle", " brush "])
def test_the_output_can_be_chosen_on_the_image(kind):
    image = f'<Image name="image" value="$image" labelpilot_output="{kind}"/>'
    read = config(image, POINTS, BOXES, BRUSH, control("PolygonLabels"))
    assert choose_output(read, "image", "Cat").kind == kind.strip().lower()


def test_the_prompt_control_overrides_the_image():
    image = '<Image name="image" value="$image" labelpilot_output="brush"/>'
    points = control("KeyPointLabels", extra='labelpilot_output="polygon"')
    read = config(image, points, BRUSH, control("PolygonLabels"))
    assert choose_output(read, "image", "Cat").kind == OutputKind.POLYGON


@pytest.mark.parametrize("kind", ["circle", "bitmask"])
def test_an_impossible_override_names_the_choices(kind):
    image = f'<Image name="image" value="$image" labelpilot_output="{kind}"/>'
    read = config(image, POINTS, BRUSH, BOXES)
    with pytest.raises(BadLabelConfig, match=f'"{kind}".*choose among brush, rectangle'):
        choose_output(read, "image", "Cat")
    assert any(kind in problem or "choose among" in problem for problem in check_label_config(read))


@pytest.mark.parametrize(
    "tags",
    [
        (
            IMAGE,
            control("KeyPointLabels", "kp", '<Label value="Bg" labelpilot_background="TRUE"/>'),
        ),
        (IMAGE, control("KeyPointLabels", "kp", extra='labelpilot_background="Bg"')),
        ('<Image name="image" value="$i" labelpilot_background="Bg"/>', POINTS),
    ],
)
def test_a_background_label_is_told_in_three_ways(tags):
    read = config(*tags)
    assert is_background(read, "kp", "Bg")
    assert not is_background(read, "kp", "Cat")
    assert not is_background(read, "kp", None)
    assert not is_background(read, "other", "Bg")


def test_a_background_label_needs_no_output():
    background = LABELS + '<Label value="Bg" labelpilot_background="true"/>'
    read = config(IMAGE, control("KeyPointLabels", "kp", background), BRUSH)
    assert check_label_config(read) == []
    assert describe_mapping(read)[0].labels == ("Cat", "Dog")


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (['<Text name="t" value="$t"/>'], "has no image; add <Image"),
        ([IMAGE, BRUSH], 'No smart tool points to <Image name="image">; add'),
        ([IMAGE, control("KeyPointLabels", extra='smart="false"'), BRUSH], "No smart tool"),
        ([IMAGE, POINTS], "with Cat, Dog can become no region; add <BrushLabels"),
        ([IMAGE, POINTS, control("BrushLabels", "b")], 'add smart="false"'),
        ([IMAGE, POINTS, control("BitmaskLabels", "b")], 'add smart="false"'),
        (
            [IMAGE, POINTS, control("BrushLabels", "b", '<Label value="Cat"/>', 'smart="false"')],
            "with Dog can become no region",
        ),
        (
            [IMAGE, control("KeyPointLabels", extra='labelpilot_background="Sky"'), BRUSH],
            'add <Label value="Sky"/>',
        ),
    ],
)
def test_each_problem_comes_with_its_cure(tags, problem):
    problems = check_label_config(config(*tags))
    assert len(problems) == 1
    assert problem in problems[0]


def test_a_good_config_has_no_problems():
    assert check_label_config(config(IMAGE, POINTS, BOXES, BRUSH)) == []


def test_the_mapping_reads_well():
    dog = control("PolygonLabels", "poly", '<Label value="Dog"/>')
    brush = control("BrushLabels", "brush", '<Label value="Cat"/>', 'smart="false"')
    bird = control("KeyPointLabels", "kp", LABELS + '<Label value="Bird"/>')
    assert [str(line) for line in describe_mapping(config(IMAGE, bird, brush, dog))] == [
        "<KeyPointLabels kp> (Cat) gives <BrushLabels brush> as brush",
        "<KeyPointLabels kp> (Dog) gives <PolygonLabels poly> as polygon",
        "<KeyPointLabels kp> (Bird) gives nothing",
    ]


def test_only_points_and_boxes_on_images_prompt():
    text = '<Text name="t" value="$t"/>'
    read = config(IMAGE, text, POINTS, BRUSH, BOXES, control("Labels", "lab", to="t"))
    assert [prompt.name for prompt in prompt_controls(read)] == ["kp", "rect"]


@pytest.mark.parametrize(("name", "to_name"), [("nothing", None), ("kp", "other")])
def test_what_is_no_control_is_not_found(name, to_name):
    with pytest.raises(BadLabelConfig, match=f'no control named "{name}"'):
        find_control(config(IMAGE, POINTS, BRUSH), name, to_name)


def test_each_prompt_control_may_have_an_output_of_its_own_for_the_same_label() -> None:
    config = parse_label_config(
        """<View><Image name="i" value="$image"/>
        <KeyPointLabels name="k" toName="i" labelpilot_output="polygon"><Label value="Cat"/>
        </KeyPointLabels>
        <RectangleLabels name="r" toName="i" labelpilot_output="rectangle"><Label value="Cat"/>
        </RectangleLabels>
        <PolygonLabels name="p" toName="i"><Label value="Cat"/></PolygonLabels></View>"""
    )
    assert choose_output(config, "i", "Cat", prompt="k").kind == "polygon"
    assert choose_output(config, "i", "Cat", prompt="r").kind == "rectangle"
