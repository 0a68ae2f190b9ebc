"""Optional Basic auth on everything but /health."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def credentials_match(header: str | None, *, user: str, password: str) -> bool:
    """Whether an Authorization header carries this user and password, in constant time."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, f"{user}:{password}".encode())


class BasicAuth:
    """ASGI middleware; outermost, so that an unknown caller reaches nothing else."""

    def __init__(
        self, app: ASGIApp, *, user: str, password: str, open_paths: frozenset[str]
    ) -> None:
        self._app = app
        self._open_paths = open_paths
        self._user = user
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        # Probes carry no credentials, so each backend's /health is open.
        is_open = scope["type"] != "http" or scope["path"] in self._open_paths
        header = Headers(scope=scope).get("authorization") if scope["type"] == "http" else None
        if is_open or credentials_match(header, user=self._user, password=self._password):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "this server asks for its user name and password"},
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="labelpilot", charset="UTF-8"'},
        )
        await refusal(scope, receive, send)
