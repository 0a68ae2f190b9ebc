"""A server in this process, as in the tests of serving."""

from tests.backends.serving.conftest import client, engine, serve, settings

__all__ = ["client", "engine", "serve", "settings"]
