"""Remembers the objects being pointed at, because Label Studio never sends points and a box
together, and after an accepted suggestion sends only the newest prompt.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from backends.interface import Drawn
from backends.sam.others import Others
from backends.sam.pointing import KEEP_S, THUMB_PX, Pin, Place, PointedObject
from micro_models.regions import Box, Click, RotatedBox, Segmentation

OBJECTS_PER_TASK = 32
TASKS = 512


class PromptMemory:
    """Which object the open prompts mean, and what was drawn for it before.

    Thread-safe and bounded; forgets objects after `keep_s` seconds. `others`: what other servers
    are told; where they are away, this one goes by what it knows itself.
    """

    def __init__(
        self,
        others: Others | None = None,
        *,
        keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._lock = threading.Lock()
        self._places: OrderedDict[Place, deque[PointedObject]] = OrderedDict()
        self._others = others

    def close(self) -> None:
        """Write what is left to write."""
        if self._others is not None:
            self._others.close()

    def resolve(
        self,
        place: Place,
        drawn: Sequence[Drawn],
        *,
        accepted: frozenset[str],
        size_px: tuple[int, int],
        user: str | None = None,
    ) -> PointedObject:
        """The object that `drawn` (all open prompts of one kind and label, oldest first) mean.

        `accepted` are the region ids stored in the task (the editor saves a draft 5 s after a
        suggestion was accepted): such an object is finished, and only a negative click, or a
        click inside it, still changes it. `size_px` is the image's width and height; `user` is
        who draws, as far as that is known. What is returned is kept at once, unanswered.
        """
        label = drawn[-1].label
        pins = tuple(Pin(d.id, d.shape, label) for d in drawn if isinstance(d.shape, Click))
        boxes = {d.id: d.shape for d in drawn if not isinstance(d.shape, Click)}
        box = list(boxes.values())[-1] if boxes else None
        new = PointedObject(
            stable_id(place, drawn[0].id),
            label,
            pins,
            box,
            frozenset(boxes),
            self._clock(),
            size_px,
            user,
        )
        self._learn(place)
        with self._lock:
            known = self._known(place, user)
            meant = _meant(known, new, accepted) or new
            # Kept before it is answered: the next prompt may come while an image is encoded.
            self._keep(place, meant)
        if self._others is not None:
            self._others.put(place, meant)
        return meant

    def remember(
        self, place: Place, pointed: PointedObject, answer: Segmentation, *, engine: str
    ) -> None:
        """Keep what this engine answered for the next prompt on the same object."""
        thumb = cv2.resize(
            answer.mask.pixels.view(np.uint8),
            (THUMB_PX, THUMB_PX),
            interpolation=cv2.INTER_NEAREST,
        )
        answered = replace(pointed, hint=answer.hint, thumb=thumb.astype(np.bool_), engine=engine)
        with self._lock:
            # An answer that comes after a newer prompt's must not undo what that one added.
            if any(one.stamp == pointed.stamp for one in self._places.get(place, ())):
                self._keep(place, answered)
        if self._others is not None:
            self._others.answer(place, answered)

    def _learn(self, place: Place) -> None:
        """Take over what other servers were told since."""
        if self._others is None:
            return
        found = self._others.of(place, known=list(self._places.get(place, ())))
        with self._lock:
            # Of the same prompt, the answer is what was read; what is not written yet is newer.
            both = sorted(
                [*found, *self._places.get(place, ())],
                key=lambda one: (one.drawn_at, one.thumb is not None),
            )
            newest = {one.region_id: one for one in both}
            objects = sorted(newest.values(), key=lambda one: one.drawn_at)
            self._places[place] = deque(objects, maxlen=OBJECTS_PER_TASK)

    def _known(self, place: Place, user: str | None) -> list[PointedObject]:
        """What this user may mean, the newest first."""
        fresh = self._clock() - self._keep_s
        return [
            one
            for one in reversed(self._places.get(place, ()))
            if one.drawn_at >= fresh and user in (None, one.user or user)
        ]

    def _keep(self, place: Place, pointed: PointedObject) -> None:
        objects = self._places.setdefault(place, deque(maxlen=OBJECTS_PER_TASK))
        kept = [one for one in objects if one.region_id != pointed.region_id]
        objects.clear()
        objects.extend([*kept, pointed])
        self._places.move_to_end(place)
        while len(self._places) > TASKS:
            self._places.popitem(last=False)


def _meant(
    known: Sequence[PointedObject], new: PointedObject, accepted: frozenset[str]
) -> PointedObject | None:
    """The known object (newest first) that new prompts go with, grown by them; or None."""
    for one in known:
        if one.prompt_ids & new.prompt_ids:
            return _grown(one, new)
    if new.pins and not new.asks:
        # A background label is nobody's own: it cuts from whatever was pointed at.
        solid = [one for one in known if one.asks]
        candidates = [one for one in solid if one.label == new.label] or solid
        covering = [one for one in candidates if one.covers(new.clicks[-1])]
        cut = next(iter(covering or candidates), None)
        return _grown(cut, new) if cut else None
    of_label = [one for one in known if one.label == new.label]
    newest = next(iter(of_label), None)
    if newest and newest.region_id not in accepted and _completes(newest, new):
        return _grown(newest, new)
    for one in of_label:
        if new.pins and one.covers(new.clicks[-1]):
            if one.region_id in accepted:  # Ctrl was held, else the editor had sent nothing
                return _grown(one, new)
            # Accepted less than 5 s ago, rejected or undone: nobody knows. The same id doubles no
            # region, and what was taken back does not return.
            return replace(new, region_id=one.region_id)
    return None


def _grown(before: PointedObject, new: PointedObject) -> PointedObject:
    """An object with more prompts, or with some withdrawn."""
    pins = _merge(before.pins, new.pins, new.label) if new.pins else before.pins
    only_more = set(before.clicks) <= {pin.click for pin in pins}
    same_box = new.box in (None, before.box)
    return replace(
        before,
        pins=pins,
        box=new.box or before.box,
        box_ids=before.box_ids | new.box_ids,
        drawn_at=new.drawn_at,
        stamp=new.stamp,
        user=before.user or new.user,
        # Logits of a prompt that was withdrawn would hold on to what it had asked for.
        hint=before.hint if only_more and same_box else None,
    )


def _merge(before: tuple[Pin, ...], now: tuple[Pin, ...], label: str | None) -> tuple[Pin, ...]:
    """All clicks for an object, given the open ones of one label.

    The open ones are the truth for their label: one that is gone was withdrawn. But if all are
    gone, the suggestion was accepted in between, and what it stood on stays.
    """
    open_ids = {pin.id for pin in now}
    earlier = [pin for pin in before if pin.label == label and not pin.settled]
    accepted = not any(pin.id in open_ids for pin in earlier)
    kept = [
        replace(pin, settled=True) if accepted and pin in earlier else pin
        for pin in before
        if pin.id not in open_ids and (pin not in earlier or accepted)
    ]
    return (*kept, *now)


def _completes(before: PointedObject, new: PointedObject) -> bool:
    """Whether prompts of the other kind go with an object: a box around its positive clicks, or
    clicks inside its box.
    """
    if new.box is not None:
        box = new.box
        inside = [click for click in before.clicks if click.positive]
        return before.box is None and bool(inside) and all(holds(box, one) for one in inside)
    return before.box is not None and all(holds(before.box, click) for click in new.clicks)


def holds(box: Box | RotatedBox, click: Click) -> bool:
    """Whether a box holds a click."""
    if isinstance(box, Box):
        return box.x0 <= click.x <= box.x1 and box.y0 <= click.y <= box.y1
    return cv2.pointPolygonTest(box.corners(), (click.x, click.y), measureDist=False) >= 0


def stable_id(place: Place, prompt_id: str) -> str:
    """A region id that the same first prompt always gets, also after a restart."""
    text = f"{place.project_key}|{place.task_id}|{place.medium}|{prompt_id}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()[:10]
