"""Servers in this process, as in the tests of serving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from backends.serving.app import create_app
from backends.settings import Settings
from tests.backends.serving.conftest import SquareEngine, client, engine, serve, settings

__all__ = ["client", "client_of_module", "engine", "serve", "settings"]


@pytest.fixture(scope="module")
def client_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One for many requests."""
    folder = tmp_path_factory.mktemp("data")
    with TestClient(
        create_app(
            Settings(data_dir=folder, label_studio_url="http://127.0.0.1:9"),
            lambda _: SquareEngine(),
        ),
        raise_server_exceptions=False,
    ) as one:
        yield one
