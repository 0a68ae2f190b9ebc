"""What a scope's model learns from: labelled tasks -> pictures with regions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass, field

import numpy as np

from backends.errors import LabelpilotError, LabelStudioError
from backends.interface import ImageFile, LabelConfig, LabelledTask, Project
from backends.label_studio.truth import read_truth
from backends.logs import Threads
from backends.micro.controls import Controls
from backends.micro.exchange import Material
from backends.micro.nouns import Scope
from backends.micro.scopes import covers
from micro_models.regions import Keypoints, Mask, Polygon, Region, Shape

Locate = Callable[[LabelledTask], ImageFile]

# More examples add little to a model that learns for less than a minute, and take longer to read.
MOST_EXAMPLES = 1_000
# A mask is a byte for each pixel of its picture.
MOST_MASK_BYTES = 1_000_000_000
_FETCHING = 4  # threads
_AHEAD = 16  # pictures that are fetched before their turn


@dataclass(frozen=True)
class Gathered:
    """Pictures with the regions of a scope, in the order of the tasks' ids.

    `problems`: by task id why it is not among them, or what of it is not, in a line for people.
    """

    material: list[Material] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)


def examples(
    scope: Scope,
    project: Project,
    labelled: Sequence[LabelledTask],
    locate: Locate,
    *,
    go_on: Callable[[], None],
) -> Gathered:
    """What annotations say about the pictures of a scope, kept to its controls and labels.

    Where people found nothing, or nothing of the scope, the picture is one of background; where
    nobody labelled it is left out, and one that cannot be fetched costs only itself. Of more than
    `MOST_EXAMPLES` the newest are taken. `go_on` is called for each; what it raises ends this, as
    does a Label Studio that cannot be reached.
    """
    controls = Controls(project.config)
    covered = [task for task in labelled if covers(scope, task) and task.annotations]
    newest = sorted(covered, key=lambda task: (task.updated_at, task.id), reverse=True)
    gathered = Gathered()
    mask_bytes = 0
    for task, located in _fetched(newest[:MOST_EXAMPLES], locate):
        go_on()
        try:
            file = located.result()
        except LabelStudioError:
            raise
        except LabelpilotError as error:
            gathered.problems[task.id] = str(error)
            continue
        except Exception as error:  # noqa: BLE001 - one picture must not cost the others
            gathered.problems[task.id] = f"its picture cannot be had ({type(error).__name__})"
            continue
        regions = _regions(task, project.config, file, gathered.problems)
        if regions is None:
            continue
        own = tuple(region for region in regions if controls.belongs(region, scope))
        mask_bytes += sum(one.shape.pixels.nbytes for one in own if isinstance(one.shape, Mask))
        if mask_bytes > MOST_MASK_BYTES:
            gathered.problems[task.id] = "too many masks in all: the training goes on without it"
            continue
        gathered.material.append(Material(task.id, file.path, own))
    gathered.material.sort(key=lambda one: one.task_id)
    return gathered


def data_hash(material: Sequence[Material]) -> str:
    """40 hex digits that change whenever a task, a picture or a region of it does, not their order.

    Pictures are known by their files' names, which are digests of their bytes.
    """
    each = []
    for one in material:
        total = hashlib.sha256(repr((one.task_id, one.frame, one.picture.name)).encode())
        for region in sorted(_fingerprint(region) for region in one.regions):
            total.update(region)
        each.append(total.digest())
    return hashlib.sha256(b"".join(sorted(each))).hexdigest()[:40]


def _fetched(
    tasks: Sequence[LabelledTask], locate: Locate
) -> Iterator[tuple[LabelledTask, Future[ImageFile]]]:
    """Each task with its picture, a few of which are fetched ahead."""
    pool = Threads(_FETCHING, thread_name_prefix="micro-fetch")
    try:
        waiting: list[Future[ImageFile]] = []
        for index, task in enumerate(tasks):
            while len(waiting) < min(index + _AHEAD, len(tasks)):
                waiting.append(pool.submit(locate, tasks[len(waiting)]))
            yield task, waiting[index]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _regions(
    task: LabelledTask, config: LabelConfig, file: ImageFile, problems: dict[int, str]
) -> tuple[Region, ...] | None:
    """All that people found in the picture; None where nobody labelled it."""
    size_px = (file.width_px, file.height_px)
    truth = read_truth([dict(one) for one in task.annotations], config, size_px=size_px)
    if truth.problems:
        problems[task.id] = "; ".join(truth.problems)[:500]
    return truth.regions


def _fingerprint(region: Region) -> bytes:
    return repr((region.label, type(region.shape).__name__, *_numbers(region.shape))).encode()


def _numbers(shape: Shape) -> tuple[object, ...]:
    match shape:
        case Mask():
            packed = np.packbits(shape.pixels).tobytes()
            return shape.pixels.shape, hashlib.sha256(packed).hexdigest()
        case Polygon():
            return (shape.points.tolist(),)
        case Keypoints():
            return shape.points.tolist(), shape.scores.tolist()
        case _:
            return astuple(shape)
