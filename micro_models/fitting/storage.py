"""Micro-models on disk: numbers, arrays and JSON, so that no file's code is ever run.

A folder holds `model.json` and the arrays in `arrays-VERSION.npz`, whose name ends with the model's
version. The arrays are written first and `model.json` is replaced in one step, so that a reader,
another who saves, or whoever looks after a crash, finds the old model or the new one. What was
replaced is deleted by the first save that comes minutes later: a slower save may still need it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from micro_models.fitting.builtin import trainer_named
from micro_models.fitting.calibration import Calibration
from micro_models.fitting.limits import Limits
from micro_models.fitting.model import Answers, MicroModel
from micro_models.fitting.report import Report
from micro_models.interface import Learned, ModelFileError, State, Trainer

FORMAT = 1
# A model of ours is a few megabytes; the largest fine-tuned ones some hundred.
_MOST_JSON, _MOST_ARRAYS = 64 << 20, 2 << 30
# Leftovers that were written in the last minutes may belong to a save that is not at its end.
_YOUNG_S = 600.0
# A reader whose arrays are replaced under its eyes begins again.
_TRIES = 3
# Pictures are never made smaller than this, in parts of their sides.
_LEAST_FACTOR = 1e-4
# What zipfile and numpy raise; RuntimeError for what is encrypted or packed in another way.
_DAMAGE = (zipfile.BadZipFile, ValueError, EOFError, OSError, SyntaxError, RuntimeError)
_AGAIN = "copy the whole folder again, or train it again"
_LEARNED, _LIMITS = "learned.", "limits.descriptions"


def assembled(
    learned: Learned,
    *,
    trainer: str,
    calibration: Calibration,
    limits: Limits,
    report: Report,
    factor: float,
    held_out: Answers = (),
) -> MicroModel:
    """A model of its parts, with the version that belongs to them."""
    model = MicroModel(learned, trainer, calibration, limits, report, factor, "", held_out)
    parts = dict(vars(model), version=version_of(state_of(model)))
    return MicroModel(**parts)


def state_of(model: MicroModel) -> State:
    """Everything that a model's answers depend on."""
    inner = model.learned.state()
    settings = {
        "trainer": model.trainer,
        "learned": dict(inner.settings),
        "calibration": model.calibration.as_dict(),
        "reach": model.limits.reach,
        "factor": model.factor,
    }
    arrays = {f"{_LEARNED}{name}": array for name, array in inner.arrays.items()}
    return State(settings, {**arrays, _LIMITS: model.limits.descriptions})


def version_of(state: State) -> str:
    """12 hex digits of SHA-256 over all settings and arrays.

    >>> version_of(State({"a": 1}, {"b": np.zeros(3)})) == version_of(State({"a": 1}, {}))
    False
    """
    total = hashlib.sha256(_json(state.settings))
    for name in sorted(state.arrays):
        array = np.ascontiguousarray(state.arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()[:12]


def save(model: MicroModel, folder: Path) -> None:
    """See `MicroModel.save`."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / "model.json").is_file() and not _leftovers(folder):
        raise ModelFileError(f"{folder} holds something else than a model; name another folder")
    state = state_of(model)
    with _replacing(folder / _arrays_name(model.version)) as file:
        in_rows = {name: np.asarray(array, order="C") for name, array in state.arrays.items()}
        np.savez(file, allow_pickle=False, **in_rows)
    stored = {
        "format": FORMAT,
        "version": model.version,
        "settings": state.settings,
        "report": model.report.as_dict(),
    }
    with _replacing(folder / "model.json") as file:
        file.write(_json(stored))
    for old in _leftovers(folder):
        if old.name != _arrays_name(model.version) and _age_s(old) > _YOUNG_S:
            old.unlink(missing_ok=True)


def load(folder: Path | str, *, trainers: Sequence[Trainer] = ()) -> MicroModel:
    """The model that `MicroModel.save` wrote to a folder: it answers the same.

    Nothing in the folder is run; only numbers, arrays and JSON are read. `trainers`: your own, if
    it was made by one.

    Errors: `ModelFileError` for a folder that holds no model, and for one that is cut off, changed,
    of a newer format, or of a trainer that is not known.

    >>> import tempfile
    >>> from micro_models import Box, Budget, Example, Image, Region, fit
    >>> image = Image(np.zeros((48, 64, 3), np.uint8))
    >>> model = fit([Example(image, [Region("car", Box(9, 9, 30, 30))])], budget=Budget(steps=2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(folder)
    ...     load(folder).version == model.version
    True
    """
    folder = Path(folder)
    stored, arrays = _read(folder)
    version, settings = stored["version"], stored["settings"]
    state = State(settings, arrays)
    try:
        if version_of(state) != version:
            raise ModelFileError(f"the model in {folder} was changed since it was saved; {_AGAIN}")
        inner = {n.removeprefix(_LEARNED): a for n, a in state.arrays.items() if n != _LIMITS}
        maker = trainer_named(str(settings["trainer"]), trainers)
        learned = maker.restore(State(settings["learned"], inner))
        limits = _limits(state)
        factor = float(settings["factor"])
        calibration = Calibration.from_dict(settings["calibration"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"the model in {folder} does not fit together; {_AGAIN}") from error
    if not _LEAST_FACTOR <= factor <= 1:
        raise ModelFileError(f"the model in {folder} has no sensible scale; {_AGAIN}")
    report = Report.from_dict(stored["report"])
    return MicroModel(learned, maker.name, calibration, limits, report, factor, version)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `model.json` says and the arrays that it names, also while others save models."""
    for _ in range(_TRIES):
        stored = _read_json(folder)
        path = folder / _arrays_name(stored["version"])
        try:
            return stored, _read_arrays(path)
        except FileNotFoundError:
            continue
    raise ModelFileError(f"{path} is missing; {_AGAIN}")


def _limits(state: State) -> Limits:
    descriptions, reach = state.arrays[_LIMITS], float(state.settings["reach"])
    if descriptions.dtype != np.float32 or descriptions.ndim != 2 or not len(descriptions):
        raise ValueError("no descriptions")
    if not np.isfinite(descriptions).all() or not (math.isfinite(reach) and reach > 0):
        raise ValueError("no such limits")
    return Limits(descriptions, reach)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / "model.json"
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ModelFileError(f"{path} is too large to be a model; name another folder")
        stored = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"there is no model in {folder}; name another folder") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{path} is cut off or no model; {_AGAIN}") from error
    if (
        not isinstance(stored, dict)
        or type(stored.get("format")) is not int
        or stored["format"] < 1
    ):
        raise ModelFileError(f"{path} is no model; name another folder")
    if stored["format"] > FORMAT:
        raise ModelFileError(
            f"the model in {folder} was saved by a newer version (format {stored['format']}, this "
            f"one reads up to {FORMAT}); update, or train it again"
        )
    version = stored.get("version")
    if not isinstance(version, str) or not re.fullmatch("[0-9a-f]{12}", version):
        raise ModelFileError(f"{path} has no version; {_AGAIN}")
    if not all(isinstance(stored.get(name), dict) for name in ("settings", "report")):
        raise ModelFileError(f"{path} lacks a part; {_AGAIN}")
    return stored


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file as we write it; none is larger than the file itself.

    Errors: `FileNotFoundError`; `ModelFileError` for what we did not write.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_ARRAYS:
            raise ModelFileError(f"{path} is too large to be a model; name another folder")
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > size:
                raise ValueError("parts that overlap")
            return {
                entry.filename.removesuffix(".npy"): _read_array(archive, entry)
                for entry in archive.infolist()
            }
    except FileNotFoundError:
        raise
    except ModelFileError:
        raise
    except _DAMAGE as error:
        raise ModelFileError(f"{path} is cut off or damaged; {_AGAIN}") from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Errors: `ValueError` where the file would need more memory than its own size, or objects."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed")
    with archive.open(entry) as file:
        shape, in_columns, dtype = _header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.kind not in "biuf" or size > entry.file_size or in_columns:
            raise ValueError(f"{entry.filename} holds {shape} {dtype}")
        data = file.read(size)
    return np.frombuffer(bytearray(data), dtype).reshape(shape)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    reading: Any = np.lib.format  # numpy leaves these without types
    if reading.read_magic(file) != (1, 0):
        raise ValueError("an array of another format")
    shape, in_columns, dtype = reading.read_array_header_1_0(file)
    return shape, in_columns, dtype


def _json(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, indent=1)
    return text.encode()


def _arrays_name(version: str) -> str:
    return f"arrays-{version}.npz"


def _leftovers(folder: Path) -> list[Path]:
    """Arrays of any version, and what a save that was cut off left."""
    return [one for pattern in ("arrays-*.npz", "*.part") for one in folder.glob(pattern)]


def _age_s(path: Path) -> float:
    """Since it was last written; of a file that is gone, 0."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place when it is whole, and never if writing it fails."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
