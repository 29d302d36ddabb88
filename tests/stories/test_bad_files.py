"""Files that are broken, empty, cut off, locked or on a full disk: nothing is lost, nothing is believed that was not read whole."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from tests.stories.project import ANN, BEN, CLEO, COLUMNS, PEOPLE, PRIVATE, Project, Row, people
from trueup.errors import StateError
from trueup.runtime.spill import Spill

DORA: Row = ("dora@example.org", "Dora", "4", None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two systems in good order, with three customers between them."""
    made = Project(tmp_path)
    made.add_sqlite("crm", PEOPLE)
    made.add_csv("sheet", [ANN])
    return made


def _add_excel(project: Project, name: str, rows: list[Row]) -> Path:
    path = project.folder / f"{name}.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Customers"
    sheet.append(["id", *COLUMNS, "private"])
    for number, row in enumerate(rows, 1):
        sheet.append([number, *row[:2], int(row[2] or 0), row[3], PRIVATE])
    book.save(path)
    project.add(name, f"{{connector: excel, path: {name}.xlsx}}", "object: Customers")

    def read() -> list[Row]:
        found = openpyxl.load_workbook(path)["Customers"]
        shown = [
            [None if cell is None else str(cell)[:10] if index == 4 else str(cell) for index, cell in enumerate(row)]
            for row in found.values
        ]
        return [tuple(row[1:5]) for row in shown[1:] if any(row)]

    project.readers[name] = read
    return path


def test_invalid_encoding(project: Project) -> None:
    """Bytes that are no text of the declared encoding spoil their own row and no other."""
    path = project.add_csv("till", [BEN])
    project.systems["till"] = "{connector: csv, path: till.csv, encoding: utf-8}"
    good = path.read_bytes()
    path.write_bytes(good + b"2,dora@example.org,D\xf6ra,4,,\n3,eve@example.org,Eve,5,,\n")
    project.configure()
    project.sync(expect=3).says("till")
    assert project.rows("crm") == sorted([*PEOPLE, ("eve@example.org", "Eve", "5", None)], key=str)
    failed = project.failures()
    assert [item["system"] for item in failed] == ["till"]
    assert "line 3" in failed[0]["reason"]
    assert "utf-8" in failed[0]["reason"].lower()
    path.write_bytes(path.read_bytes().replace(b"D\xf6ra", "Döra".encode()))
    project.mended([*PEOPLE, ("eve@example.org", "Eve", "5", None), ("dora@example.org", "Döra", "4", None)])


def test_a_file_that_is_no_text_at_all(project: Project) -> None:
    path = project.add_csv("till", [BEN])
    feed = project.add_jsonl("feed", [BEN])
    project.extra = "deletes: {from: [till, feed], action: propagate}"
    project.configure()
    project.sync()
    kept, kept_feed = path.read_bytes(), feed.read_bytes()
    for broken in (b"\x00\x01\x02\xff" * 500, b"\xff\xfe\x00\xd8\x00", b"PK\x03\x04 not a table"):
        path.write_bytes(broken)
        feed.write_bytes(broken)
        end = project.sync(expect={3, 4})
        assert end.code == 4 or (end.system("till").get("error") and end.system("feed").get("error")), end.out
        assert project.rows("crm") == sorted(PEOPLE), "nothing is deleted because of it"
        assert path.read_bytes() == broken, "and nothing is written over it"
    path.write_bytes(kept)
    feed.write_bytes(kept_feed)
    project.sync(expect={0, 3})
    project.mended(PEOPLE)


def test_a_workbook_with_merged_header_cells(project: Project) -> None:
    path = _add_excel(project, "stock", [BEN, DORA])
    book = openpyxl.load_workbook(path)
    book["Customers"].merge_cells("C1:D1")
    book.save(path)
    project.configure()
    merged = project.sync(expect=3)
    assert "points" in merged.system("stock")["error"]
    assert "stock" in merged.system("stock")["error"]
    assert "merged" in merged.system("stock")["error"], merged.system("stock")["error"]
    assert project.rows("sheet") == sorted(PEOPLE)
    book = openpyxl.load_workbook(path)
    book["Customers"].unmerge_cells("C1:D1")
    book["Customers"]["D1"] = "points"
    book.save(path)
    project.mended([*PEOPLE, DORA])


def test_an_empty_source_is_held_by_the_guard(project: Project) -> None:
    everyone = people(30)
    path = project.add_csv("till", everyone)
    project.extra = "deletes: {from: [till], action: propagate}"
    project.configure()
    project.sync()
    kept = path.read_bytes()
    for emptied in (kept.split(b"\n", 1)[0] + b"\n", b""):
        path.write_bytes(emptied)
        project.sql("crm", "UPDATE customers SET points = points + 1 WHERE email = 'ann@example.org'")
        project.sync(expect={3, 4})
        assert len(project.rows("crm")) == len(project.rows("sheet")) == 33, "nobody is deleted"
        assert [row for row in project.rows("sheet") if row[0] == "ann@example.org"] == [
            row for row in project.rows("crm") if row[0] == "ann@example.org"
        ], "other edits go on"
    path.write_bytes(kept.split(b"\n", 1)[0] + b"\n")
    held = project.run("sync", expect=4)
    held.says("held by a guard", "trueup holds")
    holds = project.run("holds", "--json").body
    assert [(item["system"], item["kind"]) for item in holds] == [("till", "deletes")]
    path.write_bytes(kept)
    project.sync()
    project.mended()
    assert len(project.rows("till")) == 33


def test_half_a_file(project: Project) -> None:
    """A copy that broke off in the middle: what is missing is not deleted, and the half is not made worse."""
    everyone = people(40)
    table = project.add_csv("till", [*everyone, ("q@example.org", 'says "hello, there"', "1", None)])
    feed = project.add_jsonl("feed", everyone)
    book = _add_excel(project, "stock", everyone)
    project.extra = "deletes: {from: [till, feed, stock], action: propagate}\nguard: off"
    project.configure()
    project.sync()
    whole = {path: path.read_bytes() for path in (table, feed, book)}
    text = whole[table]
    table.write_bytes(text[: text.index(b"hello, there") + 5])
    feed.write_bytes(whole[feed][: len(whole[feed]) // 2])
    book.write_bytes(whole[book][: len(whole[book]) // 2])
    halves = {path: path.read_bytes() for path in whole}
    project.sql("crm", "UPDATE customers SET name = 'Anna' WHERE email = 'ann@example.org'")
    cut = project.sync(expect=3)
    assert "stock.xlsx" in cut.system("stock")["error"]
    said = cut.out + " ".join(item["reason"] for item in project.failures())
    for words in ("till.csv", "feed.jsonl", "stock.xlsx"):
        assert words in said or words.split(".")[0] in {item["system"] for item in project.failures()}, f"{words} is not in {said}"
    assert len(project.rows("crm")) == 44, "nobody is deleted"
    assert ("ann@example.org", "Anna", "1", "1980-01-31") in project.rows("sheet"), "the others are done"
    assert {path: path.read_bytes() for path in whole} == halves, "nothing is written behind a broken end"
    for path, content in whole.items():
        path.write_bytes(content)
    project.mended()
    assert len(project.rows("stock")) == 44


def _without_override() -> None:
    """Give up root's right to write in spite of file modes, for good: this process and what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    cap_dac_override, cap_dac_read_search, pr_capbset_drop = 1, 2, 24
    for capability in (cap_dac_override, cap_dac_read_search):
        libc.prctl(pr_capbset_drop, capability, 0, 0, 0)


ORDINARY: dict[str, Callable[[], None]] = {"preexec_fn": _without_override} if os.geteuid() == 0 else {}
"""How to start a process to which file modes apply, as to any user's."""


def test_a_target_that_may_not_be_written(project: Project, tmp_path: Path) -> None:
    """A read-only file, a read-only folder, a read-only database: named, nothing half done, and done once it may be."""
    folder = tmp_path / "locked"
    folder.mkdir()
    project.add_csv("till", [BEN])
    (tmp_path / "till.csv").rename(folder / "till.csv")
    project.systems["till"] = "{connector: csv, path: locked/till.csv}"
    read = project.readers["sheet"]
    project.readers = {"crm": project.readers["crm"], "sheet": read}
    project.configure()
    sheet = tmp_path / "sheet.csv"
    for path, mode in ((sheet, 0o444), (folder, 0o555), (tmp_path / "crm.db", 0o444)):
        path.chmod(mode)
    try:
        first = project.sync(expect=3, **ORDINARY)
        assert "sheet.csv" in first.system("sheet")["error"], first.out
        assert "till.csv" in first.system("till")["error"], first.out
        assert first.system("sheet")["delivered"] == {"created": 0, "updated": 0, "deleted": 0, "failed": 0, "pending": 2, "stale": 0}
    finally:
        for path, mode in ((sheet, 0o644), (folder, 0o755), (tmp_path / "crm.db", 0o644)):
            path.chmod(mode)
    assert not [path for path in folder.iterdir() if path.name.endswith(".trueup-tmp")], "no temporary file stays"
    project.mended(PEOPLE)
    assert (folder / "till.csv").read_text(encoding="utf-8").count("@example.org") == 3


def test_a_file_that_may_not_be_read_and_a_state_that_may_not_be_written(project: Project, tmp_path: Path) -> None:
    project.add_csv("till", [BEN])
    project.configure()
    (tmp_path / "till.csv").chmod(0)
    project.sync(expect=3, **ORDINARY).says("till.csv", "no right to read")
    (tmp_path / "till.csv").chmod(0o644)
    state = tmp_path / ".trueup" / "state.db"
    state.chmod(0o400)
    project.run("sync", expect=1, **ORDINARY).says("state.db", "rights")
    state.chmod(0o600)
    project.mended(PEOPLE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder in which only little fits: a small file system where one may be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(place)], capture_output=True, check=False)
    yield place
    if mount.returncode == 0:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _small_files() -> None:
    """No file may grow beyond this, as on a full disk: the kernel answers EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))


def test_a_full_disk_under_a_target(project: Project, small_disk: Path) -> None:
    everyone = people(3000)
    for number in range(3000):
        everyone[number] = (everyone[number][0], f"A customer with a rather long name {number}", *everyone[number][2:])
    kept = small_disk / "till.csv"
    project.add_csv("till", [BEN])
    shutil.move(project.folder / "till.csv", kept)
    project.systems["till"] = "{connector: csv, path: small/till.csv}"
    project.readers = {name: project.readers[name] for name in ("crm", "sheet")}
    project.write_csv("sheet", everyone)
    project.configure()
    before = kept.read_bytes()
    limit = {} if os.path.ismount(small_disk) else {"preexec_fn": _small_files}
    first = project.sync(expect=3 if not limit else {1, 3}, **limit)
    if not limit:
        assert "till.csv" in first.system("till")["error"], first.system("till")
        assert "full" in first.system("till")["error"], first.system("till")
        assert len(project.rows("crm")) == 3003, "the others are done"
    assert kept.read_bytes() == before, "the old file stands, whole"
    assert [path.name for path in small_disk.iterdir() if path.name.endswith(".trueup-tmp")] == []
    if not limit:
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    project.mended([*everyone, *PEOPLE])
    assert kept.read_text(encoding="utf-8").count("@example.org") == 3003


def test_a_full_disk_under_the_state(project: Project, small_disk: Path) -> None:
    everyone = people(4000)
    project.state = "small/state.db"
    project.write_csv("sheet", everyone)
    project.configure()
    limit = {} if os.path.ismount(small_disk) else {"preexec_fn": _small_files}
    if not limit:
        subprocess.run(["mount", "-o", "remount,size=512k", str(small_disk)], check=True)
    for _attempt in range(2):
        full = project.run("sync", expect=1, **limit)
        assert full.err.count("\n") == 1
        full.says("state.db", "full" if not limit else "state")
    if not limit:
        subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    project.mended([*everyone, *PEOPLE])
    assert CLEO in project.rows("sheet")


def test_a_full_disk_under_temporary_files_and_under_the_output(project: Project) -> None:
    """Large runs put rows aside in temporary files; what is printed may go to a full disk, or nowhere."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Spill(memory_bytes=0) as spill:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            with pytest.raises(StateError, match="TMPDIR"):
                spill.add("rows", pl.DataFrame({"value": [os.urandom(100).hex() for _number in range(1000)]}))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    project.configure()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        run = subprocess.run(
            project.command("sync"),
            cwd=project.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=project.surroundings(),
        )
    assert run.returncode == 1
    assert "could not write the output" in run.stderr
    assert run.stderr.count("\n") == 1
    closed = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *project.command("sync")], cwd=project.folder, stderr=subprocess.PIPE, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, "")
    project.agree(PEOPLE)
