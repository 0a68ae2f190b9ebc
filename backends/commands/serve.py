"""`labelpilot serve`: the server that Label Studio connects to."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from backends.terminal import load_settings, mistakes_explained

# A thread that computes keeps the interpreter so long when others want it, and a webhook wants it
# some ten times. By Python's own 5 ms a webhook beside bulk work took twice as long.
_SWITCH_S = 0.0005
_M_ARENA_MAX, _HEAPS = -8, 2  # the first as malloc.h has it


def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in: set Basic auth."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 9090,
) -> None:
    """Run the server that Label Studio connects to.

    Connect `http://HOST:PORT` to a project. Open the same address in a browser for the status
    page: which model is loaded, last requests, last problems and their cures.
    """
    with _uncollected():
        import uvicorn

        from backends import logs
        from backends.serving.app import create_app
        from backends.serving.auth import check_exposure
        from backends.serving.patience import PatientProtocol
        from backends.serving.services import check_state

        settings = load_settings()
        logs.configure(settings)
        with mistakes_explained():
            check_exposure(settings, host=host)
            check_state(settings)
        server = create_app(settings)
    sys.setswitchinterval(_SWITCH_S)
    _share_heaps()
    with mistakes_explained():
        uvicorn.run(
            server,
            host=host,
            port=port,
            http=PatientProtocol,
            log_config=None,
            access_log=False,
        )


def _share_heaps() -> None:
    """Let threads take their memory from few heaps, where the C library is glibc.

    Each would get one of its own, and what it frees there is of no use to others: after four
    minutes of bulk requests the process was 130 MB larger.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


@contextmanager
def _uncollected() -> Iterator[None]:
    """What a start makes stays: looking all the time for what could go takes a tenth of it."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
