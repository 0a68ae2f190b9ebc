from pathlib import Path

import pytest

from backends.interface import Clip, VideoFile
from backends.label_studio.config import parse_label_config
from backends.label_studio.tracks import Timeline, encode_track
from backends.micro.clips import MAX_EXAMPLES, clip_examples
from micro_models.regions import Box, Region, RotatedBox
from micro_models.tracks import KeyFrame, Track

VIDEO = VideoFile(Path("clip.mp4"), "0" * 64, 200, 100, Clip(500, 25))
CONFIG = parse_label_config(
    '<View><Video name="v" value="$video" framerate="25"/><VideoRectangle name="b" toName="v"/>'
    '<Labels name="l" toName="v"><Label value="car"/><Label value="dog"/></Labels></View>'
)
ON, OFF = True, False


def box(x, y=10):
    return Box(x, y, x + 20, y + 10)


def track(*keys, label="car"):
    """Of (frame, x) or (frame, x, whether it is on after that)."""
    made = [KeyFrame(key[0], box(key[1]), key[2] if len(key) > 2 else ON) for key in keys]
    return Track(label, tuple(made))


def read(*tracks, video=VIDEO):
    timeline = Timeline(video.clip, 25)
    size_px = (video.width_px, video.height_px)
    result = [
        {
            "id": str(number),
            "type": "videorectangle",
            "value": encode_track(one, timeline, size_px) | {"labels": [one.label]},
        }
        for number, one in enumerate(tracks)
    ]
    return clip_examples(
        [{"id": 1, "result": result}], CONFIG, video, medium=CONFIG.media[0], data={}
    )


def told(regions):
    return [(one.label, round(one.shape.x0, 3)) for one in regions]


def test_key_frames_are_examples():
    truth = read(track((3, 0), (100, 50), (200, 90)))
    assert {frame: told(regions) for frame, regions in truth.frames.items()} == {
        3: [("car", 0)], 100: [("car", 50)], 200: [("car", 90)],
    }  # fmt: skip
    assert truth.known == truth.frames
    assert (truth.key_frames, truth.problems) == (3, ())


def test_every_track_is_in_each_frame_where_it_is_on():
    truth = read(
        track((0, 0), (100, 4), (200, 8)), track((50, 100), (100, 102), (150, 104), label="dog")
    )
    assert {frame: told(regions) for frame, regions in truth.frames.items()} == {
        0: [("car", 0)],  # the dog is taken to come with its first key frame
        50: [("car", 2), ("dog", 100)],
        100: [("car", 4), ("dog", 102)],
        150: [("car", 6), ("dog", 104)],
    }  # in 200 nobody has said where the dog is


def test_a_box_far_from_where_it_was_drawn_teaches_nothing_and_is_not_known():
    car = track((0, 0), (100, 20), (200, 150), (300, 160))
    dog = track((0, 90), (150, 90), (200, 90), (300, 90), label="dog")
    truth = read(car, dog)
    assert set(truth.frames) == set(truth.known) == {0, 100, 200, 300}
    few = read(track((0, 0), (200, 150)), track((100, 90), label="dog"))
    assert set(few.frames) == {0, 100, 200}  # better than nothing
    assert set(few.known) == {0}


def test_times_off_are_examples_of_nothing():
    truth = read(track((0, 0), (40, 20), (90, 30), (100, 30, OFF), (141, 60), (200, 60)))
    empty = [frame for frame, regions in truth.frames.items() if not regions]
    assert empty == [121]
    assert [frame for frame, regions in truth.known.items() if not regions] == [101, 121]


@pytest.mark.parametrize(
    ("back_at", "empty"), [(105, []), (110, []), (111, [106]), (151, [126]), (401, [251])]
)
def test_where_in_a_time_off(back_at, empty):
    truth = read(track((0, 0), (40, 20), (90, 30), (100, 30, OFF), (back_at, 60), (450, 60)))
    assert [frame for frame, regions in truth.frames.items() if not regions] == empty


@pytest.mark.parametrize(("examples", "empty"), [(3, [341]), (5, [221, 341]), (8, [111, 221, 341])])
def test_nothing_is_shown_as_often_as_in_the_clip_and_the_longest_times_first(examples, empty):
    """A model takes objects to be there as often as its examples show them."""
    off = [(100, 30, OFF), (121, 30), (200, 30, OFF), (241, 30), (300, 30, OFF), (381, 30)]
    on = [(frame, 30) for frame in (0, 40, 150, 260, 270, 280, 450, 460)]
    truth = read(track(*sorted([*on[:examples], *off])))
    assert [frame for frame, regions in truth.frames.items() if not regions] == empty


def test_off_to_the_end_of_the_clip():
    truth = read(track((0, 0), (40, 20), (90, 30), (459, 30, OFF)))
    assert [frame for frame, regions in truth.frames.items() if not regions] == [480]
    assert [f for f, regions in read(track((499, 0, OFF))).known.items() if not regions] == []


def test_a_key_frame_of_another_in_a_time_off_shows_it_already():
    car = track((0, 0), (40, 20), (90, 30), (100, 30, OFF), (141, 60), (200, 60))
    dog = track((0, 90), (120, 90), (200, 90), label="dog")
    assert told(read(car, dog).frames[120]) == [("dog", 90)]
    assert 121 not in read(car, dog).frames


def test_coming_and_going_is_known_and_learned_from_only_where_there_is_little_else():
    keys = (100, 30, OFF), (141, 60)
    truth = read(track((0, 0), (40, 20), *keys, (200, 60)))
    assert set(truth.frames) == {0, 40, 121, 200}
    assert set(truth.known) == {0, 40, 100, 101, 121, 141, 200}
    assert set(read(track((0, 0), *keys, (200, 60))).frames) == {0, 100, 121, 141, 200}


SHOWN = {
    "inside": (box(50), box(50)),
    "partly outside": (Box(-10, 95, 15, 120), Box(0, 95, 15, 100)),
    "outside": (Box(300, 10, 350, 40), None),
    "a line": (Box(50, 10, 50.4, 40), None),
    "turned": (RotatedBox(100, 50, 40, 20, 30), RotatedBox(100, 50, 40, 20, 30)),
}


@pytest.mark.parametrize(("drawn", "shown"), SHOWN.values(), ids=SHOWN)
def test_boxes_are_what_the_frame_shows_of_them(drawn, shown):
    item = {"type": "videorectangle", "value": {"labels": ["car"], "sequence": [raw(drawn)]}}
    truth = clip_examples(
        [{"id": 1, "result": [item]}], CONFIG, VIDEO, medium=CONFIG.media[0], data={}
    )
    assert set(truth.frames) == {0}
    got = [one.shape for one in truth.frames[0]]
    assert len(got) == (shown is not None)
    if shown is not None:
        assert vars(got[0]) == pytest.approx(vars(shown))
        assert truth.frames[0] == (Region("car", got[0]),)


def raw(drawn):
    """In percent, whether inside the frame or not, as the editor stores it."""
    if isinstance(drawn, RotatedBox):
        (x, y), (w, h) = drawn.corners()[0].tolist(), (drawn.width_px, drawn.height_px)
        sides = (x, y, w, h, drawn.angle_deg)
    else:
        sides = (drawn.x0, drawn.y0, drawn.x1 - drawn.x0, drawn.y1 - drawn.y0, 0)
    x, y, w, h, angle = sides
    return {"frame": 1, "x": x / 2, "y": y, "width": w / 2, "height": h, "rotation": angle}


@pytest.mark.parametrize("annotations", [[], [{"id": 1, "result": []}], None])
def test_nothing_drawn_is_nothing_to_learn_from(annotations):
    truth = clip_examples(annotations, CONFIG, VIDEO, medium=CONFIG.media[0], data={})
    assert (truth.frames, truth.known, truth.key_frames) == ({}, {}, 0)


def test_what_is_left_out_is_told():
    truth = read(track((0, 0), label="bat"), track((0, 0)))
    assert "bat" in truth.problems[0]
    assert told(truth.frames[0]) == [("car", 0)]


def test_a_track_drawn_frame_by_frame_is_not_learned_whole():
    truth = read(track(*((frame, frame / 10) for frame in range(450))))
    assert len(truth.frames) == MAX_EXAMPLES
    assert len(truth.known) == 450
    assert max(truth.frames) > 440
