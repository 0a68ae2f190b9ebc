import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from backends.interface import Clip, VideoFile
from backends.label_studio.videos import measure, read_frames
from backends.yolo.video import track_video
from micro_models.detections import Detection, DetectOptions, Detector, DetectorTask, Tracker
from micro_models.geometry import box_iou
from micro_models.regions import Box, Image
from micro_models.tracks import Track, interpolate
from tests import clips

Place = tuple[int, int, int, int] | None
COLOURS = {"car": (220, 40, 40), "person": (40, 60, 230)}


class Colours:
    """A detector that finds the colours of `clips.scene`; `faint`: labels it is unsure of."""

    name, version, device, task, labels, nbytes = "colours", "1", "cpu", DetectorTask.DETECT, (), 0

    def __init__(self, faint: Iterable[str] = ()) -> None:
        self.faint = frozenset(faint)
        self.asked: list[DetectOptions] = []
        self.batches: list[int] = []

    def detect(self, images: Sequence[Image], *, options: DetectOptions) -> list[list[Detection]]:
        self.asked.append(options)
        self.batches.append(len(images))
        return [list(self._find(image.pixels, options)) for image in images]

    def _find(self, pixels: np.ndarray, options: DetectOptions) -> Iterator[Detection]:
        for label, colour in COLOURS.items():
            if options.classes is not None and label not in options.classes:
                continue
            near = np.abs(pixels.astype(int) - colour).sum(axis=2) < 120
            count, _, found, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
            for x, y, width, height, area in found[1:count].tolist():
                score = 0.2 if label in self.faint else 0.9
                if area > 40 and score >= options.min_score:
                    yield Detection(label, score, Box(x, y, x + width, y + height))


class Overlaps:
    """A tracker: the object that overlapped most in the last 15 frames."""

    def __init__(self) -> None:
        self.frame = 0
        self.objects: list[tuple[int, Box]] = []

    def update(self, detections: Sequence[Detection], frame: Image) -> list[tuple[int, Detection]]:
        self.frame += 1
        linked = []
        for detection in detections:
            assert detection.box is not None
            recent = [
                (box_iou(box, detection.box), number)
                for number, (seen, box) in enumerate(self.objects)
                if self.frame - seen <= 15 and number not in {number for number, _ in linked}
            ]
            overlap, number = max(recent, default=(0.0, 0))
            if overlap == 0:
                number = len(self.objects)
                self.objects.append((0, detection.box))
            self.objects[number] = (self.frame, detection.box)
            linked.append((number, detection))
        return linked


class Clips:
    """A `VideoSource` over files that lie here."""

    def locate_video(self, url: str, project_key: str, task_id: int | None = None) -> VideoFile:
        path = Path(url)
        return VideoFile(path, "digest", *measure(path, max_megapixels=10, name=path.name))

    def frames(self, file: VideoFile) -> Iterator[Image]:
        return read_frames(file, name=file.path.name)


Film = Callable[[Callable[[int], dict[str, Place]], int], VideoFile]


@pytest.fixture(params=[".mp4", ".webm", ".mkv"])
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Film:
    """Draws a clip: where the car and the person are in each frame."""

    def draw(places: Callable[[int], dict[str, Place]], count: int) -> VideoFile:
        frames = (
            clips.scene((*box, COLOURS[label]) for label, box in places(number).items() if box)
            for number in range(count)
        )
        path = clips.write_clip(tmp_path / f"a{request.param}", frames)
        return Clips().locate_video(str(path), "1.1")

    return draw


def track(
    video: VideoFile,
    detector: Detector | None = None,
    tracker: Tracker | None = None,
    min_iou: float = 0.9,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> list[Track]:
    return track_video(
        detector or Colours(),
        video,
        source=Clips(),
        tracker=tracker or Overlaps(),
        options=DetectOptions(**options),  # type: ignore[arg-type]
        min_iou=min_iou,
        progress=progress,
    )


def check(found: Track, truth: Callable[[int], Place], count: int, least: float = 0.75) -> None:
    """Whether a track tells where the object is, and where it is not, in each frame."""
    for frame in range(count):
        box, place = interpolate(found, frame), truth(frame)
        assert (box is None) == (place is None), frame
        if box is not None and place is not None:
            assert isinstance(box, Box)
            assert box_iou(box, Box(*place)) > least, frame


def moving(number: int) -> Place:
    return (10 + number, 20, 40 + number, 45)


class TestTracks:
    def test_one_moving_object_in_a_long_clip(self, film: Film) -> None:
        (found,) = track(film(lambda number: {"car": moving(number)}, 100))
        assert found.label == "car"
        assert found.score == pytest.approx(0.9)
        check(found, moving, 100)
        assert len(found.key_frames) < 10

    def test_two_objects_that_cross(self, film: Film) -> None:
        def person(number: int) -> Place:
            return (120 - number, 25, 140 - number, 70)

        found = track(film(lambda n: {"car": moving(n), "person": person(n)}, 90))
        assert sorted(one.label for one in found) == ["car", "person"]
        by_label = {one.label: one for one in found}
        check(by_label["person"], person, 90)  # in front all the time
        before = [interpolate(by_label["car"], frame) for frame in (0, 20, 89)]
        for box, place in zip(before, map(moving, (0, 20, 89)), strict=True):
            assert isinstance(box, Box)
            assert place is not None
            assert box_iou(box, Box(*place)) > 0.75

    def test_one_that_comes_late_and_leaves(self, film: Film) -> None:
        def late(number: int) -> Place:
            return moving(number) if 30 <= number < 60 else None

        (found,) = track(film(lambda number: {"car": late(number)}, 80))
        check(found, late, 80)

    def test_one_that_leaves_and_comes_back(self, film: Film) -> None:
        def restless(number: int) -> Place:
            return (50, 20, 80, 45) if number < 20 or number >= 34 else None

        (found,) = track(film(lambda number: {"car": restless(number)}, 60))
        check(found, restless, 60)

    def test_one_that_is_hidden_for_a_moment_is_bridged(self, film: Film) -> None:
        def hidden(number: int) -> dict[str, Place]:
            return {"car": None if 20 <= number < 28 else moving(number)}

        (found,) = track(film(hidden, 60))
        check(found, moving, 60)

    def test_one_seen_in_a_single_frame_is_a_flicker(self, film: Film) -> None:
        def flicker(number: int) -> dict[str, Place]:
            return {"car": moving(number), "person": (100, 80, 130, 110) if number == 9 else None}

        assert [one.label for one in track(film(flicker, 40))] == ["car"]

    def test_nothing_there(self, film: Film) -> None:
        assert track(film(lambda number: {}, 20)) == []

    def test_one_frame(self, film: Film) -> None:
        (found,) = track(film(lambda number: {"car": moving(number)}, 1))
        assert [(key.frame, key.enabled) for key in found.key_frames] == [(0, True)]


class TestAsked:
    def video(self, tmp_path: Path, count: int = 30) -> VideoFile:
        frames = [
            clips.scene(
                [(10 + n, 20, 40 + n, 45, COLOURS["car"]), (90, 70, 120, 110, COLOURS["person"])]
            )
            for n in range(count)
        ]
        path = clips.write_clip(tmp_path / "a.mp4", frames)
        return Clips().locate_video(str(path), "1.1")

    def test_classes_are_filtered(self, tmp_path: Path) -> None:
        found = track(self.video(tmp_path), classes=frozenset({"person"}))
        assert [one.label for one in found] == ["person"]

    def test_the_tracker_sees_weak_boxes_but_no_track_is_made_of_them(self, tmp_path: Path) -> None:
        colours = Colours(faint=["person"])
        video = self.video(tmp_path)
        assert [one.label for one in track(video, colours, min_score=0.5)] == ["car"]
        assert colours.asked[0].min_score == 0.1
        assert len(track(video, colours, min_score=0.2)) == 2
        track(video, colours, min_score=0.03)
        assert colours.asked[-1].min_score == 0.03

    def test_progress_is_told_often_and_to_the_end(self, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        track(self.video(tmp_path), progress=lambda *done: told.append(done))
        assert told == [(8, 30), (16, 30), (24, 30), (30, 30)]

    def test_what_progress_raises_ends_the_work(self, tmp_path: Path) -> None:
        colours = Colours()

        def stop(done: int, in_all: int) -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            track(self.video(tmp_path), colours, progress=stop)
        assert len(colours.batches) == 1

    def test_frames_come_in_batches_and_only_a_few_are_held(self, tmp_path: Path) -> None:
        alive: list[int] = []

        class Counted(Clips):
            def frames(self, file: VideoFile) -> Iterator[Image]:
                for number, image in enumerate(super().frames(file)):
                    alive.append(number)
                    yield image

        class Watching(Overlaps):
            def update(self, detections, frame):
                assert alive[-1] - self.frame < 8  # decoded, and not yet seen
                return super().update(detections, frame)

        colours = Colours()
        tracks = track_video(
            colours,
            self.video(tmp_path),
            source=Counted(),
            tracker=Watching(),
            options=DetectOptions(),
            min_iou=0.9,
        )
        assert len(tracks) == 2
        assert colours.batches == [8, 8, 8, 6]

    def test_boxes_end_where_the_frame_does(self, tmp_path: Path) -> None:
        class Beyond(Overlaps):
            def update(self, detections, frame):
                wide = [Detection(d.label, d.score, Box(-9, 5, 200, 130)) for d in detections]
                gone = [Detection(d.label, d.score, Box(-9, 5, -2, 130)) for d in detections]
                return [(0, wide[0]), (1, gone[0])]

        (found,) = track(self.video(tmp_path), tracker=Beyond())
        assert {key.box for key in found.key_frames} == {Box(0, 5, 160, 120)}

    def test_a_source_that_fails_is_told(self, tmp_path: Path) -> None:
        video = self.video(tmp_path)
        gone = VideoFile(tmp_path / "none", "digest", 160, 120, Clip(30, 25))
        assert len(track(video)) == 2
        with pytest.raises(Exception, match="has left the cache"):
            track(gone)


def expected_tracks(shared: Path) -> list[dict[int, Box]]:
    """The boxes by frame of each person whom the peer's large model tracked."""
    folder = shared / "data" / "label-studio" / "ml-backend-yolo-tests"
    results = json.loads((folder / "opossum_snow_short_1.json").read_text())[0]["result"]
    return [
        {
            key["frame"] - 1: Box(
                12.8 * key["x"],
                7.2 * key["y"],
                12.8 * (key["x"] + key["width"]),
                7.2 * (key["y"] + key["height"]),
            )
            for key in result["value"]["sequence"]
        }
        for result in results
    ]


def overlap(found: Track, expected: dict[int, Box]) -> float:
    """The mean IoU over the expected frames, 0 where the object is off."""
    shown = {frame: interpolate(found, frame) for frame in expected}
    ious = [
        box_iou(box, expected[frame]) if isinstance(box, Box) else 0.0
        for frame, box in shown.items()
    ]
    return sum(ious) / len(ious)


@pytest.mark.parametrize("kind", ["bytetrack", "botsort"])
def test_real_people_are_tracked_as_by_the_peer(shared: Path, tmp_path: Path, kind: str) -> None:
    from micro_models.engines.yolo import load_yolo
    from micro_models.engines.yolo_tracker import make_tracker

    weights = shared / "weights" / "yolo11n_256_quant_detect_coco80-st.tflite"
    detector = load_yolo(weights, device="cpu", cache_dir=tmp_path, task=DetectorTask.DETECT)
    clip = shared / "data" / "label-studio" / "ml-backend-yolo-tests" / "opossum_snow_short.mp4"
    video = Clips().locate_video(str(clip), "1.1")
    tracker = make_tracker(kind, fps=video.clip.fps, min_score=0.25)
    found = track(video, detector, tracker, min_score=0.25, classes=frozenset({"person"}))
    assert {one.label for one in found} == {"person"}
    # Two people walk through the first scene, which is cut off after 29 of 35 frames.
    for expected in expected_tracks(shared)[:2]:
        assert (min(expected), max(expected)) == (0, 28)
        best = max(found, key=lambda one: overlap(one, expected))
        assert overlap(best, expected) > 0.75
        assert best.key_frames[-1].frame == 28
        assert not best.key_frames[-1].enabled
        assert len(best.key_frames) < len(expected)
