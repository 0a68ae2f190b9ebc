"""Tests every link between Label Studio and this server: `run_checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import httpx
from label_studio_sdk.core.api_error import ApiError

from backends.errors import LabelpilotError, LabelStudioError
from backends.interface import LabelConfig, Project
from backends.label_studio.client import LabelStudios, TokenKind, next_tasks, told
from backends.label_studio.config import check_label_config, prompt_controls
from backends.label_studio.connect import (
    PROTECTION_CURE,
    all_backends,
    auth_header,
    backend_url,
    is_protection,
    stale_webhooks,
    webhooks_at,
)
from backends.label_studio.label_xml import parse_label_config
from backends.label_studio.media import MediaStore
from backends.label_studio.projects import ProjectBook
from backends.settings import Settings
from backends.weights import listing

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio

_MODEL_LOADS_S = 60.0


Outcome = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One link: what was seen, and the cure unless it is fine."""

    name: str
    outcome: Outcome
    seen: str
    cure: str = ""


class Prelabels(Protocol):
    """What tells how a project's tasks are pre-labelled."""

    def fills(self, config: LabelConfig) -> bool:
        """Whether there is a control to fill."""

    def describe(self, project: Project, *, wait_s: float) -> Sequence[str]:
        """A line for each control: its model, and which class goes to which label."""

    def check(self, config: LabelConfig) -> Sequence[str]:
        """What is not pre-labelled, each with its cure."""


Learned = Callable[[Project], str | None]


def run_checks(
    settings: Settings,
    *,
    project_id: int | None,
    url: str,
    prelabels: Prelabels,
    learned: Learned = lambda _: None,
) -> Iterator[Check]:
    """Check one link after the other, from here outwards; stops where the rest cannot be seen.

    `url` is this server's address as Label Studio reaches it. Without a project, what belongs to
    one (config, media, backend, webhook) is left out. Changes nothing. `learned` tells the version
    of a project's own models where they answer; else `prelabels` do.
    """
    url = backend_url(url)
    yield _server(settings, url)
    yield _model(settings)
    with closing(LabelStudios(settings, book := ProjectBook(settings))) as studios:
        key = _known_key(book, project_id)
        for check in _label_studio(studios, key):
            yield check
            if check.outcome == "fail":
                return
        client = studios.sdk(key)
        if project_id is None:
            yield Check("project", "warn", "none given", "add --project N to check a project")
            return
        try:
            with told(f"reading project {project_id}"):
                project = client.projects.get(project_id)
        except LabelStudioError as error:
            yield _failed("project", error)
            return
        yield Check("project", "ok", f'{project_id}, "{project.title}"')
        made_at = int(project.created_at.timestamp()) if project.created_at else 0
        key = f"{project_id}.{made_at}"
        yield from _config(project, key, prelabels, learned)
        yield _media(settings, studios, client, project, key)
        yield from _backend(client, project_id, url)
        yield from _webhook(client, project_id, url, settings)


def _server(settings: Settings, url: str) -> Check:
    name = "this server"
    with httpx.Client(base_url=url, trust_env=False, timeout=5) as http:
        try:
            health = http.get("/health")
            bare = http.get("/versions")
            known = http.get("/versions", headers=auth_header(settings.basic_auth))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Check(
                name,
                "fail",
                f"nothing answers at {url} ({type(error).__name__})",
                "start `labelpilot serve`; --url is its address as Label Studio reaches it",
            )
    if health.status_code != 200:
        cure = "is this labelpilot's address? See the server's log"
        return Check(name, "fail", f"{url}/health answers {health.status_code}", cure)
    if known.status_code == 401:
        return Check(
            name,
            "fail",
            f"{url} refuses " + ("this password" if settings.basic_auth else "calls without one"),
            "set LABELPILOT_BASIC_AUTH_USER and LABELPILOT_BASIC_AUTH_PASSWORD here to what the "
            "server was started with",
        )
    if settings.basic_auth and bare.status_code != 401:
        return Check(
            name,
            "warn",
            f"{url} answers without the password that is set here",
            "restart the server with the same settings",
        )
    return Check(name, "ok", f"{url} answers, Basic auth {'on' if settings.basic_auth else 'off'}")


def _model(settings: Settings) -> Check:
    wanted, folder = settings.sam_model, settings.model_path
    files = [weights.file for weights, is_here in listing(folder, task="prompt") if is_here]
    if wanted not in ("auto", "grabcut"):
        files = sorted(path.name for path in folder.glob(f"{wanted}*"))
        if not files:
            cure = f"get one with `labelpilot weights get {wanted}`, or put the file into {folder}"
            return Check("model", "fail", f"no checkpoint for {wanted}", cure)
    if wanted == "grabcut" or not files:
        return Check(
            "model",
            "warn",
            "grabcut, which needs no checkpoint",
            "SAM gives better masks: `labelpilot weights list` shows what there is",
        )
    return Check("model", "ok", ", ".join(files))


def _label_studio(studios: LabelStudios, key: str | None) -> Iterator[Check]:
    """Whether Label Studio answers, and takes the token."""
    try:
        reach = studios.reach(key)
        release = studios.release(reach)
    except LabelStudioError as error:
        yield _failed("Label Studio", error)
        return
    yield Check("Label Studio", "ok", f"{reach.base} answers, version {release}")
    if reach.credential is None:
        yield Check(
            "token",
            "fail",
            "none is known",
            "set LABEL_STUDIO_API_KEY to a personal access token (Account & Settings)",
        )
        return
    kind = reach.credential.kind
    try:
        with told(f"trying the {kind.value}"):
            user = studios.sdk(key).users.whoami()
    except LabelStudioError as error:
        yield _failed("token", error)
        return
    if kind is TokenKind.ACCESS:
        cure = "use a personal access token: this one is good for five minutes only"
        yield Check("token", "warn", f"{kind.value}, accepted", cure)
        return
    yield Check("token", "ok", f"{kind.value} of {user.email}, accepted")


def _config(project: Any, key: str, prelabels: Prelabels, learned: Learned) -> Iterator[Check]:
    """Whether clicks become regions, and who labels tasks before they are opened."""
    try:
        config = parse_label_config(project.label_config or "")
    except LabelpilotError as error:
        yield _failed("label config", error)
        return
    fills = prelabels.fills(config)
    problems = check_label_config(config)
    if problems:
        # Without a smart tool a project may still want its tasks pre-labelled.
        outcome: Outcome = "warn" if fills and not prompt_controls(config) else "fail"
        cure = "mend it under Settings > Labeling Interface; examples/ has configs that work"
        yield Check("label config", outcome, " ".join(problems), cure)
    else:
        yield Check("label config", "ok", "every smart tool leads to an answer")
    version = learned(Project(key, config))
    if version is not None:
        yield Check("pre-labelling", "ok", f"by the project's own micro-models, {version}")
    elif fills:
        lines = prelabels.describe(Project(key, config), wait_s=_MODEL_LOADS_S)
        findings = prelabels.check(config)
        cure = (
            " ".join(findings) and f"{' '.join(findings)} docs/reference/yolo.md has the attributes"
        )
        yield Check("pre-labelling", "warn" if findings else "ok", "; ".join(lines), cure)


def _media(
    settings: Settings,
    studios: LabelStudios,
    client: LabelStudio,
    project: Any,
    key: str,
) -> Check:
    """Fetch and decode the images and videos of the project's first task."""
    try:
        config = parse_label_config(project.label_config or "")
        tasks = next_tasks(client, project.id, after_id=0, limit=1)
        if not tasks:
            return Check("media", "warn", "the project has no task yet", "import some images")
        task_id, data = tasks[0]
        seen = []
        with closing(MediaStore(settings, studios)) as images:
            for medium in config.media:
                url = data.get(medium.data_key, "")
                if medium.tag == "Image":
                    file = images.locate(url, key, task_id)
                    images.read(file)
                    seen.append(f"image of {file.width_px} x {file.height_px} pixels")
                elif medium.tag == "Video":
                    video = images.locate_video(url, key, task_id)
                    seen.append(f"video of {video.clip.frames} frames")
    except LabelpilotError as error:
        return _failed("media", error)
    return Check("media", "ok", f"task {task_id}: {', '.join(seen) or 'none'}")


def _backend(client: LabelStudio, project_id: int, url: str) -> Iterator[Check]:
    """Whether the project has this server as its backend, and reaches it."""
    connect = f"labelpilot connect --project {project_id} --url {url}"
    try:
        every = all_backends(client, project_id)
    except LabelStudioError as error:
        yield _failed("backend", error)
        return
    mine = [backend for backend in every if backend.url.rstrip("/") == url]
    if not mine:
        others = ", ".join(backend.url for backend in every)
        seen = f"the project's backends are {others}" if others else "the project has no backend"
        yield Check("backend", "fail", f"{seen}, not {url}", f"run `{connect}`")
        return
    backend = mine[0]
    if not backend.is_interactive:
        yield Check("backend", "fail", "interactive preannotations are off", f"run `{connect}`")
    elif backend.id != every[0].id:
        yield Check(
            "backend",
            "warn",
            f"it is not the project's first: predictions come from {every[0].url}",
            "delete the others under Settings > Model",
        )
    else:
        yield Check("backend", "ok", f'"{backend.title}", interactive')
    yield _way_back(client, backend)


def _way_back(client: LabelStudio, backend: Any) -> Check:
    """Let Label Studio call this server."""
    name = "Label Studio to this server"
    try:
        versions = client.ml.list_model_versions(backend.id, request_options={"max_retries": 0})
    except ApiError as error:
        said = str(error.body)
        if "reserved network address" in said:
            return Check(name, "fail", "address protection refuses the call", PROTECTION_CURE)
        if error.status_code == 401 or "401" in said:
            cure = "run `labelpilot connect` again with the password in the settings"
            return Check(name, "fail", "it calls without the right password", cure)
        cure = "connect with an address that Label Studio's machine or container can reach"
        return Check(name, "fail", f"it cannot reach {backend.url}", cure)
    except httpx.HTTPError as error:
        return Check(name, "fail", f"no answer ({type(error).__name__})", "is it overloaded?")
    if backend.state != "CO":
        cure = "see the server's log; the label config may be at fault"
        return Check(name, "fail", f"set-up failed: {backend.error_message or 'no answer'}", cure)
    return Check(name, "ok", f"reached, version {', '.join(versions.versions or [])}")


def _webhook(client: LabelStudio, project_id: int, url: str, settings: Settings) -> Iterator[Check]:
    connect = f"run `labelpilot connect --project {project_id} --url {url}`"
    try:
        hooks, stale = webhooks_at(client, project_id, url), stale_webhooks(client, project_id)
    except LabelStudioError as error:
        yield _failed("webhook", error)
        return
    yield _right_webhook(client, hooks, auth_header(settings.basic_auth), connect)
    if stale:
        cure = "delete them under Settings > Webhooks: each delays every Submit"
        yield Check("stale webhooks", "warn", ", ".join(stale), cure)


def _right_webhook(
    client: LabelStudio, hooks: list[Any], headers: dict[str, str], connect: str
) -> Check:
    if not hooks:
        return Check("webhook", "fail", "there is none: training would never start", connect)
    if not hooks[0].is_active:
        return Check("webhook", "fail", "it is switched off", connect)
    if not hooks[0].send_for_all_actions:
        return Check("webhook", "warn", "it sends only some events", connect)
    if {**(hooks[0].headers or {}), **headers} != (hooks[0].headers or {}):
        return Check("webhook", "fail", "it lacks this server's password and gets 401", connect)
    if _is_protected(client, hooks[0]):
        return Check("webhook", "fail", "address protection keeps it silent", PROTECTION_CURE)
    if len(hooks) > 1:
        cure = "delete one under Settings > Webhooks"
        return Check("webhook", "warn", "it exists twice, every event arrives twice", cure)
    return Check("webhook", "ok", "active, for all events")


def _is_protected(client: LabelStudio, hook: Any) -> bool:
    """Store the webhook's own values again: Label Studio checks its address when storing."""
    try:
        client.webhooks.update(
            hook.id, url=hook.url, actions=hook.actions, request_options={"max_retries": 0}
        )
    except ApiError as error:
        return is_protection(error)
    except httpx.HTTPError:
        return False
    return False


def _known_key(book: ProjectBook, project_id: int | None) -> str | None:
    """The key of a project that has called /setup; any project's if none is asked for."""
    known = [one for one in book.all() if project_id in (None, one.id)]
    return known[0].key if known else None


def _failed(name: str, error: LabelpilotError) -> Check:
    return Check(name, "fail", error.message, error.advice)
