"""A CSV file as a whole: other programs, full disks, killed processes, and writers that take turns."""

from __future__ import annotations

import subprocess
import sys
import threading

import polars as pl
import pytest

from tests.system.connectors.csv_tools import OBJ, connector, read_all
from tests.system.connectors.file_tools import batch, statuses
from trueup.connectors import filebase
from trueup.errors import (
    ChangedUnderneathError,
    SystemUnreachableError,
    WriteRefusedError,
)


def test_a_change_by_another_program_during_the_write_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    commit = filebase.Replacement.commit

    def edited_just_before(self, expected):
        path.write_bytes(b"id,v\n1,b\n")
        commit(self, expected)

    monkeypatch.setattr(filebase.Replacement, "commit", edited_just_before)
    with pytest.raises(ChangedUnderneathError):
        connector(path).write(OBJ, batch("update", [{"__key": "1", "v": "ours"}]))
    assert path.read_bytes() == b"id,v\n1,b\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_change_during_a_read_is_noticed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    pages = connector(path).read(OBJ, ["v"])
    next(pages)
    with path.open("ab") as file:
        file.write(b"2,b\n")
    with pytest.raises(ChangedUnderneathError):
        list(pages)


def test_a_write_between_two_pages_leaves_the_read_on_the_old_content(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n2,b\n")
    sheet = connector(path)
    pages = sheet.read(OBJ, ["v"], page_rows=1)
    shown = [next(pages)]
    assert statuses(sheet.write(OBJ, batch("update", [{"__key": "2", "v": "new"}]))) == ["done"]
    shown += list(pages)
    assert pl.concat(page.rows for page in shown)["v"].to_list() == ["a", "b"]


def test_links_modes_and_leftovers(tmp_path):
    real = tmp_path / "real.csv"
    real.write_bytes(b"id,v\n1,a\n")
    real.chmod(0o640)
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    (tmp_path / ".real.csv.deadbeef.trueup-tmp").write_bytes(b"left by a killed process")
    assert statuses(connector(link).write(OBJ, batch("update", [{"__key": "1", "v": "b"}]))) == ["done"]
    assert link.is_symlink()
    assert real.read_bytes() == b"id,v\n1,b\n"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.csv", "real.csv"]


def test_a_read_only_file_is_refused_even_where_the_directory_is_not(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    path.chmod(0o444)
    with pytest.raises(WriteRefusedError, match="read-only"):
        connector(path).write(OBJ, batch("update", [{"__key": "1", "v": "b"}]))
    assert path.read_bytes() == b"id,v\n1,a\n"


FULL_DISK = """
import resource, signal, sys
sys.path[:0] = {search_path!r}
import polars as pl
from trueup.connectors.base import WriteBatch
from trueup.connectors.csv import CsvConnector
from trueup.errors import WriteRefusedError
from trueup.model import ObjectSpec
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sheet = CsvConnector.open("sheet", {{"path": {path!r}}})
batch = WriteBatch(kind="create", rows=pl.DataFrame({{"__op": [1], "__key": ["x"], "v": ["y" * 100]}}))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    sheet.write(ObjectSpec(name=None, key=("id",)), batch)
except WriteRefusedError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are a matter of POSIX systems")
def test_no_room_for_the_new_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.csv"
    content = b"id,v\n" + b"".join(b"%d,%s\n" % (n, b"z" * 50) for n in range(1000))
    path.write_bytes(content)
    program = FULL_DISK.format(search_path=sys.path, path=str(path))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "the disk is full" in ended.stdout
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_two_writers_take_turns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n")

    def write_ten() -> None:
        sheet = connector(path)
        for _ in range(10):
            sheet.write(OBJ, batch("create", [{"v": "n"}]))

    threads = [threading.Thread(target=write_ten) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(row["__key"]) for row in read_all(connector(path), [])[0]) == list(range(1, 31))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]


def test_a_lock_held_too_long_is_an_error_that_can_be_retried(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n")
    with (
        filebase.locked("sheet", path),
        pytest.raises(SystemUnreachableError, match="another trueup"),
        filebase.locked("sheet", path, wait_s=0.1),
    ):
        pass


KILLED = """
import os, sys
sys.path[:0] = {search_path!r}
import polars as pl
from trueup.connectors import filebase
from trueup.connectors.base import WriteBatch
from trueup.connectors.csv import CsvConnector
from trueup.model import ObjectSpec
filebase.Replacement.commit = lambda *_: os.kill(os.getpid(), 9)
CsvConnector.open("sheet", {{"path": {path!r}}}).write(
    ObjectSpec(name=None, key=("id",)), WriteBatch(kind="create", rows=pl.DataFrame({{"__op": [1], "__key": ["x"], "v": ["y"]}})))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a matter of POSIX systems")
def test_a_process_killed_while_writing_leaves_the_file_and_blocks_nobody(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,v\n1,a\n")
    program = KILLED.format(search_path=sys.path, path=str(path))
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == -9
    assert path.read_bytes() == b"id,v\n1,a\n"
    assert statuses(connector(path).write(OBJ, batch("create", [{"v": "b"}]))) == ["done"]
    assert path.read_bytes() == b"id,v\n1,a\n2,b\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
