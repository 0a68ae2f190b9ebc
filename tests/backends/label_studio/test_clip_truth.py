import json
from pathlib import Path

import pytest

from backends.interface import Clip, VideoFile
from backends.label_studio.clip_truth import read_tracks
from backends.label_studio.config import parse_label_config
from micro_models.regions import Box, RotatedBox
from tests.hostile import hostile_variations

CONFIG = """<View><Video name="video" value="$video"/><Video name="other" value="$more"/>
<VideoRectangle name="box" toName="video"/><Labels name="labels" toName="video">
<Label value="Кот"/><Label value="Dog"/></Labels>{}</View>"""
VIDEO = VideoFile(Path("clip.mp4"), "0" * 64, 200, 100, Clip(48, 24))


def key(frame, x=10, enabled=True, **more):
    """A key frame as the editor writes it, a box of 20 x 10 px."""
    return {"frame": frame, "enabled": enabled, "x": x, "y": 10, "width": 10, "height": 10,
            "rotation": 0, "time": frame / 24} | more  # fmt: skip


def track(*keys, labels=("Кот",), **more):
    value = {"sequence": list(keys), "framesCount": 48}
    if labels is not None:
        value["labels"] = list(labels)
    return {"id": "t1", "type": "videorectangle", "from_name": "box", "to_name": "video",
            "origin": "manual", "value": value} | more  # fmt: skip


def made(*results, by=1, minute=0, **more):
    at = f"2026-11-20T10:{minute:02}:18.080050Z"
    return {"id": 100 + minute, "completed_by": by, "result": list(results),
            "was_cancelled": False, "ground_truth": False, "updated_at": at} | more  # fmt: skip


def read(annotations, text=CONFIG.format(""), video=VIDEO, data=None):
    config = parse_label_config(text)
    return read_tracks(annotations, config, video=video, medium=config.media[0], data=data or {})


CAT, DOG = track(key(1)), track(key(1), labels=["Dog"])
COUNTED = {
    "nobody": ([], None),
    "one": ([made(CAT)], ["Кот"]),
    "nothing here": ([made()], []),
    "skipped": ([made(CAT, was_cancelled=True)], None),
    "a draft": ([made(CAT, was_postponed=False)], None),
    "the newest of a person": ([made(CAT, minute=3), made(DOG)], ["Кот"]),
    "of several people the newest": ([made(CAT), made(DOG, by=2, minute=3)], ["Dog"]),
    "ground truth before the newest": ([made(CAT, ground_truth=True), made(DOG, minute=3)],
                                       ["Кот"]),
    "what cannot be read does not count": ([made(CAT), made({"type": "videorectangle"}, minute=3)],
                                           ["Кот"]),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "labels"), COUNTED.values(), ids=COUNTED)
def test_which_annotation_counts(annotations, labels):
    tracks = read(annotations).tracks
    assert (None if tracks is None else [one.label for one in tracks]) == labels


LABELS = {
    "one": (track(key(1)), ["Кот"], ""),
    "two": (track(key(1), labels=["Кот", "Dog"]), ["Кот", "Dog"], ""),
    "none": (track(key(1), labels=None), None, 'track "t1": it has no label'),
    "unknown": (track(key(1), labels=["Bat"]), None, 'the config has no label "Bat"'),
    "one of two unknown": (track(key(1), labels=["Bat", "Dog"]), ["Dog"], "Bat"),
    "no frames": (track(), None, "malformed"),
}


@pytest.mark.parametrize(("item", "labels", "problem"), LABELS.values(), ids=LABELS)
def test_labels(item, labels, problem):
    truth = read([made(item)])
    assert (truth.tracks and [one.label for one in truth.tracks]) == labels
    assert bool(truth.problems) == bool(problem)
    assert problem in "".join(truth.problems)


def test_a_label_beside_the_track_under_its_id():
    beside = {"id": "t1", "type": "labels", "from_name": "labels", "value": {"labels": ["Dog"]}}
    (one,) = read([made(track(key(1), labels=None), beside)]).tracks
    assert one.label == "Dog"


def test_labels_of_the_task_are_taken_as_they_are():
    text = CONFIG.format("").replace("</Labels>", "</Labels>", 1)
    free = text.replace('<Label value="Кот"/><Label value="Dog"/>', "").replace(
        '<Labels name="labels"', '<Labels name="labels" value="$labels"'
    )
    (one,) = read([made(track(key(1), labels=["Bat"]))], free).tracks
    assert one.label == "Bat"


def test_other_videos_and_what_is_no_track_are_left_out_without_a_word():
    others = [
        track(key(1), to_name="other"),
        {"id": "c", "type": "choices", "to_name": "video", "value": {"choices": ["good"]}},
        {"type": "timelinelabels", "value": {"ranges": []}},
    ]
    assert read([made(CAT, *others)]) == read([made(CAT)])
    assert read([made(*others)]).tracks == ()


def test_key_frames_are_decoded_frames_in_pixels():
    item = track(key(1), key(25, x=50, enabled=False), score=0.3)
    (one,) = read([made(item)]).tracks
    assert [(k.frame, k.box, k.enabled, k.score) for k in one.key_frames] == [
        (0, Box(20, 10, 40, 20), True, 1.0),
        (24, Box(100, 10, 120, 20), False, 1.0),
    ]
    assert one.score == 1.0  # a person accepted it


def test_the_editor_counts_by_its_own_framerate():
    text = CONFIG.format("").replace('value="$video"', 'value="$video" framerate="$fps"')
    (one,) = read([made(track(key(1), key(13)))], text, data={"fps": 12}).tracks
    assert [k.frame for k in one.key_frames] == [0, 24]


def test_a_real_export():
    """Of Label Studio's own examples: turned boxes, negative heights, parts out of the frame."""
    stored = json.loads(Path(__file__).with_name("annotation_video_tracks.json").read_text("utf-8"))
    text = (
        CONFIG.format("")
        .replace("Кот", "Car")
        .replace('<Label value="Dog"/>', '<Label value="Airplane"/><Label value="Possum"/>')
    )
    video = VideoFile(Path("opossum.webm"), "0" * 64, 640, 360, Clip(1009, 24))
    truth = read(stored["annotations"], text, video)
    assert truth.problems == ()
    assert [(one.label, len(one.key_frames)) for one in truth.tracks] == [
        ("Car", 2), ("Airplane", 4), ("Possum", 44),
    ]  # fmt: skip
    car, airplane, possum = truth.tracks
    assert [(k.frame, k.enabled) for k in car.key_frames] == [(0, True), (4, False)]
    plane = airplane.key_frames[0].box
    assert isinstance(plane, Box)
    assert plane.y0 == pytest.approx(360 * (0.92083333 - 0.15972222), abs=0.01)
    assert isinstance(possum.key_frames[0].box, RotatedBox)


def test_hostile_annotations_are_at_worst_told():
    body = made(track(key(1), key(9)), {"id": "t1", "type": "labels", "value": {"labels": ["Dog"]}})
    for where, changed in hostile_variations([body]):
        truth = read(changed)
        assert truth.tracks is None or isinstance(truth.tracks, tuple), where
        assert all(isinstance(line, str) and len(line) < 300 for line in truth.problems), where


def test_many_problems_are_told_in_a_few_lines():
    broken = [track(key(1), labels=["Bat"]) for _ in range(50)]
    problems = read([made(*broken)]).problems
    assert len(problems) == 21
    assert problems[-1] == "and 30 more"
