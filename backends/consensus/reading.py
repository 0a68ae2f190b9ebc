"""Which tasks several people labelled, and what each of them says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backends.consensus.nouns import Overlap
from backends.errors import LabelpilotError, LabelStudioError, MediaError
from backends.interface import ImageSource, LabelledTask, Project
from backends.label_studio.accounts import find_own_account
from backends.label_studio.annotations import Reading, first_image, read_annotation
from backends.label_studio.client import told
from backends.label_studio.data_manager import item, later, page, tasks_of
from backends.label_studio.labelled import labelled_tasks
from backends.label_studio.truth import MAX_COMPARED, submitted
from micro_models.regions import Mask

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = Mapping[str, Any]
GoOn = Callable[[], None]
Tell = Callable[[str, float], None]
Size = tuple[int, int]

_LISTED_AT_ONCE = 500
# A mask is a byte for each pixel of its picture, and all are compared at once.
MOST_MASK_BYTES = 1_000_000_000
_PLACELESS = frozenset({"Choices", "Taxonomy"})
_NO_SIZE = (1, 1)


def overlapping(
    client: LabelStudio,
    project: Project,
    images: ImageSource,
    *,
    tell: Tell,
    go_on: GoOn,
) -> tuple[list[Overlap], dict[int, str]]:
    """The tasks that two people or more have submitted, and by task id why some have no part.

    Of each person the newest annotation counts, one marked as ground truth before others. Skipped
    ones and drafts do not, nor does what labelpilot annotated by itself, changed since or not.
    Errors: `LabelStudioError`.
    """
    ids = _ids(client, project.id, go_on)
    found: list[Overlap] = []
    problems: dict[int, str] = {}
    left_bytes, done = MOST_MASK_BYTES, 0
    account = find_own_account(client) if ids else None
    for some in labelled_tasks(client, project.id, ids):
        go_on()
        done += len(some)
        tell(f"reads {len(ids)} tasks", done / max(len(ids), 1))
        for one in some:
            try:
                overlap = read_overlap(one.task, project, images, problems, account=account)
            except LabelStudioError:
                raise
            except LabelpilotError as error:
                problems[one.task.id] = str(error)
                continue
            if overlap is None:
                continue
            left_bytes -= _mask_bytes(overlap)
            if left_bytes < 0:
                problems[overlap.task_id] = "too many masks in all: it is left out"
            else:
                found.append(overlap)
    return found, problems


def read_overlap(
    task: LabelledTask,
    project: Project,
    images: ImageSource,
    problems: dict[int, str],
    *,
    account: int | None = None,
) -> Overlap | None:
    """What each person says about a task; None where fewer than two do.

    `account`: labelpilot's own. What it stored is no voice, though a person changed it since: it
    began as what the others said, or a model. Errors: `MediaError`.
    """
    marked, others = submitted(list(task.annotations))
    newest: dict[int, list[Json]] = {}
    for one in [*marked, *others]:
        person = person_of(one)
        if person is not None and person != account:
            newest.setdefault(person, []).append(one)
    if len(newest) < 2:
        return None
    placed = [one for own in newest.values() for some in own for one in _placed(some)]
    if placed:
        size_px = _size(placed) or _located(task, project, images)
    else:
        size_px = _unseen_size(task, project, images)
    answers = {}
    for person, own in newest.items():
        reading = _first_complete(own, project, size_px)
        if reading is None:
            problems[task.id] = "of an annotation nothing can be read"
        elif len(reading.regions) > MAX_COMPARED:
            problems[task.id] = f"more than {MAX_COMPARED} regions: they are not compared"
            return None
        else:
            answers[person] = reading.regions
    return Overlap(task.id, size_px, answers) if len(answers) > 1 else None


def person_of(annotation: Json) -> int | None:
    """The id of who it is by; None where that is not known."""
    person = annotation.get("completed_by")
    person = person.get("id") if isinstance(person, Mapping) else person
    return person if isinstance(person, int) and not isinstance(person, bool) else None


def without_audits(
    overlaps: Sequence[Overlap], withheld: Collection[int]
) -> tuple[list[Overlap], dict[int, str]]:
    """What may be joined, and by task id why the rest may not.

    Whoever sees what a model says of an audit corrects it towards the model, and then it proves the
    model better than it is.
    """
    left = [one for one in overlaps if one.task_id not in withheld]
    audits = {one.task_id for one in overlaps} & set(withheld)
    return left, dict.fromkeys(sorted(audits), "it is an audit, and is to stay blind")


def names(client: LabelStudio, people: Sequence[int]) -> dict[int, str]:
    """What people are called, by id: their names, or "user 7". Never an e-mail address: reports
    are shown to whoever reaches the status page. Errors: `LabelStudioError`.
    """
    by_id = {int(one.id): one for one in _users(client)}
    return {person: _name(by_id.get(person), person) for person in people}


def emails(client: LabelStudio, people: Sequence[int]) -> dict[int, str]:
    """E-mail addresses of people, by id, where known. Errors: `LabelStudioError`."""
    by_id = {int(one.id): str(one.email or "") for one in _users(client)}
    return {person: by_id[person] for person in people if by_id.get(person)}


def _users(client: LabelStudio) -> list[Any]:
    with told("listing users"):
        return list(client.users.list())


def _name(user: Any, person: int) -> str:
    parts = (str(getattr(user, part, None) or "") for part in ("first_name", "last_name"))
    full = " ".join(part for part in parts if part and "@" not in part)
    return full or f"user {person}"


def _ids(client: LabelStudio, project_id: int, go_on: GoOn) -> list[int]:
    """Tasks with two annotations or more."""
    found: list[int] = []
    while True:
        go_on()
        items = [
            item("total_annotations", "greater", "Number", 1),
            later(found[-1] if found else 0),
        ]
        tasks, _ = tasks_of(page(client, project_id, items, size=_LISTED_AT_ONCE))
        found += [task.id for task in tasks if task.id is not None]
        if len(tasks) < _LISTED_AT_ONCE:
            return found


def _first_complete(annotations: Sequence[Json], project: Project, size_px: Size) -> Reading | None:
    readings = (
        read_annotation(one["result"], project.config, size_px=size_px) for one in annotations
    )
    return next((reading for reading in readings if reading.is_complete), None)


def _placed(annotation: Json) -> list[Json]:
    """Its regions that have a place on the picture."""
    return [one for one in _items(annotation) if "original_width" in one or _has_place(one)]


def _size(placed: Iterable[Json]) -> Size | None:
    """The picture's (width, height) as the editor noted it with each region; None if it did not,
    or not always the same.
    """
    sizes = {(one.get("original_width"), one.get("original_height")) for one in placed}
    width, height = sizes.pop()
    if sizes or not isinstance(width, int) or not isinstance(height, int):
        return None
    return (width, height) if min(width, height) > 0 else None


def _items(annotation: Json) -> Iterator[Json]:
    result = annotation.get("result")
    return (
        (one for one in result if isinstance(one, Mapping))
        if isinstance(result, list)
        else iter(())
    )


def _has_place(one: Json) -> bool:
    value = one.get("value")
    return isinstance(value, Mapping) and bool(
        {"x", "points", "rle", "imageDataURL"} & value.keys()
    )


def _located(task: LabelledTask, project: Project, images: ImageSource) -> Size:
    """From the picture itself. Errors: `MediaError`."""
    name = first_image(project.config)
    key = next((one.data_key for one in project.config.media if one.name == name), "")
    file = images.locate(str(task.data.get(key) or ""), project.key, task.id)
    return file.width_px, file.height_px


def _unseen_size(task: LabelledTask, project: Project, images: ImageSource) -> Size:
    """Where nobody drew anything: the picture's, since a model may have. A picture that cannot be
    had has no model's regions, and where classes alone are asked nothing has a place.
    """
    if all(control.tag in _PLACELESS for control in project.config.controls):
        return _NO_SIZE
    try:
        return _located(task, project, images)
    except MediaError:
        return _NO_SIZE


def _mask_bytes(overlap: Overlap) -> int:
    return sum(
        region.shape.pixels.nbytes
        for regions in overlap.answers.values()
        for region in regions
        if isinstance(region.shape, Mask)
    )
