import ipaddress
from collections.abc import Iterator

import httpx
import pytest

from backends.label_studio.addresses import (
    AddressRefused,
    Origin,
    allowed_hosts,
    http_origin,
    is_public,
    is_trustable,
    normal_url,
    open_client,
    shown,
    trusted_client,
)

ODD_SPELLINGS = [
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./",
    "http://localhost./",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://１２７.0.0.1/",
    "http://bücher.example/",
    "http://good.example@127.0.0.1/",
    "http://good.example:80@127.0.0.1:8000/",
    "http://good.example%40127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1/",
    "http://[127.0.0.1]/",
    "http://good.example\\@127.0.0.1/",
    "http:\\\\127.0.0.1\\",
    "http:/\\127.0.0.1/",
    "http:/127.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http://",
    "http://:80/",
    "http://good.example:/",
    "http://good.example:0/",
    "http://good.example:99999/",
    "http://good.example:8o/",
    "http://good.example/\r\nHost: 127.0.0.1",
    "http://127.0.0.1\t/",
    "ht\ntp://good.example/",
    "http://good.example\x00.evil/",
    "http://a..b/",
    "http://-a.example/",
    "ftp://good.example/",
    "gopher://127.0.0.1:70/_",
    "file:///etc/passwd",
    "jar:http://good.example!/",
    "//good.example/",
    "",
]

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("url", ODD_SPELLINGS)
def test_odd_spellings_are_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        http_origin(url)
    assert caught.value.advice
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://good.example/a", Origin("http", "good.example", 80)),
        ("HTTPS://Good.Example:8443/a?b#c", Origin("https", "good.example", 8443)),
        ("http://label_studio:8080", Origin("http", "label_studio", 8080)),
        ("http://93.184.216.34/", Origin("http", "93.184.216.34", 80)),
        ("http://[2606:4700:0::1]:80/", Origin("http", "2606:4700::1", 80)),
        ("http://xn--bcher-kva.example/", Origin("http", "xn--bcher-kva.example", 80)),
        ("http://good.example/user@home", Origin("http", "good.example", 80)),
    ],
)
def test_plain_addresses_are_read(url: str, origin: Origin) -> None:
    assert http_origin(url) == origin
    assert http_origin(str(origin)) == origin


def test_long_addresses_are_refused_and_not_kept_in_memory() -> None:
    kept = "http://good.example/" + "a" * 8000
    assert http_origin(kept) == Origin("http", "good.example", 80)
    with pytest.raises(AddressRefused, match="longer than 8 kB"):
        http_origin(kept + "a" * 200)


def test_normal_url_keeps_path_and_query_and_drops_the_fragment() -> None:
    assert normal_url("HTTP://A.example:80/x y?q=1 2#f") == "http://a.example/x%20y?q=1%202"


@pytest.mark.parametrize("address", PRIVATE)
def test_no_private_or_special_address_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111"])
def test_the_open_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("::1", True),
        ("fd12::1", True),
        ("::ffff:10.0.0.1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("fe80::1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
    ],
)
def test_a_trusted_name_may_be_private_but_no_metadata_service(address: str, fine: bool) -> None:
    assert is_trustable(ipaddress.ip_address(address)) is fine


def test_a_name_that_leads_to_a_private_address_is_refused(web) -> None:
    with (
        open_client(timeout_s=2, resolver=lambda host, port: ["127.0.0.1"]) as client,
        pytest.raises(AddressRefused, match="private or reserved"),
    ):
        client.get(f"http://harmless.example:{web.port}/")
    assert web.calls == []


def test_one_private_answer_among_public_ones_is_refused(web) -> None:
    with (
        open_client(timeout_s=2, resolver=lambda h, p: ["93.184.216.34", "127.0.0.1"]) as client,
        pytest.raises(AddressRefused),
    ):
        client.get(f"http://harmless.example:{web.port}/")


def test_rebinding_fails_because_the_checked_address_is_the_one_connected_to(web) -> None:
    answers: Iterator[list[str]] = iter([["10.255.255.1"], ["127.0.0.1"]])
    with open_client(timeout_s=2, resolver=lambda host, port: next(answers)) as client:
        for _ in range(2):
            with pytest.raises(AddressRefused):
                client.get(f"http://rebind.example:{web.port}/")
    assert web.calls == []


def test_the_resolver_is_asked_once_and_its_answer_is_used(web) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with trusted_client(timeout_s=2, resolver=resolver) as client:
        client.get(f"http://studio.internal:{web.port}/x")
    assert asked == ["studio.internal"]
    assert web.calls[0][2]["Host"] == f"studio.internal:{web.port}"


def test_the_second_address_is_tried_when_the_first_does_not_answer(web) -> None:
    with trusted_client(timeout_s=2, resolver=lambda h, p: ["127.9.9.9", "127.0.0.1"]) as client:
        assert client.get(f"http://studio.internal:{web.port}/x").status_code == 404


def test_an_unknown_name_is_a_connect_error() -> None:
    def resolver(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with (
        open_client(timeout_s=2, resolver=resolver) as client,
        pytest.raises(httpx.ConnectError, match="cannot be resolved"),
    ):
        client.get("http://nowhere.example/")


def test_proxy_variables_are_ignored(web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", web.url)
    monkeypatch.setenv("ALL_PROXY", web.url)
    with (
        open_client(timeout_s=2, resolver=lambda host, port: ["127.0.0.1"]) as client,
        pytest.raises(AddressRefused),
    ):
        client.get("http://harmless.example/")
    assert web.calls == []


def test_allowed_hosts_are_pairs() -> None:
    assert allowed_hosts(" minio:9000, 10.0.0.5:80,[::1]:81 ") == {
        ("minio", 9000),
        ("10.0.0.5", 80),
        ("::1", 81),
    }
    with pytest.raises(ValueError, match="host:port"):
        allowed_hosts("minio")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://u:p@h.example/a.jpg?X-Amz-Signature=s#f", "https://h.example/a.jpg"),
        ("data:image/png;base64,AAAA", "data:..."),
        ("http:/\\u:p@h/x", "http:/\\h/x"),
        ("http://h/\n\x1b[31m", "http://h/??[31m"),
    ],
)
def test_shown_urls_hold_no_secret(url: str, text: str) -> None:
    assert shown(url) == text


def test_shown_urls_are_short() -> None:
    assert len(shown("http://h/" + "a" * 5000)) == 200
