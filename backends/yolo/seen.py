"""What models saw in images, remembered."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np

from micro_models.detections import Detection, DetectOptions

# Image digest, model version, options, and the score below which outlines were dropped.
SeenKey = tuple[str, str, DetectOptions, float]
# What Python takes for them beside what is in arrays, as tracemalloc tells.
_ENTRY_BYTES, _DETECTION_BYTES, _ARRAY_BYTES = 550, 370, 280


class SeenCache:
    """What models saw in images, so that asking again costs nothing; bounded in bytes.

    The least recently used leaves first. Any thread may call.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._seen: OrderedDict[SeenKey, tuple[int, list[Detection]]] = OrderedDict()
        self._bytes = 0

    def get(self, key: SeenKey) -> list[Detection] | None:
        """What was seen, if it is known."""
        with self._lock:
            found = self._seen.get(key)
            if found is None:
                return None
            self._seen.move_to_end(key)
            return found[1]

    def put(self, key: SeenKey, detections: list[Detection]) -> None:
        """Remember what was seen."""
        size = _ENTRY_BYTES + sum(map(_nbytes, detections))
        with self._lock:
            self._bytes += size - self._seen.pop(key, (0, []))[0]
            self._seen[key] = (size, detections)
            while self._bytes > self._most_bytes:
                _, (gone, _) = self._seen.popitem(last=False)
                self._bytes -= gone


def _nbytes(seen: Detection) -> int:
    arrays: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    if seen.outline is not None:
        arrays.append(seen.outline.values)
    if seen.keypoints is not None:
        arrays += [seen.keypoints.points, seen.keypoints.scores]
    return _DETECTION_BYTES + sum(_ARRAY_BYTES + array.nbytes for array in arrays)
