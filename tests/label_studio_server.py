"""A real Label Studio for tests: `LabelStudioServer`.

The program is the one that LABELPILOT_TEST_LABEL_STUDIO names, else the one that `make install`
puts into .venv-label-studio. The first start makes a database and takes up to 45 s, later ones 4 s.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]


def program() -> Path | None:
    """The label-studio executable, or None."""
    named = os.environ.get("LABELPILOT_TEST_LABEL_STUDIO")
    path = Path(named) if named else ROOT / ".venv-label-studio/bin/label-studio"
    return path if path.is_file() else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LabelStudioServer:
    """One Label Studio on 127.0.0.1 with one user, both kinds of token and a folder of files.

    `address_protection`: whether it refuses backends on private addresses (its default since
    1.23). `restart` changes that and keeps the data.
    """

    email = "annotator@example.com"
    password = "a-password-for-tests"

    def __init__(self, folder: Path, *, address_protection: bool = False) -> None:
        self.folder, self.address_protection = folder, address_protection
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.legacy_token = secrets.token_hex(20)
        self._personal_token = ""
        self._more: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "label-studio.log"

    @property
    def personal_token(self) -> str:
        """A personal access token of the user, made at the first use."""
        if not self._personal_token:
            answer = self.api("POST", "/api/token/")
            self._personal_token = answer["token"]
        return self._personal_token

    def start(self) -> None:
        """Start and wait until it answers."""
        executable = program()
        assert executable is not None, "no Label Studio: run make install"
        arguments = ["start", "--no-browser", "--internal-host", "127.0.0.1"]
        arguments += ["--port", str(self.port), "--username", self.email]
        arguments += ["--password", self.password, "--user-token", self.legacy_token]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [executable, *arguments, "--enable-legacy-api-token"],
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait(timeout_s=400)

    def stop(self) -> None:
        """Stop it and everything that it started."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        except ProcessLookupError:
            pass
        self._process = None

    def restart(
        self, *, address_protection: bool = False, environment: dict[str, str] | None = None
    ) -> None:
        """Start again on the same data and port; `environment` adds variables until the next."""
        self.stop()
        self.address_protection, self._more = address_protection, environment or {}
        self.start()

    def set_legacy_tokens(self, *, enabled: bool) -> None:
        """Allow or forbid legacy tokens for the organization."""
        access = self._access_token()
        answer = httpx.post(
            f"{self.url}/api/jwt/settings",
            json={"legacy_api_tokens_enabled": enabled, "api_tokens_enabled": True},
            headers={"Authorization": f"Bearer {access}"},
            timeout=30,
        )
        assert answer.status_code < 300, answer.text

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        """Call the API as the user, with the legacy token; the JSON answer."""
        headers = {"Authorization": f"Token {self.legacy_token}"}
        answer = httpx.request(method, self.url + path, headers=headers, timeout=60, **kwargs)
        assert answer.status_code < 300, (
            f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        )
        return answer.json() if answer.content else None

    def add_project(self, label_config: str, title: str = "test") -> int:
        """Make a project; its id."""
        body = {"title": title, "label_config": label_config}
        return int(self.api("POST", "/api/projects/", json=body)["id"])

    def project_key(self, project_id: int) -> str:
        """The project's key as backends see it: "<id>.<created_at unix>"."""
        from datetime import datetime

        made = self.api("GET", f"/api/projects/{project_id}/")["created_at"]
        return f"{project_id}.{int(datetime.fromisoformat(made).timestamp())}"

    def upload(self, project_id: int, *files: Path) -> list[dict[str, Any]]:
        """Upload images as tasks; the project's tasks, oldest first."""
        for file in files:
            with file.open("rb") as body:
                self.api("POST", f"/api/projects/{project_id}/import", files={"file": body})
        return self.tasks(project_id)

    def add_task(self, project_id: int, data: dict[str, Any]) -> int:
        """Make a task; its id."""
        return int(
            self.api("POST", "/api/tasks/", json={"project": project_id, "data": data})["id"]
        )

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """The project's tasks, oldest first."""
        answer = self.api("GET", f"/api/tasks?project={project_id}&fields=all&page_size=1000")
        return sorted(answer["tasks"], key=lambda task: task["id"])

    def serve_folder(self, project_id: int, folder: Path) -> None:
        """Connect a folder below `files` as the project's Local Files storage."""
        body = {"project": project_id, "path": str(folder), "use_blob_urls": True}
        self.api("POST", "/api/storages/localfiles", json=body)

    def _access_token(self) -> str:
        body = {"refresh": self.personal_token}
        return str(httpx.post(f"{self.url}/api/token/refresh/", json=body).json()["access"])

    def _wait(self, *, timeout_s: float) -> None:
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.3)
        self.stop()
        raise AssertionError(f"Label Studio did not start:\n{self.log.read_text()[-3000:]}")

    def _environment(self) -> dict[str, str]:
        protection = "true" if self.address_protection else "false"
        return {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder),
            "DJANGO_DB": "sqlite",
            "LABEL_STUDIO_HOST": self.url,
            "ML_BLOCK_LOCAL_IP": protection,
            "SSRF_PROTECTION_ENABLED": protection,
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.files),
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "FEATURE_FLAGS_OFFLINE": "true",
            **self._more,
        }
