from pathlib import Path

import pytest

from backends.label_studio.config import (
    check_label_config,
    choose_output,
    describe_mapping,
    is_background,
    parse_label_config,
)

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
    # Those of the YOLO backend are tested there.
    found = {path.stem for path in FOLDER.glob("*.xml") if not path.stem.startswith("yolo_")}
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
