"""Five key frames in a clip: what do they say of all its other frames?

    python examples/video_clip.py ../shared/data/video/* --budget-s 20

Each CLIP is a folder with frames/ and boxes.csv, an object of a label in a frame. Plays the
annotator of a `<VideoRectangle>`: key frames in the middle of five equal parts of the clip, where
they show the object; and wherever it leaves, its last frame switched off and a key frame where it
is back. A micro-model is trained on these and answers the whole clip. Three ways to tell where the
object is are compared on all frames that nobody drew:

interpolated  as Label Studio shows the key frames alone: evenly from one to the next
by frame      what the model finds in each frame at a score of 0.5 and more
tracked       the same linked over time, which is what the backend answers

Precision, recall and F1 are those of presence: whether it is told to be there while it is, wherever
in the frame. `placed` is the F1 of presence in the right place, with an IoU of 0.5 and more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import NoData, read_clip
from rich.console import Console
from rich.table import Table
from watching import watched

from backends.interface import Clip, VideoFile
from backends.label_studio.config import parse_label_config
from backends.label_studio.tracks import Timeline, encode_track
from backends.micro.clips import clip_examples
from backends.micro.video import frames_of, track_clip
from micro_models import Box, Budget, Example, Image, MicroModel, Region, fit
from micro_models.budget import Told, ignore
from micro_models.evaluation.counting import count
from micro_models.evaluation.presence import presence
from micro_models.examples import image_of
from micro_models.pictures import UnreadableImage
from micro_models.tracks import KeyFrame, Track, interpolate

MIN_SCORE = 0.5
# How well boxes between key frames of the answer fit what was detected.
MIN_IOU = 0.8
FPS = 25.0
CONFIG = '<View><Video name="video" value="$video" framerate="25"/>{}</View>'
CONTROLS = '<VideoRectangle name="box" toName="video"/><Labels name="labels" toName="video">{}'
console = Console(stderr=True)
Frames = Sequence[Sequence[Region]]


@dataclass(frozen=True)
class Figures:
    """Of one way to tell where the object is, on the frames that nobody drew."""

    precision: float
    recall: float
    f1: float
    mean_iou: float
    placed: float


@dataclass(frozen=True)
class Played:
    """One clip: its figures by way, and what they cost."""

    clip: str
    frames: int
    key_frames: int
    per_hundred: float
    winner: str
    train_s: float
    track_s: float
    certainty: float
    ways: Mapping[str, Figures]


class Pictures:
    """A clip that lies as pictures in a folder, as a source of frames."""

    def __init__(self, clip: Sequence[Example]) -> None:
        self._clip = clip
        first = image_of(clip[0].picture)
        size_px = (first.width_px, first.height_px)
        self.file = VideoFile(Path(), "", *size_px, Clip(len(clip), FPS))

    def frames(self, file: VideoFile) -> Iterator[Image]:
        """One after the other."""
        return (image_of(example.picture) for example in self._clip[: file.clip.frames])


class Remembering:
    """A model that remembers what it found in each image, in order."""

    def __init__(self, model: MicroModel) -> None:
        self.report, self.calibration = model.report, model.calibration
        self._model = model
        self.found: list[list[Region]] = []

    def detect(self, pictures: Sequence[Image], *, min_score: float) -> list[list[Region]]:
        """As the model itself."""
        found = self._model.detect(pictures, min_score=min_score)
        self.found += found
        return found


def play(name: str, clip: Sequence[Example], *, labels: int, budget: Budget, seed: int,
         told: Told = ignore) -> Played:  # fmt: skip
    """Draw key frames, train, answer and compare."""
    source = Pictures(clip)
    drawn = [key_frames(clip, label, labels) for label in labels_of(clip)]
    truth = clip_examples(
        [annotation(drawn, source.file)],
        config := parse_label_config(CONFIG.format(controls(drawn))),
        source.file,
        medium=config.media[0],
        data={},
    )
    began = time.perf_counter()
    model = trained(source, truth.frames, budget, seed, told)
    train_s, began = time.perf_counter() - began, time.perf_counter()
    remembering = Remembering(model)
    tracks, certainty = track_clip(
        remembering, source.file, source=source, threshold=MIN_SCORE, min_iou=MIN_IOU,
        known=truth.known,
    )  # fmt: skip
    track_s = time.perf_counter() - began
    asked = [frame for frame in range(len(clip)) if frame not in truth.known]
    by_frame = [[one for one in found if one.score >= MIN_SCORE] for found in remembering.found]
    there = [clip[frame].regions for frame in asked]
    return Played(
        clip=name,
        frames=len(clip),
        key_frames=truth.key_frames,
        per_hundred=round(100 * truth.key_frames / len(clip), 2),
        winner=model.report.winner,
        train_s=round(train_s, 1),
        track_s=round(track_s, 1),
        certainty=round(certainty, 4),
        ways={
            "interpolated": measured([shown(drawn, frame) for frame in asked], there),
            "by frame": measured(by_frame, there),
            "tracked": measured([shown(tracks, frame) for frame in asked], there),
        },
    )


def labels_of(clip: Sequence[Example]) -> list[str]:
    """All labels, sorted."""
    return sorted({label for example in clip for label in example.labels})


def key_frames(clip: Sequence[Example], label: str, count_: int) -> Track:
    """What the annotator draws of the object with this label."""
    boxes = [next((r.shape for r in one.regions if r.label == label), None) for one in clip]
    middles = {int((part + 0.5) * len(clip) / count_) for part in range(count_)}
    keys = []
    for frame, box in enumerate(boxes):
        leaves = frame + 1 < len(boxes) and boxes[frame + 1] is None
        is_back = frame > 0 and boxes[frame - 1] is None
        if isinstance(box, Box) and (leaves or is_back or frame in middles):
            keys.append(KeyFrame(frame, box, enabled=not leaves))
    if not keys:
        raise NoData(f"none of the {count_} key frames shows the object; ask for more: --labels")
    return Track(label, tuple(keys))


def controls(tracks: Sequence[Track]) -> str:
    """The label config's controls."""
    names = "".join(f'<Label value="{track.label}"/>' for track in tracks)
    return CONTROLS.format(names) + "</Labels>"


def annotation(tracks: Sequence[Track], video: VideoFile) -> dict[str, Any]:
    """What Label Studio stores of them."""
    timeline = Timeline(video.clip, FPS)
    size_px = (video.width_px, video.height_px)
    values = [
        encode_track(track, timeline, size_px) | {"labels": [track.label]} for track in tracks
    ]
    result = [{"type": "videorectangle", "to_name": "video", "value": value} for value in values]
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "result": result}


def trained(
    source: Pictures, frames: Mapping[int, Sequence[Region]], budget: Budget, seed: int, told: Told
) -> MicroModel:
    """A model of the frames; the others tell what is usual in the clip."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = frames_of(source.file, source, frames, Path(folder))
        examples = [Example(pictures[frame], regions) for frame, regions in frames.items()]
        others = [path for frame, path in pictures.items() if frame not in frames]
        return fit(examples, unlabelled=others, budget=budget, seed=seed, told=told)


def shown(tracks: Sequence[Track], frame: int) -> list[Region]:
    """What the editor shows of tracks in a frame."""
    boxes = [(track.label, interpolate(track, frame)) for track in tracks]
    return [Region(label, box) for label, box in boxes if box is not None]


def measured(found: Frames, truth: Frames) -> Figures:
    """The figures of what was found."""
    there, placed = presence(found, truth), count(found, truth, min_score=0.0)
    numbers = (there.precision, there.recall, there.f1, there.mean_iou, placed.f1)
    return Figures(*(round(number, 4) for number in numbers))


def means(played: Sequence[Played]) -> dict[str, Figures]:
    """Of all clips alike."""
    return {
        way: Figures(
            *np.mean([list(asdict(each.ways[way]).values()) for each in played], axis=0).round(4)
        )
        for way in played[0].ways
    }


def table_of(played: Sequence[Played]) -> Table:
    """The figures for people."""
    names = list(asdict(played[0].ways["tracked"]))
    table = Table("clip", "way", *(name.replace("_", " ") for name in names), box=None)
    rows = [(each.clip, each.ways) for each in played]
    for clip, ways in [*rows, ("mean", means(played))]:
        for way, figures in ways.items():
            table.add_row(clip, way, *(f"{value:.3f}" for value in asdict(figures).values()))
    return table


def main() -> int:
    """Play, and print the table or the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+", help="folders with frames/ and boxes.csv")
    parser.add_argument("--labels", type=int, default=5, help="equal parts of the clip")
    parser.add_argument("--budget-s", type=float, default=20.0, help="seconds of each training")
    parser.add_argument("--steps", type=int, help="steps instead of seconds: the same model again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    options = parser.parse_args()
    if options.labels < 1:
        parser.error("--labels is at least 1")
    budget = Budget(steps=options.steps) if options.steps else Budget(seconds=options.budget_s)
    played = []
    try:
        for folder in options.clips:
            clip = read_clip(folder / "frames", folder / "boxes.csv")
            with watched(console, quiet=options.json) as told:
                each = play(
                    folder.resolve().name, clip,
                    labels=options.labels, budget=budget, seed=options.seed, told=told,
                )  # fmt: skip
            played.append(each)
    except (NoData, UnreadableImage) as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        return 1
    if options.json:
        print(json.dumps({"clips": [asdict(each) for each in played]}))
        return 0
    Console().print(table_of(played))
    for each in played:
        Console().print(
            f"{each.clip}: {each.key_frames} key frames, {each.per_hundred:g} per 100 frames; "
            f"{each.winner} trained in {each.train_s:g} s, tracked in {each.track_s:g} s, "
            f"{1000 * each.track_s / each.frames:.0f} ms a frame; certainty {each.certainty:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
