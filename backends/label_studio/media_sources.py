"""What the text in a task's data points to, decided before anything is opened."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from backends.errors import LabelStudioError, MediaError
from backends.label_studio.addresses import AddressRefused, normal_url, shown
from backends.label_studio.client import LabelStudios, Reach
from backends.settings import Settings

_CLOUD = ("s3", "gs", "azure-blob", "s3s")
# A signature's parameter -> what comes with it: names, or prefixes that end in "-".
_SIGNATURES = {
    "x-amz-signature": "x-amz-",
    "x-goog-signature": "x-goog-",
    "signature": "signature expires awsaccesskeyid googleaccessid key-pair-id policy",
    "sig": "sig se sp sv sr st spr sip ss srt sks skoid sktid skt ske skv",
}


class Kind(StrEnum):
    """What a task's address is to lead to."""

    IMAGE = "image"
    VIDEO = "video"


@dataclass(frozen=True)
class Source:
    """Where an image or a video comes from.

    `key` tells it apart in the cache, `name` is fit for messages, `url` is what to open: http(s),
    data:, or the absolute path of a file in an allowed folder (`is_file`). `studio` is the Label
    Studio that the task itself names, which then gets its token. `lasting`: never changes.
    """

    key: str
    name: str
    url: str
    studio: Reach | None = None
    lasting: bool = False
    is_file: bool = False
    kind: Kind = Kind.IMAGE


class Sources:
    """Reads task data. Opens nothing but the names of allowed folders."""

    def __init__(self, settings: Settings, studios: LabelStudios) -> None:
        listed = (part.strip() for part in settings.media_allowed_dirs.split(","))
        self._folders = tuple(Path(part).expanduser().resolve() for part in listed if part)
        self._studios = studios

    def of(
        self,
        url: object,
        project_key: str,
        task_id: int | None = None,
        *,
        kind: Kind = Kind.IMAGE,
    ) -> Source:
        """What `url` names for this project. Errors: `MediaError`."""
        if not isinstance(url, str) or not url.strip():
            raise MediaError(
                f"the task has no {kind}: its data holds no URL where the label config expects one",
                advice=f"compare the value of the <{kind.capitalize()}> tag with the keys of the "
                "task's data",
            )
        source = self._of(url.strip(), project_key, task_id)
        # What is known of an address as an image says nothing of it as a video.
        key = source.key if kind is Kind.IMAGE else f"{kind} {source.key}"
        return replace(source, key=key, kind=kind)

    def _of(self, url: str, project_key: str, task_id: int | None) -> Source:
        scheme = match[1].lower() if (match := re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)) else ""
        if scheme == "data":
            digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
            return Source(f"data:{digest}", "data:...", url, lasting=True)
        if scheme in ("http", "https"):
            return self._web(url, project_key)
        if scheme in _CLOUD:
            return self._cloud(url, project_key, task_id)
        if scheme == "file" or (not scheme and url.startswith("/")):
            return self._file(url) or self._in_label_studio(url, project_key, scheme)
        raise MediaError(
            f"{shown(url)} is not an address that this server opens",
            advice="use http(s), an upload, Label Studio's storages, or a data: URI",
        )

    def _web(self, url: str, project_key: str) -> Source:
        url, reach = normal_url(url), None
        with suppress(LabelStudioError):  # plain web addresses work without a Label Studio
            reach = self._studios.reach(project_key)
        if reach is not None and (own := reach.local(url)) is not None:
            return _of_studio(own, reach, project_key)
        return Source(_key(reach, project_key, unsigned(url)), shown(url), url)

    def _in_label_studio(self, url: str, project_key: str, scheme: str) -> Source:
        if scheme == "file":
            raise AddressRefused(
                "the task names a file of this machine outside the allowed folders",
                advice="list the file's folder in LABELPILOT_MEDIA_ALLOWED_DIRS",
            )
        reach = self._studios.reach(project_key)
        own = reach.local(url)
        if own is None:
            raise AddressRefused(
                f"{shown(url)} names no scheme", advice="write http:// or https://"
            )
        return _of_studio(normal_url(own), reach, project_key)

    def _cloud(self, url: str, project_key: str, task_id: int | None) -> Source:
        reach = self._studios.reach(project_key)
        place = (
            f"tasks/{task_id}" if task_id is not None else f"projects/{project_key.split('.')[0]}"
        )
        code = base64.urlsafe_b64encode(url.encode("utf-8", "surrogatepass")).decode()
        signed = f"{reach.base}/{place}/presign/?fileuri={code}"
        return Source(_key(reach, project_key, url), shown(url), signed, reach)

    def _file(self, url: str) -> Source | None:
        """The file, if it lies in an allowed folder after all links are resolved."""
        if not self._folders:
            return None
        text = (
            url if url.startswith("/") else unquote(re.sub(r"(?i)^file:(//(localhost)?)?", "", url))
        )
        try:
            path = Path(text).resolve()
            inside = any(path.is_relative_to(folder) for folder in self._folders)
            if not inside or not path.is_file():
                return None
        except (OSError, ValueError):
            return None
        return Source(f"file {path}", path.name, str(path), is_file=True)


def unsigned(url: str) -> str:
    """`url` without the parameters of a signature, so that a new signature is the same image."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    names = {name.lower() for name, _ in pairs}
    drop = tuple(
        name for mark, group in _SIGNATURES.items() if mark in names for name in group.split()
    )
    if not drop:
        return url
    kept = [pair for pair in pairs if not _among(pair[0].lower(), drop)]
    return urlunsplit(parts._replace(query=urlencode(kept)))


def _among(name: str, drop: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith("-") and name.startswith(one)) for one in drop)


def _of_studio(url: str, reach: Reach, project_key: str) -> Source:
    path = url.removeprefix(reach.base)
    if path.startswith("/api/"):
        raise AddressRefused(
            f"{shown(url)} belongs to Label Studio's API, which holds no media",
            advice="correct the URL in the task's data",
        )
    # Label Studio puts a random part in the name of every upload: its bytes never change.
    lasting = path.startswith("/data/upload/")
    return Source(_key(reach, project_key, url), shown(url), url, reach, lasting)


def _key(reach: Reach | None, project_key: str, url: str) -> str:
    """One project's copies are not another's: its users may not see the same files."""
    return f"{reach.base if reach else ''} {project_key.split('.')[0]} {url}"
