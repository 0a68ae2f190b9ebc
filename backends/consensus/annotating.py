"""The consensus as annotations of labelpilot's own account, which are nobody's labels.

Which tasks have one is written down before it is stored: kill it at any line, run it twice, and no
task has two, and all can be taken back.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backends.consensus.nouns import TOOL, Agreed
from backends.consensus.publishing import predictions
from backends.consensus.reading import person_of
from backends.consensus.store import ConsensusStore
from backends.errors import BadRegion, LabelStudioGone, LabelStudioRefused
from backends.interface import Prediction, Project
from backends.label_studio.accounts import find_own_account, own_account
from backends.label_studio.client import told
from backends.label_studio.labelled import is_own, whole_tasks
from backends.label_studio.results import encode_prediction

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

Json = Mapping[str, Any]
GoOn = Callable[[], None]

# Label Studio keeps a number with an annotation, by which ours of this tool are known.
IMPORT_ID = int(hashlib.sha256(b"labelpilot consensus").hexdigest()[:7], 16)
_NAMES = uuid.UUID("d3c1e0b4-5c1a-4b7a-9a53-0f6a1d7e2b90")


def annotate(
    client: LabelStudio,
    project: Project,
    tasks: Sequence[Agreed],
    version: str,
    store: ConsensusStore,
    *,
    go_on: GoOn,
) -> tuple[int, dict[int, str]]:
    """Store the consensus as annotations in place of our last ones: how many, why others failed.

    One that a person has changed since is theirs, and stays; the task gets no other. Errors:
    `LabelStudioError`, `StateError`.
    """
    account = own_account(client)
    made = predictions(project, tasks, version)
    take_back(client, project, store, go_on=go_on, keep=made.keys())
    done, failed = 0, dict[int, str]()
    for task, ours in _with_ours(client, project.id, sorted(made), account):
        go_on()
        try:
            result = _result(made[int(task.id)], project)
            good = next((one for one in ours if _stays(one, result, account)), None)
            if good is None:
                store.note_annotated(project.key, [int(task.id)])
                unique = str(uuid.uuid5(_NAMES, f"{project.key} {version} {task.id}"))
                _store(client, int(task.id), result, account, unique)
            # Only now: a task whose new one is refused keeps the last one.
            _delete(client, [one for one in ours if one is not good and is_own(one, account)])
            done += 1
        except LabelStudioGone:  # the task, meanwhile
            continue
        except (BadRegion, LabelStudioRefused) as error:
            failed[int(task.id)] = str(error)
    return done, failed


def take_back(
    client: LabelStudio,
    project: Project,
    store: ConsensusStore,
    *,
    go_on: GoOn,
    keep: Collection[int] = frozenset(),
) -> int:
    """Delete our annotations but in the tasks to `keep`; how many. What people changed stays.

    Errors: `LabelStudioError`, `StateError`.
    """
    account = find_own_account(client)
    ids = sorted(set(store.annotated(project.key)) - set(keep))
    gone = 0
    if account is not None:
        for _, ours in _with_ours(client, project.id, ids, account):
            go_on()
            mine = [one for one in ours if is_own(one, account)]
            _delete(client, mine)
            gone += len(mine)
    store.drop_annotated(project.key, ids)
    return gone


def _with_ours(
    client: LabelStudio, project_id: int, ids: Sequence[int], account: int
) -> Iterator[tuple[Any, list[Json]]]:
    """The tasks that are there, each with our annotations of this tool."""
    for tasks in whole_tasks(client, project_id, ids):
        for task in tasks:
            yield task, [one for one in task.annotations or [] if _is_ours(one, account)]


def _is_ours(one: Json, account: int) -> bool:
    return person_of(one) == account and one.get("import_id") == IMPORT_ID


def _stays(one: Json, result: list[Json], account: int) -> bool:
    """Whether it says so already, or is a person's by now."""
    return _is_same(one, result) or not is_own(one, account)


def _result(prediction: Prediction, project: Project) -> list[Json]:
    """Errors: `BadRegion`."""
    note = {"text": [f"{TOOL} of several annotators, made by labelpilot"]}
    encoded = encode_prediction(prediction, project.config)["result"]
    return [{**one, "meta": note} for one in encoded]


def _is_same(one: Json, result: list[Json]) -> bool:
    return json.dumps(one.get("result"), sort_keys=True) == json.dumps(result, sort_keys=True)


def _store(
    client: LabelStudio, task_id: int, result: list[Json], account: int, unique: str
) -> None:
    with told(f"storing an annotation of task {task_id}"):
        client.annotations.create(
            task_id,
            result=[dict(one) for one in result],
            completed_by=account,
            was_cancelled=False,
            unique_id=unique,
            import_id=IMPORT_ID,
            request_options={"max_retries": 0},
        )


def _delete(client: LabelStudio, annotations: Sequence[Json]) -> None:
    for one in annotations:
        try:
            with told("deleting an annotation"):
                client.annotations.delete(int(one["id"]))
        except LabelStudioRefused:  # somebody was faster
            continue
