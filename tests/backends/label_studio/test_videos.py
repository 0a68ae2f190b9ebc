import base64
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.errors import MediaError
from backends.interface import Clip, VideoFile
from backends.label_studio import media
from backends.label_studio.client import LabelStudios
from backends.label_studio.deadline import more_time, time_left, time_limit
from backends.label_studio.media import MediaStore
from backends.label_studio.projects import ProjectBook
from tests import clips
from tests.backends.label_studio.web import Answer, Web, drip

KEY = "7.1700000000"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
UPLOAD = "/data/upload/7/a.mp4"


@pytest.fixture
def store(settings: Callable[..., Any], web: Web, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a `MediaStore` that may read `tmp_path`; `web` is its Label Studio."""
    with ExitStack() as stack:

        def make(**values: Any) -> MediaStore:
            values.setdefault("media_allowed_dirs", str(tmp_path))
            made = settings(label_studio_url=web.url, label_studio_api_key=TOKEN, **values)
            studios = stack.enter_context(closing(LabelStudios(made, ProjectBook(made))))
            return stack.enter_context(closing(MediaStore(made, studios)))

        yield make


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "_PAUSES_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """30 frames of `numbered` at 25 a second, 96 x 64, the index last."""
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    return clips.write_clip(path, clips.numbered(30)).read_bytes()


@pytest.fixture
def opened(store: Callable[..., MediaStore], tmp_path: Path) -> Callable[..., Any]:
    """Bytes -> the file's facts and the numbers of its frames."""

    def look(data: bytes) -> tuple[VideoFile, list[int]]:
        path = tmp_path / "clip"
        path.write_bytes(data)
        videos = store()
        file = videos.locate_video(str(path), KEY)
        numbers = [clips.number(image.pixels) for image in videos.frames(file)]
        assert len(numbers) == file.clip.frames
        return file, numbers

    return look


class TestFrames:
    @pytest.mark.parametrize("suffix", list(clips.CODECS))
    def test_each_container(self, opened, tmp_path: Path, suffix: str) -> None:
        data = clips.write_clip(tmp_path / f"a{suffix}", clips.numbered(30)).read_bytes()
        file, numbers = opened(data)
        assert (file.width_px, file.height_px, file.clip) == (96, 64, Clip(30, 25.0))
        assert numbers == list(range(30))

    @pytest.mark.parametrize("fps", [10, 24, 30000 / 1001, 60])
    @pytest.mark.parametrize("suffix", [".mp4", ".webm"])
    def test_rates(self, opened, tmp_path: Path, suffix: str, fps: float) -> None:
        path = clips.write_clip(tmp_path / f"a{suffix}", clips.numbered(30), fps=fps)
        file, numbers = opened(path.read_bytes())
        assert file.clip.fps == pytest.approx(fps, rel=0.001)
        assert numbers == list(range(30))

    def test_one_frame(self, opened, tmp_path: Path) -> None:
        file, _ = opened(clips.write_clip(tmp_path / "a.mp4", clips.numbered(1)).read_bytes())
        assert file.clip.frames == 1

    def test_colours_are_rgb(self, store, tmp_path: Path) -> None:
        red = np.zeros((64, 96, 3), np.uint8)
        red[:] = (200, 30, 40)
        clips.write_clip(tmp_path / "a.mp4", [red])
        videos = store()
        (image,) = videos.frames(videos.locate_video(str(tmp_path / "a.mp4"), KEY))
        assert image.pixels.mean(axis=(0, 1)) == pytest.approx([200, 30, 40], abs=12)

    @pytest.mark.parametrize("quarters", [0, 1, 2, 3])
    def test_what_a_phone_turned_is_upright(self, store, tmp_path: Path, quarters: int) -> None:
        stored = np.zeros((64, 96, 3), np.uint8)
        stored[:32, :48] = 255  # bright at the top left, as the sensor saw it
        path = clips.write_clip(tmp_path / "a.mp4", [stored] * 3)
        path.write_bytes(clips.turned(path.read_bytes(), quarters))
        videos = store()
        file = videos.locate_video(str(path), KEY)
        image = next(iter(videos.frames(file)))
        upright = np.rot90(stored, -quarters)
        assert (file.height_px, file.width_px) == upright.shape[:2] == image.pixels.shape[:2]
        assert np.abs(image.pixels.astype(int) - upright).mean() < 12

    @pytest.mark.parametrize(
        "ticks",
        [
            [*range(10), *range(40, 60)],  # a screen that stands still for a while
            [*range(15), *range(16, 31)],  # one picture is missing
            [number + number // 3 for number in range(30)],
            [number * number for number in range(30)],
        ],
    )
    def test_frames_are_moments_where_the_rate_varies(self, opened, mp4, ticks) -> None:
        file, numbers = opened(clips.timed(mp4, ticks))
        seconds = [tick / 25 for tick in ticks]
        fps = file.clip.fps
        assert fps == pytest.approx(29 / seconds[-1], rel=0.05)
        assert file.clip.frames == pytest.approx(seconds[-1] * fps + 1, abs=0.51)
        for frame, number in enumerate(numbers):
            # The latest picture at that moment, give or take half a frame and rounding.
            lags = [(frame - second * fps) for second in seconds]
            assert lags[number] >= -0.501
            assert number == 29 or lags[number + 1] < -0.499

    def test_a_browser_recording_without_a_length(self, opened, tmp_path: Path) -> None:
        data = clips.write_clip(tmp_path / "a.webm", clips.numbered(30)).read_bytes()
        at = data.index(b"\x44\x89\x88")
        file, numbers = opened(data[:at] + b"\xec\x89" + data[at + 2 :])
        assert file.clip == Clip(30, 25.0)
        assert numbers == list(range(30))

    def test_a_cut_file_gives_the_frames_that_there_are(
        self, opened, mp4: bytes, tmp_path: Path
    ) -> None:
        webm = clips.write_clip(tmp_path / "a.webm", clips.numbered(30)).read_bytes()
        for whole in (webm, clips.index_first(mp4)):
            file, numbers = opened(whole[: len(whole) * 7 // 10])
            assert 5 < file.clip.frames < 30
            assert numbers[:-1] == list(range(file.clip.frames - 1))  # the last may be cut

    def test_damaged_pictures_are_those_before_them(self, opened, tmp_path: Path) -> None:
        avi = clips.write_clip(tmp_path / "a.avi", clips.numbered(30)).read_bytes()
        file, numbers = opened(clips.damaged(avi, [0, 7, 8, 29]))
        # A clip begins with its first picture and ends with its last.
        assert numbers == [*range(1, 7), 6, 6, *range(9, 29)]
        assert file.clip.fps == 25
        file, numbers = opened(clips.damaged(avi, range(1, 30, 3)))
        assert file.clip == Clip(30, 25.0)
        assert numbers == [number - (number % 3 == 1) for number in range(30)]

    def test_only_a_few_frames_are_in_memory(self, store, tmp_path: Path) -> None:
        path = clips.write_clip(
            tmp_path / "a.mp4", (np.full((480, 640, 3), n % 200, np.uint8) for n in range(120))
        )
        videos = store()
        tracemalloc.start()
        try:
            file = videos.locate_video(str(path), KEY)
            assert sum(1 for _ in videos.frames(file)) == 120
            _, most_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most_bytes < 8 * 480 * 640 * 3

    def test_a_file_that_left_the_cache_is_told(self, store, tmp_path: Path, mp4: bytes) -> None:
        (tmp_path / "a.mp4").write_bytes(mp4)
        videos = store()
        file = videos.locate_video(str(tmp_path / "a.mp4"), KEY)
        file.path.unlink()
        with pytest.raises(MediaError, match="has left the cache"):
            next(iter(videos.frames(file)))

    @pytest.mark.parametrize(
        ("name", "frames"),
        [
            ("frontend-media/opossum_intro.webm", 163),
            ("ml-backend-yolo-tests/opossum_snow_short.mp4", 35),
        ],
    )
    def test_real_clips(self, shared: Path, store, name: str, frames: int) -> None:
        path = shared / "data" / "label-studio" / name
        videos = store(media_allowed_dirs=str(path.parent))
        file = videos.locate_video(str(path), KEY)
        assert file.clip == Clip(frames, pytest.approx(29.97, abs=0.01))
        assert (file.width_px, file.height_px) == (1280, 720)
        assert sum(1 for _ in videos.frames(file)) == frames


class TestDoor:
    """A video comes through the door that images come through."""

    def test_uploads_are_fetched_with_the_token_and_once(self, web: Web, store, mp4) -> None:
        web.pages[UPLOAD] = Answer(mp4)
        videos = store()
        first = videos.locate_video(UPLOAD, KEY)
        assert videos.locate_video(UPLOAD, KEY) == first
        assert store().locate_video(UPLOAD, KEY) == first  # after a restart
        assert len(web.calls) == 1
        assert web.calls[0][2]["Authorization"] == f"Token {TOKEN}"
        assert web.calls[0][2]["Accept"].startswith("video/")

    def test_data_uris(self, store, mp4: bytes) -> None:
        url = f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"
        assert store().locate_video(url, KEY).clip.frames == 30

    @pytest.mark.parametrize(
        "url",
        ["file:///etc/passwd", "http://127.0.0.1:{port}/a.mp4", "/api/users/", "rtsp://h/a", ""],
    )
    def test_refused(self, web: Web, elsewhere: Web, store, url: str) -> None:
        with pytest.raises(MediaError) as caught:
            store().locate_video(url.replace("{port}", str(elsewhere.port)), KEY)
        assert caught.value.advice
        assert elsewhere.calls == web.calls == []

    def test_no_address_is_told(self, store) -> None:
        with pytest.raises(MediaError, match=r"has no video.*<Video>"):
            store().locate_video("", KEY)

    def test_videos_have_a_limit_of_their_own(self, web: Web, store, mp4: bytes) -> None:
        large = mp4 + struct.pack(">I4s", 1_500_000, b"free") + bytes(1_499_992)
        web.pages[UPLOAD] = Answer(large)
        assert store(media_max_mb=1).locate_video(UPLOAD, KEY).clip.frames == 30
        web.pages["/data/upload/7/b.mp4"] = Answer(large)
        with pytest.raises(MediaError, match=r"larger than 1 MB.*VIDEO_MAX_MB"):
            store(video_max_mb=1).locate_video("/data/upload/7/b.mp4", KEY)

    def test_a_clip_is_measured_once_however_many_addresses_it_has(
        self, web: Web, store, mp4: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured: list[Path] = []
        measure = media.measure

        def count(path: Path, **how: Any) -> Any:
            measured.append(path)
            return measure(path, **how)

        monkeypatch.setattr(media, "measure", count)
        for name in "ab":
            web.pages[f"/data/upload/7/{name}.mp4"] = Answer(mp4)
            for key in (KEY, "8.1"):
                store().locate_video(f"/data/upload/7/{name}.mp4", key)
        assert len(measured) == 1
        assert len(web.calls) == 4

    def test_many_threads_fetch_and_measure_once(self, web: Web, store, mp4: bytes) -> None:
        start = threading.Barrier(4)

        def slowly(_: BaseHTTPRequestHandler) -> Answer:
            time.sleep(0.2)
            return Answer(mp4)

        web.pages[UPLOAD] = slowly
        videos = store()

        def ask(_: int) -> VideoFile:
            start.wait()
            return videos.locate_video(UPLOAD, KEY)

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(ask, range(4)))) == 1
        assert len(web.calls) == 1

    def test_who_waits_for_anothers_video_waits_as_long_as_it_takes(
        self, web: Web, store, mp4: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web.pages[UPLOAD] = Answer(mp4)
        videos = store()
        videos._limit_s = 0.01
        measuring, go_on = threading.Event(), threading.Event()
        measure = media.measure

        def slowly(path: Path, **how: Any) -> Any:
            measuring.set()
            assert go_on.wait(30)
            return measure(path, **how)

        monkeypatch.setattr(media, "measure", slowly)
        monkeypatch.setattr(media, "time_limit", lambda _: time_limit(30))
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(videos.locate_video, UPLOAD, KEY)
            assert measuring.wait(30)
            second = pool.submit(videos.locate_video, UPLOAD, KEY)
            time.sleep(0.1)
            go_on.set()
            assert first.result(30) == second.result(30)


class TestTime:
    """As long as bytes flow a video may take its time."""

    def test_each_piece_gives_more_time(self, web: Web, store, monkeypatch) -> None:
        monkeypatch.setattr(media, "_PATIENCE", 1)
        body = bytes(300_000)
        stop = threading.Event()

        def flow(request: BaseHTTPRequestHandler) -> Answer:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2400000\r\n\r\n")
            for _ in range(8):
                request.wfile.write(body)
                stop.wait(0.4)
            return Answer()

        web.pages[UPLOAD] = flow
        videos = store(media_timeout_s=2)
        with pytest.raises(MediaError, match="comes too slowly"):
            videos.locate(UPLOAD, KEY)  # 3.2 s are too long for an image
        with pytest.raises(MediaError, match="is not a video"):  # but it came to its end
            videos.locate_video(UPLOAD, KEY)

    def test_a_server_that_drips_is_told_all_the_same(self, web: Web, store) -> None:
        web.pages[UPLOAD] = drip(b"HTTP/1.1 200 OK\r\n\r\n", stop := threading.Event())
        try:
            with pytest.raises(MediaError, match="comes too slowly"):
                store(media_timeout_s=0.1).locate_video(UPLOAD, KEY)
        finally:
            stop.set()

    def test_no_more_time_than_allowed(self) -> None:
        with time_limit(100):
            with time_limit(10):
                more_time(5, at_most_s=60)
                assert 14 < time_left() <= 15
                more_time(500, at_most_s=60)
                assert 59 < time_left() <= 60
                more_time(1, at_most_s=20)  # never less
                assert 59 < time_left() <= 60
                more_time(500, at_most_s=500)
                assert 99 < time_left() <= 100  # the outer limit holds
            assert 99 < time_left() <= 100
        more_time(5, at_most_s=60)
        assert time_left() == float("inf")


class TestCauses:
    """Every failure names its one cause and the cure."""

    @pytest.mark.parametrize(
        ("data", "words", "cure"),
        [
            (b"", "is empty", "upload"),
            (b"<!doctype html><html>", "login page instead of a video", "API_KEY"),
            (clips.picture("JPEG"), "is an image", "<Image>"),
            (clips.picture("PNG"), "is an image", "<Image>"),
            (clips.picture("WEBP"), "is an image", "<Image>"),
            (clips.picture("AVIF"), "is an image", "<Image>"),
            (clips.sound(), "is a sound without pictures", "with video"),
            (b"ID3\x04" + bytes(2000), "is a sound without pictures", "with video"),
            (b"\x1aE\xdf\xa3" + bytes(50) + b"A_OPUS" + bytes(50), "is a sound", "with video"),
            (b"OggS" + bytes(24) + b"OpusHead" + bytes(50), "is a sound", "with video"),
            (b'{"a": 1}', "is not a video", "WebM"),
            (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is not a video", "WebM"),
            (b"ffconcat version 1.0\nfile /etc/passwd\n", "is not a video", "WebM"),
            (b"\x1aE\xdf\xa3" + b"V_VP8" + bytes(500), "is damaged", "WebM"),
            (b"\0\0\0\x14ftypisom\0\0\2\0isom", "its index of pictures is missing", "whole"),
        ],
    )
    def test_what_is_no_video(self, web: Web, store, data: bytes, words: str, cure: str) -> None:
        web.pages[UPLOAD] = Answer(data)
        with pytest.raises(MediaError, match=words) as caught:
            store().locate_video(UPLOAD, KEY)
        assert cure in caught.value.advice
        assert "/tmp" not in str(caught.value)

    def test_of_the_mp4_family(self, web: Web, store, mp4: bytes, tmp_path: Path) -> None:
        def cause(data: bytes, **values: Any) -> str:
            web.pages[UPLOAD] = Answer(data)
            with pytest.raises(MediaError) as caught:
                store(**values).locate_video(UPLOAD, KEY)
            return str(caught.value)

        assert "its index of pictures is missing" in cause(mp4[: len(mp4) * 8 // 10])
        assert "is a sound without pictures" in cause(mp4.replace(b"vide", b"soun"))
        at = mp4.index(b"mdat") + 4
        noise = np.random.default_rng(0).bytes(mp4.index(b"moov") - 4 - at)
        assert "can be decoded" in cause(mp4[:at] + noise + mp4[at + len(noise) :])
        assert "does not say when" in cause(clips.timed(mp4, [0] * 30))
        path = clips.write_clip(tmp_path / "a.mp4", [np.zeros((1000, 1100, 3), np.uint8)])
        assert "1100 x 1000 pixels" in cause(path.read_bytes(), media_max_megapixels=1)

    def test_a_video_asked_for_as_an_image_and_the_other_way(self, web, store, mp4) -> None:
        web.pages[UPLOAD] = Answer(mp4)
        videos = store()
        assert videos.locate_video(UPLOAD, KEY).clip.frames == 30
        with pytest.raises(MediaError, match=r"is a video.*<Video>"):
            videos.locate(UPLOAD, KEY)
        web.pages["/data/upload/7/a.png"] = Answer(clips.picture("PNG"))
        assert videos.locate("/data/upload/7/a.png", KEY).width_px == 30
        with pytest.raises(MediaError, match=r"is an image.*<Image>"):
            videos.locate_video("/data/upload/7/a.png", KEY)
