"""Checkpoint files: reading them without running their code, and hashing them once.

A `.pt` file is a pickle, and a pickle may hold code; only plain tensors are accepted.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle  # nosec B403
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why and what to do."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a `.pt`/`.pth` file, as it is or under "model" or "state_dict".

    Errors: `CheckpointError` for a missing, cut off or foreign file, or one that needs code.
    """
    import torch

    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint at {path}; put one there or name another")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch says so for both: a pickle that asks for code, and bytes that are no pickle.
        raise CheckpointError(
            f"{path.name} is no plain checkpoint: it is damaged or needs code to be run, which is "
            "refused; get the official file again, or save only its state_dict() with torch.save"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read, it seems to be cut off or to be another kind of file; "
            "delete it and get it again"
        ) from error
    return _tensors(stored, path)


def _tensors(stored: Any, path: Path) -> dict[str, Tensor]:
    import torch

    for key in ("model", "state_dict"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    tensors = (
        {
            # People save half precision to halve the file; it is computed in single all the same.
            str(name): value.float() if value.is_floating_point() else value
            for name, value in stored.items()
            if isinstance(value, torch.Tensor)
        }
        if isinstance(stored, Mapping)
        else {}
    )
    if not tensors:
        raise CheckpointError(
            f"{path.name} holds no weights; save the model's state_dict() with torch.save"
        )
    return tensors


def digest(path: Path, *, cache_dir: Path) -> str:
    """SHA-256 of a file in hex; computed once per path, size and time of change.

    Errors: `CheckpointError` where there is no file.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise CheckpointError(f"there is no checkpoint at {path}; put one there") from error
    key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    note = cache_dir / "digests" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    try:
        known = json.loads(note.read_text())
        if known["key"] == key:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not hashed yet, or the note is damaged: hash (again)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    write_atomically(note, json.dumps({"key": key, "sha256": sha256}))
    return sha256


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that readers see all of it or nothing; a full disk is only logged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except OSError as error:
        log.warning("could not write %s: %s", path.name, error)
