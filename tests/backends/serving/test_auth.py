from __future__ import annotations

import base64

import pytest

from backends.serving.auth import credentials_match


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
