"""Which addresses a task may make this server open. Task data is hostile.

Two doors: `open_client` reaches public addresses only, `trusted_client` reaches what a person
trusted (the Label Studio origin and `media_allowed_hosts`), private addresses included. Both check
the address that a name resolves to at the moment of connecting and connect to that very address,
so a name that resolves differently a second later changes nothing. Neither reads proxy variables
or follows redirects: the caller checks each hop.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

import httpcore
import httpx

from backends.errors import MediaError
from backends.label_studio.deadline import LimitedStream, within

Resolver = Callable[[str, int], Sequence[str]]
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*")
_MOST_CHARACTERS = 8192
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# "Token x", "Bearer x", "Basic x"; queries of URLs; legacy and personal tokens by themselves.
_CREDENTIAL = re.compile(
    r"\b((?:token|bearer|basic)\s+)[\w.~+/=-]{16,}|(\?)[^\s\"'<>]+|\b[0-9a-f]{40}\b|\beyJ[\w.-]{20,}",
    re.IGNORECASE,
)


# Everything in the IANA special-purpose registries, and what embeds an IPv4 address.
def _networks(
    text: str,
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(map(ipaddress.ip_network, text.split()))


_FORBIDDEN = _networks(
    """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24
    198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3
    2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
    """
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_PLATFORM_V4 = ipaddress.ip_address("168.63.129.16")  # Azure's host service: public in form only
# Not even a trusted name may lead here: cloud metadata, multicast, "this network".
_NEVER = _networks("0.0.0.0/8 169.254.0.0/16 224.0.0.0/3 ::/128 fe80::/10 ff00::/8")
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))


class AddressRefused(MediaError):
    """The address is one that task data may not open."""

    status = 403


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port: what a token belongs to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = _DEFAULT_PORTS[self.scheme] == self.port
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")


def shown(url: str) -> str:
    """`url` for messages and logs: no query, fragment or user info, at most 200 characters."""
    if url[:5].lower() == "data:":
        return "data:..."
    text = _CONTROL.sub("?", re.split(r"[?#]", url, maxsplit=1)[0])
    text = re.sub(r"^([^/\\]*[:/\\]+)[^/\\]*@", r"\1", text)
    return text if len(text) <= 200 else text[:197] + "..."


def quoted(text: str) -> str:
    """What another server said, for messages and logs: credentials that it repeats are left out.

    >>> quoted("no entry for Token 0123456789abcdef0123 at /data/a.png?signature=5161a7")
    'no entry for Token ... at /data/a.png?...'
    """
    return _CREDENTIAL.sub(lambda found: f"{found[1] or found[2] or ''}...", text)


def http_origin(url: str) -> Origin:
    """The origin of an http(s) URL that every parser reads alike.

    Errors: `AddressRefused` for URLs over 8 kB, and for spellings that parsers read differently:
    user info, backslashes, control characters, numeric hosts that are no dotted quad, zone ids,
    trailing dots, hosts that are not ASCII.
    """
    if len(url) > _MOST_CHARACTERS:
        raise _odd(url, "it is longer than 8 kB")
    return _read_origin(url)


@lru_cache(maxsize=1024)
def _read_origin(url: str) -> Origin:
    if _CONTROL.search(url) or "\\" in url:
        raise _odd(url, "it holds a control character or a backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _odd(url, "it cannot be parsed") from error
    scheme = parts.scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise _odd(url, "it is not http or https")
    if "@" in parts.netloc:
        raise _odd(url, "it holds a user name")
    if port == 0 or parts.netloc.endswith(":"):
        raise _odd(url, "its port is empty or 0")
    return Origin(scheme, _plain_host(url, parts.hostname or ""), port or _DEFAULT_PORTS[scheme])


def normal_url(url: str) -> str:
    """`url` with its scheme and host as `http_origin` reads them, without the fragment."""
    origin, parts = http_origin(url), urlsplit(url)
    path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return str(origin) + path.replace(" ", "%20")


def allowed_hosts(listed: str) -> frozenset[tuple[str, int]]:
    """Read `media_allowed_hosts`: "10.0.0.5:9000, minio:9000" -> pairs of host and port."""
    pairs = set()
    for entry in filter(None, (part.strip().lower() for part in listed.split(","))):
        host, _, port = entry.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"LABELPILOT_MEDIA_ALLOWED_HOSTS takes host:port, not {entry!r}")
        pairs.add((host.strip("[]"), int(port)))
    return frozenset(pairs)


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the open internet, with nothing embedded in it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address not in _GLOBAL_V6 or address.scope_id:
            return False
    elif address == _PLATFORM_V4:
        return False
    return not any(_inside(address, _FORBIDDEN))


def is_trustable(address: IpAddress) -> bool:
    """Whether a name that a person trusted may lead here: private yes, metadata services no."""
    embedded = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = embedded or address
    return address not in _METADATA and not any(_inside(address, _NEVER))


def system_resolver(host: str, port: int) -> Sequence[str]:
    """All addresses of `host`, in the system's order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def open_client(*, timeout_s: float, resolver: Resolver = system_resolver) -> httpx.Client:
    """A client that connects to public addresses only; anything else is `AddressRefused`."""
    return _client(is_public, timeout_s, resolver)


def trusted_client(*, timeout_s: float, resolver: Resolver = system_resolver) -> httpx.Client:
    """A client for origins that a person trusted; private addresses are fine."""
    return _client(is_trustable, timeout_s, resolver)


def _plain_host(url: str, host: str) -> str:
    host = host.lower()
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError as error:
            raise _odd(url, "its host is not an IPv6 address") from error
        if address.scope_id:
            raise _odd(url, "its host has a zone id")
        return str(address)
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise _odd(url, "its host is not a plain ASCII name (write other scripts as xn--...)")
    if re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise _odd(url, "its host is a number but no dotted quad") from error
    return host


def _odd(url: str, why: str) -> AddressRefused:
    return AddressRefused(
        f"the address {shown(url)} is refused: {why}",
        advice="correct the URL in the task's data",
    )


def _inside(
    address: IpAddress, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> Iterable[bool]:
    return (address.version == network.version and address in network for network in networks)


class _CheckedNetwork(httpcore.SyncBackend):
    """Resolves a name itself, checks every answer and connects to a checked one."""

    def __init__(self, permits: Callable[[IpAddress], bool], resolver: Resolver) -> None:
        self._permits, self._resolver = permits, resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._checked(host, port)
        for index, address in enumerate(addresses):
            limit = within(timeout, httpcore.ConnectTimeout)
            try:
                return LimitedStream(
                    super().connect_tcp(address, port, limit, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if index == len(addresses) - 1:
                    raise
        raise httpcore.ConnectError(f"{host} has no address")

    def _checked(self, host: str, port: int) -> list[str]:
        try:
            answers = self._resolver(host, port)
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved") from error
        for answer in answers:
            if not self._permits(ipaddress.ip_address(answer)):
                raise AddressRefused(
                    f"the host {host} is refused: it leads to a private or reserved address",
                    advice=f"if tasks may point there, add {host}:{port} to "
                    "LABELPILOT_MEDIA_ALLOWED_HOSTS",
                )
        return list(answers)


class _CheckedTransport(httpx.HTTPTransport):
    """httpx's transport over a `_CheckedNetwork`."""

    def __init__(self, network: _CheckedNetwork) -> None:
        super().__init__(verify=_certificates(), trust_env=False)
        # httpx offers no argument for the network; its pool is the documented httpcore class.
        if not isinstance(self._pool, httpcore.ConnectionPool):
            raise TypeError("this version of httpx keeps its connections elsewhere")
        self._pool = httpcore.ConnectionPool(
            ssl_context=_certificates(),
            max_connections=32,
            max_keepalive_connections=8,
            keepalive_expiry=5.0,
            network_backend=network,
        )


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """What https trusts: SSL_CERT_FILE or the usual authorities; slow to load, so once."""
    return httpx.create_ssl_context()


def _client(
    permits: Callable[[IpAddress], bool], timeout_s: float, resolver: Resolver
) -> httpx.Client:
    return httpx.Client(
        transport=_CheckedTransport(_CheckedNetwork(permits, resolver)),
        timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 5.0)),
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": "labelpilot", "Accept-Encoding": "identity"},
    )
