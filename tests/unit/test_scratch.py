"""Temporary folders: gone with their block, and with the next process where theirs was killed; never those of one that is at work."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueup import scratch

HOLDS = """
from trueup import scratch
folder = scratch.new_folder("held")
(folder / "records.arrow").write_text("Ada")
print(folder, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of one's own, in which nothing was looked at yet."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield tmp_path
    scratch._swept.discard(str(tmp_path))


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that is at work in a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_a_folder_is_gone_with_its_block(place):
    with scratch.folder_for("plan") as folder:
        assert folder.name.startswith("trueup-plan-")
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "below").mkdir()
    assert list(place.iterdir()) == []
    again = scratch.new_folder()
    scratch.remove(again)
    scratch.remove(again)


def test_what_a_killed_process_left_is_removed_by_the_next(place, other):
    process, left = other
    assert left.parent == place
    with scratch.folder_for("mine"):
        assert (left / "records.arrow").exists(), "it is at work"
    process.kill()
    process.wait()
    assert left.exists()
    scratch._swept.clear()
    with scratch.folder_for("mine") as mine:
        assert not left.exists()
        scratch._swept.clear()
        with scratch.folder_for("another"):
            assert mine.exists(), "this process is at work in it"


def test_what_is_not_ours_is_left_alone(place):
    strange = place / "trueup-notes"
    strange.mkdir()
    (strange / "mine.txt").write_text("keep me")
    (place / "trueup-link").symlink_to(strange)
    (place / "trueup-file").write_text("keep me, too")
    with scratch.folder_for("mine"):
        pass
    assert (strange / "mine.txt").exists()
    assert len(list(place.iterdir())) == 3
