from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backends.cli import app

COMMANDS = ["serve", "connect", "doctor", "embed", "prelabel", "worker", "demo"]
COMMANDS += ["weights list", "weights get"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    code, output = run(*command.split(), "--help")
    assert code == 0
    assert "Usage" in output
    assert len(output) > 300


def test_the_help_names_every_command_and_the_settings() -> None:
    _, output = run("--help")
    for word in ("LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY", "LABELPILOT_DATA_DIR", "doctor"):
        assert word in output


# Of each of them the import is felt. Typer and rich print help; typer itself asks for pydantic
# where a command has options.
SLOW = ["torch", "openvino", "ultralytics", "sklearn", "cleanlab", "label_studio_sdk", "pandas"]
SLOW += ["numpy", "cv2", "scipy", "PIL", "fastapi", "starlette", "uvicorn", "sqlalchemy", "dbos"]
SLOW += ["alembic", "httpx", "pydantic", "pydantic_settings", "prometheus_client", "jinja2"]
SLOW += ["rich.progress", "micro_models"]


@pytest.mark.parametrize(
    ("arguments", "by_typer"), [(["--help"], set()), (["serve", "--help"], {"pydantic"})]
)
def test_help_imports_nothing_slow(arguments: list[str], by_typer: set[str]) -> None:
    program = f"""
import sys
from backends.cli import app
try:
    app({arguments!r})
except SystemExit as end:
    assert end.code == 0
print(*(name for name in {SLOW!r} if name in sys.modules), file=sys.stderr)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert "Usage" in done.stdout
    assert set(done.stderr.split()) <= by_typer


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELPILOT_QUEUE_LENGTH", "many")
    monkeypatch.setenv("LABELPILOT_BASIC_AUTH_PASSWORD", "s3cret")
    code, output = run("weights", "list")
    assert code == 2
    assert "LABELPILOT_QUEUE_LENGTH" in output
    assert "integer" in output
    assert "s3cret" not in output


def test_weights_list_shows_what_is_here(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "models"
    folder.mkdir(parents=True)
    (folder / "mobile_sam.pt").write_bytes(b"weights")
    code, output = run("weights", "list")
    assert code == 0
    rows = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert "yes" in rows["mobile_sam"]
    assert "yes" not in rows["sam_vit_b"]
    assert str(folder) in output.replace("\n", "")


def test_weights_list_says_what_each_gives_and_which_setting_names_it() -> None:
    output = " ".join(run("weights", "list")[1].split())
    assert "mobile_sam * masks of clicks" in output
    assert "yolov8n-obb * turned boxes" in output
    assert "LABELPILOT_SAM_MODEL names one for clicks" in output
    assert "LABELPILOT_YOLO_MODEL (or model_path in the label config) one for pre-labels" in output


@pytest.mark.parametrize(("name", "needs_restart"), [("mobile_sam", True), ("yolov8n.pt", False)])
def test_only_a_model_for_clicks_needs_a_restart(
    monkeypatch: pytest.MonkeyPatch, name: str, needs_restart: bool
) -> None:
    monkeypatch.setattr("backends.weights.download", lambda name, folder, progress: folder / name)
    code, output = run("weights", "get", name)
    assert code == 0
    assert ("restart" in output) == needs_restart
    assert ("finds it by itself" in " ".join(output.split())) == (not needs_restart)


def test_an_unknown_checkpoint_is_answered_with_the_known_ones() -> None:
    code, output = run("weights", "get", "nope")
    assert code == 1
    assert "mobile_sam" in output


@pytest.mark.parametrize("command", ["connect", "embed"])
def test_without_label_studios_address_the_cure_is_told(command: str) -> None:
    code, output = run(command, "--project", "7")
    assert code == 1
    assert "LABEL_STUDIO_URL" in output


@pytest.mark.parametrize("command", ["connect", "embed"])
def test_a_dead_label_studio_is_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    code, output = run(command, "--project", "7")
    assert code == 1
    assert "could not be reached" in output
    assert "0123456789abcdef" not in output


@pytest.mark.parametrize("name", ["USER", "PASSWORD"])
def test_half_of_basic_auth_does_not_leave_the_server_open(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LABELPILOT_BASIC_AUTH_{name}", "s3cret")
    code, output = run("serve")
    assert code == 2
    assert "LABELPILOT_BASIC_AUTH_USER" in output
    assert "s3cret" not in output


@pytest.mark.parametrize("command", ["serve", "embed --project 1"])
def test_a_data_folder_that_takes_nothing_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("LABELPILOT_DATA_DIR", str(tmp_path / "file" / "data"))
    code, output = run(*command.split())
    assert code == 1
    assert "LABELPILOT_DATA_DIR" in output


def test_a_database_that_cannot_be_opened_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LABELPILOT_DATABASE_URL", "postgresql://me:s3cret@127.0.0.1:1/x")
    code, output = run("serve")
    assert code == 1
    assert "LABELPILOT_DATABASE_URL" in output
    assert "s3cret" not in output
