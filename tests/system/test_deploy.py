"""What stands in `deploy/`: units that systemd accepts and commands that trueup knows; an image of what the lock file names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.system.cli.tool import Project

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
MOST_EXPOSED = 2.0
"""Of 10: what `systemd-analyze security` may say of a service."""


def settings(path: Path) -> list[tuple[str, str, str]]:
    """(section, name, value) of a unit file; a name may stand there several times."""
    found, section = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append((section, name, value))
    return found


def test_every_service_has_its_timer():
    assert {path.stem for path in SERVICES} == {path.stem for path in UNITS if path.suffix == ".timer"} == {"trueup", "trueup-backup"}


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_service_has_no_rights_beyond_its_folder(path):
    told = {name: value for section, name, value in settings(path) if section == "Service"}
    assert told["User"] == "trueup"
    assert told["NoNewPrivileges"] == "yes"
    assert told["ProtectSystem"] == "strict"
    assert told["ProtectHome"] == "yes"
    assert told["CapabilityBoundingSet"] == ""
    assert told["UMask"] == "0077"
    assert told["StateDirectoryMode"] == "0700"


@pytest.mark.slow
@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_the_command_of_a_service_is_one_of_trueup(path, tmp_path):
    """With a configuration that is not there, a command that can be parsed ends with status 1, and wrong usage with 2."""
    (start,) = [value for _section, name, value in settings(path) if name == "ExecStart"]
    program, *args = start.split()
    assert program == "/opt/trueup/bin/trueup"
    ended = Project(tmp_path).trueup(*args).expect(1)
    assert "/etc/trueup/trueup.yaml" in ended.err


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_a_unit(path, tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:  # a machine without systemd: then the form alone can be checked
        assert {section for section, _name, _value in settings(path)} <= {"Unit", "Service", "Timer", "Install"}
        return
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/trueup/bin/trueup", sys.executable)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = subprocess.run([program, "verify", tmp_path / path.name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    if path.suffix == ".service":
        judged = subprocess.run([program, "security", "--offline=true", tmp_path / path.name], capture_output=True, text=True, check=False)
        (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", judged.stdout)
        assert float(exposure) <= MOST_EXPOSED


def test_the_image_runs_as_a_user_of_its_own_and_is_built_from_the_lock():
    last = CONTAINERFILE.split("\nFROM ")[-1]
    (user,) = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert all(int(number) > 0 for number in user)
    assert last.index("USER ") < last.index("ENTRYPOINT")
    installs = re.findall(r"pip install ([^&\n]*)", CONTAINERFILE)
    assert installs
    assert all("--require-hashes" in one or "--no-deps" in one for one in installs)
    assert not re.search(r"^(COPY|ADD) \.", CONTAINERFILE, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source


def test_what_the_image_copies_is_let_through():
    let_through = {line[1:] for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = {name for source in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE) for name in source.split()}
    assert copied == let_through


def test_the_lock_of_the_image_is_that_of_the_project_without_its_tools():
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    ours, all_ = pins("requirements-run.lock"), pins("requirements.lock")
    assert ours.items() <= all_.items()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {re.split(r"[^a-z0-9.-]", name)[0].replace(".", "-") for name in wanted} <= ours.keys()
    assert "pytest" not in ours


def test_the_rules_for_prometheus_speak_of_metrics_that_there_are():
    from trueup.reports.metrics import METRICS

    told = (ROOT / "deploy" / "prometheus" / "trueup-rules.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"\btrueup_[a-z_]+", told))
    assert len(named) > 5
    assert named - {metric.name for metric in METRICS} == set()
