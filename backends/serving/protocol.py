"""Label Studio's five calls, for any backend.

`/health`, `/setup` and `/webhook` never wait for a model; `/predict` computes in a bounded lane.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pydantic_core
from fastapi import APIRouter, HTTPException, Request

from backends import logs
from backends.copilot.model import OPENED
from backends.errors import BadRequest, TooLarge
from backends.interface import Backend
from backends.label_studio.requests import (
    PredictRequest,
    decode_event,
    decode_predict,
    decode_setup,
)
from backends.serving import openapi
from backends.serving.answers import answer, set_up
from backends.serving.services import MEGABYTE, Services
from backends.serving.work import Lane

Choose = Callable[[Services], Backend]
Json = dict[str, Any]
HUNG_UP = 499  # as nginx counts it; nobody reads it
# Parsing more than this takes long enough to hold up /health.
PARSED_AT_ONCE_BYTES = 100_000
MASK = re.compile(rb'"rle"\s*:\s*\[[0-9,\s]*\]')


def protocol_router(choose: Choose) -> APIRouter:
    """The routes of one backend; `choose` finds it among the services."""
    router = APIRouter()

    @router.get("/health")
    async def health(request: Request) -> Json:
        """Whether the server lives; answers at once, also while a model loads."""
        return {"status": "UP", "model_class": type(choose(_services(request))).__name__}

    @router.post("/setup", openapi_extra=openapi.SETUP, responses=openapi.ERRORS)
    async def setup(request: Request) -> Json:
        """Take note of a project, and name the model version."""
        services = _services(request)
        decoded = decode_setup((await _json(request)).value)
        return await asyncio.to_thread(set_up, services, choose(services), decoded)

    @router.post("/predict", openapi_extra=openapi.PREDICT, responses=openapi.ERRORS)
    async def predict(request: Request) -> Json:
        """Answer each task: with prompts a region, without them nothing to store yet."""
        services = _services(request)
        backend = choose(services)
        body = await _json(request)
        decoded = decode_predict(body.value)
        request.state.kind = "click" if decoded.context else "predict"
        request.state.detail = f"project {decoded.project_id}, {_tasks(decoded)}"
        lane = _lane(services, decoded)
        with logs.about(project=str(decoded.project_id)):
            answering = lane.run(
                lambda: {"results": answer(services, backend, decoded)},
                key=f"{backend.name} {body.digest}",
            )
            return await _unless_gone(request, answering)

    @router.post("/webhook", openapi_extra=openapi.WEBHOOK, responses=openapi.ERRORS)
    async def webhook(request: Request) -> Json:
        """Take note of an event; work that follows from it happens later."""
        event = decode_event((await _json(request)).value)
        if event is None:
            return {"status": "ignored"}
        request.state.detail = f"project {event.project_id}: {event.kind.value}"
        with logs.about(project=str(event.project_id)):
            services = _services(request)
            noting = choose(services).notify
            await asyncio.get_running_loop().run_in_executor(services.events, noting, event)
        return {"status": "ok"}

    @router.get("/versions")
    async def versions(request: Request) -> Json:
        """The model versions that predictions may carry."""
        return {"versions": list(choose(_services(request)).versions())}

    return router


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Json]) -> Json:
    """What `work` gives. Whoever hangs up waits no more, so that nothing is computed for nobody."""
    working = asyncio.ensure_future(work)
    # The body has been read: what comes next is the end of the connection.
    gone = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HTTPException(HUNG_UP, "the caller has gone")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _lane(services: Services, decoded: PredictRequest) -> Lane:
    """Who clicks waits for nobody; who opens a task does not wait for a project's predictions."""
    if decoded.context:
        return services.clicks
    return services.opened if len(decoded.tasks) <= OPENED else services.bulk


def _tasks(decoded: PredictRequest) -> str:
    if len(decoded.tasks) == 1:
        return f"task {decoded.tasks[0].id}"
    return f"{len(decoded.tasks)} tasks"


@dataclass(frozen=True)
class _Body:
    value: Any
    digest: str


async def _json(request: Request) -> _Body:
    """The parsed body. Errors: `TooLarge`, `BadRequest`."""
    limit_mb = _services(request).settings.max_request_mb
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit_mb * MEGABYTE:
            raise TooLarge(
                f"the request is larger than {limit_mb} MB",
                advice="raise LABELPILOT_MAX_REQUEST_MB, or select fewer tasks",
            )
    if len(raw) < PARSED_AT_ONCE_BYTES:
        return _parse(bytes(raw))
    return await asyncio.to_thread(_parse, bytes(raw))


def _parse(raw: bytes) -> _Body:
    try:
        value = pydantic_core.from_json(_without_masks(raw), allow_inf_nan=False)
    except ValueError:
        raise BadRequest("the body is not JSON", advice="send what Label Studio sends") from None
    return _Body(value, hashlib.sha256(raw).hexdigest())


def _without_masks(raw: bytes) -> bytes:
    """JSON with every `"rle": [...]` emptied.

    A parser holds up every other thread while it works, and masks, which nobody here reads, are
    nearly all of a large body. One search a mask lets the others breathe in between.
    """
    kept, start = [], 0
    for mask in MASK.finditer(raw):
        kept += [raw[start : mask.start()], b'"rle":[]']
        start = mask.end()
    return b"".join([*kept, raw[start:]]) if kept else raw
