"""The command line, as people use it on one project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.label_studio_server import ROOT, LabelStudioServer


class Pilot:
    """`labelpilot COMMAND --project N ...` with one data folder; `told`: what it said beside."""

    def __init__(
        self, studio: LabelStudioServer, project: int, folder: Path, **settings: str
    ) -> None:
        self.project, self.told = project, ""
        self._environment = os.environ | {
            "LABELPILOT_DATA_DIR": str(folder),
            "LABEL_STUDIO_URL": studio.url,
            "LABEL_STUDIO_API_KEY": studio.legacy_token,
            "LABELPILOT_SAM_MODEL": "grabcut",
            "COLUMNS": "200",
            **settings,
        }

    def __call__(self, command: str, *arguments: str) -> str:
        """What it printed."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "backends.cli"),
                *(command, f"--project={self.project}", *arguments),
            ],
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.told = done.stderr
        return done.stdout

    def figures(self, command: str, *arguments: str) -> Any:
        """What it printed as JSON."""
        return json.loads(self(command, "--json", *arguments))
