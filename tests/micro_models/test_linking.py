from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_models.linking import Linked, Linker, LinkOptions, linked
from micro_models.regions import Box, Point, Region, RotatedBox


def car(x: float, score: float = 0.9, *, y: float = 50, side: float = 20, label="car") -> Region:
    return Region(label, Box(x, y, x + side, y + side), score)


def frames(run) -> list[int]:
    return [frame for frame, _ in run]


def spans(one: Linked) -> list[tuple[int, int]]:
    return [(run[0][0], run[-1][0]) for run in one.runs]


# Scores in a row of frames, 0 where nothing was found -> from which frame to which it is there.
TIMES = {
    "always there": ([0.9] * 30, [(0, 29)]),
    "a model that wavers around the threshold": ([0.8, 0.8, 0.45, 0.55, 0.4] * 6, [(0, 29)]),
    "unseen for two frames": ([0.95] * 12 + [0] * 2 + [0.95] * 12, [(0, 25)]),
    "weak for a while": ([0.9] * 10 + [0.3] * 6 + [0.9] * 10, [(0, 25)]),
    "gone for ten frames": ([0.9] * 12 + [0] * 10 + [0.9] * 12, [(0, 11), (22, 33)]),
    "gone, something weak instead": ([0.9] * 12 + [0.15] * 20 + [0.9] * 9, [(0, 11), (32, 40)]),
    "weak alone": ([0.4] * 30, []),
    "never there": ([0.0] * 30, []),
    "one strong flicker": ([0] * 10 + [0.9] + [0] * 10, []),
    "it comes and stays": ([0] * 10 + [0.9] * 10, [(10, 19)]),
    "it leaves": ([0.9] * 10 + [0] * 10, [(0, 9)]),
    "a clip of one frame": ([0.9], [(0, 0)]),
}  # fmt: skip


@pytest.mark.parametrize(("scores", "there"), TIMES.values(), ids=TIMES)
def test_when_it_is_there(scores: list[float], there: list[tuple[int, int]]) -> None:
    found = [[car(2 * n, score)] if score else [] for n, score in enumerate(scores)]
    objects = linked(found)
    assert [span for one in objects for span in spans(one)] == there
    assert len(objects) == bool(there)  # one object that comes and goes


def test_the_more_a_model_misses_the_longer_nothing_says_nothing() -> None:
    found = [[car(n)] if not 20 <= n < 24 else [] for n in range(60)]
    (sharp,), (blind,) = (linked(found, LinkOptions(recall=part)) for part in (0.98, 0.5))
    assert (len(sharp.runs), len(blind.runs)) == (2, 1)


def test_nobody_is_unseen_for_longer_than_the_gap() -> None:
    found = [[car(0)] if n % 4 == 0 else [] for n in range(60)]
    options = [LinkOptions(recall=0.3, max_gap=gap) for gap in (3, 2)]
    (one,), none = (linked(found, each) for each in options)
    assert spans(one) == [(0, 56)]
    assert none == []


def test_a_jump_is_no_movement() -> None:
    found = [[car(10)] for _ in range(20)] + [[car(250)] for _ in range(20)]
    (one,) = linked(found)
    assert spans(one) == [(0, 19), (20, 39)]


def test_a_fast_object_is_one_object() -> None:
    found = [[car(60 * abs(n % 20 - 10), 0.8), car(300, 0.2)] for n in range(60)]
    (one,) = linked(found)
    assert spans(one) == [(0, 59)]


def test_of_two_things_the_one_that_is_told_to_be_alone_is_the_surer() -> None:
    found = [[car(n, 0.8), car(200, 0.6)] for n in range(30)]
    (one,) = linked(found)
    assert spans(one) == [(0, 29)]
    assert {region.shape.x0 for _, region in one.runs[0]} == set(range(30))


def test_objects_that_cross_keep_who_they_are() -> None:
    def found(n: int) -> list[Region]:
        return [car(4 * n, 0.9, y=40), car(160 - 4 * n, 0.8, y=60)]

    objects = linked([found(n) for n in range(40)], LinkOptions(most={"car": 2}))
    assert [spans(one) for one in objects] == [[(0, 39)]] * 2
    for one in objects:
        assert len({region.shape.y0 for _, region in one.runs[0]}) == 1


def test_one_that_goes_is_not_one_that_came_meanwhile() -> None:
    found = [
        ([car(0, 0.9)] if n < 60 else []) + ([car(200, 0.9)] if n >= 30 else []) for n in range(90)
    ]
    objects = linked(found, LinkOptions(most={"car": 2}))
    assert [spans(one) for one in objects] == [[(0, 59)], [(30, 89)]]


def test_labels_have_objects_of_their_own() -> None:
    found = [[car(0), car(0, label="Собака")] for _ in range(9)]
    assert sorted(one.label for one in linked(found)) == ["car", "Собака"]


def test_turned_boxes_stay_as_they_are_and_other_shapes_are_left_out() -> None:
    turned = Region("car", RotatedBox(50, 60, 30, 10, 25.0), 0.9)
    (one,) = linked([[turned, Region("dot", Point(1, 1), 0.9)] for _ in range(5)])
    assert [region for _, region in one.runs[0]] == [turned] * 5


def test_what_a_person_drew_is_there_and_what_they_did_not_is_not() -> None:
    linker = Linker(LinkOptions())
    for frame in range(40):
        if frame == 30:
            linker.see_drawn(frame, [car(100, 1.0)])
        elif frame == 10:
            linker.see_drawn(frame, [])
        else:
            linker.see(frame, [car(frame)] if frame < 20 else [])
    (one,) = linker.objects()
    assert spans(one) == [(0, 9), (11, 19), (30, 30)]
    assert one.drawn == {30}


scores = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.95])
boxes = st.builds(car, st.floats(0, 200), scores, side=st.floats(0, 60))
clips = st.lists(st.tuples(st.booleans(), st.lists(boxes, max_size=4)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(clips, st.integers(1, 3))
def test_whatever_is_found_what_was_drawn_stands_and_frames_hold_no_more(clip, most) -> None:
    linker = Linker(LinkOptions(most={"car": most}))
    for frame, (is_drawn, regions) in enumerate(clip):
        (linker.see_drawn if is_drawn else linker.see)(frame, regions)
    runs = [(one, run) for one in linker.objects() for run in one.runs]
    assert all(frames(run) == sorted(set(frames(run))) for _, run in runs)
    limit = max([most, *(len(regions) for is_drawn, regions in clip if is_drawn)])
    for frame, (is_drawn, regions) in enumerate(clip):
        there = [run for _, run in runs if run[0][0] <= frame <= run[-1][0]]
        assert len(there) <= limit
        if is_drawn:
            told = sorted(edges(region) for run in there for at, region in run if at == frame)
            assert told == pytest.approx(sorted(map(edges, regions)))
            assert len(there) == len(regions)
            assert all(frame in one.drawn for one, run in runs if frame in frames(run))


def edges(region: Region) -> float:
    return region.shape.x0 + 1000 * (region.shape.x1 - region.shape.x0)


def test_nothing_is_no_object() -> None:
    assert linked([]) == []
    assert linked([[]] * 3) == []


def test_a_long_clip_full_of_noise() -> None:
    found = [
        [car(100 + 50 * math.sin(n / 30), 0.9), car(n * 37 % 300, 0.2), car(n * 91 % 300, 0.3)]
        for n in range(1500)
    ]
    (one,) = linked(found, LinkOptions(max_gap=15))
    assert spans(one) == [(0, 1499)]
