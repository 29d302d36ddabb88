"""What someone meets who has just got the project: `make setup` and `pip install .`."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MADE_HERE = (
    ".git",
    ".venv",
    ".servers",
    ".bench",
    ".trueup",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "demo",
    "dist",
)


@pytest.fixture
def clone(tmp_path):
    """A copy of the project without anything that its verbs make."""
    top = tmp_path / "clone"
    # The example called demo is kept: only ./demo is made here.
    shutil.copytree(ROOT, top, ignore=lambda folder, names: _made_here(Path(folder), names))
    return top


def _made_here(folder: Path, names: list[str]) -> set[str]:
    made = shutil.ignore_patterns(*MADE_HERE)(str(folder), names)
    return made if folder == ROOT else made - {"demo", "build", "dist"}


def _run(folder: Path, *command: str) -> str:
    # A make above this test would have its own words printed: `make test-slow` runs this.
    plain = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    done = subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_setup_makes_a_working_program_once_and_again_where_the_folder_was_moved(clone):
    assert "installing" in _run(clone, "make", "setup")
    assert "Usage" in _run(clone, str(clone / ".venv/bin/trueup"), "--help")
    assert _run(clone, "make", "setup") == ""
    moved = clone.rename(clone.with_name("moved"))
    assert "installing" in _run(moved, "make", "setup")
    assert "Usage" in _run(moved, str(moved / ".venv/bin/trueup"), "--help")
    assert "KEPT" in _run(moved, str(moved / ".venv/bin/lint-imports"))


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_package(clone, tmp_path):
    _run(clone, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), ".")
    (wheel,) = tmp_path.glob("trueup-*.whl")
    source = clone / "src"
    expected = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert expected <= set(zipfile.ZipFile(wheel).namelist())


def test_help_lists_the_verbs():
    listed = {line.split()[1] for line in _run(ROOT, "make", "help").splitlines()}
    assert {"setup", "demo", "test", "test-slow", "check", "bench", "soak", "lock", "clean", "help"} <= listed
