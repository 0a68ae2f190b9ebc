from __future__ import annotations

import re

import pytest

from backends.label_studio.label_xml import parse_label_config
from backends.micro.versions import UNTRAINED, is_ours, is_stored, project_version

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image" scope="scene"><Label value="Car"/></RectangleLabels>
</View>"""
MODELS = {"scene=day": "0123456789ab", "scene=night": "ba9876543210"}


def version(config: str = CONFIG, *, threshold: float = 0.5, **models: str) -> str:
    chosen = MODELS | {f"scene={name}": value for name, value in models.items()}
    return project_version(parse_label_config(config), chosen, threshold=threshold)


def test_without_models_nothing_carries_it() -> None:
    none = project_version(parse_label_config(CONFIG), {}, threshold=0.5)
    assert none == UNTRAINED
    assert not is_stored(none)
    assert not is_ours(none)


def test_it_is_a_family_and_a_hash() -> None:
    assert re.fullmatch(r"micro-[0-9a-f]{10}", version())
    assert is_stored(version())
    assert is_ours(version())


def test_the_order_of_models_colours_and_hotkeys_are_no_matter() -> None:
    turned = dict(reversed(MODELS.items()))
    coloured = CONFIG.replace('value="Car"', 'value="Car" background="red" hotkey="1"')
    assert project_version(parse_label_config(coloured), turned, threshold=0.5) == version()


@pytest.mark.parametrize(
    "other",
    [
        version(threshold=0.6),
        version(day="ffffffffffff"),
        version(dusk="0123456789ab"),
        version(CONFIG.replace("Car", "Bus")),
        version(CONFIG.replace('name="box"', 'name="frame"')),
        version(CONFIG.replace("$image", "$photo")),
        version(CONFIG.replace('"scene"', '"label"')),
    ],
)
def test_whatever_changes_answers_changes_it(other: str) -> None:
    assert other != version()


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("yolo-0123456789", True),
        ("yolo-none", False),
        ("yolo-v8-import", False),
        ("micro-0123456789a", False),
        ("my micro-0123456789", False),
        ("labelpilot", False),
        ("", False),
    ],
)
def test_ours(text: str, ours: bool) -> None:
    assert is_ours(text) == ours
