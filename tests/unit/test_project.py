"""The project's own rules: what is declared is what is used, and what is generated is what the code says."""

from __future__ import annotations

import ast
import datetime as dt
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import generate, release_notes

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _imported_packages(folder: Path) -> dict[str, str]:
    """Top-level names imported anywhere below `folder`, each with one file that does."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            found |= {name.split(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(requirements: list[str]) -> set[str]:
    return {_normal(re.split(r"[\[<>=;~! ]", text, maxsplit=1)[0]) for text in requirements}


def test_every_import_of_the_package_is_a_declared_dependency():
    extras = PROJECT["project"]["optional-dependencies"]
    shipped = [text for name, texts in extras.items() if name not in {"dev", "bench"} for text in texts]
    declared = _declared([*PROJECT["project"]["dependencies"], *shipped])
    providers = importlib.metadata.packages_distributions()
    # Hypothesis and pytest are what connector authors run the shipped suite with; they bring them themselves.
    own = {"trueup", "hypothesis", "pytest"}
    undeclared = {
        f"{name} ({path})"
        for name, path in _imported_packages(ROOT / "src").items()
        if name not in own | set(sys.stdlib_module_names) and not declared & {_normal(dist) for dist in providers.get(name, [name])}
    }
    assert not undeclared


def test_the_lock_file_holds_every_declared_dependency_with_hashes():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)==[^\\]+\\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    wanted = _declared(PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["dev"])
    assert wanted <= {_normal(name) for name in pins}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-bench.lock"])
def test_lock_files_name_no_index(name):
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


def test_every_ignored_lint_rule_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.flake8-type-checking]")]
    rules = [line for line in lint.splitlines() if re.match(r'    "[A-Z]+\d*",', line)]
    assert rules
    assert [line for line in rules if "# " not in line] == []


def test_the_contract_of_purity_covers_every_pure_package():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (pure,) = [contract for contract in contracts if "no clock" in contract["name"]]
    assert set(pure["source_modules"]) == {"trueup.core", "trueup.decide", "trueup.errors", "trueup.model"}


def test_a_generated_page_that_differs_is_shown(tmp_path):
    page = generate.Page("page.md", "somewhere", lambda: "what the code says\n")
    assert "+what the code says" in (generate.stale(page, tmp_path) or "")
    (tmp_path / "page.md").write_text(page.content(), encoding="utf-8")
    assert generate.stale(page, tmp_path) is None
    (tmp_path / "page.md").write_text(page.content().replace("code", "hand"), encoding="utf-8")
    assert "-what the hand says" in (generate.stale(page, tmp_path) or "")


def test_misnamed_and_empty_news_are_refused(tmp_path):
    (tmp_path / "README.md").write_text("how", encoding="utf-8")
    (tmp_path / "good.added.md").write_text("New.", encoding="utf-8")
    (tmp_path / "kindless.md").write_text("What?", encoding="utf-8")
    (tmp_path / "empty.fixed.md").write_text("\n", encoding="utf-8")
    assert [text.split(":")[0] for text in release_notes.problems(tmp_path)] == ["changelog.d/empty.fixed.md", "changelog.d/kindless.md"]


def test_a_release_orders_its_news_by_kind(tmp_path):
    (tmp_path / "b.fixed.md").write_text("It no longer\nfails.\n", encoding="utf-8")
    (tmp_path / "a.added.md").write_text("It can.", encoding="utf-8")
    text = release_notes.section("0.2.0", dt.date(2030, 1, 2), tmp_path)
    assert text == "## 0.2.0 (2030-01-02)\n\n### Added\n\n- It can.\n\n### Fixed\n\n- It no longer fails.\n"


def test_setup_says_which_package_brings_a_missing_venv(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    # A Python without ensurepip, as Debian ships it.
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/bash\ncase "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": str(python)}
    done = subprocess.run(["bash", tmp_path / "scripts" / "setup.sh"], env=environment, capture_output=True, text=True, check=False)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert done.stderr == f"Python's venv module is missing: sudo apt-get install python{version}-venv\n"


def _run_inner(tmp_path: Path, text: str, *, ci: bool) -> str:
    """The report of a test session of its own, with this project's rules."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n", encoding="utf-8")
    (tmp_path / "test_inner.py").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": json.dumps(ci)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


SKIPS = """
import pytest

def test_without_what_it_needs():
    pytest.skip("no server")

def test_of_an_ability_that_is_not_declared():
    pytest.skip("undeclared: watch")
"""


def test_in_ci_a_test_that_cannot_run_has_failed(tmp_path):
    report = _run_inner(tmp_path, SKIPS, ci=True)
    assert "1 failed, 1 skipped" in report
    assert "could not run, which counts as failed in CI: Skipped: no server" in report


def test_in_ci_a_file_that_cannot_run_has_failed(tmp_path):
    report = _run_inner(tmp_path, "import pytest\npytest.importorskip('no_such_module')\n", ci=True)
    assert "1 error" in report


def test_elsewhere_a_skip_stays_a_skip(tmp_path):
    assert "2 skipped" in _run_inner(tmp_path, SKIPS, ci=False)
