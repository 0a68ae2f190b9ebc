"""Hostile label configs: an answer or one sentence, in time that does not explode."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BadLabelConfig
from backends.interface import LabelConfig
from backends.label_studio.config import check_label_config, describe_mapping
from backends.label_studio.label_xml import parse_label_config
from tests.security.limits import bounded

IMAGE = '<Image name="i" value="$image"/>'


def many(text: str, count: int) -> str:
    return "".join(text % number for number in range(count))


def view(inside: str) -> str:
    return f"<View>{IMAGE}{inside}</View>"


def control(tag: str, labels: int, *, name: str = "r", to_name: str = "i", smart: str = "") -> str:
    inside = many('<Label value="%d"/>', labels)
    return f'<{tag} name="{name}" toName="{to_name}"{smart}>{inside}</{tag}>'


BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
REFUSED = {
    "entities": f'<!DOCTYPE a [<!ENTITY e0 "ha">{BOMB}]>' + view("<Label value='&e9;'/>"),
    "one large entity": f'<!DOCTYPE a [<!ENTITY e "{"x" * 90_000}">]>' + view("&e;" * 5000),
    "file": '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + view("&e;"),
    "network": '<!DOCTYPE a [<!ENTITY e SYSTEM "http://127.0.0.1:1/">]>' + view("&e;"),
    "parameter entity": '<!DOCTYPE a [<!ENTITY % e SYSTEM "file:///etc/passwd"> %e;]>' + view(""),
    "external DTD": '<!DOCTYPE View SYSTEM "http://127.0.0.1:1/a.dtd">' + view(""),
    "10 MB": view("<!--" + "x" * 10_000_000 + "-->"),
    "many targets": view(f'<RectangleLabels name="r" toName="{",".join("i" * 400_000)}"/>'),
    "many controls": view(many('<Choices name="r%d" toName="i"/>', 20_000)),
    "many objects": view(many('<Image name="i%d" value="$image"/>', 20_000)),
    "labels by controls": view(
        control("RectangleLabels", 20_000) + many('<Brush name="b%d" toName="i"/>', 400)
    ),
    "a tree of long paths": view(
        '<Taxonomy name="t" toName="i">'
        + f'<Choice value="{"x" * 40}">' * 99
        + many('<Choice value="%d"/>', 20_000)
        + "</Choice>" * 99
        + "</Taxonomy>"
    ),
    "half a character": view("\ud800"),
}
READ = {
    "said to be UTF-16": '<?xml version="1.0" encoding="utf-16"?>' + view(""),
    "deep": view("<a>" * 100_000 + "</a>" * 100_000),
    "many attributes": view("<Text " + many('a%d="x" ', 60_000) + "/>"),
    "a large attribute": view(f'<Text name="t" value="{"x" * 900_000}"/>'),
    "many labels": view(control("RectangleLabels", 15_000)),
    "many labels of two tools": view(
        control("KeyPointLabels", 8000, name="k") + control("BrushLabels", 8000)
    ),
    "many comments": view("<!-- -->" * 100_000),
    "nested labels": view(
        '<Labels name="l" toName="i">'
        + '<Label value="a">' * 20_000
        + "</Label>" * 20_000
        + "</Labels>"
    ),
}


def use(config: str) -> None:
    """What /setup and the status page do with it."""
    parsed = parse_label_config(config)
    list(map(str, describe_mapping(parsed)))
    check_label_config(parsed)


@pytest.mark.parametrize("name", REFUSED)
def test_bombs_are_refused(name: str) -> None:
    with bounded(), pytest.raises(BadLabelConfig) as told:
        use(REFUSED[name])
    assert len(str(told.value)) < 2000
    assert "root:" not in str(told.value)


@pytest.mark.parametrize("name", READ)
def test_large_configs_are_read_in_proportion(name: str) -> None:
    with bounded():
        use(READ[name])


@pytest.mark.parametrize("name", [*REFUSED, *READ])
def test_the_server_answers_and_lives(client: TestClient, name: str) -> None:
    config = (REFUSED | READ)[name].encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    body = {"project": "7.1", "schema": config}
    with bounded(cpu_s=60):
        assert client.post("/setup", json=body).status_code in (200, 400)
    asked = {"project": "7.1", "label_config": config, "tasks": [{"id": 1, "data": {"image": "x"}}]}
    assert client.post("/predict", json=asked).status_code in (200, 400, 422, 424)
    assert client.get("/").status_code == 200


def test_a_broken_config_is_read_once_however_often_it_is_asked_for(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def count(text: str) -> LabelConfig:
        read.append(text)
        return parse_label_config(text)

    monkeypatch.setattr("backends.serving.services.parse_label_config", count)
    config = view("<Broken")
    for _ in range(3):
        client.post("/setup", json={"project": "7.1", "schema": config})
        assert "is not XML" in client.get("/").text
    assert read.count(config) == 1


TAGS = [
    "View",
    "Image",
    "Video",
    "KeyPointLabels",
    "RectangleLabels",
    "BrushLabels",
    "Labels",
    "Choices",
    "Taxonomy",
    "Choice",
    "Label",
    "Text",
    "Polygon",
    "TimelineLabels",
    "a:b",
]
NAMES = [
    "name",
    "toName",
    "value",
    "smart",
    "alias",
    "model_path",
    "labelpilot_output",
    "scope",
    "allowNested",
    "leafsOnly",
    "predicted_values",
    "labelpilot_background",
]
VALUES = st.sampled_from(
    [
        "",
        "i",
        "i,i",
        "r",
        "$image",
        "$",
        "true",
        "false",
        "brush",
        "1e999",
        "-1",
        ",",
        "\u202e",
        "<",
        "'",
    ]
) | st.text(max_size=8)
ATTRIBUTES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> str:
    tag, attributes = draw(st.sampled_from(TAGS)), draw(ATTRIBUTES)
    inside = "".join(draw(st.lists(trees(depth=depth - 1), max_size=3))) if depth else ""
    said = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<{tag}{said}>{inside}</{tag}>"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(inside=st.lists(trees(), max_size=4).map("".join))
def test_any_tags_are_read_or_refused(inside: str) -> None:
    try:
        use(view(inside))
    except BadLabelConfig as error:
        assert len(str(error)) < 5000  # noqa: PT017


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(max_size=60) | st.text("<>/&;!?[]-= \"'View", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for config in (text, f"<View>{text}</View>"):
        try:
            use(config)
        except BadLabelConfig as error:
            assert len(str(error)) < 5000  # noqa: PT017
