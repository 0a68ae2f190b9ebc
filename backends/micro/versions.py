"""The version that predictions carry: the micro-models that answer, and how they are shown."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

from backends.interface import Control, LabelConfig
from backends.label_studio.label_xml import attribute

FAMILY = "micro"
UNTRAINED = f"{FAMILY}-untrained"  # no prediction carries it
# To be raised when the same models would answer otherwise.
_ANSWERS = 1


def project_version(config: LabelConfig, models: Mapping[str, str], *, threshold: float) -> str:
    """`micro-` and a hash that changes whenever an answer could; `UNTRAINED` without models.

    `models` are the versions of the current models by the key of their scope. Colours and hotkeys
    of the label config are no matter.
    """
    if not models:
        return UNTRAINED
    parts = [
        _ANSWERS,
        threshold,
        sorted(models.items()),
        [[one.tag, one.name, one.data_key, attribute(one, "framerate")] for one in config.media],
        [_asked(control) for control in config.controls],
    ]
    return f"{FAMILY}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:10]}"


def is_stored(version: str) -> bool:
    """Whether predictions may carry it."""
    return version != UNTRAINED


def _asked(control: Control) -> list[object]:
    shape = [attribute(control, name) for name in ("scope", "choice", "maxUsages", "smart")]
    return [control.tag, control.name, control.to_name, control.labels, shape]


def is_ours(version: str) -> bool:
    """Whether a text is a version that a pre-labeller of ours gave predictions."""
    return re.fullmatch(r"(micro|yolo)-[0-9a-f]{10}", version) is not None
