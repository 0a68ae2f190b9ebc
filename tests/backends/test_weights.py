from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from backends.errors import ModelMissing
from backends.sam.engine import find_checkpoint
from backends.settings import Settings
from backends.weights import REGISTRY, Weights, download, fetch, listing, named
from backends.yolo.shelf import ModelShelf
from micro_models.detections import DetectorTask

BODY = bytes(range(256)) * 4096  # 1 MiB


class Host:
    """A file server that can cut connections and ignore or misunderstand ranges."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.cut_after: list[int] = []
        self.understands_ranges = True
        self.shifted = False
        self.status: int | None = None
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/tiny.pt"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        first = int(re.findall(r"\d+", asked)[0]) if asked and self.understands_ranges else 0
        if self.status is not None:
            request.send_response(self.status)
        elif first >= len(BODY):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(BODY)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        elif first:
            request.send_response(206)
            told = first - 7 if self.shifted else first
            request.send_header("Content-Range", f"bytes {told}-{len(BODY) - 1}/{len(BODY)}")
        else:
            request.send_response(200)
        body = BODY[first:]
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.01,))
    thread.start()
    yield host
    host.server.shutdown()
    thread.join()
    host.server.server_close()


def weights(host: Host, sha256: str = hashlib.sha256(BODY).hexdigest()) -> Weights:
    return Weights("tiny", "tiny.pt", host.url, 1, sha256, "a test")


def test_a_file_arrives_whole_with_progress(host: Host, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(weights(host), tmp_path / "new", progress=lambda *told: seen.append(told))
    assert path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert [file.name for file in path.parent.iterdir()] == ["tiny.pt"]


def test_a_present_file_is_checked_and_not_fetched_again(host: Host, tmp_path: Path) -> None:
    fetch(weights(host), tmp_path)
    fetch(weights(host), tmp_path)
    assert len(host.ranges) == 1
    (tmp_path / "tiny.pt").write_bytes(b"something else")
    with pytest.raises(ModelMissing, match=r"not the official file.*delete it"):
        fetch(weights(host), tmp_path)


def test_cut_connections_are_taken_up_where_they_broke(host: Host, tmp_path: Path) -> None:
    host.cut_after = [100_000, 200_000]
    path = fetch(weights(host), tmp_path)
    assert path.read_bytes() == BODY
    assert host.ranges == [None, "bytes=100000-", "bytes=300000-"]


def test_a_later_run_goes_on(host: Host, tmp_path: Path) -> None:
    (tmp_path / "tiny.pt.part").write_bytes(BODY[:5000])
    assert fetch(weights(host), tmp_path).read_bytes() == BODY
    assert host.ranges == ["bytes=5000-"]


def test_a_server_without_ranges_sends_all_again(host: Host, tmp_path: Path) -> None:
    host.understands_ranges = False
    (tmp_path / "tiny.pt.part").write_bytes(BODY[:5000])
    assert fetch(weights(host), tmp_path).read_bytes() == BODY


def test_a_range_that_starts_elsewhere_is_not_joined(host: Host, tmp_path: Path) -> None:
    host.shifted = True
    (tmp_path / "tiny.pt.part").write_bytes(BODY[:5000])
    assert fetch(weights(host), tmp_path).read_bytes() == BODY
    assert host.ranges == ["bytes=5000-", None]


@pytest.mark.parametrize("extra", [b"", b"more than the server has"])
def test_nothing_left_to_send(host: Host, tmp_path: Path, extra: bytes) -> None:
    (tmp_path / "tiny.pt.part").write_bytes(BODY + extra)
    assert fetch(weights(host), tmp_path).read_bytes() == BODY
    assert len(host.ranges) == (2 if extra else 1)


def test_a_wrong_digest_leaves_nothing_behind(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="is not the official file") as caught:
        fetch(weights(host, sha256="0" * 64), tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_brings_nothing_is_given_up(host: Host, tmp_path: Path) -> None:
    host.cut_after = [0] * 20
    with pytest.raises(ModelMissing, match="run the command again"):
        fetch(weights(host), tmp_path)
    assert len(host.ranges) == 1


@pytest.mark.parametrize("status", [404, 500])
def test_a_refusal_names_address_and_file(host: Host, tmp_path: Path, status: int) -> None:
    host.status = status
    with pytest.raises(ModelMissing) as caught:
        fetch(weights(host), tmp_path)
    assert host.url in caught.value.message
    assert "tiny.pt into the model folder" in caught.value.advice
    assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "tiny.pt").exists()


def test_offline_says_what_to_do(tmp_path: Path) -> None:
    nobody = Weights("tiny", "tiny.pt", "http://127.0.0.1:9/tiny.pt", 1, "0" * 64, "a test")
    with pytest.raises(ModelMissing, match=r"http://127.0.0.1:9/tiny.pt.*by hand"):
        fetch(nobody, tmp_path)


def test_a_folder_that_cannot_be_written(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelMissing, match=r"could not write .*LABELPILOT_MODEL_DIR") as caught:
        fetch(weights(host), tmp_path / "file")
    assert str(tmp_path) not in str(caught.value)


def test_the_registry_is_well_formed(tmp_path: Path) -> None:
    assert len({weights.name for weights in REGISTRY}) == len(REGISTRY)
    assert len({weights.sha256 for weights in REGISTRY}) == len(REGISTRY)
    for entry in REGISTRY:
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
        assert entry.url.startswith("https://")
        assert entry.url.endswith(entry.file)
        assert named(entry.name) is named(entry.file) is entry
    (tmp_path / "mobile_sam.pt").touch()
    assert [entry.name for entry, here in listing(tmp_path) if here] == ["mobile_sam"]
    with pytest.raises(ModelMissing, match="known are sam2"):
        download("sam_vit_x", tmp_path)


@pytest.mark.parametrize("task", DetectorTask)
def test_yolos_are_listed_the_best_first(tmp_path: Path, task: DetectorTask) -> None:
    entries = [entry for entry, _ in listing(tmp_path, task=task)]
    assert all(entry.extra == "ultralytics" for entry in entries)
    sizes = [entry.file.split("-")[0].removesuffix(".pt")[-1] for entry in entries]
    assert sizes == sorted(sizes, key="msn".index)
    for size in set(sizes):  # of the same size the newer one comes first
        ages = [entry.older for entry, its in zip(entries, sizes, strict=True) if its == size]
        assert ages == sorted(ages)
    assert [entry.name[:7] for entry in entries if not entry.older][-1] == "yolo11n"


PEER = (
    "yolov8n.pt yolov8m.pt yolov8n-seg.pt yolov8m-seg.pt yolov8n-cls.pt yolov8n-pose.pt "
    "yolov8m-pose.pt yolov8n-obb.pt"
)


@pytest.mark.parametrize("name", PEER.split())
def test_models_of_configs_for_the_peer_are_known(name: str) -> None:
    assert named(name).file == name
    assert named(name).older


def test_an_older_yolo_is_used_if_it_is_here_and_never_fetched_by_default(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, model_dir=tmp_path)
    shelf = ModelShelf(settings, load=lambda path: pytest.fail(f"{path} was loaded"))
    assert [shelf.default(task) for task in DetectorTask] == [
        f"yolo11n{suffix}" for suffix in ("", "-seg", "-pose", "-obb", "-cls")
    ]
    for here, wanted in (("yolov8n", "yolov8n"), ("yolo11n", "yolo11n"), ("yolov8m", "yolov8m")):
        (tmp_path / f"{here}.pt").touch()
        assert shelf.default(DetectorTask.DETECT) == wanted
    (tmp_path / "yolo11m.pt").touch()
    assert shelf.default(DetectorTask.DETECT) == "yolo11m"


def test_a_yolo_is_no_model_for_clicks(tmp_path: Path) -> None:
    (tmp_path / "yolo11n-seg.pt").touch()
    settings = Settings(_env_file=None, data_dir=tmp_path, model_dir=tmp_path)
    assert find_checkpoint(settings) is None
    (tmp_path / "mobile_sam.pt").touch()
    assert find_checkpoint(settings) == tmp_path / "mobile_sam.pt"
