"""Stores of reviews."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backends.review.store import ReviewStore
from backends.settings import Settings


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    store = ReviewStore(Settings(data_dir=tmp_path))
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReviewStore]:
    settings = Settings(data_dir=tmp_path)
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").add_database()
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
    store = ReviewStore(settings)
    yield store
    store.close()
