from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from backends.errors import MediaError, StateError
from backends.interface import Clip, PlacedTrack, Prediction, VideoFile
from backends.label_studio.config import parse_label_config
from backends.label_studio.results import encode_prediction
from backends.label_studio.videos import measure, read_frames
from backends.micro.video import UNLABELLED_FRAMES, frames_of, track_clip
from micro_models.evaluation.overlap import similarity
from micro_models.pictures import read_upright
from micro_models.regions import Box, Image, Region, RotatedBox
from micro_models.tracks import interpolate
from tests import clips

RED, BLUE = (220, 40, 40), (40, 60, 230)
LABELS = {"car": RED, "собака": BLUE}


class Colours:
    """A model that finds the colours of `clips.scene`; `scores`: by label, or by label and turn."""

    def __init__(self, *, most=None, **scores):
        self.report = SimpleNamespace(recall=0.95, examples=10)
        self.calibration = SimpleNamespace(most=most or {})
        self.scores, self.asked = scores, 0

    def detect(self, pictures, *, min_score):
        return [list(self._found(picture, min_score)) for picture in pictures]

    def _found(self, picture, min_score):
        self.asked += 1
        for label, colour in LABELS.items():
            scores = self.scores.get(label, (0.9,))
            score = scores[self.asked % len(scores)]
            near = np.abs(picture.pixels.astype(int) - colour).sum(axis=2) < 120
            count, _, found, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8))
            for x, y, width, height, area in found[1:count].tolist():
                if area > 40 and score >= min_score:
                    yield Region(label, Box(x, y, x + width, y + height), score)


class Frames:
    """A source of frames that are there already."""

    def __init__(self, frames):
        self.pixels, self.given = list(frames), 0

    def frames(self, file):
        for pixels in self.pixels[: file.clip.frames]:
            self.given += 1
            yield Image(pixels)


class Opened:
    """A source that decodes the file."""

    def frames(self, file):
        return read_frames(file, name="clip")


def video_of(frames, *, fps=25):
    height, width = frames[0].shape[:2]
    return VideoFile(Path("clip.mp4"), "0" * 64, width, height, Clip(len(frames), fps))


def scenes(*places):
    """A frame for each: boxes of a car and a dog, None where they are not."""
    return [
        clips.scene(
            (*place, colour) for place, colour in zip(both, (RED, BLUE), strict=False) if place
        )
        for both in places
    ]


def car(n):
    return (20 + 2 * n, 30, 44 + 2 * n, 54)


CAR = [(car(n) if not 20 <= n < 35 else None,) for n in range(50)]


def tracked(model, frames, **more):
    options = {"source": Frames(frames), "threshold": 0.5, "min_iou": 0.8} | more
    return track_clip(model, video_of(frames), **options)


def test_a_real_video_with_an_object_that_comes_and_goes(tmp_path):
    path = clips.write_clip(tmp_path / "clip.mp4", scenes(*CAR))
    width, height, clip = measure(path, max_megapixels=1, name="clip")
    video = VideoFile(path, "0" * 64, width, height, clip)
    tracks, certainty = track_clip(Colours(), video, source=Opened(), threshold=0.5, min_iou=0.8)
    (one,) = tracks
    for frame, (place,) in enumerate(CAR):
        box = interpolate(one, frame)
        assert (box is not None) == (place is not None), frame
        assert place is None or similarity(box, Box(*place)) >= 0.75, frame
    assert len(one.key_frames) < 12
    assert certainty > 0.8


def test_an_object_stays_while_the_model_wavers_and_is_not_made_of_weak_sights():
    frames = scenes(*CAR[:20])
    (one,), _ = tracked(Colours(car=(0.9, 0.3, 0.6)), frames)
    assert [frame for frame in range(20) if interpolate(one, frame)] == list(range(20))
    assert tracked(Colours(car=(0.3,)), frames)[0] == []
    assert len(tracked(Colours(car=(0.3,)), frames, threshold=0.2)[0]) == 1


def test_unseen_for_a_moment_is_there_unseen_for_longer_is_not():
    def seen(gap):
        frames = scenes(*((car(n) if not 25 <= n < 25 + gap else None,) for n in range(50)))
        (one,), _ = tracked(Colours(), frames)
        return [frame for frame in range(50) if not interpolate(one, frame)]

    assert seen(1) == []
    assert seen(9) == list(range(25, 34))


def test_several_objects_of_two_labels():
    frames = scenes(*((car(n), (100, 80 - n, 120, 100 - n)) for n in range(30)))
    tracks, _ = tracked(Colours(), frames)
    assert sorted(one.label for one in tracks) == ["car", "собака"]
    two = [clips.scene([(*car(n), RED), (100 - n, 80, 120 - n, 100, RED)]) for n in range(30)]
    assert len(tracked(Colours(most={"car": 2}), two)[0]) == 2
    assert len(tracked(Colours(most={"car": 1}), two)[0]) == 1


def test_what_a_person_drew_stays_as_drawn():
    frames, model = scenes(*CAR), Colours()
    drawn = Box(58.5, 31.25, 84, 55)
    turned = RotatedBox(100, 40, 30, 20, 15)
    known = {10: (), 18: (Region("car", drawn),), 40: (Region("car", turned),)}
    (one,), _ = tracked(model, frames, known=known)
    assert interpolate(one, 10) is None
    assert interpolate(one, 9) is not None
    assert interpolate(one, 11) is not None
    assert interpolate(one, 18) == drawn
    assert interpolate(one, 40) == turned
    assert model.asked == len(frames) - len(known)


def test_how_sure_it_is():
    frames = scenes(*CAR[:20])
    models = [Colours(car=(score,)) for score in (0.99, 0.9, 0.7, 0.55)]
    sure = [tracked(model, frames)[1] for model in models]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] > 0.95
    assert 0 <= sure[-1] < 0.2
    assert tracked(Colours(), scenes(*[()] * 20)) == ([], 1.0)
    drawn = dict.fromkeys(range(20), ())
    assert tracked(models[-1], frames, known=drawn) == ([], 1.0)
    bridged = scenes(*((car(n) if n % 10 else None,) for n in range(20)))
    assert tracked(models[0], bridged)[1] < sure[0]


def test_progress_is_told_and_what_it_raises_ends_the_work():
    told = []
    frames = scenes(*CAR[:20])
    tracked(Colours(), frames, progress=lambda done, in_all: told.append((done, in_all)))
    assert told == [(8, 20), (16, 20), (20, 20)]

    def stop(done, in_all):
        raise TimeoutError

    model = Colours()
    with pytest.raises(TimeoutError):
        tracked(model, frames, progress=stop)
    assert model.asked == 8


def test_a_clip_of_one_frame():
    (one,), _ = tracked(Colours(), scenes(CAR[0]))
    assert [(key.frame, key.enabled) for key in one.key_frames] == [(0, True)]


def test_the_answer_is_one_that_label_studio_takes():
    config = parse_label_config(
        '<View><Video name="v" value="$video"/><VideoRectangle name="b" toName="v"/>'
        '<Labels name="l" toName="v"><Label value="car"/></Labels></View>'
    )
    frames = scenes(*CAR)
    tracks, score = tracked(Colours(), frames)
    video = video_of(frames)
    placed = tuple(PlacedTrack(str(n), one, "b") for n, one in enumerate(tracks))
    made = Prediction(placed, score, "micro-1", video.width_px, video.height_px, video.clip)
    (item,) = encode_prediction(made, config)["result"]
    assert item["value"]["labels"] == ["car"]
    assert [key["enabled"] for key in item["value"]["sequence"]].count(False) == 1


def test_a_video_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video")
    broken = VideoFile(path, "0" * 64, 160, 120, Clip(10, 25))
    with pytest.raises(MediaError):
        track_clip(Colours(), broken, source=Opened(), threshold=0.5, min_iou=0.8)
    with pytest.raises(MediaError):
        frames_of(broken, Opened(), [1], tmp_path)


def test_frames_are_kept_to_the_last_bit(tmp_path):
    frames = [np.random.default_rng(n).integers(0, 256, (48, 64, 3), np.uint8) for n in range(9)]
    paths = frames_of(video_of(frames), Frames(frames), [0, 4, 7], tmp_path, unlabelled=0)
    assert set(paths) == {0, 4, 7}
    for frame, path in paths.items():
        assert (read_upright(path).pixels == frames[frame]).all()
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())


def test_others_are_spread_over_the_clip(tmp_path):
    frames = clips.numbered(61)
    source = Frames(frames)
    paths = frames_of(video_of(frames), source, [7], tmp_path, unlabelled=4)
    assert set(paths) == {0, 7, 20, 40, 60}
    assert source.given == 61
    assert all(clips.number(read_upright(path).pixels) == n for n, path in paths.items())


@pytest.mark.parametrize(
    ("frames", "side", "count"), [(30, 64, 30), (500, 64, UNLABELLED_FRAMES), (500, 5000, 12)]
)
def test_how_many_others(tmp_path, frames, side, count):
    small = np.zeros((8, 8, 3), np.uint8)
    video = VideoFile(Path("clip.mp4"), "0" * 64, side, side, Clip(frames, 25))
    assert len(frames_of(video, Frames([small] * frames), [], tmp_path)) == count


def test_frames_after_the_last_one_wanted_are_not_decoded(tmp_path):
    source = Frames(clips.numbered(40))
    video = video_of(source.pixels)
    frames_of(video, source, [3], tmp_path, unlabelled=0)
    assert source.given == 4


def test_a_frame_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    frames = clips.numbered(3)
    (tmp_path / "000001.png").mkdir()
    with pytest.raises(StateError, match="frame of a video cannot be written"):
        frames_of(video_of(frames), Frames(frames), [1], tmp_path, unlabelled=0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_keeping_frames_can_be_stopped(tmp_path):
    def stop(done, in_all):
        assert in_all == 40
        if done == 10:
            raise TimeoutError

    source = Frames(clips.numbered(40))
    with pytest.raises(TimeoutError):
        frames_of(video_of(source.pixels), source, [39], tmp_path, progress=stop)
    assert source.given == 10
