"""What is only for looking back is taken out when it is old or too much; what is true now can still be explained."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.stories.project import ANN, BEN, CLEO, NearProject, Project

DAY_US = 86_400_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    state = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    made = NearProject(tmp_path, state=state)
    made.add_sqlite("crm", (ANN, BEN, CLEO))
    made.add_csv("list")
    made.configure()
    made.sync()
    return made


def keep(project: Project, rules: str) -> None:
    """Say how long history is kept."""
    project.configure()
    path = project.folder / "trueup.yaml"
    path.write_text(path.read_text() + f"retention: {rules}\n")


def age(project: Project, days: int) -> None:
    """Let all that was done so far have been done so many days earlier."""
    statements = [f"UPDATE {table} SET {column} = {column} - {days * DAY_US}" for table, column in
                  (("history", "recorded_at"), ("run", "started_at"), ("conflict", "closed_at"))]  # fmt: skip
    if project.state is None:
        with sqlite3.connect(project.folder / ".trueup/state.db") as db:
            for statement in statements:
                db.execute(statement)
        db.close()
        return
    with psycopg.connect(project.state) as server:
        for statement in statements:
            server.execute(statement.replace("UPDATE ", "UPDATE trueup."))


def lines(project: Project) -> int:
    count: int = project.run("status", "--json").body["size"]["history_lines"]
    return count


def rename(project: Project, name: str) -> int:
    project.sql("crm", f"UPDATE customers SET name = '{name}' WHERE id = 1")
    run: int = project.sync().body["run"]
    return run


def test_old_lines_go_and_what_stands_can_still_be_explained(project: Project) -> None:
    runs = [rename(project, name) for name in ("Anna", "Annie", "Annabel")]
    age(project, 100)
    late = rename(project, "Ana")
    project.sql("crm", "UPDATE customers SET name = 'Benny' WHERE id = 2")
    project.sync()
    age(project, 10)
    assert lines(project) == 5
    keep(project, "{history: 50d}")
    body = project.run("compact", "--json").body
    assert body["lines"] == 3
    assert lines(project) == 2
    project.run("explain", "customer", "crm:1", "name").says("Ana", "It replaced “Annabel”")
    for run in runs:
        project.run("undo", str(run), expect=1).says("too old", "compacted")
    assert ("ann@example.org", "Ana", "1", "1980-01-31") in project.rows("list")
    then = [(datetime.now(UTC) - timedelta(days=days)).isoformat() for days in (120, 60)]
    project.run("record", "customer", "crm:1", "--at", then[0], expect={1, 2})
    later = project.run("record", "customer", "crm:1", "--at", then[1], "--json", expect=None)
    assert later.code == 2 or later.body["golden"]["name"] == "Annabel"  # its first sight was not aged
    project.run("undo", str(late))
    project.agree([("ann@example.org", "Annabel", "1", "1980-01-31"), ("ben@example.org", "Benny", "2", "1981-02-28"), CLEO])


def test_the_line_of_a_value_that_stands_stays_however_old(project: Project) -> None:
    rename(project, "Anna")
    age(project, 1000)
    keep(project, "{history: 50d, runs: 50d}")
    assert project.run("compact", "--json").body == {"lines": 0, "runs": 0, "conflicts": 0, "freed_bytes": 0}
    project.run("explain", "customer", "crm:1", "name").says("Anna", "It replaced “Ann”")


def test_beyond_a_number_the_oldest_lines_go(project: Project) -> None:
    keep(project, "{lines: 1000}")
    if project.state is None:
        with sqlite3.connect(project.folder / ".trueup/state.db") as db:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO history"
                " (version, entity, golden_id, run, field, kind, recorded_at, rule) SELECT 1, 1, 1, 1, 'name', 'lost', i, 'manual' FROM n"
            )
        db.close()
    else:
        with psycopg.connect(project.state) as server:
            server.execute(
                "INSERT INTO trueup.history (version, entity, golden_id, run, field, kind, recorded_at, rule)"
                " SELECT 1, 1, 1, 1, 'name', 'lost', i, 'manual' FROM generate_series(1, 50000) i"
            )
    rename(project, "Anna")
    assert lines(project) == 1000
    project.run("undo", "1", expect=1).says("too old")


def test_a_run_does_it_once_a_day_and_nothing_is_taken_out_unasked(project: Project) -> None:
    rename(project, "Anna")
    rename(project, "Annie")
    age(project, 2000)
    project.sync()
    assert lines(project) == 2
    project.run("compact", expect=2).says("everything is kept", "retention")
    keep(project, "{history: 50d}")
    project.sync()
    assert lines(project) == 1
    rename(project, "Ann")
    age(project, 2000)
    project.sync()
    assert lines(project) == 2, "it was done today"


def test_old_runs_go_and_the_newest_stay(project: Project) -> None:
    for _ in range(3):
        project.sync()
    then = int((datetime.now(UTC) - timedelta(days=500)).timestamp() * 1e6)
    columns = "(id, command, status, started_at, summary)"
    if project.state is None:
        with sqlite3.connect(project.folder / ".trueup/state.db") as db:
            db.executemany(f"INSERT INTO run {columns} VALUES (?, 'sync', 'done', ?, '{{}}')", [(n, then) for n in range(10, 300)])
        db.close()
    else:
        with psycopg.connect(project.state) as server, server.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO trueup.run {columns} VALUES (%s, 'sync', 'done', %s, '{{}}')", [(n, then) for n in range(10, 300)]
            )
    keep(project, "{runs: 400d}")
    assert project.run("compact", "--json").body["runs"] == 90
    assert project.run("runs", "--json").code == 0


def test_space_is_given_back(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", (ANN, BEN, CLEO))
    project.add_csv("list")
    project.configure()
    project.sync()
    with sqlite3.connect(project.folder / ".trueup/state.db") as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) INSERT INTO history"
            " (version, entity, golden_id, run, field, kind, recorded_at, rule, before) SELECT 1, 1, 1, 1, 'name', 'lost', i, 'manual',"
            " 'a value that takes some room in the state' FROM n"
        )
    db.close()
    keep(project, "{history: 1d}")
    path = project.folder / ".trueup/state.db"
    before = path.stat().st_size
    body = project.run("compact", "--json").body
    assert body["lines"] == 40_000
    assert body["freed_bytes"] > before // 2
    assert path.stat().st_size < before // 2
    assert json.loads(project.run("status", "--json").out)["size"]["history_lines"] == 0
    project.mended([ANN, BEN, CLEO])


def test_rules_that_cannot_be(project: Project) -> None:
    for rules, words in (("{history: 3}", "no unit"), ("{lines: 10}", "1000"), ("{undo: 3d}", "undo")):
        keep(project, rules)
        project.run("status", expect=1).says("retention", words)
