"""Objects being pointed at, for whichever server the next click reaches, and after a restart."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import sqlalchemy as sa

from backends.database import METADATA, Store, insert
from backends.sam.pointing import THUMB_PX, Pin, Place, PointedObject
from backends.settings import Settings
from micro_models.regions import Box, Click, RotatedBox

_PROMPTS = sa.Table(
    "sam_prompts",
    METADATA,
    sa.Column("place", sa.String(32), primary_key=True),
    sa.Column("region_id", sa.String(32), primary_key=True),
    # Of the last prompt: an answer that comes after a newer one is not kept.
    sa.Column("stamp", sa.String(32), nullable=False),
    sa.Column("drawn_at", sa.Float, nullable=False, index=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
# The logits of a mask need no more; a window's corners do.
_HALVED_FROM = 1_000


class PromptStore(Store):
    """Keeps `PointedObject`s by place. Errors: `StateError`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, of="clicks")

    def of(
        self, place: Place, *, since: float, known: Sequence[PointedObject]
    ) -> list[PointedObject]:
        """What was drawn at a place after `since`, the oldest first; `known` ones are not read."""
        here = {(one.region_id, one.stamp): one for one in known if one.thumb is not None}
        where = (_PROMPTS.c.place == _key(place), _PROMPTS.c.drawn_at >= since)
        names = sa.select(_PROMPTS.c.region_id, _PROMPTS.c.stamp).where(*where)
        with self._reading() as connection:
            found = connection.execute(names.order_by(_PROMPTS.c.drawn_at)).all()
            new = [row.region_id for row in found if (row.region_id, row.stamp) not in here]
            if new:
                contents = sa.select(_PROMPTS).where(*where, _PROMPTS.c.region_id.in_(new))
                for row in connection.execute(contents):
                    here[row.region_id, row.stamp] = _unpacked(row)
        return [here[row.region_id, row.stamp] for row in found if tuple(row) in here]

    def put(self, place: Place, pointed: PointedObject) -> None:
        """Keep an object that something was drawn for."""
        values = _values(place, pointed)
        with self._changing() as connection:
            connection.execute(
                insert(connection, _PROMPTS)
                .values(**values)
                .on_conflict_do_update(index_elements=["place", "region_id"], set_=values)
            )

    def answer(self, place: Place, answered: PointedObject) -> None:
        """Keep what was answered, unless something was drawn since."""
        values = _values(place, answered)
        is_it = [_PROMPTS.c[name] == values[name] for name in ("place", "region_id", "stamp")]
        with self._changing() as connection:
            connection.execute(sa.update(_PROMPTS).where(*is_it).values(content=values["content"]))

    def forget(self, before: float) -> None:
        """Delete what was drawn before."""
        with self._changing() as connection:
            connection.execute(sa.delete(_PROMPTS).where(_PROMPTS.c.drawn_at < before))


def _key(place: Place) -> str:
    text = json.dumps(asdict(place), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _values(place: Place, pointed: PointedObject) -> dict[str, Any]:
    return {
        "place": _key(place),
        "region_id": pointed.region_id,
        "stamp": pointed.stamp,
        "drawn_at": pointed.drawn_at,
        "content": _packed(pointed),
    }


def _packed(one: PointedObject) -> bytes:
    told = {
        "label": one.label,
        "pins": [asdict(pin) for pin in one.pins],
        "box": one.box and {type(one.box).__name__: asdict(one.box)},
        "box_ids": sorted(one.box_ids),
        "size_px": one.size_px,
        "user": one.user,
        "engine": one.engine,
    }
    arrays: dict[str, Any] = {"told": np.frombuffer(json.dumps(told).encode(), np.uint8)}
    if one.hint is not None:
        is_large = one.hint.size > _HALVED_FROM
        arrays["hint"] = one.hint.astype(np.float16) if is_large else one.hint
    if one.thumb is not None:
        arrays["thumb"] = np.packbits(one.thumb)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return zlib.compress(file.getvalue(), 1)


def _unpacked(row: sa.Row[Any]) -> PointedObject:
    with np.load(io.BytesIO(zlib.decompress(row.content)), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        hint = arrays["hint"].astype(np.float32) if "hint" in arrays else None
        bits = np.unpackbits(arrays["thumb"]) if "thumb" in arrays else None
    return PointedObject(
        region_id=row.region_id,
        label=told["label"],
        pins=tuple(Pin(**{**pin, "click": Click(**pin["click"])}) for pin in told["pins"]),
        box=_box(told["box"]),
        box_ids=frozenset(told["box_ids"]),
        drawn_at=row.drawn_at,
        size_px=tuple(told["size_px"]),
        user=told["user"],
        hint=hint,
        thumb=None if bits is None else bits.reshape(THUMB_PX, THUMB_PX).astype(np.bool_),
        engine=told["engine"],
        stamp=row.stamp,
    )


def _box(told: dict[str, Any] | None) -> Box | RotatedBox | None:
    if not told:
        return None
    return Box(**told["Box"]) if "Box" in told else RotatedBox(**told["RotatedBox"])
