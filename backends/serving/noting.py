"""Every request is timed and noted; what nobody foresaw becomes a 500 without a traceback."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backends.logs import where
from backends.serving.journal import SEEN_TOO_OFTEN
from backends.serving.request_ids import with_id

log = logging.getLogger(__name__)


class Noted:
    """ASGI middleware: tells the application's journal how long each answer took.

    Starlette's own base class for such things hands every message from task to task, each of which
    waits its turn beside threads that compute: tens of milliseconds of a webhook.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; afterwards note what `request.state` says of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, statuses = time.perf_counter(), list[int]()

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        request = Request(scope)
        try:
            await self._app(scope, receive, send_and_see)
        except Exception as error:  # noqa: BLE001 - the last resort of every request
            log.error("%s %s: %s", request.method, _route(request), where(error))
            if not statuses:
                answer = refusal(500, "internal error", "see the status page and the server's log")
                await answer(scope, receive, send_and_see)
        if statuses:
            _note(request, statuses[0], time.perf_counter() - started)


def refusal(
    status: int, message: str, advice: str = "", retry_after_s: int | None = None
) -> Response:
    """The answer to what cannot be done."""
    body: dict[str, Any] = {"error": message}
    if advice:
        body["advice"] = advice
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s is not None else None
    # Built by hand: messages may quote lone surrogates out of a hostile body.
    content = json.dumps(with_id(body))
    return Response(content, status, headers, media_type="application/json")


def _note(request: Request, status: int, took_s: float) -> None:
    kind = getattr(request.state, "kind", _route(request).rsplit("/", 1)[-1] or "page")
    detail = getattr(request.state, "detail", "")
    if kind not in SEEN_TOO_OFTEN or status >= 400:
        log.info("%s: %d in %.3f s", f"{kind} {detail}".strip(), status, took_s)
    journal = request.app.state.services.journal
    journal.answered(_route(request), kind, status=status, took_s=took_s, detail=detail)


def _route(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", "unknown path")
