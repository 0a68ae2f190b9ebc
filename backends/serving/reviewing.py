"""Reviews in the browser: pictures of suspicious labels, and what people answer."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from backends.interface import ImageSource
from backends.label_studio.client import LabelStudios
from backends.label_studio.tasks import read_project, read_tasks
from backends.review.nouns import Case
from backends.review.page import told
from backends.review.store import ReviewStore
from backends.serving.auth import is_own_page
from backends.serving.crops import cropped
from backends.serving.work import Lane

_KEY = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_ID = re.compile(r"[0-9a-f]{16}")
_QUEUE_LENGTH = 64
_KEPT_BY_BROWSERS_S = 86_400
_MOST_BYTES = 1_000
_ANSWERS = {"wrong": True, "right": False, None: None}
_PRIVATE = {"X-Content-Type-Options": "nosniff"}


class Reviewing:
    """Draws the cases of reviews, one at a time and no others, and keeps answers."""

    def __init__(self, store: ReviewStore, images: ImageSource, studios: LabelStudios) -> None:
        self.store = store
        self._images, self._studios = images, studios
        self._lane = Lane("review", threads=1, queue_length=_QUEUE_LENGTH)

    async def jpeg(self, project_key: str, case_id: str) -> bytes:
        """A case, drawn. Errors: 404, `MediaError`, `LabelStudioError`, `StateError`, `Busy`."""
        key = f"{project_key} {case_id}"
        return await self._lane.run(lambda: self._draw(project_key, case_id), key=key)

    def answer(self, project_key: str, case_id: str, *, verdict: bool | None) -> list[str]:
        """Keep an answer; the lines that tell what all answers say. Errors: 404, `StateError`."""
        if not self.store.answer(project_key, case_id, verdict=verdict):
            raise _missing()
        return told(self.store.tally(project_key))

    def close(self) -> None:
        """Finish the picture in hand."""
        self._lane.close()

    def _draw(self, project_key: str, case_id: str) -> bytes:
        case: Case | None = self.store.case(project_key, case_id)
        if case is None:
            raise _missing()
        one = case.suspect
        address = self._address(project_key, one.task_id)
        image = self._images.read(self._images.locate(address, project_key, one.task_id))
        return cropped(image, one.given, one.suggested)

    def _address(self, project_key: str, task_id: int) -> str:
        """Where the first image of a task is."""
        client, project_id = self._studios.sdk(project_key), int(project_key.split(".")[0])
        media = read_project(client, project_id)[0].config.media
        key = next((medium.data_key for medium in media if medium.tag == "Image"), "")
        tasks = read_tasks(client, project_id, [task_id])
        address = tasks[0].data.get(key) if tasks else None
        if not isinstance(address, str):
            raise HTTPException(404, f"task {task_id} is gone, or has no image")
        return address


def reviewing_router() -> APIRouter:
    """Pictures of cases, and answers to them."""
    router = APIRouter(prefix="/reviews", include_in_schema=False)

    @router.get("/{project_key}/{case_id}.jpg")
    async def picture(request: Request, project_key: str, case_id: str) -> Response:
        request.state.kind = "review picture"
        _check(project_key, case_id)
        content = await _reviewing(request).jpeg(project_key, case_id)
        headers = {"Cache-Control": f"private, max-age={_KEPT_BY_BROWSERS_S}", **_PRIVATE}
        return Response(content, media_type="image/jpeg", headers=headers)

    @router.post("/{project_key}/answers")
    async def answer(request: Request, project_key: str) -> JSONResponse:
        """Body: `{"case": "<16 hex>", "answer": "wrong" | "right" | null}`; null takes it back."""
        request.state.kind = "review answer"
        _check_origin(request)
        case_id, verdict = _read(await _body(request))
        _check(project_key, case_id)
        reviewing = _reviewing(request)
        keep = partial(reviewing.answer, project_key, case_id, verdict=verdict)
        lines = await run_in_threadpool(keep)
        return JSONResponse({"told": lines}, headers={"Cache-Control": "no-store"})

    return router


def _reviewing(request: Request) -> Reviewing:
    reviewing: Reviewing = request.app.state.services.reviewing
    return reviewing


def _check(project_key: str, case_id: str) -> None:
    if not (_KEY.fullmatch(project_key) and _ID.fullmatch(case_id)):
        raise _missing()


def _check_origin(request: Request) -> None:
    """Errors: 403 for what a page of somebody else's has a browser send.

    Such a page cannot send JSON either without asking first, which nobody here answers.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not is_own_page(request.headers) or kind != "application/json":
        raise HTTPException(403, "answers come from the status page itself, as JSON")


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "an answer is shorter than that")
    return body


def _read(body: bytes) -> tuple[str, bool | None]:
    try:
        said: Any = json.loads(body)
        case_id, verdict = said["case"], _ANSWERS[said["answer"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        case_id, verdict = None, None
    if not isinstance(case_id, str):
        raise HTTPException(400, 'an answer is {"case": ..., "answer": "wrong", "right" or null}')
    return case_id, verdict


def _missing() -> HTTPException:
    return HTTPException(404, "the last review has no such case; load the page again")
