"""Model versions: what changes answers changes the version, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from backends.errors import LabelpilotError
from backends.interface import Control
from backends.label_studio.label_xml import attribute, label_names
from backends.settings import Settings
from backends.yolo.plan import Run
from backends.yolo.shelf import ModelShelf
from backends.yolo.targets import Target

NO_WEIGHTS = "yolo-no-weights"
NOTHING = "yolo-nothing"
# What stands for a version while a model is hashed or downloaded; no prediction ever carries it.
NOT_YET = "yolo-not-ready"
# Part of every version: count up when the same model and label config get other answers.
ANSWERS = 1
VERSIONS_KEPT = 100


def version_of(runs: Sequence[Run], shelf: ModelShelf, settings: Settings, *, wait_s: float) -> str:
    """The version of what these runs answer; a model that cannot be had is a part of it.

    `NOTHING` without runs, `NO_WEIGHTS` if no model can be had, `NOT_YET` if one is not hashed
    after `wait_s` in all or is being downloaded.
    """
    if not runs:
        return NOTHING
    digests = _digests({run.model for run in runs}, shelf, wait_s)
    if digests is None:
        return NOT_YET
    if not any(digests.values()):
        return NO_WEIGHTS
    parts = [
        ANSWERS,
        settings.polygon_tolerance_px,
        settings.track_min_iou,
        *((digests[run.model], [_asked(target) for target in run.targets]) for run in runs),
    ]
    return f"yolo-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}"


def is_stored(version: str) -> bool:
    """Whether predictions may carry it: it is a hash."""
    return version not in (NO_WEIGHTS, NOTHING, NOT_YET)


class NamedVersions:
    """The versions that this process named, the present one first. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: OrderedDict[str, None] = OrderedDict()  # the present one last

    def add(self, version: str) -> None:
        """Remember a version as the present one."""
        with self._lock:
            self._named[version] = None
            self._named.move_to_end(version)
            while len(self._named) > VERSIONS_KEPT:
                self._named.popitem(last=False)

    def all(self) -> list[str]:
        """The present one first."""
        with self._lock:
            return list(reversed(self._named))


def _digests(models: set[str], shelf: ModelShelf, wait_s: float) -> Mapping[str, str | None] | None:
    """Each model's hash, None where there is no such model; None if one is not known in time."""
    deadline = time.monotonic() + wait_s
    found: dict[str, str | None] = {}
    for waits in (False, True):  # all are hashed at the same time
        for model in models:
            left_s = max(deadline - time.monotonic(), 0.0) if waits else 0.0
            try:
                found[model] = shelf.digest(model, wait_s=left_s)
            except LabelpilotError:
                if shelf.is_coming(model):
                    return None
                found[model] = None
                continue
            if waits and found[model] is None:
                return None
    return found


def _asked(target: Target) -> list[object]:
    """What of a control changes its answers."""
    labels = target.labels
    return [
        [target.control.tag, target.control.name, target.control.to_name, labels.name],
        [target.medium.tag, target.medium.data_key, attribute(target.medium, "framerate")],
        target.kind.value,
        asdict(target.parameters),
        [attribute(target.control, name) for name in ("choice", "maxUsages")],
        [[label, label_names(labels, label), _said(labels, label)] for label in labels.labels],
        list(labels.paths.items()),
        target.boxes and [target.boxes.name, list(target.boxes.labels)],
    ]


def _said(labels: Control, label: str) -> list[str]:
    """What a label's own attributes say to a model; its colour and hotkey are no matter."""
    said = labels.label_attributes.get(label, {})
    return [said.get("predicted_values", ""), said.get("model_index", "")]
