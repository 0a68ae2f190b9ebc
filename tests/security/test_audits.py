"""`make check` looks for known vulnerabilities, and says so where it cannot."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.label_studio_server import free_port
from tests.security import audit

ROOT = Path(__file__).resolve().parents[2]
LOCK = (
    "idna==3.6 \\\n    --hash=sha256:"
    + "0" * 64
    + "\ncertifi==2024.2.2 \\\n    --hash=sha256:"
    + "0" * 64
)
FINDING = {
    "id": "GHSA-made-up-here",
    "summary": "made up",
    "modified": "2024-05-01T00:00:00Z",
    "published": "2024-05-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "idna", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.7"}]}],
            "versions": ["3.6"],
        }
    ],
}


class Osv(BaseHTTPRequestHandler):
    """The one call of OSV that pip-audit makes; knows of one fault, unless nothing is known."""

    knows: ClassVar[dict[str, object]] = {}
    status = 200

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        body = json.dumps({"vulns": [self.knows[name]]} if name in self.knows else {}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Osv, "knows", {})
    monkeypatch.setattr(Osv, "status", 200)
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def lock(tmp_path: Path) -> str:
    (tmp_path / "a.lock").write_text(LOCK)
    return str(tmp_path / "a.lock")


def test_without_findings_it_says_what_was_looked_up(
    osv: str, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([lock], osv=osv) == 0
    assert "2 of 2 packages looked up" in capsys.readouterr().out


def test_a_finding_fails_and_is_named(
    osv: str, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Osv.knows = {"idna": FINDING}
    assert audit.main([lock], osv=osv) == 1
    assert "idna 3.6: GHSA-made-up-here, mended in 3.7" in capsys.readouterr().out


def test_a_database_that_cannot_be_asked_is_said_and_is_no_failure(
    osv: str, lock: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit.main([lock], osv=f"http://127.0.0.1:{free_port()}") == 0
    assert capsys.readouterr().out.startswith("skipped: no audit of dependencies")
    Osv.status = 503
    assert audit.main([lock], osv=osv) == 0
    assert "skipped" in capsys.readouterr().out


def test_a_lock_file_that_cannot_be_read_is_a_failure(osv: str, tmp_path: Path) -> None:
    assert audit.main([str(tmp_path / "none.lock")], osv=osv) == 1


def test_make_check_runs_both() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^check: lint audit test", makefile, re.MULTILINE)
    assert "bandit" in makefile
    assert "tests.security.audit requirements.lock label-studio.lock" in makefile
