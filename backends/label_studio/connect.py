"""Adds this server to a project of Label Studio, with all that Label Studio leaves out."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from label_studio_sdk.core.api_error import ApiError

from backends.errors import LabelStudioError
from backends.label_studio.addresses import AddressRefused, http_origin, shown
from backends.label_studio.client import told

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

DEFAULT_TITLE = "labelpilot"
PROTECTION_CURE = (
    "start Label Studio with both ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false: "
    "since 1.23 it refuses backends and webhooks on private addresses, and one of the two "
    "settings alone leaves the webhook out"
)


@dataclass(frozen=True)
class ConnectReport:
    """How a project stands after `connect`, read back from Label Studio.

    `version` is what /setup answered; `notes` say, each with its cure, what is still not right;
    `stale_webhooks` are addresses that no backend of the project belongs to.
    """

    backend_id: int
    url: str
    added: bool
    state: str
    version: str
    webhook_id: int
    webhook_with_auth: bool
    stale_webhooks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def connected(self) -> bool:
        """Whether Label Studio reached this server."""
        return self.state == "CO"


def connect(
    client: LabelStudio,
    *,
    project_id: int,
    url: str,
    title: str | None = DEFAULT_TITLE,
    basic_auth: tuple[str, str] | None = None,
) -> ConnectReport:
    """Add the backend at `url` to a project, or mend it if it is there; safe to repeat.

    `url` is this server's address as Label Studio reaches it. `title` None: the version that the
    backend reports, which lets Label Studio's uncertainty sampling compare the two. The default
    title leaves one that predictions are chosen by: trainings set it (`sampling.align`).
    `basic_auth` is (user, password) of this server. Errors: `LabelStudioError`, and nothing
    half-made stays.
    """
    url = backend_url(url)
    with told(f"reading project {project_id}"):
        project = client.projects.get(project_id)
    found = backends_at(client, project_id, url)
    if found and title == DEFAULT_TITLE and found[0].title == project.model_version:
        title = found[0].title
    backend = _add_or_mend(client, project_id, url, title, basic_auth, found)
    try:
        webhook = _right_webhook(client, project_id, url, basic_auth)
    except LabelStudioError:
        if not found:  # without its webhook it would look connected and never learn
            with told("removing the half-made backend"):
                client.ml.delete(backend.id)
        raise
    with told("reading the backend back"):
        state = client.ml.get(backend.id)
    return ConnectReport(
        backend_id=state.id,
        url=url,
        added=not found,
        state=str(state.state),
        version=state.model_version or "",
        webhook_id=webhook.id,
        webhook_with_auth="Authorization" in (webhook.headers or {}),
        stale_webhooks=stale_webhooks(client, project_id),
        notes=tuple(_notes(client, project, state, url)),
    )


def backend_url(url: str) -> str:
    """A backend's address as it is stored: no slash at the end. Errors: `LabelStudioError`."""
    url = url.strip().rstrip("/")
    try:
        http_origin(url)
    except AddressRefused as error:
        raise LabelStudioError(
            f"{shown(url)} is no address of a server", advice="use something like http://host:9090"
        ) from error
    return url


def auth_header(basic_auth: tuple[str, str] | None) -> dict[str, str]:
    """The headers that Basic auth needs; {} without."""
    if basic_auth is None:
        return {}
    code = base64.b64encode(":".join(basic_auth).encode()).decode()
    return {"Authorization": f"Basic {code}"}


def backends_at(client: LabelStudio, project_id: int, url: str) -> list[Any]:
    """The project's backends at `url`, oldest first."""
    backends = all_backends(client, project_id)
    return [backend for backend in backends if backend.url.rstrip("/") == url]


def all_backends(client: LabelStudio, project_id: int) -> list[Any]:
    """The project's backends, oldest first; Label Studio asks each for its health meanwhile."""
    with told("listing the project's backends"):
        return sorted(client.ml.list(project=project_id), key=lambda backend: backend.id)


def webhooks_at(client: LabelStudio, project_id: int, url: str) -> list[Any]:
    """The project's webhooks to the backend at `url`, oldest first."""
    with told("listing the project's webhooks"):
        webhooks = client.webhooks.list(project=str(project_id))
    mine = [hook for hook in webhooks if hook.url.rstrip("/") == f"{url}/webhook"]
    return sorted(mine, key=lambda hook: hook.id)


def stale_webhooks(client: LabelStudio, project_id: int) -> tuple[str, ...]:
    """Addresses of webhooks that look like a backend's, which the project does not have.

    Label Studio keeps a webhook when its backend is deleted or moves.
    """
    backends = {backend.url.rstrip("/") for backend in all_backends(client, project_id)}
    with told("listing the project's webhooks"):
        webhooks = client.webhooks.list(project=str(project_id))
    return tuple(
        sorted(
            hook.url
            for hook in webhooks
            if hook.url.endswith("/webhook") and hook.url.removesuffix("/webhook") not in backends
        )
    )


def _add_or_mend(
    client: LabelStudio,
    project_id: int,
    url: str,
    title: str | None,
    basic_auth: tuple[str, str] | None,
    found: list[Any],
) -> Any:
    values: dict[str, Any] = {"url": url, "project": project_id, "is_interactive": True}
    values["auth_method"] = "BASIC_AUTH" if basic_auth else "NONE"
    if basic_auth:
        values["basic_auth_user"], values["basic_auth_pass"] = basic_auth
    if title:
        values["title"] = title
    try:
        ml = client.ml
        backend = ml.update(found[0].id, **values) if found else ml.create(**values)
        if title is None and backend.model_version:
            values["title"] = backend.model_version
            backend = client.ml.update(backend.id, **values)
    except ApiError as error:
        if not found:
            _remove_half_made(client, project_id, url)
        raise _explained(error, url) from error
    return backend


def _remove_half_made(client: LabelStudio, project_id: int, url: str) -> None:
    """Label Studio may refuse and yet store a backend, as connected and without a webhook."""
    for backend in backends_at(client, project_id, url):
        with told("removing the half-made backend"):
            client.ml.delete(backend.id)


def _explained(error: ApiError, url: str) -> LabelStudioError:
    said = str(error.body)
    if is_protection(error):
        return LabelStudioError(
            f"Label Studio refuses {url}: address protection is on", advice=PROTECTION_CURE
        )
    if "authentication parameters" in said:
        return LabelStudioError(
            f"the server at {url} asks Label Studio for a password that is missing or wrong",
            advice="set LABELPILOT_BASIC_AUTH_USER and LABELPILOT_BASIC_AUTH_PASSWORD to what the "
            "server was started with",
        )
    if "health check failed" in said:
        return LabelStudioError(
            f"Label Studio cannot reach {url}",
            advice="start `labelpilot serve`, and give --url as Label Studio's machine or "
            "container sees this server (there, localhost is Label Studio itself)",
        )
    if "valid ML backend" in said:
        return LabelStudioError(
            f"{url} answers, but not as a backend should: is it another program's address?",
            advice="open it in a browser: labelpilot shows its status page",
        )
    try:
        with told("adding the backend"):
            raise error
    except LabelStudioError as told_error:
        return told_error


def is_protection(error: ApiError) -> bool:
    """Whether Label Studio refused an address as private."""
    return "reserved network address" in str(error.body)


def _right_webhook(
    client: LabelStudio, project_id: int, url: str, basic_auth: tuple[str, str] | None
) -> Any:
    """The webhook, made or mended: active, for all events, with this server's auth header."""
    found = webhooks_at(client, project_id, url)
    values: dict[str, Any] = {"url": f"{url}/webhook", "headers": auth_header(basic_auth)}
    values |= {"is_active": True, "send_for_all_actions": True, "send_payload": True}
    try:
        if not found:
            return client.webhooks.create(project=project_id, **values)
        if any(getattr(found[0], name) != value for name, value in values.items()):
            return client.webhooks.update(found[0].id, **values)
    except ApiError as error:
        raise _explained(error, url) from error
    return found[0]


def _notes(client: LabelStudio, project: Any, backend: Any, url: str) -> Iterator[str]:
    if backend.state != "CO":
        yield f"Label Studio could not set the backend up: {backend.error_message or 'no answer'}"
    same, every = backends_at(client, project.id, url), all_backends(client, project.id)
    if len(same) > 1:
        yield (
            f"the project has this address {len(same)} times; delete all but one under "
            "Settings > Model"
        )
    if every and every[0].id != backend.id:
        yield (
            f'predictions come from the project\'s first backend only, "{every[0].title}"; '
            "delete it under Settings > Model to have them from this one"
        )
    if len(webhooks_at(client, project.id, url)) > 1:
        yield "the webhook exists twice; delete one under Settings > Webhooks"
    if not project.show_collab_predictions:
        yield (
            "opening a task does not prepare it, so that its first click is slower; switch on "
            'Settings > Annotation > "Use predictions to prelabel tasks"'
        )
    if project.sampling == "Uncertainty sampling" and backend.title != backend.model_version:
        yield (
            "uncertainty sampling compares the backend's title with the version of predictions, "
            f'and "{backend.title}" is not "{backend.model_version}": the order is random'
            f"{_until(backend.title)}"
        )


def _until(title: str) -> str:
    if title == DEFAULT_TITLE:
        return " until the first training, which sets the title"
    return f'; connect with the title "{DEFAULT_TITLE}", and each training sets it'
