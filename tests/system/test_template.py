"""The template for connector authors: a copy of it is built, installed, known by its name, and passes the exam."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from trueup.connectors import registry
assert "cardfile" in registry.names(), registry.names()
kind = registry.connector_class("cardfile")
print(kind.__name__, kind.caps.precondition, *kind.settings_schema()["required"])
"""


@pytest.mark.slow
def test_a_copy_of_the_template_is_built_known_and_passes_the_exam(tmp_path: Path):
    copy = tmp_path / "my-connector"
    shutil.copytree(ROOT / "templates" / "connector", copy, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(tmp_path / "site"), str(copy)]
    built = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    surroundings = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT / "src")])}
    known = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=surroundings, cwd=tmp_path)
    assert known.stdout.split() == ["CardFileConnector", "native", "path"], known.stderr
    exam = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    passed = subprocess.run(exam, capture_output=True, text=True, check=False, env=surroundings, cwd=copy)
    assert passed.returncode == 0, passed.stdout[-2000:]
    assert " passed" in passed.stdout
    assert "failed" not in passed.stdout
