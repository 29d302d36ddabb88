"""Ctrl+C at moments when the command line itself is not at work yet, or no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.cli.tool import Ended, company, environment

WHILE_LOADING = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from trueup.__main__ import main
sys.exit(main())
"""
AT_THE_END = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.SIGINT)
from trueup.__main__ import main
sys.exit(main())
"""
WHILE_IT_LOOKS = """
import os, signal, sys
from trueup.setup.rehearsal import rehearse
from trueup.runtime import drift
def interrupt(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
rehearse.copy_systems = drift.measure_drift = interrupt
from trueup.__main__ import main
sys.exit(main())
"""
IGNORED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from trueup.__main__ import main
status = main()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(status)
"""


def interrupted(folder: Path, code: str, *args: str) -> Ended:
    """A trueup process that is interrupted by its own doing."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args], cwd=folder, env=environment(), capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_while_the_program_is_loaded(tmp_path: Path) -> None:
    company(tmp_path)
    ended = interrupted(tmp_path, WHILE_LOADING, "sync").expect(130)
    assert ended.err == "trueup: interrupted before anything was done\n"
    assert not (tmp_path / ".trueup").exists()


@pytest.mark.parametrize("code", [AT_THE_END, IGNORED])
def test_when_the_work_is_done_its_status_stands(tmp_path: Path, code: str) -> None:
    company(tmp_path)
    ended = interrupted(tmp_path, code, "sync").expect(0)
    assert "Run 1: done" in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    ("command", "said"), [("rehearse", "nothing real was written, and the copies are forgotten"), ("drift", "nothing was changed")]
)
def test_a_command_that_only_looks_says_so(tmp_path: Path, command: str, said: str) -> None:
    company(tmp_path)
    ended = interrupted(tmp_path, WHILE_IT_LOOKS, command).expect(130)
    assert ended.err == f"trueup: interrupted; {said}\n"
