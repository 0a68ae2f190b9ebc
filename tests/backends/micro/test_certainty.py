from __future__ import annotations

import pytest

from backends.label_studio.label_xml import parse_label_config
from backends.micro.certainty import certainty
from backends.micro.controls import Controls
from micro_models.fitting.report import Report
from micro_models.regions import Box, Region, WholeImage

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="box" toName="image"><Label value="car"/></RectangleLabels>
<Choices name="time" toName="image"><Choice value="day"/><Choice value="night"/></Choices>
<Choices name="sky" toName="image" choice="multiple">
<Choice value="sun"/><Choice value="rain"/></Choices>
</View>"""


def box(score: float, x: int = 0) -> Region:
    return Region("car", Box(x, 0, x + 9, 9), score)


def whole(label: str, score: float) -> Region:
    return Region(label, WholeImage(), score)


@pytest.mark.parametrize(
    ("found", "labels", "expected"),
    [
        ([box(0.95)], {"car": 10}, 0.9),
        ([box(0.95), box(0.55, 50)], {"car": 10}, 0.1),
        ([box(0.95), box(0.45, 50)], {"car": 10}, 0.2),
        ([], {"car": 10}, 0.5),  # one is usual, and none is there
        ([], {"car": 1}, 0.95),
        ([], {"day": 5, "night": 5}, 0.0),  # one of them is right
        ([whole("day", 0.8), whole("night", 0.2)], {"day": 5, "night": 5}, 0.6),
        ([whole("day", 0.8), whole("night", 0.2)], {"day": 3, "night": 3}, 0.6),  # none, mostly
        ([], {"day": 3, "night": 3}, 1.0),
        ([whole("day", 0.9)], {"day": 10}, 0.8),  # nothing that it could be instead
        ([whole("sun", 0.9), whole("rain", 0.9)], {"sun": 9, "rain": 9}, 0.8),
        ([box(0.95), whole("day", 0.6), whole("night", 0.4)],
         {"car": 10, "day": 5, "night": 5}, 0.2),
    ],
)  # fmt: skip
def test_the_least_sure_decision_counts(
    found: list[Region], labels: dict[str, int], expected: float
) -> None:
    report = Report("forest", "", 10, labels, 0, 1.0, {}, 0)
    controls = Controls(parse_label_config(CONFIG))
    assert certainty(found, controls, report, threshold=0.5) == pytest.approx(expected)
