"""Objects on their way through a video: key frames, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass

from micro_models.regions import Box, RotatedBox


@dataclass(frozen=True)
class KeyFrame:
    """Where an object is in one frame (the first frame is 0), in pixels.

    Between two key frames the box moves evenly. `enabled` False: it is seen in this frame and no
    more until the next key frame.
    """

    frame: int
    box: Box | RotatedBox
    enabled: bool = True
    score: float = 1.0


@dataclass(frozen=True)
class Track:
    """One object's key frames, in rising order, at least one; `score` as of a `Region`."""

    label: str
    key_frames: tuple[KeyFrame, ...]
    score: float = 1.0

    def __post_init__(self) -> None:
        frames = [key.frame for key in self.key_frames]
        if not frames or frames != sorted(set(frames)) or frames[0] < 0:
            raise ValueError(f"a track needs key frames in rising order, got {frames[:10]}")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score is 0..1, got {self.score}")
