"""A real S3 protocol for tests, from moto's server, on 127.0.0.1."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.session
import pytest
from moto.server import ThreadedMotoServer

from tests.label_studio_server import free_port

BUCKET = "labels"
SECRET = "s3-secret-" + "k" * 30


@contextmanager
def s3_server(patch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """One with a bucket; this process, and those it starts, have its credentials."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port = free_port()  # the same again after a stop
    server = ThreadedMotoServer("127.0.0.1", port=port, verbose=False)
    server.start()
    url = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        patch.setenv(name, value)
    try:
        client = botocore.session.get_session().create_client("s3")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield server
    finally:
        server.stop()
