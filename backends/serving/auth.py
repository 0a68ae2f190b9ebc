"""Who may call: Basic auth, and what browsers are made to send by pages of strangers.

Without a password everybody who reaches the port may use this server. It then answers only to names
that no stranger can point here, or a page of theirs could read it by DNS rebinding.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.errors import LabelpilotError
from backends.settings import Settings

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Docker's and Podman's names for the machine they run on; nobody can register them.
_HOSTS_OF_CONTAINERS = frozenset({"host.docker.internal", "host.containers.internal"})
_CURE = "set LABELPILOT_BASIC_AUTH_USER and LABELPILOT_BASIC_AUTH_PASSWORD"


class OpenToAnybody(LabelpilotError):
    """The server would be there for everybody who can reach this machine."""


def check_exposure(settings: Settings, *, host: str) -> None:
    """Errors: `OpenToAnybody` where others than this machine could call without a password."""
    if settings.basic_auth or settings.allow_anybody or _is_loopback(host):
        return
    raise OpenToAnybody(
        f"nobody is asked for a password, and {host or 'an empty address'} is reached from other "
        "machines",
        advice=f"{_CURE}, or LABELPILOT_ALLOW_ANYBODY=true if only those can reach the port "
        "who may use it, or listen on 127.0.0.1",
    )


def add_guards(app: FastAPI, settings: Settings, *, open_paths: frozenset[str]) -> None:
    """Put what this module says around an application; `open_paths` are for probes."""
    if settings.basic_auth:
        user, password = settings.basic_auth
        app.add_middleware(BasicAuth, user=user, password=password, open_paths=open_paths)
    else:
        names = frozenset(name.strip().lower() for name in settings.allowed_names.split(","))
        app.add_middleware(OwnNames, names=names - {""}, open_paths=open_paths)
    app.add_middleware(OwnPages)


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


def is_own_name(host: str, names: frozenset[str] = frozenset()) -> bool:
    """Whether a Host header is one that no stranger's page can have a browser send here.

    Addresses are, and names that nobody can register: without a dot, and those of `names`.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return (
        ("." not in name and ":" not in name and name != "")
        or name.endswith(".localhost")
        or name in names | _HOSTS_OF_CONTAINERS
        or _address(name) is not None
    )


def is_own_page(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class BasicAuth:
    """ASGI middleware: an unknown caller reaches nothing else."""

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


class OwnNames:
    """ASGI middleware: without a password, requests for names of strangers are refused."""

    def __init__(self, app: ASGIApp, *, names: frozenset[str], open_paths: frozenset[str]) -> None:
        self._app, self._names, self._open_paths = app, names, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421."""
        if (
            scope["type"] != "http"
            or scope["path"] in self._open_paths
            or is_own_name(Headers(scope=scope).get("host", ""), self._names)
        ):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {
                "error": "nobody is asked for a password, and this server is not known by the name "
                "that was called",
                "advice": f"{_CURE}, or add the name to LABELPILOT_ALLOWED_NAMES",
            },
            status_code=421,
        )
        await refusal(scope, receive, send)


class OwnPages:
    """ASGI middleware: nothing is changed for pages of strangers; a browser says whose it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if (
            scope["type"] != "http"
            or scope["method"] in _READING
            or is_own_page(Headers(scope=scope))
        ):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse(
            {"error": "a page of another site sent this; it is refused"}, status_code=403
        )
        await refusal(scope, receive, send)


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
