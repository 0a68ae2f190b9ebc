from pathlib import Path

import pytest

from backends.interface import LabelledTask
from backends.label_studio.config import (
    check_label_config,
    choose_output,
    describe_mapping,
    is_background,
    parse_label_config,
)
from backends.micro.scopes import check, scopes

FOLDER = Path(__file__).parents[2] / "examples" / "label_configs"

EXPECTED = {
    "background_label": ("Cat", "brush", "brush"),
    "choose_output": ("Dog", "polygon", "polygon"),
    "labels_pair": ("Cat", "brush", "brush"),
    "output_by_prompt": ("Car", "polygon", "polygon"),
    "to_bitmask": ("Cat", "bitmask", "bitmask"),
    "to_brush": ("Dog", "brush", "brush"),
    "to_ellipse": ("Cat", "ellipse", "ellipse"),
    "to_polygon": ("Dog", "polygon", "polygon"),
    "to_rectangle": ("Cat", "rectangle", "box"),
}


def test_every_example_is_expected():
    # Those of the YOLO backend are tested there, that of micro-models below.
    others = ("yolo_", "micro_")
    found = {path.stem for path in FOLDER.glob("*.xml") if not path.stem.startswith(others)}
    assert found == set(EXPECTED)


@pytest.mark.parametrize(("name", "expected"), EXPECTED.items())
def test_an_example_works_as_it_says(name, expected):
    label, kind, control = expected
    config = parse_label_config((FOLDER / f"{name}.xml").read_text())
    output = choose_output(config, "image", label)
    assert (output.kind, output.control.name) == (kind, control)
    assert check_label_config(config) == []
    assert all(mapping.output for mapping in describe_mapping(config))


def test_the_background_example_has_negative_points():
    config = parse_label_config((FOLDER / "background_label.xml").read_text())
    assert is_background(config, "point", "Background")
    assert not is_background(config, "point", "Cat")


def drawn(control, kind, label):
    return {"from_name": control, "to_name": "image", "type": kind, "value": {kind: [label]}}


def test_the_example_of_scopes_has_a_model_for_each():
    config = parse_label_config((FOLDER / "micro_scopes.xml").read_text())
    results = [
        drawn("vehicle", "rectanglelabels", "Car"),
        drawn("vehicle", "rectanglelabels", "Bus"),
        drawn("puddle", "polygonlabels", "Puddle"),
        drawn("weather", "choices", "Rain"),
    ]
    data = {"image": "http://host/1.jpg", "scene": "harbour"}
    labelled = [LabelledTask(1, "2026-01-01", data, ({"id": 1, "result": results},))]
    found = {scope.key: scope.controls for scope in scopes(config, labelled)}
    assert found == {
        "label Car": ("vehicle",),
        "label Bus": ("vehicle",),
        "scene=harbour": ("puddle",),
        "project": ("weather",),
    }
    assert check(config) == []
