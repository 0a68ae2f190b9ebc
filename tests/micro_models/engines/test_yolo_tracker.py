"""Drawn and real objects keep their number on their way through a clip."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from micro_models.detections import Detection, DetectOptions, Tracker
from micro_models.engines.ultralytics_runtime import module
from micro_models.engines.yolo import load_yolo
from micro_models.engines.yolo_tracker import SETTINGS, TRACKERS, make_tracker, read_setting
from micro_models.regions import Box, Image, RotatedBox

FRAMES = 40


def frame(index: int, width: int = 320, height: int = 240) -> Image:
    """Noise that stays: a camera on a tripod."""
    return Image(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def moving(index: int, *, score: float = 0.9) -> list[Detection]:
    """Two objects that pass each other on different heights."""
    right, left = 10 + 6 * index, 280 - 6 * index
    return [
        Detection("car", score, Box(right, 40, right + 40, 80)),
        Detection("dog", score, Box(left, 120, left + 30, 150)),
    ]


def numbers(
    tracker: Tracker, seen: Callable[[int], list[Detection]], frames: int = FRAMES
) -> list[dict[str, int]]:
    answers = [tracker.update(seen(index), frame(index)) for index in range(frames)]
    return [{one.label: number for number, one in answer} for answer in answers]


@pytest.mark.parametrize("kind", [*TRACKERS, "bytetrack.yaml", "BoTSORT.yaml"])
def test_objects_keep_their_numbers(kind: str) -> None:
    per_frame = numbers(make_tracker(kind, fps=30), moving)
    assert all(found == per_frame[0] for found in per_frame)
    assert len(set(per_frame[0].values())) == 2


@pytest.mark.parametrize("kind", TRACKERS)
def test_it_gives_back_the_detections_themselves(kind: str) -> None:
    tracker = make_tracker(kind, fps=30)
    for index in range(5):
        seen = moving(index)
        assert {id(one) for _, one in tracker.update(seen, frame(index))} == {id(o) for o in seen}


@pytest.mark.parametrize("kind", TRACKERS)
def test_an_object_that_hides_keeps_its_number_a_while(kind: str) -> None:
    def seen(index: int) -> list[Detection]:
        return [] if 10 <= index < 20 else moving(index)

    assert (
        numbers(make_tracker(kind, fps=30), seen)[-1]
        == numbers(make_tracker(kind, fps=30), moving)[-1]
    )
    # At 3 frames a second ten frames are long: who comes back then is somebody new.
    slow = numbers(make_tracker(kind, fps=3), seen)
    assert set(slow[-1].values()).isdisjoint(slow[0].values())


@pytest.mark.parametrize("kind", TRACKERS)
def test_weak_detections_are_tracked_if_they_are_wanted(kind: str) -> None:
    def weak(index: int) -> list[Detection]:
        return moving(index, score=0.08)

    wanted = numbers(make_tracker(kind, fps=30, min_score=0.05), weak)
    assert all(found == wanted[-1] for found in wanted[1:])
    assert len(wanted[-1]) == 2
    assert not any(numbers(make_tracker(kind, fps=30, min_score=0.5), weak))
    assert not any(numbers(make_tracker(kind, fps=30), weak))


@pytest.mark.parametrize("kind", TRACKERS)
def test_two_clips_know_nothing_of_each_other(kind: str) -> None:
    one, two = make_tracker(kind, fps=30), make_tracker(kind, fps=30)
    for index in range(8):
        first = one.update(moving(index), frame(index))
        second = two.update(moving(index), frame(index))
        assert [number for number, _ in first] == [number for number, _ in second]


@pytest.mark.parametrize("kind", TRACKERS)
def test_turned_boxes_are_tracked(kind: str) -> None:
    def seen(index: int) -> list[Detection]:
        turned = RotatedBox(60 + 4 * index, 90, 50, 20, 2.0 * index)
        corners = turned.corners()
        hull = Box(*corners.min(0).tolist(), *corners.max(0).tolist())
        return [Detection("bar", 0.9, hull, rotated=turned)]

    per_frame = numbers(make_tracker(kind, fps=30), seen)
    assert all(found == per_frame[0] != {} for found in per_frame)


@pytest.mark.parametrize("kind", TRACKERS)
def test_empty_frames_boxless_detections_and_slivers(kind: str) -> None:
    tracker = make_tracker(kind, fps=30)
    assert tracker.update([], frame(0)) == []
    assert tracker.update([Detection("scene", 0.9)], frame(1)) == []
    assert tracker.update([Detection("line", 0.9, Box(3, 3, 3, 9))], frame(2)) == []
    tiny = Image(np.zeros((1, 1, 3), np.uint8))
    assert isinstance(tracker.update([Detection("dot", 0.9, Box(0, 0, 1, 1))], tiny), list)


def test_unknown_trackers_are_named() -> None:
    for kind in ("sort", "", "../bytetrack.yaml", "bytetrack.yml/../x", "/etc/passwd"):
        with pytest.raises(ValueError, match="choose one of: bytetrack, botsort"):
            make_tracker(kind, fps=30)
    with pytest.raises(ValueError, match="frame rate"):
        make_tracker("bytetrack", fps=0)


def test_settings_from_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text("tracker_type: botsort\nnew_track_thresh: 0.95\nwith_reid: true\n")
    with caplog.at_level(logging.WARNING):
        assert not any(numbers(make_tracker(settings, fps=30), moving, frames=5))
    assert "without its ReID network" in caplog.text
    settings.write_text("tracker_type: bytetrack\n")
    assert all(numbers(make_tracker(settings, fps=30), moving, frames=5))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (": : :", "cannot be read as YAML"),
        ("- a\n- b", "no YAML of names and values"),
        ("", "no YAML of names and values"),
        ("tracker_type: deepsort", "there is no tracker 'deepsort'"),
        ("track_buffer: 30", "there is no tracker"),
        ("tracker_type: bytetrack\ntrack_buffer: many", "track_buffer is like 30, not 'many'"),
        ("tracker_type: botsort\ngmc_method: magic", "magic"),
    ],
)
def test_unusable_settings(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(ValueError, match=said):
        make_tracker(tmp_path / "mine.yaml", fps=30)
    with pytest.raises(ValueError, match=r"missing\.yaml cannot be read"):
        make_tracker(tmp_path / "missing.yaml", fps=30)


@pytest.mark.parametrize(
    "settings",
    [
        {"with_reid": "true"},
        {"model": "evil.pt"},
        {"device": "cuda:0"},
        {"tracker_type": "tracktrack"},
        {"trak_buffer": "60"},
    ],
)
@pytest.mark.parametrize("kind", TRACKERS)
def test_strangers_set_nothing_that_is_not_theirs(kind: str, settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"there is no tracker setting .* there are track_high"):
        make_tracker(kind, fps=30, settings=settings)


def test_no_setting_unpickles_a_file(tmp_path: Path) -> None:
    import torch

    weights = tmp_path / "evil.pt"
    torch.save({"model": Pickled(tmp_path / "it-ran")}, weights)
    with pytest.raises(ValueError, match="there is no tracker setting"):
        make_tracker("botsort", fps=30, settings={"with_reid": "true", "model": str(weights)})
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"tracker_type: botsort\nwith_reid: true\nmodel: {weights}\n")
    make_tracker(mine, fps=30)
    assert not (tmp_path / "it-ran").exists()


class Pickled:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._path,))


@pytest.mark.parametrize("kind", TRACKERS)
def test_the_settings_are_ultralytics_own_without_the_reid_network(kind: str) -> None:
    utils = module("utils")
    own = utils.YAML.load(utils.ROOT / "cfg" / "trackers" / f"{kind}.yaml")
    refused = {"tracker_type", "with_reid", "model"}
    assert set(SETTINGS[kind]) == set(own) - refused
    for name in SETTINGS[kind]:
        value = read_setting(kind, name, str(own[name]))
        assert (value, type(value)) == (own[name], type(own[name]))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("track_buffer", "long", "is a whole number from 1 to 10000, not 'long'"),
        ("track_buffer", "9" * 5000, "is a whole number"),
        ("track_buffer", "0.5", "is a whole number"),
        ("match_thresh", "nan", "is a number from 0 to 1"),
        ("match_thresh", "1.5", "is a number from 0 to 1"),
        ("fuse_score", "perhaps", "is true or false"),
        ("gmc_method", "magic", "is one of sparseOptFlow, orb"),
    ],
)
def test_a_bad_value_is_told(name: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make_tracker("botsort", fps=30, settings={name: text})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("method", ["None", "ORB", "sparseoptflow"])
def test_the_camera_s_motion_is_found_in_known_ways(method: str) -> None:
    settings = {"gmc_method": method, "fuse_score": "No", "track_buffer": " 60.0 "}
    tracker = make_tracker("botsort", fps=30, settings=settings)
    assert all(numbers(tracker, moving, frames=3))


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_real_clip(kind: str, shared: Path, tmp_path: Path) -> None:
    import cv2

    weights = shared / "weights/yolo11n_256_quant_detect_coco80-st.tflite"
    yolo = load_yolo(weights, cache_dir=tmp_path)
    files = sorted((shared / "data/video/tld-car").rglob("*.jpg"))[:60]
    images = [Image(np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])) for file in files]
    options = DetectOptions(min_score=0.1, classes=frozenset({"car"}))
    tracker = make_tracker(kind, fps=25)
    seen: Counter[int] = Counter()
    for found, picture in zip(yolo.detect(images, options=options), images, strict=True):
        seen.update(number for number, _ in tracker.update(found, picture))
    assert seen.most_common(1)[0][1] > 40, "the followed car is in nearly every frame"
