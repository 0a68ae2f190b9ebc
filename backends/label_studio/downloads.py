"""One file over the network: which door, which token, which redirects, and why it failed."""

from __future__ import annotations

import base64
import binascii
import logging
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urljoin

import httpx

from backends.errors import LabelStudioError, MediaError
from backends.label_studio.addresses import (
    AddressRefused,
    Resolver,
    allowed_hosts,
    http_origin,
    normal_url,
    open_client,
    shown,
    system_resolver,
    trusted_client,
)
from backends.label_studio.client import LabelStudios, Reach, TokenKind
from backends.label_studio.deadline import more_time, time_left
from backends.label_studio.media_cache import Entry
from backends.label_studio.media_sources import Kind, Source
from backends.settings import Settings

_log = logging.getLogger(__name__)
_REDIRECTS = 5
_CHUNK_BYTES = 1 << 18
# A video may take as long as it needs, if it comes no slower and never stands still for so long.
_SLOWEST_BYTES_PER_S, _STANDSTILL_S = 32_000, 60.0


class MediaUnavailable(MediaError):
    """The media's server is down, slow or failing: another try may help, an old copy does."""


@dataclass(frozen=True)
class Download:
    """An open download; `unchanged` means that the copy that is here is still right."""

    chunks: Iterator[bytes]
    etag: str = ""
    last_modified: str = ""
    unchanged: bool = False


class Downloads:
    """Opens what a `Source` names. Safe among threads."""

    def __init__(
        self, settings: Settings, studios: LabelStudios, *, resolver: Resolver = system_resolver
    ) -> None:
        self._settings, self._studios = settings, studios
        self._allowed = allowed_hosts(settings.media_allowed_hosts)
        timeout_s = settings.media_timeout_s
        self._open = open_client(timeout_s=timeout_s, resolver=resolver)
        self._trusted = trusted_client(timeout_s=timeout_s, resolver=resolver)

    def close(self) -> None:
        """Close idle connections."""
        self._open.close()
        self._trusted.close()

    @contextmanager
    def open(self, source: Source, known: Entry | None) -> Iterator[Download]:
        """Start a download, conditional on what is `known` of it. Errors: `MediaError`."""
        if source.url[:5].lower() == "data:":
            yield Download(iter([self._data(source)]))
            return
        with _network_told(source.name):
            response = self._follow(source, _conditions(known))
            try:
                if response.status_code == 304 and known is not None:
                    yield Download(iter(()), known.etag, known.last_modified, unchanged=True)
                    return
                length = response.headers.get("Content-Length", "")
                yield Download(
                    self.limited(
                        _plain(response, source.name),
                        source,
                        claimed_bytes=int(length) if length.isdecimal() else 0,
                    ),
                    response.headers.get("ETag", ""),
                    response.headers.get("Last-Modified", ""),
                )
            finally:
                response.close()

    def _follow(self, source: Source, conditions: dict[str, str]) -> httpx.Response:
        """The first answer that is no redirect; each hop is checked like the task's own URL."""
        url, studio = source.url, source.studio
        for _ in range(_REDIRECTS + 1):
            # A token follows neither out of Label Studio nor back into it.
            if studio is not None and http_origin(url) != studio.origin:
                studio = None
            response = self._send(
                url, studio, {"Accept": f"{source.kind}/*,*/*;q=0.5", **conditions}
            )
            target = response.headers.get("Location")
            if response.status_code not in (301, 302, 303, 307, 308) or not target:
                if response.status_code not in (200, 304):
                    failure = _failure(source, studio, url, response)
                    response.close()
                    raise failure
                return response
            response.close()
            if studio is not None and "/user/login" in target:
                raise _login_page(source.name, studio)
            url = normal_url(urljoin(url, target))
            url = (studio.local(url) or url) if studio else url
        raise MediaError(
            f"{source.name} redirects more than {_REDIRECTS} times",
            advice="use the address that it finally leads to",
        )

    def _send(self, url: str, studio: Reach | None, headers: dict[str, str]) -> httpx.Response:
        origin = http_origin(url)
        trusted = studio is not None or (origin.host, origin.port) in self._allowed
        client = self._trusted if trusted else self._open
        request = client.build_request("GET", url, headers=headers)
        auth = self._studios.auth(studio) if studio is not None else None
        return client.send(request, stream=True, auth=auth)

    def limited(
        self, chunks: Iterable[bytes], source: Source, *, claimed_bytes: int
    ) -> Iterator[bytes]:
        """`chunks`, as long as they keep within the limit of size. Errors: `MediaError`."""
        max_bytes = self._max_mb(source.kind) * 1_000_000
        if claimed_bytes > max_bytes:
            raise self._too_large(source)
        received = 0
        for chunk in chunks:
            received += len(chunk)
            if received > max_bytes:
                raise self._too_large(source)
            if source.kind is Kind.VIDEO:
                more_time(len(chunk) / _SLOWEST_BYTES_PER_S, at_most_s=_STANDSTILL_S)
            yield chunk

    def _data(self, source: Source) -> bytes:
        header, comma, body = source.url.partition(",")
        if len(body) > self._max_mb(source.kind) * 2_000_000:
            raise self._too_large(source)
        try:
            if comma and header.lower().endswith(";base64"):
                return base64.b64decode(unquote_to_bytes(body), validate=False)
            if comma:
                return unquote_to_bytes(body)
        except (binascii.Error, ValueError):
            pass
        raise MediaError("the data: URI in the task cannot be decoded", advice="correct the task")

    def _max_mb(self, kind: Kind) -> int:
        is_video = kind is Kind.VIDEO
        return self._settings.video_max_mb if is_video else self._settings.media_max_mb

    def _too_large(self, source: Source) -> MediaError:
        name = "VIDEO" if source.kind is Kind.VIDEO else "MEDIA"
        return MediaError(
            f"{source.name} is larger than {self._max_mb(source.kind)} MB",
            advice=f"raise LABELPILOT_{name}_MAX_MB, or use smaller files",
        )


def _plain(response: httpx.Response, name: str) -> Iterator[bytes]:
    """The body in chunks of limited size, inflated if the server compressed it all the same."""
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    raw = response.iter_raw(_CHUNK_BYTES)
    if coding in ("", "identity"):
        return raw
    if coding in ("gzip", "x-gzip", "deflate"):
        return _inflated(raw, name)
    raise MediaError(
        f"the server of {name} compresses although it was asked not to",
        advice="switch off compression of media there; they do not become smaller",
    )


def _inflated(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    # httpx would inflate a whole chunk at once: 1 MB of zeros for each kB received.
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS + 32)  # + 32: gzip or zlib, as it begins
    try:
        for chunk in chunks:
            left = chunk
            while left and not inflate.eof:
                yield inflate.decompress(left, _CHUNK_BYTES)
                left = inflate.unconsumed_tail
            if inflate.eof:
                break  # whatever follows is not part of the file
        yield inflate.flush()
    except zlib.error as error:
        raise _not_inflated(name) from error
    if not inflate.eof:
        raise _not_inflated(name)


def _not_inflated(name: str) -> MediaError:
    return MediaError(
        f"what the server sends for {name} cannot be decompressed",
        advice="open the address in a browser: is the file whole?",
    )


def _conditions(known: Entry | None) -> dict[str, str]:
    if known is None:
        return {}
    pairs = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in pairs.items() if value}


@contextmanager
def _network_told(name: str) -> Iterator[None]:
    try:
        yield
    except LabelStudioError as error:  # the token could not be renewed
        raise MediaError(f"{name}: {error.message}", advice=error.advice) from error
    except httpx.TimeoutException as error:
        if time_left() <= 0:
            raise too_slow(name) from error
        raise MediaUnavailable(
            f"{name} did not come in time",
            advice="see whether its server is overloaded; LABELPILOT_MEDIA_TIMEOUT_S is the limit",
        ) from error
    except httpx.InvalidURL as error:
        raise AddressRefused(
            f"{name} is refused: it leads to something that is no address",
            advice="correct the URL in the task's data",
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise MediaUnavailable(
            f"the server of {name} cannot be reached ({type(error).__name__})",
            advice="open the address from this server's machine; set LABEL_STUDIO_URL if it is "
            "Label Studio's and another name works from here",
        ) from error


def too_slow(name: str) -> MediaUnavailable:
    """The error of media whose `time_limit` is over before it is here."""
    return MediaUnavailable(
        f"{name} comes too slowly",
        advice="see whether its server is overloaded; LABELPILOT_MEDIA_TIMEOUT_S sets the limit",
    )


def _login_page(name: str, studio: Reach) -> MediaError:
    return MediaError(
        f"{name}: Label Studio answered with its login page: {_token_of(studio)} is not accepted",
        advice="set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY; `labelpilot doctor` tests them",
    )


def _token_of(studio: Reach) -> str:
    return f"the {studio.credential.kind.value}" if studio.credential else "no token: it"


def _failure(
    source: Source, studio: Reach | None, url: str, response: httpx.Response
) -> MediaError:
    """The one cause of an answer that is no file."""
    status, place = response.status_code, shown(url)
    if status >= 500 or status in (408, 429):
        what = "Label Studio" if studio else "its server"
        advice = (
            "see the log of Label Studio; was the file deleted?" if studio else "try again later"
        )
        return MediaUnavailable(f"{source.name}: {what} failed ({status})", advice=advice)
    if studio is not None:
        return _studio_failure(source.name, studio, place, response)
    if status in (401, 403) and source.studio is not None:
        return MediaError(
            f"{source.name}: the storage refused the address that Label Studio signed ({status})",
            advice="check the storage's credentials in Label Studio > Settings > Cloud Storage",
        )
    if status in (400, 401, 403):
        return MediaError(
            f"{source.name}: its server refuses it ({status})",
            advice="a signed address may have expired; else make the file readable",
        )
    return MediaError(
        f"{source.name}: its server answers {status}", advice="does the file still exist?"
    )


def _studio_failure(name: str, studio: Reach, place: str, response: httpx.Response) -> MediaError:
    status = response.status_code
    if status == 401:
        said = next(response.iter_raw(2000), b"").lower()
        off = studio.credential and studio.credential.kind is TokenKind.LEGACY and b"legacy" in said
        why = "legacy tokens are switched off" if off else f"{_token_of(studio)} is not accepted"
        advice = "set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY (a personal access token)"
        return MediaError(f"{name}: Label Studio answered 401: {why}", advice=advice)
    advice = "does the token's user see the project, and does the file still exist?"
    if "/data/local-files" in place:
        advice = (
            "start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and add a "
            "Local Files storage for the file's folder to the project"
        )
    elif place.rstrip("/").endswith(("/presign", "/resolve")):
        advice = "add the bucket's storage to the project: Settings > Cloud Storage"
    return MediaError(f"{name}: Label Studio answered {status}", advice=advice)
