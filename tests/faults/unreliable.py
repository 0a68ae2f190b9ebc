"""A proxy on a real socket that spoils what a Label Studio answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

# What to send in place of (status, headers, body); it may be cut, or slow, or nothing at all.
Answer = tuple[int, dict[str, str], bytes]
Spoil = Callable[["Asked", Answer], Answer | None]


class Asked:
    """A request: method, path, and how many came before it while this fault went on."""

    def __init__(self, method: str, path: str, nth: int) -> None:
        self.method, self.path, self.nth = method, path, nth


class Unreliable:
    """Passes requests on to `url`; what comes back is given to `spoil`, while there is one.

    `spoil` gives what is sent instead; None: the connection ends in the middle of the body.
    """

    def __init__(self, url: str) -> None:
        self._behind = url
        self.spoil: Spoil | None = None
        self.spoilt = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        spoil, asked = self.spoil, Asked(method, path, self.spoilt)
        found = httpx.request(method, self._behind + path, content=body, headers=headers)
        kind = found.headers.get("Content-Type", "application/json")
        answer = (found.status_code, {"Content-Type": kind}, found.content)
        if spoil is None:
            return answer, answer[2]
        self.spoilt += 1
        spoilt = spoil(asked, answer)
        return (answer, answer[2][: len(answer[2]) // 2]) if spoilt is None else (spoilt, spoilt[2])

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                known = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                known |= {
                    name: value for name, value in self.headers.items() if name == "Authorization"
                }
                (status, headers, whole), sent = proxy._answer(self.command, self.path, body, known)
                with suppress(ConnectionError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(whole)))
                    self.end_headers()
                    self.wfile.write(sent)
                self.close_connection = len(sent) < len(whole)

            do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        return Handler
