"""Tasks one after the other, with what they show: fetched and decoded while a model computes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from backends.errors import LabelpilotError, MediaError
from backends.interface import (
    ImageFile,
    ImageSource,
    Labelled,
    Prediction,
    Task,
    TaskProgress,
    VideoFile,
)
from backends.logs import Threads
from micro_models.regions import Image

log = logging.getLogger(__name__)

FETCHING = 4  # threads
DECODING = 2  # threads
AHEAD = 32  # tasks whose files are fetched before their turn
VIDEOS_AHEAD = 1  # more would push each other out of the cache of files
MOST_IMAGES = 16  # in one batch
MOST_BYTES = 256_000_000  # of pixels in one batch; two exist at a time

Located = Mapping[str, ImageFile | VideoFile]  # by the name of the object tag


@dataclass
class Item:
    """A task in the pipeline: its files and their pixels; or why it has none."""

    task: Task
    files: Located = field(default_factory=dict)
    error: LabelpilotError | None = None
    pixels: dict[str, Future[Image]] = field(default_factory=dict)

    def image(self, name: str) -> Image:
        """The decoded image. Errors: `MediaError`."""
        return explained(self.pixels[name].result)


def explained(work: Callable[[], Image]) -> Image:
    """The work's result; whatever goes wrong unforeseen becomes a `MediaError`."""
    try:
        return work()
    except LabelpilotError:
        raise
    except Exception as error:
        log.debug("an image could not be read", exc_info=error)
        raise MediaError(
            f"the image could not be read ({type(error).__name__})",
            advice="see the server's log at level debug",
        ) from error


def finished(
    item: Item, answer: Callable[[TaskProgress], Prediction], progress: TaskProgress | None
) -> Labelled:
    """The answer for a task, or why it has none; what `progress` raises goes on to the caller."""
    if item.error is not None:
        return Labelled(item.task, error=item.error)
    stops: list[Exception] = []

    def told(task: Task, done: int, in_all: int) -> None:
        try:
            if progress is not None:
                progress(task, done, in_all)
        except Exception as stop:
            stops.append(stop)
            raise

    try:
        return Labelled(item.task, answer(told))
    except Exception as error:
        if error in stops:  # who is told of the progress wants to hear no more
            raise
        return Labelled(item.task, error=failure("labelling it", error))


def failure(doing: str, error: Exception) -> LabelpilotError:
    """The error for people, whatever it is."""
    if isinstance(error, LabelpilotError):
        return error
    log.debug("%s failed", doing, exc_info=error)
    return LabelpilotError(
        f"{doing} failed ({type(error).__name__})",
        advice="see the server's log at level debug; other tasks are labelled all the same",
    )


class Pipeline:
    """Batches of tasks in order. While the caller works on one, the next is fetched and decoded.

    `locate(task)` fetches a task's files, of `ahead` tasks before their turn, and no batch is
    larger; `needed(item)` names the images to decode. Leaving the `with` stops what goes on ahead.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        *,
        locate: Callable[[Task], Located],
        needed: Callable[[Item], Sequence[str]],
        images: ImageSource,
        ahead: int = AHEAD,
    ) -> None:
        self._ahead = ahead
        self._tasks = iter(tasks)
        self._locate = locate
        self._needed = needed
        self._images = images
        # Two pools: what is fetched ahead must not keep the batch in hand waiting.
        self._fetching = Threads(FETCHING, thread_name_prefix="label-fetch")
        self._decoding = Threads(DECODING, thread_name_prefix="label-decode")
        self._waiting: deque[Future[Item]] = deque()
        self._is_over = False

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self._fetching.shutdown(wait=False, cancel_futures=True)
        self._decoding.shutdown(wait=False, cancel_futures=True)

    def batches(self) -> Iterator[list[Item]]:
        """Non-empty batches. They begin with one task and grow, so that answers come early."""
        size, most = 1, min(MOST_IMAGES, self._ahead)
        ready = self._next(size, wait=True)
        while ready:
            size = min(size * 2, most)
            coming = self._next(size, wait=False)
            yield ready
            ready = coming or self._next(size, wait=True)

    def _next(self, most: int, *, wait: bool) -> list[Item]:
        """The next tasks whose files are here, being decoded; waits for the first if `wait`."""
        batch: list[Item] = []
        nbytes = 0
        while len(batch) < most and nbytes < MOST_BYTES:
            self._fetch_ahead()
            if not self._waiting or not (self._waiting[0].done() or (wait and not batch)):
                break
            item = self._waiting[0].result()
            needed = self._needed(item) if item.error is None else ()
            size = sum(_pixel_bytes(item.files[name]) for name in needed)
            if batch and nbytes + size > MOST_BYTES:
                break
            self._waiting.popleft()
            for name in needed:
                item.pixels[name] = self._decoding.submit(self._read, item.files[name])
            nbytes += size
            batch.append(item)
        return batch

    def _fetch_ahead(self) -> None:
        while not self._is_over and len(self._waiting) < self._ahead:
            task = next(self._tasks, None)
            if task is None:
                self._is_over = True
            else:
                self._waiting.append(self._fetching.submit(self._located, task))

    def _located(self, task: Task) -> Item:
        try:
            return Item(task, self._locate(task))
        except LabelpilotError as error:
            return Item(task, error=error)
        except Exception as error:  # one bad task costs none but itself
            log.debug("task %s could not be fetched", task.id, exc_info=error)
            reason = f"its files could not be fetched ({type(error).__name__})"
            return Item(task, error=MediaError(reason, advice="see the server's log"))

    def _read(self, file: ImageFile | VideoFile) -> Image:
        if isinstance(file, VideoFile):
            raise MediaError("the task's image is a video", advice="use <Video> for it")
        return self._images.read(file)


def _pixel_bytes(file: ImageFile | VideoFile) -> int:
    return file.width_px * file.height_px * 3
