from __future__ import annotations

import pytest

from backends.interface import Control
from backends.label_studio.label_xml import parse_label_config
from backends.yolo.mapping import Ambiguity, map_classes, map_points, shortened


def control(*labels: str, tag: str = "RectangleLabels", **predicted: str) -> Control:
    attributes = {label: {"value": label} for label in labels}
    for label, values in predicted.items():
        attributes[label]["predicted_values"] = values
    return Control(tag, "c", "image", labels, label_attributes=attributes)


@pytest.mark.parametrize(
    ("classes", "asked", "expected"),
    [
        (["car"], control("car"), {"car": "car"}),
        (["Person"], control("person"), {"Person": "person"}),
        (["person"], control("PERSON"), {"person": "PERSON"}),
        (["STRASSE"], control("straße"), {"STRASSE": "straße"}),
        (["traffic light"], control("Traffic_Light"), {"traffic light": "Traffic_Light"}),
        (["T-shirt"], control("t shirt"), {"T-shirt": "t shirt"}),
        (["cars"], control("car"), {}),
        (["jeep", "cab"], control("Car", Car="jeep, cab,limousine"), {"jeep": "Car", "cab": "Car"}),
        (["Jeep"], control("Car", Car="jeep"), {"Jeep": "Car"}),
        # predicted_values come first, even before a label of the very name
        (["truck"], control("truck", "Car", Car="truck"), {"truck": "Car"}),
        # the exact name comes before one in another case
        (["car", "Car"], control("Car", "car"), {"car": "car", "Car": "Car"}),
        ([], control("car"), {}),
        (["car"], control(), {}),
    ],
)
def test_classes_find_their_labels(classes: list[str], asked: Control, expected: dict) -> None:
    assert map_classes(classes, asked).labels == expected


def test_a_label_is_known_by_alias_value_and_place_in_a_tree() -> None:
    config = parse_label_config("""<View><Image name="i" value="$i"/>
    <RectangleLabels name="r" toName="i"><Label value="car" alias="vehicle-1"/></RectangleLabels>
    <Taxonomy name="t" toName="i"><Choice value="Animals"><Choice value="dog"/></Choice></Taxonomy>
    </View>""")
    rectangles, taxonomy = config.controls
    assert map_classes(["car"], rectangles).labels == {"car": "vehicle-1"}
    assert map_classes(["Dog"], taxonomy).labels == {"Dog": "Animals/dog"}


def test_what_is_left_over_is_told() -> None:
    classes = ["car", "truck", "bus", "cat", "dog", "cow", "hen"]
    asked = control("Car", "Big", "Tree", Car="car,truck", Big="truck,bus")
    told = map_classes(classes, asked)
    assert told.ambiguous == (Ambiguity("truck", "Car", ("Big",)),)
    assert told.labels_without_class == ("Tree",)
    assert told.classes_without_label == ("cat", "dog", "cow", "hen")
    assert str(told) == (
        "car → Car, truck → Car, bus → Big; no class for Tree; "
        "4 classes without a label: cat, dog, cow, hen; truck is wanted by Car, Big: Car gets it"
    )


def test_only_some_classes() -> None:
    told = map_classes(
        ["car", "Fire Truck", "bus"], control("car", "Fire Truck"), only=("fire_truck",)
    )
    assert told.labels == {"Fire Truck": "Fire Truck"}
    assert told.labels_without_class == ("car",)
    assert told.classes_without_label == ()


def test_points_have_labels_by_index() -> None:
    attributes = {
        "nose": {"predicted_values": "person,dog", "model_index": "0"},
        "eyes": {"predicted_values": "person", "model_index": "1,2"},
        "any": {"model_index": "3"},
        "none": {"predicted_values": "person"},
        "late": {"predicted_values": "person", "model_index": "0"},
    }
    asked = Control("KeyPointLabels", "k", "i", tuple(attributes), label_attributes=attributes)
    assert map_points(["person", "dog"], asked) == {
        ("person", 0): "nose",
        ("dog", 0): "nose",
        ("person", 1): "eyes",
        ("person", 2): "eyes",
        ("person", 3): "any",
        ("dog", 3): "any",
    }
    assert set(map_points(["person", "dog"], asked, only=("dog",))) == {("dog", 0), ("dog", 3)}


def test_long_lists_are_cut() -> None:
    assert shortened(["a", "b"]) == "a, b"
    assert shortened(map(str, range(9))) == "0, 1, 2, 3, 4 and 4 more"
    assert len(shortened(["x" * 1000])) == 40


def test_a_thousand_classes() -> None:
    names = [f"class {number}" for number in range(1000)]
    labels = map_classes(names, control(*(name.upper() for name in names))).labels
    assert labels == {name: name.upper() for name in names}
