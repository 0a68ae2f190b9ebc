"""What is installed is what the lock says; the image is built by the commands that CI runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "label-studio.lock"]


def locked(name: str) -> list[Requirement]:
    """The lines of a lock file, without hashes."""
    lines = (ROOT / name).read_text().replace(" \\\n", "\n").splitlines()
    return [Requirement(line) for line in lines if re.match(r"[a-z0-9]", line)]


def here(name: str) -> dict[str, str]:
    """Package -> version that a lock file asks for on this system and Python."""
    return {
        canonicalize_name(line.name): version_of(line)
        for line in locked(name)
        if not line.marker or line.marker.evaluate()
    }


def version_of(line: Requirement) -> str:
    (pin,) = line.specifier
    return pin.version


def test_there_is_exactly_one_cv2() -> None:
    with_cv2 = [
        each.name
        for each in distributions()
        if any(file.parts[:2] == ("cv2", "__init__.py") for file in each.files or ())
    ]
    assert with_cv2 == ["opencv-python-headless"]


def test_the_environment_is_the_locked_one() -> None:
    installed = {canonicalize_name(each.name): each.version for each in distributions()}
    wanted = here("requirements.lock")
    assert {name: installed.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_is_pinned_and_hashed(lock: str) -> None:
    text = (ROOT / lock).read_text()
    for line in locked(lock):
        assert [each.operator for each in line.specifier] == ["=="], line
    blocks = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_names_no_host_and_no_folder(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links|@ ", text)


def test_the_lock_file_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [
        *project["dependencies"],
        *extras["ultralytics"],
        *extras["demo"],
        *extras["s3"],
        *extras["dev"],
    ]
    versions = here("requirements.lock")
    for requirement in map(Requirement, wanted):
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: run make lock"


def dockerfile() -> list[str]:
    """The Dockerfile's instructions, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [
        " ".join(line.split()) for line in text.replace("\\\n", "").splitlines() if line.strip()
    ]


def test_the_image_is_installed_by_the_commands_of_make() -> None:
    runs = [line.removeprefix("RUN ") for line in dockerfile() if line.startswith("RUN ")]
    assert [run for run in runs if "install " not in run] == [
        "make install-packages",
        "make install-server",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^install: install-server", makefile, re.MULTILINE)
    assert re.search(r"^\$\(VENV\)/\.installed: \$\(VENV\)/\.packages", makefile, re.MULTILINE)
    assert not [run for run in runs if "pip" in run]


def test_the_image_is_not_root_checks_its_health_and_holds_no_weights_and_no_secrets() -> None:
    lines = dockerfile()
    user = lines.index("USER 10001")
    assert not [line for line in lines[user:] if line.startswith("RUN apt")]
    assert [line for line in lines if line.startswith("HEALTHCHECK")]
    assert "ARG DEVICE=cpu" in lines
    text = "\n".join(lines)
    assert not re.search(r"weights|\.pth?\b|API_KEY|PASSWORD|TOKEN|SECRET", text)
    assert "COPY . " not in text
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for line in dockerfile():
        if line.startswith("COPY"):
            for source in line.split()[2:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in allowed


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{ROOT / '.venv/bin'}:/usr/bin:/usr/local/bin")
    if hadolint is None:
        pytest.skip("skipped: no hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == ""


def test_the_compose_file_joins_the_two() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    studio, pilot = compose["services"]["label-studio"], compose["services"]["labelpilot"]
    assert studio["image"].endswith(":" + here("label-studio.lock")["label-studio"])
    assert studio["environment"]["ML_BLOCK_LOCAL_IP"] == "false"
    assert studio["environment"]["SSRF_PROTECTION_ENABLED"] == "false"
    assert pilot["environment"]["LABEL_STUDIO_URL"] == "http://label-studio:8080"
    # Without a password, so the port is this machine's alone.
    assert pilot["environment"]["LABELPILOT_ALLOW_ANYBODY"] == "true"
    for service in (studio, pilot):
        assert service["networks"] == ["labelpilot"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert {volume.split(":")[0] for volume in service["volumes"]} <= compose["volumes"].keys()
    assert pilot["build"]["args"].keys() == {"DEVICE"}


def test_no_file_of_the_repository_holds_a_secret() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("skipped: not a git checkout")
    secret = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}"
        r"|\beyJ[A-Za-z0-9_-]{30,}\.[A-Za-z0-9_-]{20,}\."
        r"|\b(gh[pousr]_|github_pat_|hf_)[A-Za-z0-9_]{30,}"
    )
    for name in listed.stdout.split("\n"):
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2_000_000:
            assert not secret.search(path.read_text(errors="replace")), name
