import numpy as np
import pytest

from backends.label_studio.consensus import agreed
from micro_models.regions import Keypoints, Mask, Region
from tests.backends.label_studio.annotated import box, point, whole

# In each row: what each person said, the newest first, and what they agree on.
CAT, MOVED, FAR = box("cat"), box("cat", x0=30), box("cat", x0=100, x1=190)
DOG, BIRD = box("dog"), box("bird")
DAY, NIGHT, WET = whole("day"), whole("night"), whole("wet")
AGREED = {
    "nobody": ([], []),
    "one": ([[CAT, FAR, DAY]], [CAT, FAR, DAY]),
    "nobody saw anything": ([[], []], []),
    "all the same": ([[CAT], [CAT], [CAT]], [CAT]),
    "two of three": ([[], [CAT], [CAT]], [CAT]),
    "one of three": ([[CAT], [], []], []),
    "two, both": ([[CAT], [MOVED]], [CAT]),
    "two, the newer": ([[CAT], []], [CAT]),
    "two, the older": ([[], [CAT]], []),
    "two of four, the newest among them": ([[CAT], [CAT], [], []], [CAT]),
    "two of four, without the newest": ([[], [CAT], [CAT], []], []),
    "the medoid": ([[CAT], [box("cat", x0=26)], [box("cat", x0=32)]], [box("cat", x0=26)]),
    "of two the newer": ([[MOVED], [CAT]], [MOVED]),
    "too far to be the same": ([[CAT], [box("cat", x0=55)], [FAR]], []),
    "two objects": ([[CAT, FAR], [FAR, CAT], [FAR]], [CAT, FAR]),
    "most call it cat": ([[DOG], [CAT], [CAT]], [CAT]),
    "two call it differently": ([[DOG], [CAT]], [DOG]),
    "everybody calls it differently": ([[BIRD], [DOG], [CAT]], [BIRD]),
    "most see it, few agree on the name": ([[BIRD], [DOG], [CAT], [MOVED], []], [CAT]),
    "labels of one region": ([[CAT, DOG], [CAT], [CAT, DOG]], [CAT, DOG]),
    "one above the other": ([[DOG, CAT], [CAT], [DOG]], [DOG, CAT]),
    "one person twice": ([[CAT, CAT], [], []], []),
    "points": ([[point("eye")], [point("eye", 26)], [point("eye", 60)]], [point("eye")]),
    "points at their distance": ([[point("eye", 36)], [point("eye")], []], []),
    "classes": ([[DAY], [DAY, WET], [NIGHT, WET]], [DAY, WET]),
    "classes of two": ([[NIGHT, WET], [DAY]], [NIGHT, WET]),
    "regions and classes": ([[CAT, DAY], [WET], [CAT, DAY]], [CAT, DAY]),
}


@pytest.mark.parametrize("name", AGREED)
def test_what_people_agree_on(name):
    answers, regions = AGREED[name]
    assert agreed(answers) == tuple(regions)


ONE_OF = [("day", "night", "dusk")]
VOTES = {
    "most": ([[NIGHT], [DAY], [DAY]], [DAY]),
    "all different": ([[whole("dusk")], [NIGHT], [DAY]], [whole("dusk")]),
    "two": ([[NIGHT], [DAY]], [NIGHT]),
    "the newest of the tied": ([[whole("dusk")], [NIGHT], [DAY], [DAY], [NIGHT]], [NIGHT]),
    "most chose none": ([[DAY], [], []], []),
    "two of five are enough": ([[DAY], [DAY], [NIGHT], [whole("dusk")], []], [DAY]),
    "beside others": ([[NIGHT, WET], [DAY], [DAY, WET]], [DAY, WET]),
}


@pytest.mark.parametrize("name", VOTES)
def test_classes_that_exclude_each_other_are_voted_on(name):
    answers, regions = VOTES[name]
    assert agreed(answers, one_of=ONE_OF) == tuple(regions)


def test_points_are_the_same_within_a_distance():
    answers = [[point("eye", 36)], [point("eye")], []]
    assert agreed(answers, point_px=20) == (point("eye", 36),)


def test_masks_and_skeletons_are_compared_as_such():
    masks = [np.zeros((100, 200), bool) for _ in range(3)]
    for index, mask in enumerate(masks):
        mask[10:50, 10 + 5 * index : 60] = True
    answers = [[Region("cat", Mask(mask))] for mask in masks]
    assert agreed(answers)[0].shape is answers[1][0].shape
    bodies = [
        Keypoints(np.float32([[0, 0], [x, 80], [40, 10]]), np.float32([0, 1, 1]))
        for x in (20, 21, 60)
    ]
    answers = [[Region("cat", body)] for body in bodies]
    assert agreed(answers)[0].shape in bodies[:2]
