from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from backends.errors import BadLabelConfig, ModelMissing
from backends.yolo.shelf import ModelShelf
from micro_models.detections import DetectorTask
from micro_models.engines.checkpoints import CheckpointError
from tests.backends.yolo.fakes import FakeDetector, Loader, settings

MEGABYTE = 1_000_000


def shelf(folder: Path, load=None, fetch=None, **changed) -> ModelShelf:
    given = settings(folder, **changed)
    return ModelShelf(
        given, load=load or Loader(FakeDetector(())), **({"fetch": fetch} if fetch else {})
    )


def models(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_a_model_is_found_by_the_name_of_its_checkpoint_or_file(tmp_path: Path) -> None:
    found = shelf(tmp_path)
    models(tmp_path, "best.onnx", "sub/own.tflite", "a_openvino_model/a.xml", "b.ENGINE")
    assert found.find("yolo11n").name == found.find("yolo11n.pt").name == "yolo11n.pt"
    for name in ("best.onnx", "sub/own.tflite", "a_openvino_model", "b.ENGINE"):
        assert found.find(name) == (tmp_path / "models").resolve() / name


@pytest.mark.parametrize(
    "name",
    [
        "../secret.pt",
        "sub/../../secret.pt",
        "/etc/secret.pt",
        "link.pt",
        "linked/secret.pt",
        "loop.pt",
    ],
)
def test_no_name_leads_out_of_the_model_folder(tmp_path: Path, name: str) -> None:
    found = shelf(tmp_path)
    (tmp_path / "secret.pt").write_bytes(b"code")
    (tmp_path / "models" / "link.pt").symlink_to(tmp_path / "secret.pt")
    (tmp_path / "models" / "linked").symlink_to(tmp_path)
    (tmp_path / "models" / "loop.pt").symlink_to(tmp_path / "models" / "loop.pt")
    with pytest.raises((BadLabelConfig, ModelMissing)) as caught:
        found.find(name)
    if name != "loop.pt":
        assert isinstance(caught.value, BadLabelConfig)
        assert "leads out of the model folder" in caught.value.message
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "model.pkl",
        "yolo12z",
        "",
        ".",
        "..",
        "models.py",
        "a\0.pt",
        "x" * 300 + ".pt",
        "é" * 200 + ".pt",
        "sam_vit_b",
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str) -> None:
    models(tmp_path, "models.py")
    with pytest.raises(BadLabelConfig, match="is no model that YOLO can load"):
        shelf(tmp_path).find(name)


@pytest.mark.parametrize("name", ["é" * 120 + ".pt", "\ud800.pt", "a.pt/b.pt"])
def test_a_name_that_no_disk_takes_is_missing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    found = shelf(tmp_path)
    models(tmp_path, "a.pt")
    for _ in range(2):
        with pytest.raises((ModelMissing, BadLabelConfig)):
            found.find(name)
        monkeypatch.setattr(Path, "is_file", refuse)


def test_a_missing_model_is_told_without_paths(tmp_path: Path) -> None:
    found = shelf(tmp_path)
    with pytest.raises(ModelMissing, match="labelpilot weights get yolo11n-seg") as caught:
        found.find("yolo11n-seg")
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ModelMissing, match=r"'best\.pt' is not in the model folder"):
        found.find("best.pt")


def test_the_default_is_the_best_one_that_is_here(tmp_path: Path) -> None:
    found = shelf(tmp_path)
    assert found.default(DetectorTask.DETECT) == "yolo11n"
    assert found.default(DetectorTask.SEGMENT) == "yolo11n-seg"  # none is here: the one to get
    models(tmp_path, "yolo11m.pt", "yolo11s-cls.pt", "mobile_sam.pt")
    assert found.default(DetectorTask.DETECT) == "yolo11m"
    assert found.default(DetectorTask.CLASSIFY) == "yolo11s-cls"
    assert shelf(tmp_path, yolo_model="off").default(DetectorTask.POSE) is None
    assert shelf(tmp_path, yolo_model="best.pt").default(DetectorTask.POSE) == "best.pt"


def test_a_model_is_loaded_once_by_many_threads(tmp_path: Path) -> None:
    load = Loader(FakeDetector(()))
    load.may_load.clear()
    found = shelf(tmp_path, load)
    assert found.now("yolo11n") is None
    got: list[object] = []

    def borrow() -> None:
        with found.borrowed("yolo11n") as detector:
            got.append(detector)

    threads = [threading.Thread(target=borrow) for _ in range(5)]
    for thread in threads:
        thread.start()
    load.may_load.set()
    for thread in threads:
        thread.join(20)
    assert got == [load.detector] * 5
    assert load.loads == ["yolo11n.pt"]
    assert found.now("yolo11n.pt") is load.detector  # by its other name


def test_who_does_not_wait_is_told(tmp_path: Path) -> None:
    load = Loader(FakeDetector(()))
    load.may_load.clear()
    found = shelf(tmp_path, load)
    with (
        pytest.raises(ModelMissing, match="still being loaded"),
        found.borrowed("yolo11n", wait_s=0.01),
    ):
        pass
    load.may_load.set()


def test_a_failed_load_is_told_and_tried_again_when_the_file_changes(tmp_path: Path) -> None:
    loads = []

    def load(path: Path) -> FakeDetector:
        loads.append(path.name)
        if len(loads) == 1:
            raise CheckpointError("yolo11n.pt is cut off")
        if len(loads) == 2:
            raise RuntimeError(f"no such operator in {path}")
        return FakeDetector(())

    found = shelf(tmp_path, load)
    for _ in range(3):
        with (
            pytest.raises(ModelMissing, match=r"yolo11n\.pt is cut off"),
            found.borrowed("yolo11n"),
        ):
            pass
    assert len(loads) == 1
    models(tmp_path, "yolo11n.pt")
    with pytest.raises(ModelMissing) as caught, found.borrowed("yolo11n"):
        pass
    assert "RuntimeError" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    (tmp_path / "models" / "yolo11n.pt").write_bytes(b"whole at last")
    with found.borrowed("yolo11n") as detector:
        assert isinstance(detector, FakeDetector)


def test_a_failure_that_is_not_the_file_s_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def load(path: Path) -> FakeDetector:
        loads.append(path.name)
        if len(loads) == 1:
            raise MemoryError
        return FakeDetector(())

    found = shelf(tmp_path, load)
    for _ in range(2):
        with pytest.raises(ModelMissing, match="MemoryError"), found.borrowed("yolo11n"):
            pass
    assert len(loads) == 1  # not at once
    monkeypatch.setattr("backends.yolo.shelf.RETRY_AFTER_S", 0.0)
    os.utime(tmp_path / "models" / "yolo11n.pt", ns=(1, 1))
    loads.clear()
    with pytest.raises(ModelMissing, match="MemoryError"), found.borrowed("yolo11n"):
        pass
    with found.borrowed("yolo11n") as detector:
        assert isinstance(detector, FakeDetector)
    assert len(loads) == 2


def test_a_peek_begins_nothing(tmp_path: Path) -> None:
    load = Loader(FakeDetector(()))
    fetched = []

    def fetch(weights, folder: Path) -> Path:
        fetched.append(weights.name)
        raise AssertionError("not to be downloaded")

    found = shelf(tmp_path, load, fetch=fetch, download_weights=True)
    assert found.peek("yolo11n") is None
    with pytest.raises(ModelMissing, match="labelpilot weights get yolo11s"):
        found.peek("yolo11s")
    with pytest.raises(BadLabelConfig):
        found.peek("../secret.pt")
    with found.borrowed("yolo11n"):
        pass
    assert found.peek("yolo11n") is load.detector
    assert load.loads == ["yolo11n.pt"]  # the peek before it loaded nothing
    os.utime(tmp_path / "models" / "yolo11n.pt", ns=(1, 1))
    assert found.peek("yolo11n") is None  # another file by now
    assert (len(load.loads), fetched) == (1, [])


def test_a_peek_tells_why_a_model_is_not_there(tmp_path: Path) -> None:
    def load(path: Path) -> FakeDetector:
        raise CheckpointError("yolo11n.pt is cut off")

    found = shelf(tmp_path, load)
    with pytest.raises(ModelMissing), found.borrowed("yolo11n"):
        pass
    with pytest.raises(ModelMissing, match="is cut off"):
        found.peek("yolo11n")


def test_models_are_loaded_one_by_one(tmp_path: Path) -> None:
    names = [f"{letter}.pt" for letter in "abcd"]
    loading, together = [], []

    def load(path: Path) -> FakeDetector:
        loading.append(path.name)
        together.append(len(loading))
        time.sleep(0.02)
        loading.remove(path.name)
        return FakeDetector(())

    found = shelf(tmp_path, load)
    models(tmp_path, *names)
    for name in names:
        assert found.now(name) is None
    for name in names:
        with found.borrowed(name):
            pass
    assert together == [1, 1, 1, 1]


def test_room_is_made_before_a_model_is_loaded(tmp_path: Path) -> None:
    names = [f"{letter}.pt" for letter in "abc"]
    held = []

    def load(path: Path) -> FakeDetector:
        held.append([name for name in names if found.peek(name)])
        return FakeDetector((), nbytes=500_000)

    found = shelf(tmp_path, load, yolo_memory_mb=1)
    models(tmp_path, *names)
    for name in names:
        (tmp_path / "models" / name).write_bytes(name.encode() * 100_000)  # 400 kB
        with found.borrowed(name):
            pass
    assert held == [[], ["a.pt"], ["b.pt"]]


def test_the_least_used_model_leaves_but_never_one_in_use(tmp_path: Path) -> None:
    loads = []

    def load(path: Path) -> FakeDetector:
        loads.append(path.stem)
        return FakeDetector((), nbytes=40 * MEGABYTE)

    found = shelf(tmp_path, load, yolo_memory_mb=100)
    models(tmp_path, "a.pt", "b.pt", "c.pt", "d.pt")

    def use(name: str) -> None:
        with found.borrowed(name):
            pass

    with found.borrowed("a.pt"):
        for name in ("b.pt", "c.pt", "b.pt", "d.pt"):
            use(name)
        assert loads == ["a", "b", "c", "b", "d"]  # two fit; a is in use all the time
        use("a.pt")
        assert loads[-1] == "d"
    use("a.pt")
    use("d.pt")
    assert loads[-1] == "d"
    assert len(loads) == 5


def test_one_model_larger_than_the_bound_is_kept(tmp_path: Path) -> None:
    load = Loader(FakeDetector((), nbytes=40 * MEGABYTE))
    found = shelf(tmp_path, load, yolo_memory_mb=1)
    for _ in range(3):
        with found.borrowed("yolo11n"):
            pass
    assert len(load.loads) == 1


def test_a_digest_follows_the_files(tmp_path: Path) -> None:
    found = shelf(tmp_path)
    models(tmp_path, "a_openvino_model/a.xml", "a_openvino_model/a.bin")
    first = [found.digest(name, wait_s=20) for name in ("yolo11n", "a_openvino_model")]
    assert all(first)
    assert [found.digest(name) for name in ("yolo11n", "a_openvino_model")] == first  # at once
    for name in ("yolo11n.pt", "a_openvino_model/a.bin"):
        path = tmp_path / "models" / name
        path.write_bytes(b"changed")
        os.utime(path, ns=(1, 1))
    then = [found.digest(name, wait_s=20) for name in ("yolo11n", "a_openvino_model")]
    assert len({*first, *then}) == 4


def test_a_known_checkpoint_is_downloaded_once(tmp_path: Path) -> None:
    fetched, may_arrive = [], threading.Event()

    def fetch(weights, folder: Path) -> Path:
        fetched.append(weights.name)
        assert may_arrive.wait(20)
        models(tmp_path, weights.file)
        return folder / weights.file

    found = shelf(tmp_path, fetch=fetch, download_weights=True)
    assert found.now("yolo11s-seg") is None
    assert found.is_coming("yolo11s-seg.pt")
    with pytest.raises(ModelMissing, match="is being downloaded"):
        found.find("yolo11s-seg")
    may_arrive.set()
    with found.borrowed("yolo11s-seg") as detector:
        assert isinstance(detector, FakeDetector)
    assert not found.is_coming("yolo11s-seg")
    assert fetched == ["yolo11s-seg"]


def test_nothing_is_downloaded_that_is_not_known_or_wanted(tmp_path: Path) -> None:
    def fetch(weights, folder: Path) -> Path:
        raise AssertionError("not to be downloaded")

    for found, name in (
        (shelf(tmp_path, fetch=fetch, download_weights=True), "best.pt"),
        (shelf(tmp_path, fetch=fetch, download_weights=False), "yolo11s"),
    ):
        with pytest.raises(ModelMissing):
            found.now(name)
