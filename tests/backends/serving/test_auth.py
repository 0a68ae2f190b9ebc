from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from typer.testing import CliRunner

from backends.cli import app as command_line
from backends.serving.auth import OpenToAnybody, check_exposure, credentials_match, is_own_name
from backends.settings import Settings
from tests.backends.serving.conftest import Serve, predict_body


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "fits"),
    [
        (basic("ann:s3cret:ö"), True),
        (basic("ann:s3cret:ö").replace("Basic", "basic"), True),
        (basic("ann:wrong"), False),
        (basic("bob:s3cret:ö"), False),
        (basic("ann"), False),
        (None, False),
        ("", False),
        ("Basic", False),
        ("Basic !!!", False),
        ("Basic =", False),
        ("Basic ü", False),
        ("Bearer abc", False),
        ("Basic " + base64.b64encode(b"\xff\xfe:\x00").decode(), False),
    ],
)
def test_only_the_right_credentials_fit(header: str | None, fits: bool) -> None:
    assert credentials_match(header, user="ann", password="s3cret:ö") is fits


LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "localhost"]
BEYOND = ["0.0.0.0", "::", "", "192.168.1.5", "localhost.example.com", "::ffff:127.0.0.1", "pilot"]


@pytest.mark.parametrize("host", [*LOOPBACK, *BEYOND])
def test_who_asks_for_no_password_listens_on_this_machine_only(host: str) -> None:
    if host in LOOPBACK:
        return check_exposure(Settings(), host=host)
    with pytest.raises(OpenToAnybody, match="LABELPILOT_BASIC_AUTH_USER") as refused:
        check_exposure(Settings(), host=host)
    assert "LABELPILOT_ALLOW_ANYBODY=true" in refused.value.advice
    check_exposure(Settings(allow_anybody=True), host=host)
    with_password = Settings(basic_auth_user="ann", basic_auth_password=SecretStr("pass"))
    return check_exposure(with_password, host=host)


def test_serve_says_what_to_set_and_does_not_start() -> None:
    done = CliRunner().invoke(command_line, ["serve", "--host", "0.0.0.0", "--port", "0"])
    assert done.exit_code == 1
    assert "LABELPILOT_ALLOW_ANYBODY=true" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1:9090", True),
        ("[::1]:9090", True),
        ("localhost", True),
        ("localhost.:9090", True),
        ("pilot.localhost:9090", True),
        ("192.168.1.5:9090", True),
        ("labelpilot:9090", True),
        ("host.docker.internal:9090", True),
        ("Pilot.Example.org:443", True),
        ("evil.example", False),
        ("evil.example:9090", False),
        ("127.0.0.1.evil.example:9090", False),
        ("127.0.0.1@evil.example:9090", False),
        ("evil.internal", False),
        ("localhost.evil.example", False),
        ("", False),
        ("[::1", False),
        (":9090", False),
    ],
)
def test_names_that_a_stranger_can_point_here_are_not_its_own(host: str, is_own: bool) -> None:
    assert is_own_name(host, frozenset({"pilot.example.org"})) is is_own


ROUTES = [("GET", "/"), ("GET", "/metrics"), ("POST", "/predict"), ("POST", "/sam/setup")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_name_that_was_pointed_here_reads_and_changes_nothing(
    client: TestClient, method: str, path: str
) -> None:
    answer = client.request(method, path, headers={"Host": "evil.example:9090"}, content="{}")
    assert answer.status_code == 421
    assert "LABELPILOT_ALLOWED_NAMES" in answer.json()["advice"]
    # Probes of a balancer carry any name.
    assert client.get("/health", headers={"Host": "evil.example:9090"}).status_code == 200


def test_with_a_password_any_name_will_do(serve: Serve) -> None:
    client = serve(basic_auth_user="ann", basic_auth_password=SecretStr("pass"))
    client.headers["Host"] = "pilot.example.org"
    assert client.get("/versions", auth=("ann", "pass")).status_code == 200
    named = serve(allowed_names="pilot.example.org, other.example.org")
    assert named.get("/versions", headers={"Host": "other.example.org"}).status_code == 200


STRANGE = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook", "/yolo/webhook"])
@pytest.mark.parametrize("headers", STRANGE)
def test_a_page_of_a_stranger_cannot_play_label_studio(
    serve: Serve, path: str, headers: dict[str, str]
) -> None:
    """A browser sends text to any address unasked, and a password that it knows along with it."""
    client = serve(basic_auth_user="ann", basic_auth_password=SecretStr("pass"))
    body = predict_body()
    answer = client.post(path, json=body, headers=headers, auth=("ann", "pass"))
    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]
    without = client.post("/predict", json=body, auth=("ann", "pass"))
    assert without.status_code == 200
