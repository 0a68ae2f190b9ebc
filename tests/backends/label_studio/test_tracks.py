import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import BadRegion, BadRequest
from backends.interface import Clip, Medium, PlacedTrack, Prediction
from backends.label_studio.config import parse_label_config
from backends.label_studio.results import encode_prediction
from backends.label_studio.tracks import Timeline, decode_track, encode_track, framerate
from micro_models.regions import Box, RotatedBox
from micro_models.tracks import KeyFrame, Track, interpolate
from tests.hostile import hostile_variations

SIZE_PX = (640, 360)
LABELS = '<Labels name="labels" toName="v"><Label value="Cat"/></Labels>'


def config(video="", labels=LABELS):
    return parse_label_config(
        f'<View><Video name="v" value="$video" {video}/>'
        f'<videorectangle name="box" toName="v"/>{labels}</View>'
    )


def track(*keys, label="Cat"):
    """A track of (frame, x, enabled), 20 px a side."""
    return Track(label, tuple(KeyFrame(f, Box(x, 5, x + 20, 25), e) for f, x, e in keys), 0.5)


@st.composite
def tracks(draw):
    frames = draw(st.lists(st.integers(0, 400), min_size=1, max_size=8, unique=True))
    keys = []
    for frame in sorted(frames):
        x, y = draw(st.floats(0, 600, width=32)), draw(st.floats(0, 320, width=32))
        box = Box(x, y, x + draw(st.floats(1, 40)), y + draw(st.floats(1, 40)))
        keys.append(KeyFrame(frame, box, draw(st.booleans()), draw(st.floats(0, 1))))
    return Track("Cat", tuple(keys), draw(st.floats(0, 1)))


@given(tracks(), st.sampled_from([24, 25, 29.97, 30000 / 1001, 60]))
def test_decode_is_the_inverse_of_encode_where_the_framerates_agree(track, fps):
    timeline = Timeline(Clip(401, fps), fps)
    value = json.loads(json.dumps(encode_track(track, timeline, SIZE_PX), allow_nan=False))
    item = {"value": value | {"labels": ["Cat"]}, "score": track.score}
    back = decode_track(item, timeline, SIZE_PX)
    assert (back.label, back.score) == (track.label, track.score)
    assert [(k.frame, k.enabled, k.score) for k in back.key_frames] == [
        (k.frame, k.enabled, k.score) for k in track.key_frames
    ]
    for one, other in zip(back.key_frames, track.key_frames, strict=True):
        assert edges(one.box) == pytest.approx(edges(other.box), abs=1e-3)


def edges(box):
    return (box.x0, box.y0, box.x1, box.y1)


@given(tracks(), st.floats(5, 120), st.floats(1, 120))
def test_whatever_the_framerates_the_editor_gets_a_track_that_it_can_show(track, fps, rate):
    timeline = Timeline(Clip(401, fps), rate)
    value = encode_track(track, timeline, SIZE_PX)
    numbers = [key["frame"] for key in value["sequence"]]
    assert numbers == sorted(set(numbers))
    assert 1 <= numbers[0] <= numbers[-1] <= value["framesCount"] == timeline.length
    for key in value["sequence"]:
        assert all(0 <= key[side] <= 100 for side in ("x", "y", "width", "height"))
        assert key["time"] == key["frame"] / rate


rates = st.sampled_from([1, 5, 10, 12.5, 15, 23.976, 24, 25, 29.97, 30000 / 1001, 30, 50, 60, 120])


@given(st.integers(2, 500), rates, rates)
def test_the_editors_frames_and_those_decoded_fit_together(frames, fps, rate):
    timeline = Timeline(Clip(frames, fps), rate)
    shown = [timeline.decoded(number) for number in range(1, timeline.length + 1)]
    assert shown == sorted(shown)
    for frame in range(shown[-1] + 1):
        first, last = timeline.first(frame), timeline.last(frame)
        assert shown[first - 1] >= frame
        assert first == 1 or shown[first - 2] < frame
        assert shown[last - 1] <= frame
        assert last == len(shown) or shown[last] > frame


@pytest.mark.parametrize(("fps", "rate"), [(10, 24), (30, 24), (25, 10), (29.97, 30)])
def test_the_editor_shows_an_object_when_and_where_it_is(fps, rate):
    walk = track((3, 30, True), (40, 400, False), (60, 0, True), (99, 390, False))
    timeline = Timeline(Clip(100, fps), rate)
    encoded = encode_track(walk, timeline, SIZE_PX)
    # With one decoded frame per editor's frame, decoding gives what the editor interpolates.
    clip = Clip(timeline.length, rate)
    editor = decode_track({"value": encoded}, Timeline(clip, rate), SIZE_PX)
    step_px = 10 * max(1, fps / rate)
    for number in range(1, timeline.length + 1):
        truth = interpolate(walk, timeline.decoded(number))
        shown = interpolate(editor, number - 1)
        assert (truth is None) == (shown is None), number
        if truth is not None:
            assert abs(truth.x0 - shown.x0) <= step_px, number


def test_an_object_that_no_frame_of_the_editor_shows_is_kept_for_one():
    brief = track((1, 10, True), (2, 20, False))  # of every 10 frames the editor shows one
    value = encode_track(brief, Timeline(Clip(100, 50), 5), SIZE_PX)
    assert [(key["frame"], key["enabled"]) for key in value["sequence"]] == [(2, False)]


def test_a_turning_box_keeps_its_corner():
    keys = [KeyFrame(f, RotatedBox(100, 100, 60, 20, a)) for f, a in [(0, -10), (9, 0), (20, 10)]]
    value = encode_track(Track("Cat", tuple(keys)), Timeline(Clip(21, 24), 24), SIZE_PX)
    assert [key["rotation"] for key in value["sequence"]] == [350, 0, 10]
    assert {round(key["width"], 3) for key in value["sequence"]} == {9.375}


def test_a_turning_box_that_leaves_the_frame_in_every_corner_becomes_upright():
    keys = [KeyFrame(f, RotatedBox(320, 180, 700, 700, a)) for f, a in [(0, 45), (9, 40)]]
    value = encode_track(Track("Cat", tuple(keys)), Timeline(Clip(10, 24), 24), SIZE_PX)
    first = value["sequence"][0]
    assert [first[key] for key in ("x", "y", "width", "height", "rotation")] == [0, 0, 100, 100, 0]


@pytest.mark.parametrize(
    ("attributes", "rate"),
    [
        ({}, 24),
        ({"framerate": "30"}, 30),
        ({"frameRate": "29.97"}, 29.97),
        ({"FRAMERATE": "0.04"}, 25),
        ({"framerate": "$fps"}, 50),
        ({"framerate": "$other"}, 24),
        ({"framerate": "fast"}, 24),
        ({"framerate": "0"}, 24),
        ({"framerate": "-5"}, 24),
        ({"framerate": "nan"}, 24),
        ({"framerate": "inf"}, 24),
    ],
)
def test_the_framerate_is_read_as_the_editor_does(attributes, rate):
    assert framerate(Medium("Video", "v", "video", attributes), {"fps": "50"}) == rate


def test_a_track_is_one_result_of_its_video_rectangle():
    placed = PlacedTrack("t1", track((0, 0, True), (29, 100, False)), "box")
    made = Prediction((placed,), 0.5, "v1", *SIZE_PX, Clip(30, 30))
    (item,) = encode_prediction(made, config('framerate="$fps"'), data={"fps": 15})["result"]
    assert (item["id"], item["score"], item["type"]) == ("t1", 0.5, "videorectangle")
    assert (item["from_name"], item["to_name"]) == ("box", "v")
    assert (item["original_width"], item["original_height"]) == SIZE_PX
    value = item["value"]
    assert value["labels"] == ["Cat"]
    assert (value["framesCount"], value["duration"]) == (15, 1.0)
    assert [(key["frame"], key["enabled"]) for key in value["sequence"]] == [(1, True), (15, False)]


def test_a_track_without_a_labels_tag_has_no_labels():
    placed = PlacedTrack("t1", track((0, 0, True), label=""), "box")
    made = Prediction((placed,), 0.5, "v1", *SIZE_PX, Clip(30, 30))
    (item,) = encode_prediction(made, config(labels=""))["result"]
    assert "labels" not in item["value"]


@pytest.mark.parametrize(
    ("label", "control", "clip", "message"),
    [
        ("Zebra", "box", Clip(30, 30), 'no label "Zebra"'),
        ("Cat", "labels", Clip(30, 30), "holds no track"),
        ("Cat", "box", None, "holds no track"),
    ],
)
def test_what_is_no_track_of_the_config_is_refused(label, control, clip, message):
    placed = PlacedTrack("t1", track((0, 0, True), label=label), control)
    with pytest.raises(BadRegion, match=message):
        encode_prediction(Prediction((placed,), 0.5, "v1", *SIZE_PX, clip), config())


def test_a_hostile_track_is_at_worst_a_bad_request():
    timeline = Timeline(Clip(30, 30), 30)
    value = encode_track(track((0, 0, True), (29, 100, False)), timeline, SIZE_PX)
    for where, changed in hostile_variations({"value": value, "score": 0.5}):
        try:
            assert isinstance(decode_track(changed, timeline, SIZE_PX), Track), where
        except BadRequest:
            continue
