"""Whose annotation counts, and what is left out with a line."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from backends.consensus import reading
from backends.consensus.nouns import Overlap
from backends.consensus.reading import emails, names, person_of, read_overlap, without_audits
from backends.errors import MediaError
from backends.interface import ImageFile, LabelledTask, Project
from backends.label_studio.label_xml import parse_label_config
from micro_models.regions import Box, Image, WholeImage

CONFIG = parse_label_config(
    """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="Kätzchen"/></RectangleLabels>
<Choices name="light" toName="image"><Choice value="hell"/><Choice value="dark"/></Choices>
</View>"""
)
PROJECT = Project("7.1700000000", CONFIG)


class Pictures:
    """Knows the size of every picture, or none."""

    def __init__(self, *, size: tuple[int, int] | None = None) -> None:
        self.size, self.asked = size, 0

    def locate(self, url: str, project_key: str, task_id: int | None = None) -> ImageFile:
        self.asked += 1
        if self.size is None:
            raise MediaError("the picture is gone")
        return ImageFile(path=None, digest="d", width_px=self.size[0], height_px=self.size[1])  # type: ignore[arg-type]

    def read(self, file: ImageFile) -> Image:
        raise AssertionError("no picture needs to be read")


def box(x: float, **more: Any) -> dict[str, Any]:
    return {
        "id": f"b{x}",
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "value": {"x": x, "y": 0, "width": 10, "height": 10, "rectanglelabels": ["Kätzchen"]},
        **more,
    }


def light(name: str) -> dict[str, Any]:
    return {
        "type": "choices",
        "from_name": "light",
        "to_name": "image",
        "value": {"choices": [name]},
    }


def by(person: Any, result: Any, at: int = 0, **more: Any) -> dict[str, Any]:
    made = f"2026-01-01T00:00:{at:02d}Z"
    return {"id": at, "completed_by": person, "result": result, "updated_at": made, **more}


def overlap(*annotations: dict[str, Any], images: Pictures | None = None) -> tuple[Any, Any]:
    problems: dict[int, str] = {}
    task = LabelledTask(3, "now", {"image": "/a.png"}, annotations)
    return read_overlap(task, PROJECT, images or Pictures(), problems), problems


def test_each_person_counts_once_by_the_newest() -> None:
    found, problems = overlap(
        by(1, [box(0)], 1),
        by(1, [box(50)], 5),
        by(2, [box(20)], 2),
        by(2, [], 9, was_cancelled=True),
    )
    assert problems == {}
    assert found.size_px == (200, 100)
    shapes = {person: [one.shape for one in some] for person, some in found.answers.items()}
    assert shapes == {1: [Box(100, 0, 120, 10)], 2: [Box(40, 0, 60, 10)]}


def test_a_ground_truth_counts_before_what_the_same_person_says_later() -> None:
    found, _ = overlap(by(1, [box(0)], 1, ground_truth=True), by(1, [], 5), by(2, [], 2))
    assert [len(found.answers[person]) for person in (1, 2)] == [1, 0]


@pytest.mark.parametrize(
    "annotations",
    [
        [],
        [by(1, [box(0)])],
        [by(1, [box(0)]), by(1, [box(5)], 2)],
        [by(1, [box(0)]), by(2, [], was_cancelled=True)],
        [by(1, [box(0)]), by(None, [box(1)])],
        [by(1, [box(0)]), by(2, "broken", 2)],
    ],
    ids=["nobody", "one", "one twice", "one skipped", "nobody knows who", "unreadable"],
)
def test_one_person_is_no_overlap(annotations: list[dict[str, Any]]) -> None:
    assert overlap(*annotations)[0] is None


def test_what_cannot_be_read_is_told_and_an_older_one_stands_in() -> None:
    broken = box(0, value={"x": "?"})
    found, problems = overlap(by(1, [broken], 5), by(1, [box(50)], 1), by(2, [box(0)], 2))
    assert len(found.answers[1]) == 1
    assert problems == {}
    found, problems = overlap(by(1, [broken], 5), by(2, [box(0)]), by(3, [box(0)], 2))
    assert sorted(found.answers) == [2, 3]
    assert "nothing can be read" in problems[3]


def test_what_labelpilot_stored_is_no_voice_even_changed_by_a_person() -> None:
    problems: dict[int, str] = {}
    annotations = by(1, [box(0)]), by(9, [box(0)], 3, created_at="2025-01-01T00:00:00Z")
    task = LabelledTask(3, "now", {"image": "/a.png"}, annotations)
    assert read_overlap(task, PROJECT, Pictures(), problems, account=9) is None
    assert read_overlap(task, PROJECT, Pictures(), problems) is not None


def test_where_nobody_drew_the_size_is_the_pictures() -> None:
    found, _ = overlap(by(1, []), by(2, [], 1), images=Pictures(size=(400, 200)))
    assert found.size_px == (400, 200)
    found, _ = overlap(by(1, []), by(2, [], 1), images=Pictures())
    assert found.size_px == (1, 1)


def test_people_have_names_and_no_addresses() -> None:
    class Users:
        @staticmethod
        def list() -> list[Any]:
            return [
                SimpleNamespace(id=1, first_name="Änne", last_name="", email="a@example.com"),
                SimpleNamespace(id=2, first_name="b@example.com", last_name=None, email="b@x.com"),
            ]

    client: Any = SimpleNamespace(users=Users)
    assert names(client, [1, 2, 3]) == {1: "Änne", 2: "user 2", 3: "user 3"}
    assert emails(client, [1, 2, 3]) == {1: "a@example.com", 2: "b@x.com"}


def test_classes_need_no_picture_and_sizes_that_differ_ask_for_it() -> None:
    images = Pictures(size=(400, 200))
    of_classes = [one for one in CONFIG.controls if one.tag == "Choices"]
    project = Project("7.1700000000", replace(CONFIG, controls=tuple(of_classes)))
    both = by(1, [light("hell")]), by(2, [light("dark")], 1)
    task = LabelledTask(3, "now", {"image": "/a.png"}, both)
    found = read_overlap(task, project, images, {})
    assert found is not None
    assert images.asked == 0
    assert [one.shape for one in found.answers[1]] == [WholeImage()]
    other = box(0, original_width=999)
    found, _ = overlap(by(1, [box(0)]), by(2, [other], 1), images=images)
    assert (images.asked, found.size_px) == (1, (400, 200))
    with pytest.raises(MediaError):
        overlap(by(1, [box(0)]), by(2, [other], 1))


def test_too_many_regions_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_COMPARED", 1)
    found, problems = overlap(by(1, [box(0), box(30)]), by(2, [box(0)], 1))
    assert found is None
    assert "not compared" in problems[3]


@pytest.mark.parametrize(
    ("person", "number"), [(4, 4), ({"id": 4}, 4), (None, None), ("4", None), (True, None)]
)
def test_who_it_is_by(person: Any, number: int | None) -> None:
    assert person_of({"completed_by": person}) == number


def test_audits_stay_blind() -> None:
    tasks = [Overlap(task, (20, 10), {1: (), 2: ()}) for task in (3, 4, 5)]
    left, problems = without_audits(tasks, {4, 9})
    assert [one.task_id for one in left] == [3, 5]
    assert problems == {4: "it is an audit, and is to stay blind"}
