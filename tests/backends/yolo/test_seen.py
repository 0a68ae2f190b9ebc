from __future__ import annotations

from backends.yolo.seen import SeenCache
from micro_models.detections import DetectOptions
from tests.backends.yolo.fakes import box

OPTIONS = DetectOptions()


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = SeenCache(5_000)
    many = [box("car", 0.5)] * 3  # about 1,660 bytes
    for number in range(3):
        cache.put((str(number), "v", OPTIONS, 0.5), many)
    assert cache.get(("0", "v", OPTIONS, 0.5)) == many
    cache.put(("3", "v", OPTIONS, 0.5), many)
    assert [cache.get((str(number), "v", OPTIONS, 0.5)) is not None for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    assert cache.get(("0", "v", DetectOptions(min_score=0.1), 0.5)) is None
    cache.put(("huge", "v", OPTIONS, 0.5), [box("car", 0.5)] * 100)
    assert cache.get(("huge", "v", OPTIONS, 0.5)) is None  # more than all of it: not kept
    cache.put(("0", "v", OPTIONS, 0.5), many)
    assert cache.get(("0", "v", OPTIONS, 0.5)) == many
