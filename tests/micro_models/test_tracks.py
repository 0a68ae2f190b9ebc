import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_models.detections import Detection
from micro_models.geometry import box_iou, iou, rotated_box_to_mask
from micro_models.regions import Box, RotatedBox
from micro_models.tracks import (
    KeyFrame,
    Track,
    TrackBuilder,
    from_detections,
    interpolate,
    thin,
)

coordinates = st.floats(-50, 2000, allow_nan=False)
sides = st.floats(1, 500)


@st.composite
def wandering(draw: st.DrawFn) -> list[KeyFrame]:
    """An object that wanders, jumps, trembles, is missed and goes off."""
    count = draw(st.integers(1, 60))
    steps = st.tuples(*[st.sampled_from([0.0, 0.5, -0.7, 3.0, -40.0])] * 4)
    x, y, width, height = draw(coordinates), draw(coordinates), draw(sides), draw(sides)
    frame, keys = draw(st.integers(0, 3)), []
    for dx, dy, dw, dh in draw(st.lists(steps, min_size=count, max_size=count)):
        x, y = x + dx, y + dy
        width, height = max(width + dw, 1.0), max(height + dh, 1.0)
        keys.append(KeyFrame(frame, Box(x, y, x + width, y + height), draw(st.booleans())))
        frame += draw(st.sampled_from([1, 1, 1, 2, 9]))
    return keys


def square(x: float, y: float = 10, side: float = 20) -> Box:
    return Box(x, y, x + side, y + side)


def seen(frames: range | list[int], speed: float = 2.0, label: str = "car", score: float = 0.8):
    return [(frame, Detection(label, score, box=square(speed * frame))) for frame in frames]


class TestInterpolate:
    track = Track(
        "car",
        (
            KeyFrame(2, Box(0, 0, 10, 10)),
            KeyFrame(6, Box(40, 0, 60, 30), enabled=False),
            KeyFrame(9, Box(0, 0, 1, 1)),
        ),
    )

    @pytest.mark.parametrize(
        ("frame", "box"),
        [
            (0, None),
            (1, None),
            (2, Box(0, 0, 10, 10)),
            (4, Box(20, 0, 35, 20)),
            (6, Box(40, 0, 60, 30)),
            (7, None),
            (8, None),
            (9, Box(0, 0, 1, 1)),
            (1000, Box(0, 0, 1, 1)),
        ],
    )
    def test_frames(self, frame: int, box: Box | None) -> None:
        assert interpolate(self.track, frame) == box

    def test_angles_go_the_short_way_about_the_top_left_corner(self) -> None:
        # The editor's own example: from -170 to 170 degrees is 20 degrees.
        keys = (
            KeyFrame(0, RotatedBox(50, 50, 20, 10, -170)),
            KeyFrame(20, RotatedBox(50, 50, 20, 10, 170)),
        )
        box = interpolate(Track("car", keys), 5)
        assert isinstance(box, RotatedBox)
        assert box.angle_deg == pytest.approx(-175)
        corners = [key.box.corners()[0] for key in keys if isinstance(key.box, RotatedBox)]
        wanted = corners[0] + (corners[1] - corners[0]) / 4
        assert box.corners()[0] == pytest.approx(wanted, abs=1e-3)

    def test_an_upright_box_turns_into_a_turned_one(self) -> None:
        keys = (KeyFrame(0, Box(0, 0, 20, 10)), KeyFrame(2, RotatedBox(10, 5, 20, 10, 10)))
        box = interpolate(Track("car", keys), 1)
        assert isinstance(box, RotatedBox)
        assert box.angle_deg == pytest.approx(5)


class TestThin:
    @settings(max_examples=200, deadline=None)
    @given(keys=wandering(), min_iou=st.floats(0.05, 1))
    def test_every_box_is_told_within_the_overlap(self, keys, min_iou: float) -> None:
        track = Track("car", tuple(thin(keys, min_iou=min_iou)))
        for key in keys:
            box = interpolate(track, key.frame)
            assert isinstance(box, Box)
            assert box_iou(box, key.box) >= min_iou - 1e-9

    @settings(max_examples=50, deadline=None)
    @given(keys=wandering(), min_iou=st.floats(0.05, 1))
    def test_the_object_is_off_exactly_where_it_was(self, keys, min_iou: float) -> None:
        whole, thinned = (Track("car", tuple(some)) for some in (keys, thin(keys, min_iou=min_iou)))
        for frame in range(keys[-1].frame + 3):
            assert (interpolate(whole, frame) is None) == (interpolate(thinned, frame) is None)

    def test_even_movement_needs_two_key_frames(self) -> None:
        keys = [KeyFrame(frame, square(3 * frame, frame)) for frame in range(200)]
        assert thin(keys, min_iou=0.999) == [keys[0], keys[-1]]

    def test_a_turn_needs_one_more(self) -> None:
        keys = [KeyFrame(frame, square(100 - abs(frame - 50))) for frame in range(101)]
        assert 3 <= len(thin(keys, min_iou=0.95)) <= 4

    def test_jitter_does_not_fill_the_timeline(self) -> None:
        noise = np.random.default_rng(3).normal(0, 1, (300, 2))
        keys = [
            KeyFrame(frame, square(frame + dx, 10 + dy, side=60))
            for frame, (dx, dy) in enumerate(noise)
        ]
        assert len(thin(keys, min_iou=0.85)) < 30

    def test_turned_boxes_keep_the_overlap(self) -> None:
        keys = [
            KeyFrame(frame, RotatedBox(60 + frame, 60 + 5 * math.sin(frame / 5), 50, 20, 4 * frame))
            for frame in range(60)
        ]
        kept = thin(keys, min_iou=0.8)
        assert len(kept) < 20
        for key in keys:
            box = interpolate(Track("car", tuple(kept)), key.frame)
            assert isinstance(box, RotatedBox)
            assert isinstance(key.box, RotatedBox)
            # Pixels tell the overlap in another way, about as exactly as the boxes are large.
            one, other = (
                rotated_box_to_mask(
                    replace(
                        turned,
                        center_x=5 * turned.center_x,
                        center_y=5 * turned.center_y,
                        width_px=5 * turned.width_px,
                        height_px=5 * turned.height_px,
                    ),
                    width_px=800,
                    height_px=600,
                )
                for turned in (box, key.box)
            )
            assert iou(one, other) > 0.79

    def test_nothing_of_nothing(self) -> None:
        assert thin([], min_iou=0.9) == []


class TestFromDetections:
    def track(self, sightings, clip_frames: int = 100, max_gap: int = 5, **options) -> Track | None:
        return from_detections(
            sightings, clip_frames=clip_frames, min_iou=0.9, max_gap=max_gap, **options
        )

    def test_an_object_seen_to_the_last_frame_needs_no_end(self) -> None:
        track = self.track(seen(range(3, 100)))
        assert track is not None
        assert [(key.frame, key.enabled) for key in track.key_frames] == [(3, True), (99, True)]

    def test_one_that_vanishes_goes_off_where_it_was_last_seen(self) -> None:
        track = self.track(seen(range(3, 50)))
        assert track is not None
        assert [(key.frame, key.enabled) for key in track.key_frames] == [(3, True), (49, False)]

    def test_short_gaps_are_bridged_and_long_ones_are_not(self) -> None:
        track = self.track(seen([*range(10), *range(15, 30), *range(36, 50), 90]))
        assert track is not None
        on = [frame for frame in range(100) if interpolate(track, frame) is not None]
        assert on == [*range(30), *range(36, 50), 90]
        assert interpolate(track, 12) == square(24)

    def test_the_label_is_the_majority_weighted_with_the_score(self) -> None:
        mixed = seen(range(6), label="truck", score=0.2) + seen(range(6, 10), score=0.9)
        track = self.track(mixed)
        assert track is not None
        assert track.label == "car"
        assert track.score == pytest.approx((6 * 0.2 + 4 * 0.9) / 10)

    def test_flickers_are_dropped(self) -> None:
        assert self.track(seen([4, 5])) is None
        assert self.track(seen([4, 5]), min_seen=2) is not None
        assert self.track([]) is None

    def test_a_detection_without_a_box_is_told(self) -> None:
        with pytest.raises(ValueError, match="boxes"):
            self.track([(0, Detection("car", 0.5))])

    def test_a_model_that_changes_the_name_of_an_angle_does_not_spin_the_box(self) -> None:
        turned = [
            RotatedBox(50, 50, 40, 20, frame % 90)
            if frame % 180 < 90
            else RotatedBox(50, 50, 20, 40, frame % 90)
            for frame in range(60, 200)
        ]
        track = self.track(
            [(frame, Detection("car", 0.5, rotated=box)) for frame, box in enumerate(turned)]
        )
        assert track is not None
        angles = [key.box.angle_deg for key in track.key_frames if isinstance(key.box, RotatedBox)]
        assert angles == sorted(angles)
        assert angles[-1] - angles[0] == pytest.approx(139)

    def test_long_tracks_are_thinned_on_their_way(self) -> None:
        builder = TrackBuilder(min_iou=0.9, max_gap=5)
        for frame, detection in seen(range(5000), speed=0.5):
            builder.see(frame, detection)
        track = builder.track(clip_frames=5000)
        assert track is not None
        assert len(track.key_frames) < 30
        for frame in range(0, 5000, 7):
            box = interpolate(track, frame)
            assert isinstance(box, Box)
            assert box_iou(box, square(0.5 * frame)) > 0.9
