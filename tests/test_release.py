"""The wheel holds what the program needs, and runs in a fresh environment outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("backends", "micro_models")
LEFT_OUT = shutil.ignore_patterns("__pycache__")


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABEL", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and a source distribution, the wheel being built from the latter."""
    source = tmp_path_factory.mktemp("source")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=LEFT_OUT)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Deprecat" not in done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def fresh(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel, and the locked packages beside it."""
    folder = tmp_path_factory.mktemp("fresh")
    assert run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder).returncode == 0
    programs = folder / "bin"
    pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install")
    done = run(*pip, "--no-deps", "--no-index", *dist.glob("*.whl"), cwd=folder)
    assert done.returncode == 0, done.stderr
    # A folder that a .pth file names is searched after the environment's own, and its .pth files
    # are not read: the editable install there stays hidden.
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "locked.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_the_wheel_holds_the_packages_whole_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == wanted
    for needed in ("backends/serving/templates/status.html", "backends/serving/static/page.js"):
        assert needed in inside
    assert [name for name in inside if name.startswith("backends/migrations/versions/r0001")]


def test_the_source_distribution_holds_no_tests(dist: Path) -> None:
    (source,) = dist.glob("*.tar.gz")
    with tarfile.open(source) as file:
        parts = [Path(name).parts for name in file.getnames()]
    assert not [each for each in parts if "tests" in each]


def test_the_version_stands_in_one_place(dist: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert sorted(each.name for each in dist.iterdir()) == [
        f"labelpilot-{version}-py3-none-any.whl",
        f"labelpilot-{version}.tar.gz",
    ]
    repeats = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if f'"{version}"' in path.read_text() or "__version__ =" in path.read_text()
    ]
    assert repeats == []


def test_the_changes_of_this_version_are_told() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_server_is_imported_from_the_wheel(fresh: Path, tmp_path: Path) -> None:
    program = (
        "import backends, micro_models, backends.serving.app as app; "
        "from backends.settings import Settings; "
        "print(backends.__file__, micro_models.__file__, app.create_app(Settings()).version)"
    )
    done = run(fresh / "python", "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *files, version = done.stdout.split()
    assert all(file.startswith(str(fresh.parent)) for file in files)
    assert version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_command_explains_itself(fresh: Path, tmp_path: Path) -> None:
    done = run(fresh / "labelpilot", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


def test_doctor_without_label_studio_fails_with_cures(fresh: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = run(fresh / "labelpilot", "doctor", cwd=tmp_path, LABELPILOT_DATA_DIR=str(data))
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    assert "cure:" in said
    assert "LABEL_STUDIO_URL" in said
    assert data.is_dir()
