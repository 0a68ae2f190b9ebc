"""A small web server on 127.0.0.1 whose answers a test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """What is sent back; `claims_bytes`: a Content-Length that the body does not keep."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    claims_bytes: int | None = None


Page = Answer | Callable[[BaseHTTPRequestHandler], Answer]


def drip(start: bytes, stop: threading.Event) -> Callable[[BaseHTTPRequestHandler], Answer]:
    """A page that sends `start` and then one byte at a time until `stop` or the client's end."""

    def page(request: BaseHTTPRequestHandler) -> Answer:
        request.wfile.write(start)
        while not stop.wait(0.02):
            request.wfile.write(b"H")
        return Answer()

    return page


class Web:
    """Answers GET and POST from `pages`; `calls` holds (method, path, headers) of each request."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.calls: list[tuple[str, str, dict[str, str]]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.calls.append((self.command, self.path, dict(self.headers)))
                self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                page = web.pages.get(self.path) or web.pages.get(self.path.split("?")[0])
                answer = page(self) if callable(page) else page or Answer(status=404)
                self.send_response(answer.status)
                claimed = answer.claims_bytes
                length = len(answer.body) if claimed is None else claimed
                headers = {"Content-Length": str(length), **answer.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = claimed is not None

            do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that hangs up is part of some tests

        self._server = Server(("127.0.0.1", 0), Handler)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), daemon=True)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """The paths of all requests so far."""
        return [path for _, path, _ in self.calls]

    def close(self) -> None:
        """Stop answering; the port refuses connections from now on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
