"""The web application: Label Studio's protocol at the root and under each backend's name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from backends.database import explained
from backends.errors import Busy, LabelpilotError
from backends.sam.engine import LoadEngine, load_engine
from backends.serving.auth import add_guards
from backends.serving.noting import Noted, refusal
from backends.serving.pictures import pictures_router
from backends.serving.project_page import project_page
from backends.serving.protocol import Choose, protocol_router
from backends.serving.readiness import READY
from backends.serving.request_ids import RequestIds, with_id
from backends.serving.reviewing import reviewing_router
from backends.serving.services import Services, make_services
from backends.serving.status import status_page
from backends.serving.templating import PAGE_HEADERS, STATIC
from backends.settings import Settings

log = logging.getLogger(__name__)

# In a flood of 300 callers, one webhook in twenty waited for longer than 100 ms behind refusals
# that were asked for without end; a held refusal costs nothing.
HELD_S = 1.0
# Backends that are served alone, too.
OWN_PATHS: dict[str, Choose] = {
    "sam": lambda services: services.sam,
    "yolo": lambda services: services.yolo,
    "micro": lambda services: services.micro,
}
# Probes bring no password, and are told nothing that needs one.
PROBED = ("/health", "/ready", *(f"/{name}/health" for name in OWN_PATHS))


def create_app(settings: Settings, load: LoadEngine = load_engine) -> FastAPI:
    """Build the application; nothing is loaded or opened before it starts.

    `load` makes the segmentation engine, in a thread of its own.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = make_services(settings, load)
        services.start()
        try:
            yield
        finally:
            services.close()

    app = FastAPI(
        title="labelpilot",
        summary="ML backends for Label Studio",
        version=installed_version("labelpilot"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(protocol_router(lambda services: services.copilot), tags=["everything"])
    for name, choose in OWN_PATHS.items():
        app.include_router(protocol_router(choose), prefix=f"/{name}", tags=[name])
    app.add_exception_handler(LabelpilotError, _told)
    app.add_exception_handler(Busy, _held)
    app.add_exception_handler(SQLAlchemyError, _no_database)
    app.add_exception_handler(HTTPException, _http_error)
    _add_pages(app)
    app.add_middleware(Noted)
    add_guards(app, settings, open_paths=frozenset(PROBED))
    app.add_middleware(RequestIds)  # outermost: refusals have ids too
    return app


def _add_pages(app: FastAPI) -> None:
    app.include_router(pictures_router())
    app.include_router(reviewing_router())
    app.mount("/static", STATIC)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def status(request: Request) -> HTMLResponse:
        return HTMLResponse(status_page(_services(request)), headers=PAGE_HEADERS)

    @app.get("/projects/{project_key}", response_class=HTMLResponse, include_in_schema=False)
    def project(request: Request, project_key: str) -> HTMLResponse:
        content = project_page(_services(request).tools.pages(), project_key)
        return HTMLResponse(content, headers=PAGE_HEADERS)

    @app.get("/metrics", response_class=Response, tags=["operation"])
    def metrics(request: Request) -> Response:
        """Counters and times in Prometheus' text format."""
        content = _services(request).journal.exposition()
        return Response(content, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    @app.get("/ready", tags=["operation"])
    def ready(request: Request) -> Response:
        """Whether it can do its work; else 503 and which part cannot, within two seconds."""
        parts = _services(request).readiness.look()
        is_ready = all(state == READY for state in parts.values())
        body = {"status": "ready" if is_ready else "not ready", "parts": parts}
        headers = {} if is_ready else {"Retry-After": "1"}
        return JSONResponse(body, status_code=200 if is_ready else 503, headers=headers)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _told(_request: Request, error: Any) -> Response:
    log.warning("%s", error)
    return refusal(error.status, error.message, error.advice, error.retry_after_s)


async def _held(request: Request, error: Any) -> Response:
    """A refusal that waits: who asks again at once leaves time for others meanwhile."""
    error.with_traceback(None)  # it would keep the request's body that long
    await asyncio.sleep(HELD_S)
    return await _told(request, error)


async def _no_database(request: Request, error: Any) -> Response:
    return await _told(request, explained(error))


async def _http_error(_request: Request, error: Any) -> Response:
    return JSONResponse(
        with_id({"error": error.detail}), status_code=error.status_code, headers=error.headers
    )
