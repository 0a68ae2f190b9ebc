"""Credentials of each Label Studio, and the SDK's client with them.

Which Label Studio, and whose token (`LabelStudios.reach`):

1. `LABEL_STUDIO_URL` is set: that address is *the* Label Studio of every project. The host name
   that `/setup` brings is only another name of it. The token is `LABEL_STUDIO_API_KEY`, else the
   one that `/setup` brought.
2. It is not set: each project's Label Studio is the host that its `/setup` brought, and the token
   the one that came along. `LABEL_STUDIO_API_KEY` alone is not used: anyone who may call `/setup`
   could name a host of theirs and receive it.

In the second case whoever may call `/setup` decides which host this server opens, private hosts
included, and gets there only the token that they brought. Set `LABEL_STUDIO_URL`, or Basic auth,
where that is not acceptable.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx
from label_studio_sdk.core.api_error import ApiError

from backends.errors import LabelStudioError, LabelStudioGone, LabelStudioRefused
from backends.label_studio.addresses import (
    AddressRefused,
    Origin,
    Resolver,
    http_origin,
    quoted,
    shown,
    system_resolver,
    trusted_client,
)
from backends.label_studio.deadline import time_limit
from backends.label_studio.projects import KnownProject, ProjectBook
from backends.settings import Settings

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

_log = logging.getLogger(__name__)
_MOST_KEPT = 64  # Label Studios that are kept; /setup may bring any number
_CALL_S = 60.0  # one call of Label Studio's API may take this long, however it drips
_EARLY_S = 30.0  # an access token is renewed this long before it expires
# Not "come back later", nor a token that is revoked in the middle: with another one work goes on.
_FINAL = frozenset(range(400, 500)) - {401, 408, 425, 429}
_CURE_401 = (
    "make a personal access token in Label Studio (Account & Settings > Personal Access Token) "
    "and set LABEL_STUDIO_API_KEY to it, together with LABEL_STUDIO_URL"
)


class TokenKind(Enum):
    """How a token is sent."""

    LEGACY = "legacy token"
    PERSONAL = "personal access token"
    ACCESS = "access token of 5 minutes"


@dataclass(frozen=True)
class Credential:
    """A token and its kind; the token never shows in logs."""

    token: str = field(repr=False)

    @property
    def kind(self) -> TokenKind:
        """Told from the token's own claims; what is no JWT is a legacy token."""
        return {"refresh": TokenKind.PERSONAL, "access": TokenKind.ACCESS}.get(
            str(_claims(self.token).get("token_type")), TokenKind.LEGACY
        )


@dataclass(frozen=True)
class Reach:
    """One Label Studio: where this server reaches it, its other names, and the credential.

    `base` and `aliases` are URLs without a trailing slash; `base` may have a sub-path.
    """

    base: str
    credential: Credential | None
    aliases: tuple[str, ...] = ()

    @property
    def origin(self) -> Origin:
        """What the token is sent to, and nothing else."""
        return http_origin(self.base)

    def local(self, url: str) -> str | None:
        """A URL of this Label Studio as this server reaches it; None if it is not of it."""
        if url.startswith("/") and url[1:2] not in ("/", "\\"):
            return self._under_base(url, urlsplit(self.base).path)
        for name in (self.base, *self.aliases):
            parts = urlsplit(name)
            if http_origin(url) == http_origin(name):
                rest = url.split("://", 1)[1]
                return self._under_base("/" + rest.partition("/")[2], parts.path)
        return None

    def _under_base(self, path: str, prefix: str) -> str:
        rest = path.removeprefix(prefix) if path.startswith(prefix + "/") else path
        return self.base + rest


_Account = tuple[str, Credential | None]
_Kept = TypeVar("_Kept")


class TokenAuth(httpx.Auth):
    """Adds the token to requests that go to its origin; renews a personal token's access token.

    Safe among threads. Errors: `LabelStudioError` when a personal token is not accepted.
    """

    def __init__(self, reach: Reach, post: Callable[..., httpx.Response]) -> None:
        self._reach, self._post = reach, post
        self._lock = threading.Lock()
        self._access, self._expires_at = "", 0.0

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx's hook: send with the token, once more after a renewal if it was refused."""
        credential = self._reach.credential
        if credential is None or http_origin(str(request.url)) != self._reach.origin:
            request.headers.pop("Authorization", None)
            yield request
            return
        if credential.kind is not TokenKind.PERSONAL:
            word = "Token" if credential.kind is TokenKind.LEGACY else "Bearer"
            request.headers["Authorization"] = f"{word} {credential.token}"
            yield request
            return
        access = self._renewed(credential, unless="")
        request.headers["Authorization"] = f"Bearer {access}"
        response = yield request
        if response.status_code == 401:
            access = self._renewed(credential, unless=access)
            request.headers["Authorization"] = f"Bearer {access}"
            yield request

    def _renewed(self, credential: Credential, *, unless: str) -> str:
        """An access token that is still good and is not the refused one, `unless`."""
        with self._lock:
            if self._access != unless and time.time() < self._expires_at - _EARLY_S:
                return self._access
            with time_limit(_CALL_S):  # others wait for the lock meanwhile
                response = self._post(
                    f"{self._reach.base}/api/token/refresh/", json={"refresh": credential.token}
                )
            if response.status_code != 200:
                raise LabelStudioError(
                    f"Label Studio at {self._reach.base} does not accept the personal access "
                    f"token ({response.status_code})",
                    advice=_CURE_401,
                )
            self._access = str(response.json()["access"])
            self._expires_at = float(_claims(self._access).get("exp", time.time() + 300))
            return self._access


class LabelStudios:
    """Every Label Studio that this server talks to, by project key."""

    def __init__(
        self, settings: Settings, book: ProjectBook, *, resolver: Resolver = system_resolver
    ) -> None:
        self._settings, self._book = settings, book
        self._resolver = resolver
        self._http = trusted_client(timeout_s=settings.media_timeout_s, resolver=resolver)
        # By base and credential: other names of one Label Studio share what it needs.
        self._auths: OrderedDict[_Account, TokenAuth] = OrderedDict()
        self._clients: OrderedDict[_Account, tuple[LabelStudio, httpx.Client]] = OrderedDict()
        self._lock = threading.Lock()

    def reach(self, project_key: str | None) -> Reach:
        """The Label Studio of a project; None: the one that the settings name.

        Errors: `LabelStudioError` when neither the settings nor `/setup` named one.
        """
        project = self._book.get(project_key) if project_key else None
        brought = project.access_token if project else None
        url = self._settings.label_studio_url
        if url:
            key = self._settings.label_studio_api_key
            token = key.get_secret_value().strip() if key else brought
            return Reach(_base(url), Credential(token) if token else None, _aliases(project))
        if project is None or not project.host:
            raise LabelStudioError(
                "it is not known where Label Studio is",
                advice="set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or open the project in "
                "Label Studio once so that it calls /setup",
            )
        return Reach(_base(project.host), Credential(brought) if brought else None)

    def auth(self, reach: Reach) -> TokenAuth:
        """The token sender of one Label Studio, shared so that it is renewed once for all."""
        with self._lock:
            account = _account(reach)
            if account not in self._auths:
                kind = reach.credential.kind.value if reach.credential else "no token"
                _log.info("Label Studio at %s: %s", reach.base, kind)
                self._auths[account] = TokenAuth(reach, self._http.post)
            _make_room(self._auths, last=account)
            return self._auths[account]

    def sdk(self, project_key: str | None = None) -> LabelStudio:
        """The SDK's client for a project's Label Studio; wrap its calls in `told`.

        Ask anew for each use: one that was not asked for in a long time is closed.
        """
        from label_studio_sdk import LabelStudio  # takes longer to import than all the rest

        reach = self.reach(project_key)
        auth, account = self.auth(reach), _account(reach)
        with self._lock:
            if account not in self._clients:
                http = trusted_client(
                    timeout_s=self._settings.media_timeout_s, resolver=self._resolver
                )
                http.auth, http.follow_redirects = auth, True
                http.event_hooks = {"response": [_unhurried]}
                # The key only satisfies the SDK: `auth` writes the header of every request.
                sdk = LabelStudio(  # type: ignore[no-untyped-call]
                    base_url=reach.base, api_key="unused", httpx_client=http, max_retries=1
                )
                self._clients[account] = (sdk, http)
            for _, old in _make_room(self._clients, last=account):
                old.close()
            return self._clients[account][0]

    def release(self, reach: Reach) -> str:
        """The version of Label Studio, asked without a token. Errors: `LabelStudioError`."""
        with told("asking for its version"):
            answer = self._http.get(f"{reach.base}/api/version")
            try:
                return str(answer.json()["release"])
            except (ValueError, LookupError, TypeError) as error:
                raise LabelStudioError(
                    f"{reach.base} answers {answer.status_code}, but not as Label Studio",
                    advice="set LABEL_STUDIO_URL to Label Studio's address, without /projects",
                ) from error

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            self._http.close()
            for _, http in self._clients.values():
                http.close()
            self._clients.clear()


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn what the SDK and httpx raise into a `LabelStudioError` with its cure.

    It is a `LabelStudioRefused` if asking again would change nothing, a `LabelStudioGone` if it
    was asked for what is not there.

    `doing` completes "Label Studio ... while": "listing tasks".
    """
    try:
        with time_limit(_CALL_S):
            yield
    except ApiError as error:
        raise _refused(error, doing) from error
    except AddressRefused as error:
        raise LabelStudioError(error.message, advice="correct LABEL_STUDIO_URL") from error
    except httpx.TimeoutException as error:
        raise LabelStudioError(
            f"Label Studio did not answer in time while {doing}",
            advice="see whether it is overloaded; LABELPILOT_MEDIA_TIMEOUT_S sets the limit",
        ) from error
    except httpx.HTTPError as error:
        raise LabelStudioError(
            f"Label Studio could not be reached while {doing}",
            advice="set LABEL_STUDIO_URL to an address that works from this machine (inside a "
            "container, localhost is the container itself)",
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise LabelStudioError(
            f"Label Studio's answer was of another form than expected while {doing}",
            advice="see whether a proxy answers in its place",
        ) from error


def next_tasks(
    client: LabelStudio, project_id: int, *, after_id: int, limit: int
) -> list[tuple[int, dict[str, Any]]]:
    """(id, data) of at most `limit` tasks that follow `after_id` in id order; one request."""
    return _page(client, project_id, after_id, limit)


def iter_tasks(
    client: LabelStudio, project_id: int, *, after_id: int = 0, limit: int | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(id, data) of all tasks in id order, starting after `after_id`: resume with the last id."""
    left = float("inf") if limit is None else limit
    while left > 0:
        page = _page(client, project_id, after_id, int(min(left, 100)))
        yield from page
        if not page:
            return
        left -= len(page)
        after_id = page[-1][0]


def _page(
    client: LabelStudio, project_id: int, after_id: int, size: int
) -> list[tuple[int, dict[str, Any]]]:
    # "Greater than the last id" stays fast in a project of a million tasks; page numbers do not.
    only_later = {
        "filter": "filter:tasks:id",
        "operator": "greater",
        "type": "Number",
        "value": after_id,
    }
    query = {"filters": {"conjunction": "and", "items": [only_later]}, "ordering": ["tasks:id"]}
    with told("listing tasks"):
        pager: Any = client.tasks.list(project=project_id, query=json.dumps(query), page_size=size)
        items: Sequence[Any] = pager.items or []
    return [(int(task.id), dict(task.data or {})) for task in items]


def _refused(error: ApiError, doing: str) -> LabelStudioError:
    status, said = error.status_code, _said(error.body)
    advice = ""
    if status == 401 and "legacy token" in said:
        advice = f"legacy tokens are switched off in Label Studio's organization: {_CURE_401}"
    elif status == 401:
        advice = f"the token is not accepted: {_CURE_401}"
    elif status in (403, 404):
        advice = "check the project's id, and that the token's user may see the project"
    kind = LabelStudioRefused if status in _FINAL else LabelStudioError
    if isinstance(error.body, dict) and error.body.get("status_code") == status == 404:
        kind = LabelStudioGone  # a proxy would say so in words of its own
    return kind(f"Label Studio answered {status} while {doing}: {said}", advice=advice)


def _unhurried(response: httpx.Response) -> None:
    """The SDK would sleep for a minute, deaf to all; who asks again here waits in its own way."""
    for name in ("Retry-After", "X-RateLimit-Reset"):
        response.headers.pop(name, None)


def _said(body: object) -> str:
    detail: object = body
    if isinstance(body, dict):
        detail = body.get("validation_errors") or body.get("detail") or body
    text = " ".join(str(detail).split())
    return "a web page" if text.startswith("<") else quoted(text)[:300]


def _base(url: str) -> str:
    url = url.strip()
    if "://" not in url:
        url = f"http://{url}"
    try:
        http_origin(url)
    except AddressRefused as error:
        raise LabelStudioError(
            f"the address of Label Studio cannot be used: {shown(url)}",
            advice="set LABEL_STUDIO_URL to something like http://host:8080",
        ) from error
    return url.split("?")[0].split("#")[0].rstrip("/")


def _aliases(project: KnownProject | None) -> tuple[str, ...]:
    """The host that `/setup` brought, unless it is no address: anyone may bring anything."""
    with suppress(LabelStudioError):
        return (_base(project.host),) if project and project.host else ()
    return ()


def _account(reach: Reach) -> _Account:
    return reach.base, reach.credential


def _make_room(kept: OrderedDict[_Account, _Kept], *, last: _Account) -> list[_Kept]:
    """Mark `last` as used last; drops, and returns, what is over the limit."""
    kept.move_to_end(last)
    return [kept.popitem(last=False)[1] for _ in range(len(kept) - _MOST_KEPT)]


def _claims(token: str) -> dict[str, Any]:
    """What a JWT says about itself, unchecked; {} for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
