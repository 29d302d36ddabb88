"""Backups of the state: taken while it is in use, and refused where they are not what they should be."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import sqlite3
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from tests.stories.project import ANN, BEN, CLEO, NearProject, Project, people
from trueup.store import Store

OF_0005 = [
    "activity",
    "conflict",
    "counter",
    "cursor",
    "entity_name",
    "failure",
    "golden",
    "history",
    "hold",
    "mapping_version",
    "match_golden",
    "match_key",
    "meta",
    "parked",
    "paused",
    "run",
    "shadow",
    "system_name",
    "unsettled_key",
]
"""The tables that a backup by a version of then holds."""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = NearProject(tmp_path)
    made.add_sqlite("crm", (ANN, BEN, CLEO))
    made.add_csv("list")
    made.configure()
    made.sync()
    return made


def told(path: Path, change: Callable[[dict[str, Any]], None], *, without: tuple[str, ...] = ()) -> Path:
    """The same backup, which says something else about itself, and has not the columns `without`."""
    other = path.with_name(f"other-{path.name}")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        manifest = json.loads(old.read("manifest.json"))
        change(manifest)
        for name in old.namelist():
            content = old.read(name)
            table = manifest["tables"].get(name.partition("/")[0])
            if without and table is not None:
                rows = pl.read_ipc(io.BytesIO(content))
                made = io.BytesIO()
                rows.drop([column for column in without if column in rows.columns]).write_ipc(made)
                content = made.getvalue()
                assert table["pieces"] == 1
                table["sha256"] = hashlib.sha256(content).hexdigest()
            if name != "manifest.json":
                new.writestr(name, content)
        new.writestr("manifest.json", json.dumps(manifest))
    return other


def content(project: Project) -> list[str]:
    """Everything that the state holds."""
    with closing(sqlite3.connect(project.folder / ".trueup/state.db")) as db:
        return list(db.iterdump())


def refused(project: Project, path: Path, *words: str) -> None:
    """A restore says why not, and the state is what it was."""
    before = content(project)
    project.run("restore", str(path), expect=1).says(*words)
    assert content(project) == before
    assert not list(project.folder.glob(".trueup/*.restoring*"))
    assert not list(project.folder.glob(".trueup/*.replaced*"))


def test_a_backup_that_is_not_what_it_should_be(project: Project) -> None:
    kept = project.folder / "monday.trueup"
    body = project.run("backup", str(kept), "--json").body
    assert body["verified"] is True
    assert body["tables"]["golden"]["rows"] == 3
    whole = kept.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        short = project.folder / "short.trueup"
        short.write_bytes(whole[:length])
        refused(project, short, "cut short", "nothing was changed")
    golden = whole.index(b"golden/00000.arrow") + 200
    bad = project.folder / "bad.trueup"
    bad.write_bytes(whole[:golden] + bytes([whole[golden] ^ 1]) + whole[golden + 1 :])
    refused(project, bad, "damaged", "golden")
    refused(project, project.folder / "trueup.yaml", "no whole backup")
    refused(project, project.folder / "missing.trueup", "cannot be read")
    refused(project, told(kept, lambda said: said.update(revision="9999", program="9.9")), "9.9", "install that version")
    refused(project, told(kept, lambda said: said.update(format=2, program="9.9")), "newer trueup", "9.9")
    refused(project, told(kept, lambda said: said.update(installation="f" * 32)), "another installation", "--from-another")
    refused(project, told(kept, lambda said: said["tables"].update(pets=said["tables"]["meta"])), "damaged")
    fewer = told(kept, lambda said: said["tables"]["golden"].update(rows=2))
    refused(project, fewer, "damaged")
    project.run("backup", str(kept), expect=1).says("is there already")
    project.mended([ANN, BEN, CLEO])


def test_a_backup_of_another_installation_is_taken_where_that_is_meant(project: Project, tmp_path: Path) -> None:
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))
    (project.folder / ".trueup/state.db").unlink()
    text = (project.folder / "trueup.yaml").read_text()
    (project.folder / "trueup.yaml").write_text(text.replace("customer:", "client:"))
    project.run("restore", str(kept), expect=1).says("another installation", "customer")
    project.run("restore", str(kept), "--from-another")
    (project.folder / "trueup.yaml").write_text(text)
    project.mended([ANN, BEN, CLEO])


def test_a_backup_of_an_older_version_is_brought_up_to_date(project: Project) -> None:
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))

    def older(said: dict[str, Any]) -> None:
        said["revision"] = "0005"
        said["tables"] = {name: copy for name, copy in said["tables"].items() if name in OF_0005}

    project.run("restore", str(told(kept, older, without=("who", "decided_by"))))
    project.mended([ANN, BEN, CLEO])


def test_an_encrypted_backup_opens_with_its_master_key_only(project: Project) -> None:
    plain, kept = project.folder / "plain.trueup", project.folder / "sealed.trueup"
    project.run("backup", str(plain))
    project.run("backup", str(kept), "--encrypt", expect=1).says("master key")
    assert not kept.exists()
    path = project.folder / "trueup.yaml"
    text = path.read_text()
    path.write_text("master_key: {file: master.key}\n" + text)
    project.run("keys", "new")
    body = project.run("backup", str(kept), "--encrypt", "--verify", "--json").body
    assert body["encrypted"]
    assert body["verified"]
    names = project.run("explain", "customer", "crm:1").out
    for content, shows in ((plain, True), (kept, False)):
        with zipfile.ZipFile(content) as archive:
            pieces = [archive.read(name) for name in archive.namelist() if name.endswith(".arrow")]
        assert any(piece.startswith(b"ARROW1") for piece in pieces) is shows
    assert "Ann" in names
    master = (project.folder / "master.key").read_bytes()
    (project.folder / "master.key").unlink()
    refused(project, kept, "master key")
    project.run("keys", "new")
    refused(project, kept, "sealed under the master key")
    (project.folder / "master.key").write_bytes(master)
    with zipfile.ZipFile(kept) as archive:
        place = archive.getinfo("golden/00000.arrow").header_offset + 120
    whole = kept.read_bytes()
    bad = project.folder / "bad.trueup"
    bad.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    refused(project, bad, "damaged")
    refused(project, told(kept, lambda said: said["tables"].pop("golden")), "damaged")
    project.run("restore", str(kept))
    project.mended([ANN, BEN, CLEO])


def test_a_damaged_state_is_replaced_and_kept(project: Project) -> None:
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))
    state = project.folder / ".trueup/state.db"
    garbage = b"x" * 100_000
    state.write_bytes(garbage)
    project.run("sync", expect=1).says("damaged")
    aside = project.run("restore", str(kept), "--json").body["aside"]
    assert Path(aside).read_bytes() == garbage
    project.mended([ANN, BEN, CLEO])


def test_a_state_in_use_is_not_replaced(project: Project) -> None:
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))
    with Store.open(str(project.folder / ".trueup/state.db")) as store, store.lock("a sync", now=datetime.now(UTC)):
        project.run("backup", str(project.folder / "meanwhile.trueup"))
        project.run("restore", str(kept), expect=1).says("another trueup works on this state")
    project.run("restore", str(kept))


def test_where_there_is_no_state(project: Project) -> None:
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))
    (project.folder / ".trueup/state.db").unlink()
    project.run("backup", expect=1).says("there is no state", "trueup sync")
    full = project.folder / "a-file"
    full.write_text("")
    project.run("restore", str(kept))
    project.run("backup", str(full / "b.trueup"), expect=1).says("cannot be written")


@pytest.mark.slow
def test_backups_while_a_first_sync_is_at_work(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add_sqlite("crm", people(3))
    project.add_csv("list")
    project.configure()
    project.sync()
    project.sql("crm", *(f"INSERT INTO customers (email, name, points) VALUES ('m{n}@example.org', 'M {n}', 1)" for n in range(4_000)))
    running = project.start("sync", "--json")
    taken: list[dict[str, Any]] = []
    while running.poll() is None:
        taken.append(project.run("backup", str(tmp_path / f"{len(taken)}.trueup"), "--verify", "--json").body)
    project.finished(running, 0)
    assert taken, "no backup was taken meanwhile"
    assert all(body["verified"] for body in taken)
    project.run("restore", str(tmp_path / "0.trueup"))
    project.sync(expect={0, 3})
    project.agree()
    assert len(project.rows("list")) == 4_003


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_one_state_or_the_other(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add_sqlite("crm", people(2_000))
    project.add_csv("list")
    project.configure()
    project.sync()
    kept = tmp_path / "monday.trueup"
    project.run("backup", str(kept))
    project.sql("crm", "UPDATE customers SET name = 'Moved' WHERE id <= 10")
    project.sync()
    begun = time.monotonic()
    project.finished(project.start("restore", str(kept)), 0)
    took_s = time.monotonic() - begun
    for share in (0.5, 0.7, 0.8, 0.9, 0.95):
        process = project.start("restore", str(kept))
        time.sleep(took_s * share)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (tmp_path / ".trueup/state.db").exists()
        project.run("status")
    project.run("restore", str(kept))
    assert not list(tmp_path.glob(".trueup/*.restoring*"))
    done = project.sync()
    assert done.system("list")["delivered"]["updated"] == done.system("crm")["delivered"]["updated"] == 0
    assert done.body["entities"]["customer"]["conflicts"]["open"] == 0


@pytest.mark.slow
def test_a_state_in_postgresql_and_its_way_into_a_file_and_back(tmp_path: Path, postgres_url: str) -> None:
    project = NearProject(tmp_path, state=postgres_url)
    project.add_sqlite("crm", (ANN, BEN, CLEO))
    project.add_csv("list")
    project.configure()
    project.sync()
    kept = tmp_path / "monday.trueup"
    assert project.run("backup", str(kept), "--verify", "--json").body["verified"] is True
    project.sql("crm", "UPDATE customers SET name = 'Anna', points = points + 5 WHERE id = 1")
    project.sync()
    anna = ("ann@example.org", "Anna", "6", "1980-01-31")
    aside = project.run("restore", str(kept), "--json").body["aside"]
    assert "trueup_replaced_" in aside
    project.run("plan", expect=1).says("restored from a backup", "--limit 0")
    done = project.sync()
    assert done.system("list")["delivered"]["updated"] == 0
    project.mended([anna, BEN, CLEO])
    with psycopg.connect(postgres_url) as db:
        found = {row[0] for row in db.execute("SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE 'trueup%'")}
    assert found == {"trueup", aside.removeprefix("the schema ")}
    later = tmp_path / "tuesday.trueup"
    project.run("backup", str(later))
    project.state = None
    project.configure()
    project.run("restore", str(later))
    quiet = project.sync()
    assert quiet.system("list")["delivered"]["updated"] == quiet.system("crm")["delivered"]["updated"] == 0
    project.mended([anna, BEN, CLEO])
    back = tmp_path / "wednesday.trueup"
    project.run("backup", str(back))
    project.state = postgres_url
    project.configure()
    project.run("restore", str(back))
    project.sql("crm", "INSERT INTO customers (email, name, points) VALUES ('dora@example.org', 'Dora', 4)")
    project.mended([anna, BEN, CLEO, ("dora@example.org", "Dora", "4", None)])


def who(project: Project) -> dict[str, bool]:
    """Who is let in, and whether they still are."""
    return {one["name"]: one["disabled_at"] is None for one in project.run("users", "list", "--json").body}


def logged_in(project: Project) -> int:
    with closing(sqlite3.connect(project.folder / ".trueup/state.db")) as db:
        return int(db.execute("SELECT (SELECT count(*) FROM login_session) + (SELECT count(*) FROM login_invitation)").fetchone()[0])


def test_nobody_is_let_in_by_a_backup_who_was_shut_out_since(project: Project) -> None:
    project.run("users", "add", "first", "--role", "admin")
    project.run("users", "add", "left", "--role", "operator")
    with closing(sqlite3.connect(project.folder / ".trueup/state.db")) as db, db:
        db.execute("INSERT INTO login_session VALUES ('a hash', 2, '127.0.0.1', 0, 0, 9000000000000000)")
    kept = project.folder / "monday.trueup"
    project.run("backup", str(kept))
    project.run("users", "disable", "left")
    project.run("users", "add", "new", "--role", "viewer")
    since = logged_in(project)
    project.run("restore", str(kept))
    assert who(project) == {"first": True, "left": False, "new": True}
    assert logged_in(project) == since
    project.run("rebuild", "--replace")
    assert who(project) == {"first": True, "left": False, "new": True}

    # Where the state is lost, and another was begun, only the backup knows; who was logged in logs in again.
    (project.folder / ".trueup/state.db").unlink()
    project.sync()
    project.run("restore", str(kept), "--from-another")
    assert who(project) == {"first": True, "left": True}
    assert logged_in(project) == 0
