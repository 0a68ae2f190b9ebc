from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends.copilot.model import Copilot
from backends.errors import BadLabelConfig, MediaError, ModelMissing, StateError
from backends.interface import Interaction, PlacedTrack, Task
from backends.label_studio.blind import Blindfold
from backends.label_studio.results import encode_prediction
from backends.yolo.model import YoloBackend, make_tracker
from backends.yolo.seen import SeenCache
from backends.yolo.versions import NO_WEIGHTS, NOT_YET, NOTHING
from micro_models.detections import Detection, DetectorTask, Outline
from micro_models.regions import Box
from tests.backends.yolo.fakes import (
    PIXELS,
    FakeBackground,
    FakeDetector,
    FakeImages,
    FakeTracker,
    FakeVideos,
    Loader,
    box,
    project,
    settings,
    tasks,
    until,
)

IMAGE = '<Image name="image" value="$image"/>'
BOXES = f"""{IMAGE}<RectangleLabels name="box" toName="image" model_score_threshold="0.4">
<Label value="Person"/><Label value="Car"/></RectangleLabels>"""
CLIP = """<Video name="video" value="$video"/>
<VideoRectangle name="way" toName="video" model_tracker="bytetrack"/>
<Labels name="label" toName="video"><Label value="Car"/></Labels>"""
SEEN = (box("person", 0.9), box("car", 0.5, 50, 0, 120, 30), box("car", 0.3))


def backend(folder: Path, detector: FakeDetector | None = None, **given) -> YoloBackend:
    changed = given.pop("settings", {})
    return YoloBackend(
        settings=settings(folder, **changed),
        images=given.pop("images", FakeImages()),
        videos=given.pop("videos", FakeVideos()),
        load=given.pop("load", Loader(detector or FakeDetector(SEEN))),
        make_tracker=given.pop("make_tracker", lambda kind, **options: FakeTracker()),
        **given,
    )


def test_a_task_gets_regions_under_the_projects_labels(tmp_path: Path) -> None:
    yolo, asked = backend(tmp_path), project(BOXES)
    (found,) = yolo.predict(asked, tasks("a.jpg"), None)
    assert [(one.region.label, one.region.score) for one in found.regions] == [
        ("Person", 0.9),
        ("Car", 0.5),
    ]
    assert found.regions[1].region.shape == Box(50, 0, 100, 30)  # cut at the image's edge
    assert (found.width_px, found.height_px) == (100, 60)
    assert found.version == yolo.version(asked) == yolo.versions()[0]
    assert found.version.startswith("yolo-")
    encoded = encode_prediction(found, asked.config)
    assert encoded["result"][0]["value"]["rectanglelabels"] == ["Person"]


def test_asking_again_computes_nothing_and_gives_the_same_ids(tmp_path: Path) -> None:
    detector, images = FakeDetector(SEEN), FakeImages()
    yolo = backend(tmp_path, detector, images=images)
    first = yolo.predict(project(BOXES), tasks("a.jpg"), None)
    again = yolo.predict(project(BOXES), tasks("a.jpg"), None)
    assert first == again
    assert len(detector.calls) == len(images.reads) == 1
    other = yolo.predict(project(BOXES), [Task(2, {"image": "a.jpg"})], None)
    assert {one.id for one in other[0].regions}.isdisjoint(one.id for one in first[0].regions)


def test_a_blind_task_gets_no_answer_and_costs_nothing(tmp_path: Path) -> None:
    detector = FakeDetector(SEEN)
    yolo = backend(tmp_path, detector, blindfold=Blindfold(0.0, lambda key: {2}))
    found = yolo.predict(project(BOXES), tasks("a.jpg", "a.jpg", "a.jpg"), None)
    assert [one is not None for one in found] == [True, False, True]
    everybody = backend(tmp_path, detector, settings={"blind_share": 1.0})
    assert everybody.predict(project(BOXES), tasks("a.jpg", "a.jpg"), None) == [None, None]


def test_one_bad_task_costs_none_but_itself(tmp_path: Path, caplog) -> None:
    good, damaged, odd = PIXELS, np.full_like(PIXELS, 99), np.full_like(PIXELS, 7)
    images = FakeImages({"1": good, "2": None, "3": damaged, "4": odd, "5": good + 1})
    yolo = backend(tmp_path, FakeDetector(SEEN, fails_on=7), images=images)
    asked = [*tasks(*"12345"), Task(6, {"text": "no image"}), Task(7, {"image": 5})]
    found = yolo.predict(project(BOXES), asked, None)
    assert [one is not None for one in found] == [True, False, False, False, True, False, False]
    told = "\n".join(caplog.messages)
    assert "task 2 is not pre-labelled: 2 is not there; upload it again" in told
    assert "task 3 is not pre-labelled: the image is damaged" in told
    assert "running yolo11n failed (RuntimeError)" in told
    assert "nothing under 'image'" in told
    labelled = list(yolo.label(project(BOXES), asked))
    assert [one.task.id for one in labelled] == [1, 2, 3, 4, 5, 6, 7]
    assert isinstance(labelled[1].error, MediaError)


def test_no_detection_is_an_empty_answer_for_every_kind(tmp_path: Path) -> None:
    kinds = {
        DetectorTask.DETECT: "Rectangle",
        DetectorTask.SEGMENT: "Polygon",
        DetectorTask.POSE: "KeyPoint",
    }
    for task, tag in kinds.items():
        xml = f"""{IMAGE}<{tag}Labels name="r" toName="image" model_path="yolo11n.pt">
        <Label value="person" model_index="0"/></{tag}Labels>"""
        yolo = backend(tmp_path, FakeDetector((), task=task))
        (found,) = yolo.predict(project(xml), tasks("a.jpg"), None)
        assert found.regions == ()
        assert encode_prediction(found, project(xml).config)["result"] == []


def test_a_threshold_of_five_percent_is_one(tmp_path: Path) -> None:
    weak = FakeDetector((box("car", 0.06), box("car", 0.04)))
    xml = BOXES.replace('"0.4"', '"0.05"')
    (found,) = backend(tmp_path, weak).predict(project(xml), tasks("a.jpg"), None)
    assert [one.region.score for one in found.regions] == [0.06]
    assert weak.calls[0][1].min_score <= 0.05


def test_no_match_is_an_empty_answer_and_a_reason(tmp_path: Path) -> None:
    detector = FakeDetector(SEEN)
    yolo = backend(tmp_path, detector)
    xml = f'{IMAGE}<RectangleLabels name="b" toName="image"><Label value="Tree"/></RectangleLabels>'
    (found,) = yolo.predict(project(xml), tasks("a.jpg"), None)
    assert found.regions == ()
    assert detector.calls == []
    (reason,) = yolo.check(project(xml).config)
    assert "no class of yolo11n has a label" in reason
    assert "predicted_values" in reason
    (line,) = yolo.describe(project(xml))
    assert line == (
        '<RectangleLabels name="b"> ← yolo11n (detect): no class matches a label; no class for '
        "Tree; 3 classes without a label: person, car, traffic light"
    )


def test_prompts_are_not_ours(tmp_path: Path) -> None:
    drawn = Interaction((), "image", 100, 60)
    assert backend(tmp_path).predict(project(BOXES), tasks("a.jpg"), drawn) == [None]


@pytest.mark.parametrize(
    "xml",
    [
        "",
        '<Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="x"/></Choices>',
        f'{IMAGE}<RectangleLabels name="b" toName="image" model_skip="true"><Label value="a"/>'
        "</RectangleLabels>",
        '<HyperText name="t" value="$t"/><HyperTextLabels name="l" toName="t"><Label value="a"/>'
        "</HyperTextLabels>",
    ],
)
def test_a_config_without_work(tmp_path: Path, xml: str) -> None:
    yolo, asked = backend(tmp_path), project(xml)
    assert yolo.predict(asked, tasks("a.jpg"), None) == [None]
    assert yolo.serving_version(asked) is None
    assert yolo.version(asked) == NOTHING
    assert "Nothing to pre-label" in yolo.check(asked.config)[0]
    with pytest.raises(BadLabelConfig):
        list(yolo.label(asked, tasks("a.jpg")))


def test_versions_change_with_what_changes_answers(tmp_path: Path) -> None:
    yolo = backend(tmp_path)
    first = yolo.version(project(BOXES))
    assert yolo.version(project(BOXES)) == first
    others = [
        yolo.version(project(BOXES.replace("0.4", "0.41"))),
        yolo.version(project(BOXES.replace('"Car"', '"Car" predicted_values="truck"'))),
        yolo.version(project(BOXES.replace('name="box"', 'name="box" model_iou="0.5"'))),
        backend(tmp_path, settings={"polygon_tolerance_px": 2.0}).version(project(BOXES)),
    ]
    (tmp_path / "models" / "yolo11n.pt").write_bytes(b"other weights")
    others.append(yolo.version(project(BOXES)))
    assert len({first, *others}) == 6
    assert yolo.versions()[0] == others[-1]
    # What only people see is no matter.
    seen = BOXES.replace('"Car"', '"Car" background="red" hotkey="c"')
    assert yolo.version(project(seen.replace("Image name", 'Image zoom="true" name'))) == others[-1]


def test_without_weights_nothing_is_stored_and_everything_is_told(tmp_path: Path, caplog) -> None:
    yolo, asked = backend(tmp_path), project(BOXES)
    (tmp_path / "models" / "yolo11n.pt").unlink()
    assert yolo.predict(asked, tasks("a.jpg"), None) == [None]
    assert yolo.version(asked) == yolo.version(None) == NO_WEIGHTS
    assert yolo.serving_version(asked) is None
    cure = "labelpilot weights get yolo11n"
    assert cure in caplog.text
    assert cure in yolo.check(asked.config)[0]
    assert cure in yolo.describe(asked)[0]
    with pytest.raises(ModelMissing, match=cure):
        list(yolo.label(asked, tasks("a.jpg")))


def test_while_the_default_is_downloaded_nothing_is_stored(tmp_path: Path) -> None:
    may_arrive, fetched = threading.Event(), []

    def fetch(weights, folder: Path) -> Path:
        fetched.append(weights.name)
        assert may_arrive.wait(20)
        (folder / weights.file).write_bytes(b"weights")
        return folder / weights.file

    background = FakeBackground()
    yolo = backend(
        tmp_path, settings={"download_weights": True}, fetch=fetch, background=background
    )
    (tmp_path / "models" / "yolo11n.pt").unlink()
    asked = project(BOXES)
    assert yolo.predict(asked, tasks("a.jpg", "a.jpg"), None) == [None, None]
    assert yolo.version(asked) == yolo.serving_version(asked) == NOT_YET
    assert yolo.versions() == []
    may_arrive.set()
    version = yolo.wait(asked)  # as a job does
    (labelled,) = yolo.label(asked, tasks("a.jpg"))
    assert labelled.prediction.version == version
    until(lambda: background.left == [(version, [1, 2])])  # what was asked for too early
    assert labelled.prediction.version not in (NO_WEIGHTS, NOTHING)
    assert fetched == ["yolo11n"]


def test_a_job_can_wait_for_the_version_that_counts(tmp_path: Path) -> None:
    yolo = backend(tmp_path)
    xml = (
        BOXES
        + """<PolygonLabels name="p" toName="image" model_path="gone.pt">
    <Label value="Car"/></PolygonLabels>"""
    )
    assert yolo.wait(project(BOXES)) == yolo.version(project(BOXES))
    assert yolo.wait(project(xml)) == yolo.version(project(xml))  # one of two models is enough
    assert yolo.wait(project("")) == NOTHING
    (tmp_path / "models" / "yolo11n.pt").unlink()
    with pytest.raises(ModelMissing, match="labelpilot weights get yolo11n"):
        yolo.wait(project(BOXES))


def test_what_waits_for_a_model_that_does_not_come_is_told_of(tmp_path: Path, caplog) -> None:
    may_fail, background = threading.Event(), FakeBackground()

    def fetch(weights, folder: Path) -> Path:
        assert may_fail.wait(20)
        raise ModelMissing("there is no network")

    yolo = backend(
        tmp_path, settings={"download_weights": True}, fetch=fetch, background=background
    )
    (tmp_path / "models" / "yolo11n.pt").unlink()
    for _ in range(3):  # people ask again
        assert yolo.predict(project(BOXES), tasks("a.jpg", "a.jpg"), None) == [None, None]
    may_fail.set()
    until(lambda: "2 tasks are not pre-labelled: " in caplog.text)
    told = [one for one in caplog.messages if one.startswith("2 tasks are not pre-labelled: ")]
    assert "there is no network" in told[0]  # whether it failed before or while they waited
    assert background.left == []


def test_a_download_that_failed_is_not_repeated(tmp_path: Path) -> None:
    tries = []

    def fetch(weights, folder: Path) -> Path:
        tries.append(weights.name)
        raise ModelMissing("there is no network")

    yolo = backend(tmp_path, settings={"download_weights": True}, fetch=fetch)
    (tmp_path / "models" / "yolo11n.pt").unlink()
    with pytest.raises(ModelMissing):
        list(yolo.label(project(BOXES), tasks("a.jpg")))
    for _ in range(3):
        assert yolo.predict(project(BOXES), tasks("a.jpg"), None) == [None]
    assert tries == ["yolo11n"]


def test_what_takes_too_long_follows_in_the_background(tmp_path: Path) -> None:
    background = FakeBackground()
    images = FakeImages({str(number): PIXELS + number for number in range(50)})
    yolo = backend(
        tmp_path, images=images, background=background, settings={"answer_within_s": 1e-6}
    )
    list(yolo.label(project(BOXES), tasks("0")))  # the model is loaded
    asked = tasks(*map(str, range(50)))
    found = yolo.predict(project(BOXES), asked, None)
    ready = [one is not None for one in found]
    assert 0 < sum(ready) < 50
    ((version, ids),) = background.left
    assert version == yolo.version(project(BOXES))
    assert ids == [task.id for task, is_ready in zip(asked, ready, strict=True) if not is_ready]
    background.waiting = ids
    again = yolo.predict(project(BOXES), asked[sum(ready) :], None)
    assert again == [None] * len(ids)
    assert len(background.left) == 1
    assert background.asked == set(ids)  # not all that wait of a large project


def test_masks_beyond_the_memory_of_an_answer_follow_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.jobs.answering.HELD_BYTES", 4 * PIXELS[..., 0].nbytes)
    seen = replace(box("person", 0.9), outline=Outline(np.ones((6, 10), np.float32), 100, 60))
    background = FakeBackground()
    yolo = backend(
        tmp_path,
        FakeDetector((seen,), task=DetectorTask.SEGMENT),
        images=FakeImages({str(number): PIXELS for number in range(20)}),
        background=background,
    )
    xml = f"""{IMAGE}<BrushLabels name="m" toName="image" model_path="yolo11n.pt">
    <Label value="person"/></BrushLabels>"""
    found = yolo.predict(project(xml), tasks(*map(str, range(20))), None)
    assert [one is not None for one in found] == [True] * 5 + [False] * 15
    assert background.left == [(yolo.version(project(xml)), list(range(6, 21)))]


def test_while_the_model_loads_all_is_left_for_the_background(tmp_path: Path) -> None:
    background, load = FakeBackground(), Loader(FakeDetector(SEEN))
    load.may_load.clear()
    yolo = backend(tmp_path, load=load, background=background, settings={"answer_within_s": 0.01})
    asked = tasks("a.jpg")
    assert yolo.predict(project(BOXES), asked, None) == [None]
    load.may_load.set()
    version = yolo.wait(project(BOXES))
    until(lambda: background.left == [(version, [asked[0].id])])


def test_an_answer_that_lacks_a_control_is_never_given(tmp_path: Path) -> None:
    background, slow = FakeBackground(), threading.Event()

    def load(path: Path) -> FakeDetector:
        assert path.name != "slow.pt" or slow.wait(20)
        return FakeDetector(SEEN, version=path.name)

    yolo = backend(tmp_path, load=load, background=background, settings={"answer_within_s": 0.2})
    (tmp_path / "models" / "slow.pt").write_bytes(b"slow")
    asked = project(
        BOXES
        + """<RectangleLabels name="other" toName="image" model_path="slow.pt">
    <Label value="Car"/></RectangleLabels>"""
    )
    version = yolo.version(asked)
    assert yolo.predict(asked, tasks("a.jpg"), None) == [None]
    until(lambda: background.left == [(version, [1])])
    slow.set()
    (labelled,) = yolo.label(asked, tasks("a.jpg"))
    assert {one.control for one in labelled.prediction.regions} == {"box", "other"}
    assert labelled.prediction.version == version


def test_without_its_database_the_background_costs_no_answer(tmp_path: Path, caplog) -> None:
    class Down(FakeBackground):
        def pending(self, project, version, task_ids):
            raise StateError("the database cannot be reached")

    yolo = backend(tmp_path, background=Down())
    (found,) = yolo.predict(project(BOXES), tasks("a.jpg"), None)
    assert len(found.regions) == 2
    assert "the database cannot be reached" in caplog.text


def test_many_tasks_take_few_batches(tmp_path: Path) -> None:
    detector = FakeDetector(SEEN)
    images = FakeImages({str(number): PIXELS + number for number in range(60)})
    yolo = backend(tmp_path, detector, images=images)
    found = yolo.predict(project(BOXES), tasks(*map(str, range(60))), None)
    assert all(found)
    assert sum(count for count, _ in detector.calls) == 60
    assert max(count for count, _ in detector.calls) <= 16


def test_who_stops_asking_stops_the_work(tmp_path: Path) -> None:
    asked = []

    def endless():
        number = 0
        while True:
            number += 1
            asked.append(number)
            yield Task(number, {"image": "a.jpg"})

    labelled = backend(tmp_path).label(project(BOXES), endless())
    assert next(labelled).task.id == 1
    labelled.close()
    assert len(asked) < 100


def test_videos_always_follow_in_the_background(tmp_path: Path) -> None:
    background = FakeBackground()
    yolo, asked = backend(tmp_path, background=background), project(CLIP)
    assert yolo.predict(asked, tasks("a.mp4", key="video"), None) == [None]
    assert [ids for _, ids in background.left] == [[1]]
    told = []
    (labelled,) = yolo.label(
        asked,
        tasks("a.mp4", key="video"),
        progress=lambda task, done, in_all: told.append((task.id, done, in_all)),
    )
    way, _other = labelled.prediction.regions
    assert isinstance(way, PlacedTrack)
    assert (way.track.label, way.control) == ("Car", "way")
    assert labelled.prediction.clip.frames == 10
    assert told[-1] == (1, 10, 10)
    assert encode_prediction(labelled.prediction, asked.config)["result"]


def test_a_clip_that_left_the_cache_is_fetched_again(tmp_path: Path) -> None:
    class Forgetful(FakeVideos):
        def __init__(self) -> None:
            self.located: list[str] = []

        def locate_video(self, url: str, project_key: str, task_id: int | None = None):
            self.located.append(url)
            path = tmp_path / url
            if self.located.count(url) > 1:
                path.touch()
            return replace(super().locate_video(url, project_key, task_id), path=path)

        def frames(self, file):
            if not file.path.exists():
                raise MediaError("the clip is gone")
            return super().frames(file)

    videos = Forgetful()
    urls = [f"{number}.mp4" for number in range(8)]
    yolo = backend(tmp_path, videos=videos)
    for done, labelled in enumerate(yolo.label(project(CLIP), tasks(*urls, key="video")), start=1):
        assert labelled.error is None
        assert len(set(videos.located)) <= done + 2  # not all clips are fetched before their turn
    assert sorted(videos.located) == sorted(urls * 2)


def test_one_project_does_not_lose_what_another_dropped(tmp_path: Path) -> None:
    values = np.ones((2, 8, 8), np.float32)
    seen = replace(box("person", 0.4), outline=Outline(values[0], 100, 60))
    yolo = backend(tmp_path, FakeDetector((seen,), task=DetectorTask.SEGMENT))
    polygons = f"""{IMAGE}<PolygonLabels name="p" toName="image" model_path="yolo11n.pt"
    model_score_threshold="{{}}"><Label value="person"/></PolygonLabels>"""
    points = """<KeyPointLabels name="k" toName="image" model_path="yolo11n.pt"
    model_score_threshold="0.2"><Label value="person" model_index="0"/></KeyPointLabels>"""
    (strict,) = yolo.predict(project(polygons.format(0.8) + points), tasks("a.jpg"), None)
    assert strict.regions == ()
    (found,) = yolo.predict(project(polygons.format(0.2)), tasks("a.jpg"), None)
    assert len(found.regions) == 1


def test_what_is_remembered_of_an_image_is_no_view_of_something_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Detection] = []
    monkeypatch.setattr(SeenCache, "put", lambda self, key, detections: kept.extend(detections))
    values = np.ones((300, 8, 8), np.float32)
    seen = replace(box("person", 0.9), outline=Outline(values[0], 100, 60))
    xml = f"""{IMAGE}<PolygonLabels name="p" toName="image" model_path="yolo11n.pt">
    <Label value="person"/></PolygonLabels>"""
    detector = FakeDetector((seen,), task=DetectorTask.SEGMENT)
    backend(tmp_path, detector).predict(project(xml), tasks("a.jpg"), None)
    assert [one.outline.values.base is None for one in kept] == [True]


def test_a_trackers_attributes_reach_it_and_wrong_ones_are_told(tmp_path: Path) -> None:
    made = []

    def make(kind: str, **options):
        made.append((kind, options))
        return FakeTracker()

    yolo = backend(tmp_path, make_tracker=make)
    xml = CLIP.replace('name="way"', 'name="way" bytetrack_track_buffer="60"')
    (good,) = yolo.label(project(xml), tasks("a.mp4", key="video"))
    assert good.prediction.regions
    assert made[0] == (
        "bytetrack",
        {"fps": 5.0, "min_score": 0.25, "settings": {"track_buffer": "60"}},
    )
    bad = project(CLIP.replace('name="way"', 'name="way" bytetrack_nonsense="1"'))
    (told,) = yolo.check(bad.config)
    assert 'name="way">: there is no tracker setting' in told


def test_real_trackers_take_settings_as_text() -> None:
    for kind in ("botsort", "bytetrack"):
        make_tracker(
            kind, fps=30.0, min_score=0.3, settings={"track_buffer": "60", "fuse_score": "false"}
        )
        with pytest.raises(ValueError, match="there is no tracker setting 'nonsense'"):
            make_tracker(kind, fps=30.0, min_score=0.3, settings={"nonsense": "1"})
        with pytest.raises(ValueError, match="track_buffer is a"):
            make_tracker(kind, fps=30.0, min_score=0.3, settings={"track_buffer": "long"})


def test_who_is_told_of_the_progress_may_stop_the_work(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(task: Task, done: int, in_all: int) -> None:
        raise Stopped

    labelled = backend(tmp_path).label(
        project(CLIP), tasks("a.mp4", "b.mp4", key="video"), progress=stop
    )
    with pytest.raises(Stopped):
        next(labelled)


def test_one_seg_model_fills_three_controls_in_one_run(tmp_path: Path) -> None:
    labels = '<Label value="person"/>'
    xml = IMAGE + "".join(
        f'<{tag} name="{tag}" toName="image" model_path="yolo11n.pt">{labels}</{tag}>'
        for tag in ("RectangleLabels", "PolygonLabels", "BrushLabels")
    )
    detector = FakeDetector((), task=DetectorTask.SEGMENT)
    backend(tmp_path, detector).predict(project(xml), tasks("a.jpg"), None)
    assert len(detector.calls) == 1


def test_two_images_of_a_task_keep_their_sizes(tmp_path: Path) -> None:
    images = FakeImages({"a": PIXELS, "b": np.zeros((200, 300, 3), np.uint8)})
    xml = "".join(
        f'<Image name="{name}" value="${name}"/><RectangleLabels name="r{name}" toName="{name}">'
        '<Label value="person"/></RectangleLabels>'
        for name in "ab"
    )
    yolo, asked = backend(tmp_path, images=images), project(xml)
    (found,) = yolo.predict(asked, [Task(1, {"a": "a", "b": "b"})], None)
    assert [one.size_px for one in found.regions] == [(100, 60), (300, 200)]
    widths = [item["original_width"] for item in encode_prediction(found, asked.config)["result"]]
    assert widths == [100, 300]
    (only,) = yolo.predict(asked, [Task(2, {"b": "b"})], None)  # a task need not have both
    assert [one.control for one in only.regions] == ["rb"]


def test_a_bad_attribute_costs_only_its_control(tmp_path: Path) -> None:
    xml = (
        BOXES
        + """<Choices name="c" toName="image" model_score_threshold="high">
    <Choice value="x"/></Choices>"""
    )
    yolo = backend(tmp_path)
    (found,) = yolo.predict(project(xml), tasks("a.jpg"), None)
    assert len(found.regions) == 2
    (problem,) = [one for one in yolo.check(project(xml).config) if "high" in one]
    assert '<Choices name="c"> has model_score_threshold="high"' in problem


def test_a_model_of_another_kind_is_told(tmp_path: Path) -> None:
    xml = BOXES.replace("Rectangle", "Polygon").replace(
        'name="box"', 'name="p" model_path="yolo11n.pt"'
    )
    yolo, asked = backend(tmp_path), project(xml)
    assert yolo.predict(asked, tasks("a.jpg"), None) == [None]
    (problem,) = yolo.check(asked.config)
    assert "is a detect model and gives no polygons; let model_path name a segment model" in problem


def test_one_control_on_two_images_has_ids_of_its_own_on_each(tmp_path: Path) -> None:
    xml = """<Image name="a" value="$a"/><Image name="b" value="$b"/>
    <RectangleLabels name="r" toName="a,b"><Label value="person"/></RectangleLabels>"""
    images = FakeImages({"a": PIXELS, "b": PIXELS + 1})
    yolo, asked = backend(tmp_path, images=images), project(xml)
    (found,) = yolo.predict(asked, [Task(1, {"a": "a", "b": "b"})], None)
    results = encode_prediction(found, asked.config)["result"]
    assert [item["to_name"] for item in results] == ["a", "b"]
    assert len({item["id"] for item in results}) == 2


def test_a_replaced_model_answers_without_a_restart(tmp_path: Path) -> None:
    load = Loader(FakeDetector((box("car", 0.9),)))
    yolo, asked = backend(tmp_path, load=load), project(BOXES)
    before = yolo.predict(asked, tasks("a.jpg"), None)[0]
    load.detector = FakeDetector((box("person", 0.8),), version="v2")
    (tmp_path / "models" / "yolo11n.pt").write_bytes(b"trained again")
    after = yolo.predict(asked, tasks("a.jpg"), None)[0]
    assert [one.region.label for one in (*before.regions, *after.regions)] == ["Car", "Person"]
    assert before.version != after.version == yolo.version(asked)


def test_a_missing_model_costs_only_its_controls(tmp_path: Path, caplog) -> None:
    xml = (
        BOXES
        + """<PolygonLabels name="p" toName="image" model_path="gone.pt">
    <Label value="Car"/></PolygonLabels>"""
    )
    yolo, asked = backend(tmp_path), project(xml)
    (found,) = yolo.predict(asked, tasks("a.jpg"), None)
    assert {one.control for one in found.regions} == {"box"}
    assert "'gone.pt' is not in the model folder" in caplog.text
    assert yolo.serving_version(asked) == yolo.version(asked)
    (problem,) = yolo.check(asked.config)
    assert '<PolygonLabels name="p"> cannot be pre-labelled' in problem
    (tmp_path / "models" / "gone.pt").write_bytes(b"here")
    assert yolo.version(asked) != found.version


def test_check_may_wait_for_the_model(tmp_path: Path) -> None:
    load = Loader(FakeDetector(SEEN))
    xml = f'{IMAGE}<RectangleLabels name="b" toName="image"><Label value="Tree"/></RectangleLabels>'
    yolo, asked = backend(tmp_path, load=load), project(xml)
    load.may_load.clear()
    assert yolo.check(asked.config) == []
    assert "not loaded yet" in yolo.describe(asked)[0]
    load.may_load.set()
    assert "YOLO leaves" in yolo.check(asked.config, wait_s=20)[0]


class Segmenter:
    """Has nothing against any label config."""

    def check(self, config) -> list[str]:
        return []


def test_a_look_at_the_status_loads_and_downloads_nothing(tmp_path: Path) -> None:
    load, fetched = Loader(FakeDetector(SEEN)), []
    yolo = backend(
        tmp_path,
        load=load,
        settings={"download_weights": True},
        fetch=lambda weights, folder: fetched.append(weights.name),
    )
    asked = project(
        BOXES
        + """<PolygonLabels name="p" toName="image" model_path="yolo11n-seg">
    <Label value="Car"/></PolygonLabels>"""
    )

    def looked_at() -> tuple[list[str], list[str]]:
        copilot = Copilot(segmenter=Segmenter(), prelabellers=[yolo])
        assert copilot.check(asked.config, load=False) == yolo.check(asked.config, load=False)
        return list(yolo.describe(asked, load=False)), list(yolo.check(asked.config, load=False))

    (boxes, polygons), (problem,) = looked_at()
    assert boxes.endswith('name="box"> ← yolo11n: not loaded yet')
    assert "labelpilot weights get yolo11n-seg" in polygons
    assert "labelpilot weights get yolo11n-seg" in problem
    assert yolo.wait(project(BOXES))
    (boxes, _), _ = looked_at()
    assert "yolo11n (detect): " in boxes
    assert (load.loads, fetched) == (["yolo11n.pt"], [])


def test_without_ultralytics_nothing_is_tried_and_the_cure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.yolo.shelf.find_spec", lambda name: None)
    yolo, asked = backend(tmp_path), project(BOXES)
    assert yolo.predict(asked, tasks("a.jpg"), None) == [None]
    assert yolo.serving_version(asked) is None
    (problem,) = yolo.check(asked.config)
    assert 'pip install "labelpilot[ultralytics]"' in problem
    quiet = backend(tmp_path, settings={"yolo_model": "off"})
    assert quiet.check(asked.config) == []
