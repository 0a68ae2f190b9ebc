"""Web servers and settings of the tests in this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from backends.label_studio.client import LabelStudios
from backends.label_studio.projects import ProjectBook
from backends.settings import Settings
from tests.backends.label_studio.web import Answer, Web

MakeSettings = Callable[..., Settings]


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server; in most tests it plays Label Studio."""
    server = Web()
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[Web]:
    """Another web server, at another origin."""
    server = Web()
    yield server
    server.close()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Makes settings that neither the environment nor a .env file of this machine changes."""
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def make(**values: Any) -> Settings:
        return Settings(_env_file=None, data_dir=tmp_path / "data", **values)

    return make


@pytest.fixture
def studios(settings: MakeSettings) -> Iterator[Callable[..., LabelStudios]]:
    """Makes a `LabelStudios` with a fresh book from settings."""
    with ExitStack() as stack:

        def make(**values: Any) -> LabelStudios:
            made = settings(**values)
            return stack.enter_context(closing(LabelStudios(made, ProjectBook(made))))

        yield make


@pytest.fixture
def backend() -> Iterator[Web]:
    """A server that answers as a backend does."""
    server = Web()
    for path, value in (
        ("/health", {"status": "UP"}),
        ("/setup", {"model_version": "v1"}),
        ("/versions", {"versions": ["v1"]}),
    ):
        body = json.dumps(value).encode()
        server.pages[path] = Answer(body, headers={"Content-Type": "application/json"})
    yield server
    server.close()
