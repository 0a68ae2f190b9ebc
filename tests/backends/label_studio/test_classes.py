import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BadRegion, BadRequest
from backends.interface import PlacedRegion, Prediction
from backends.label_studio.classes import decode_classes
from backends.label_studio.config import parse_label_config
from backends.label_studio.label_xml import label_names
from backends.label_studio.results import encode_prediction, encode_region
from micro_models.regions import Region, WholeImage
from tests.hostile import hostile_variations

FLAT = '<Choice value="Cat"/><Choice value="Big dog" alias="dog"/><Choice value="Bird"/>'
TREE = """<Choice value="Animals" alias="a"><Choice value="Cat"/><View><Choice value="dog"/></View>
  </Choice><Choice value="Cars"><Choice value="dog"/></Choice><Choice value="a/Cat"/>"""


def config(tag, extra="", choices=FLAT):
    return parse_label_config(
        '<View><Image name="image" value="$image"/>'
        f'<{tag} name="c" toName="image" {extra}>{choices}</{tag}></View>'
    )


def encoded(config, *found):
    """The one result for (label, score) of each class."""
    regions = [
        PlacedRegion(f"r{i}", Region(label, WholeImage(), score), "c")
        for i, (label, score) in enumerate(found)
    ]
    (item,) = encode_prediction(Prediction(tuple(regions), 0.5, "v1", 4, 4), config)["result"]
    return json.loads(json.dumps(item))


@pytest.mark.parametrize(
    ("tag", "extra", "choices", "labels"),
    [
        ("Choices", "", FLAT, ("Cat", "dog", "Bird")),
        ("choices", 'choice="multiple"', FLAT, ("Cat", "dog", "Bird")),
        ("Choices", "", TREE, ("a", "Cars", "a/Cat")),  # the editor passes over the inner ones
        ("Choices", 'allowNested="true"', TREE, ("a/Cat", "a/dog", "Cars/dog")),
        ("Taxonomy", "", TREE, ("a", "a/Cat", "a/dog", "Cars", "Cars/dog")),
        ("taxonomy", 'LeafsOnly="true"', TREE, ("a/Cat", "a/dog", "Cars/dog")),
        ("Taxonomy", 'value="$tree"', "", ()),
        ("Taxonomy", "", FLAT, ("Cat", "dog", "Bird")),
        ("Taxonomy", "", "", ()),
    ],
)
def test_labels_are_what_the_editor_lets_people_choose(tag, extra, choices, labels):
    (control,) = config(tag, extra, choices).controls
    assert control.labels == labels


def test_a_label_of_a_tree_has_a_path_attributes_and_names():
    choices = """<Choice value="Animals"><Choice value="Dog" alias="d" predicted_values="puppy"/>
      </Choice>"""
    (control,) = config("Taxonomy", "", choices).controls
    assert control.paths["Animals/d"] == ("Animals", "d")
    assert control.label_attributes["Animals/d"]["predicted_values"] == "puppy"
    assert label_names(control, "Animals/d") == ("Animals/d", "d", "Dog")
    assert label_names(control, "Animals") == ("Animals",)
    (flat,) = config("Choices").controls
    assert flat.paths == {}
    assert label_names(flat, "dog") == ("dog", "Big dog")


@pytest.mark.parametrize(
    ("tag", "extra", "choices", "found", "value", "score"),
    [
        ("Choices", "", FLAT, [("Cat", 0.2), ("dog", 0.7)], {"choices": ["dog"]}, 0.7),
        ("Choices", 'choice="single"', FLAT, [("Cat", 0.2)], {"choices": ["Cat"]}, 0.2),
        (
            "Choices", 'choice="multiple"', FLAT, [("Cat", 0.25), ("dog", 0.75), ("Cat", 0.1)],
            {"choices": ["dog", "Cat"]}, 0.5,
        ),
        (
            "Choices", 'choice="multiple" allowNested="true"', TREE,
            [("a/Cat", 0.5), ("Cars/dog", 0.25)], {"choices": [["a", "Cat"], ["Cars", "dog"]]},
            0.375,
        ),
        (
            "Taxonomy", "", TREE, [("a/dog", 0.5), ("a", 0.25)],
            {"taxonomy": [["a", "dog"], ["a"]]}, 0.375,
        ),
        (
            "Taxonomy", 'maxUsages="1"', TREE, [("a", 0.25), ("a/dog", 0.5)],
            {"taxonomy": [["a", "dog"]]}, 0.5,
        ),
        ("Taxonomy", 'value="$tree"', "", [("x/y", 0.5)], {"taxonomy": [["x/y"]]}, 0.5),
        ("Choices", "", FLAT, [("Zebra", 0.9), ("Cat", 0.2)], {"choices": ["Cat"]}, 0.2),
    ],
)  # fmt: skip
def test_classes_of_one_control_are_one_result(tag, extra, choices, found, value, score):
    item = encoded(config(tag, extra, choices), *found)
    assert (item["id"], item["from_name"], item["to_name"]) == ("r0", "c", "image")
    assert item["type"] == tag.lower()
    assert item["value"] == value
    assert item["score"] == pytest.approx(score)


def test_classes_of_two_controls_are_two_results():
    read = parse_label_config(
        '<View><Image name="image" value="$image"/><Choices name="c" toName="image">'
        f'{FLAT}</Choices><Taxonomy name="t" toName="image">{TREE}</Taxonomy></View>'
    )
    regions = [
        PlacedRegion(name, Region(label, WholeImage()), control)
        for name, label, control in [("1", "Cat", "c"), ("2", "a", "t"), ("3", "Cars", "t")]
    ]
    result = encode_prediction(Prediction(tuple(regions), 0.5, "v1", 4, 4), read)["result"]
    assert [(item["id"], item["value"]) for item in result] == [
        ("1", {"choices": ["Cat"]}),
        ("2", {"taxonomy": [["a"], ["Cars"]]}),
    ]


labels = st.sampled_from(["a", "a/Cat", "a/dog", "Cars", "Cars/dog"])


@given(st.lists(labels, min_size=1, unique=True), st.floats(0, 1))
def test_decode_is_the_inverse_of_encode(found, score):
    item = encoded(config("Taxonomy", "", TREE), *((label, score) for label in found))
    regions = decode_classes(item)
    assert [region.label for region in regions] == found
    assert all(region.shape == WholeImage() for region in regions)
    assert [region.score for region in regions] == pytest.approx([score] * len(found))


@pytest.mark.parametrize("tag", ["Choices", "Taxonomy"])
def test_a_hostile_choice_is_at_worst_a_bad_request(tag):
    for where, changed in hostile_variations(encoded(config(tag), ("Cat", 0.5))):
        try:
            regions = decode_classes(changed)
        except BadRequest:
            continue
        assert all(isinstance(region, Region) for region in regions), where


def test_a_class_that_the_control_cannot_hold_is_refused():
    with pytest.raises(BadRegion, match='no label "Zebra"'):
        encoded(config("Choices"), ("Zebra", 0.5))
    placed = PlacedRegion("r", Region("Cat", WholeImage()), "c")
    boxes = config("RectangleLabels", "", '<Label value="Cat"/>')
    with pytest.raises(BadRegion, match="holds no class"):
        encode_region(placed, boxes, size_px=(4, 4))
