"""`trueup migrate`: one system becomes the source of truth, stage by stage; killed anywhere it goes on, and all of it can be taken back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest

from tests.system.cli.tool import Project, environment
from trueup.reports.migration_facts import STAGES, Progress
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.setup import migrate as migration
from trueup.setup import stages
from trueup.store import migration as kept_stages

CONFIG = """\
systems:
  rota: {connector: csv, path: rota.csv}
  pay:  {connector: sqlite, path: pay.db}
  desk: {connector: sqlite, path: desk.db, owner: Front desk}
entities:
  person:
    match: [[number]]
    source_of_truth: rota
    owner: Personnel
    fields:
      number: {required: true}
      name: {required: true, clean: [trim, collapse]}
      grade: {}
      phone: {source_of_truth: desk}
    mappings:
      rota: {key: {column: No, assign: number}, fields: {number: No, name: Name, grade: Grade, phone: Phone}}
      pay:  {object: employee, key: {column: no, assign: number}, fields: {number: no, name: name, grade: grade}}
      desk: {object: people, key: {column: no, assign: number}, fields: {number: no, name: name, phone: phone}}
"""
ROTA = "No,Name,Grade,Phone\nS1,Ada O'Neil,A,1\nS2,Béa 🙂,B,2\nS3,שלום,C,3\n"
PAID = [("S1", "Ada O'Neil", "A"), ("S2", "Bea", "C")]
AT_DESK = [("S1", "Ada", "1"), ("S2", "Béa 🙂", "22"), ("S3", "שלום", "3")]


def company(folder: Path, config: str = CONFIG, rota: str = ROTA) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", config)
    project.write("rota.csv", rota)
    project.sql("CREATE TABLE employee (no TEXT PRIMARY KEY, name TEXT, grade TEXT, paid INT DEFAULT 0)", database="pay.db")
    project.sql("CREATE TABLE people (no TEXT PRIMARY KEY, name TEXT, phone TEXT)", database="desk.db")
    for row in PAID:
        project.sql("INSERT INTO employee (no, name, grade) VALUES (?, ?, ?)", row, database="pay.db")
    for row in AT_DESK:
        project.sql("INSERT INTO people VALUES (?, ?, ?)", row, database="desk.db")
    return project


def held(project: Project) -> dict[str, Any]:
    """What every system holds."""
    return {
        "rota": sorted(project.read("rota.csv").splitlines()),
        "pay": project.sql("SELECT no, name, grade FROM employee ORDER BY no", database="pay.db"),
        "desk": project.sql("SELECT * FROM people ORDER BY no", database="desk.db"),
    }


AGREED = {
    "rota": sorted(ROTA.replace("B,2", "B,22").splitlines()),
    "pay": [("S1", "Ada O'Neil", "A"), ("S2", "Béa 🙂", "B"), ("S3", "שלום", "C")],
    "desk": [("S1", "Ada O'Neil", "1"), ("S2", "Béa 🙂", "22"), ("S3", "שלום", "3")],
}


@contextmanager
def at_work(folder: Path) -> Iterator[Workspace]:
    with open_workspace(folder / "trueup.yaml") as workspace:
        yield workspace


def go_on(folder: Path, until: str = "lock", accept: tuple[str, ...] = ()) -> Progress:
    with at_work(folder) as workspace:
        return migration.migrate(workspace, "person", "rota", until=until, accept=accept)


def statuses(progress: Progress) -> dict[str, str]:
    return {name: stage.status for name, stage in progress.stages.items()}


def refuses(project: Project, statement: str, database: str) -> bool:
    try:
        project.sql(statement, database=database)
    except sqlite3.IntegrityError as error:
        return "locked by trueup" in str(error)
    return False


def test_from_the_first_look_to_the_lock_and_back(tmp_path):
    project = company(tmp_path)
    before = held(project)
    body = project.trueup("migrate", "person", "--to", "rota", "--json").expect(0).json
    assert held(project) == before, "the stages up to the plan only read"
    assert [(one["stage"], one["status"]) for one in body["stages"]] == [
        *((name, "done") for name in STAGES[:4]), *((name, "waiting") for name in STAGES[4:]),
    ]  # fmt: skip
    planned = body["stages"][3]["facts"]["systems"]
    assert "Nothing was written to any system yet" in project.trueup("migrate", "person", "--status").expect(0).out
    done = project.trueup("migrate", "person", "--until", "lock", "--json").expect(0).json
    assert done["next"] is None
    moved = done["stages"][4]["facts"]
    kinds = ("created", "updated", "deleted")
    assert {name: [counts[kind] for kind in kinds] for name, counts in moved["delivered"].items()} == {
        name: [counts[kind] for kind in kinds] for name, counts in planned.items()
    }, "what was planned is what was moved"
    assert held(project) == AGREED
    assert moved["contents"] == done["stages"][5]["facts"]["contents"]
    assert moved["contents"]["rota"]["checksum"] != body["stages"][0]["facts"]["systems"]["rota"]["checksum"]
    assert {one["field"]: (one["changed_in"], one["by"]) for one in done["fields"]} == {
        "number": ("rota", "Personnel"), "name": ("rota", "Personnel"), "grade": ("rota", "Personnel"), "phone": ("desk", "Front desk"),
    }  # fmt: skip
    assert refuses(project, "UPDATE employee SET grade = 'Z'", "pay.db")
    assert refuses(project, "DELETE FROM employee", "pay.db")
    assert refuses(project, "UPDATE people SET name = 'Z'", "desk.db")
    project.sql("UPDATE employee SET paid = 1", database="pay.db")
    project.trueup("verify").expect(0)
    again = project.trueup("migrate", "person", "--to", "rota", "--until", "lock").expect(0).out
    assert "All stages are passed" in again
    assert len(project.trueup("runs", "--json").json) == 1, "what is done is not done again"
    back = project.trueup("migrate", "person", "--back", "--json").expect(0).json
    assert back["whole"]
    assert back["as_before"] == {"rota": True, "pay": True, "desk": True}
    assert held(project) == before
    project.sql("UPDATE employee SET grade = 'free'", database="pay.db")
    assert "no migration of person was begun" in project.trueup("migrate", "person", "--status").expect(2).err


def test_a_day_of_work_after_it(tmp_path):
    project = company(tmp_path)
    assert statuses(go_on(tmp_path)) == dict.fromkeys(STAGES, "done")
    project.write("rota.csv", project.read("rota.csv").replace("Béa 🙂,B", "Béa 🙂,D") + "S4,Dot,A,\n")
    project.sql("UPDATE people SET phone = '4' WHERE no = 'S3'", database="desk.db")
    project.trueup("sync").expect(0)
    assert project.sql("SELECT name, grade FROM employee WHERE no IN ('S2', 'S4') ORDER BY no", database="pay.db") == [
        ("Béa 🙂", "D"), ("Dot", "A"),
    ]  # fmt: skip
    assert "S3,שלום,C,4" in project.read("rota.csv")
    project.trueup("lock").expect(0)


def test_what_changed_since_is_looked_at_anew(tmp_path):
    project = company(tmp_path)
    first = go_on(tmp_path, until="plan")
    kept = go_on(tmp_path, until="plan")
    assert kept.stages == first.stages
    assert kept.notes == []
    project.sql("UPDATE employee SET grade = 'B', name = 'Béa 🙂' WHERE no = 'S2'", database="pay.db")
    anew = go_on(tmp_path, until="plan")
    assert anew.notes == ["looked at anew: pay changed since"]
    assert anew.stages["plan"].facts != first.stages["plan"].facts
    project.write("trueup.yaml", CONFIG.replace("clean: [trim, collapse]", "clean: [trim]"))
    assert go_on(tmp_path, until="profile").notes == ["looked at anew: the configuration was changed since"]


def test_it_stops_at_duplicates_until_a_person_has_seen_to_them(tmp_path):
    config = CONFIG.replace("match: [[number]]", "match: [[name]]").replace("number: {required: true}", "number: {}")
    project = company(tmp_path, config, ROTA + "S9,שלום,C,\n")
    ended = project.trueup("migrate", "person", "--to", "rota", "--until", "lock").expect(3)
    assert "STOPPED" in ended.out
    assert "S9 in rota looks like S3 in rota" in ended.out
    assert "--accept duplicates" in ended.out
    assert not project.trueup("runs", "--json").json
    shown = project.trueup("migrate", "person", "--status", "--json").expect(0).json
    assert shown["stopped_at"] == "duplicates"
    project.write("rota.csv", ROTA)
    assert go_on(tmp_path, until="duplicates").stopped_at is None


def test_a_person_may_go_on_past_what_was_found(tmp_path):
    config = CONFIG.replace("match: [[number]]", "match: [[name]]").replace("number: {required: true}", "number: {}")
    company(tmp_path, config, ROTA + "S9,שלום,C,\n")
    progress = go_on(tmp_path, accept=("duplicates",))
    assert progress.stages["duplicates"].status == "accepted"
    assert progress.stopped_at in {"move", "verify"}, "what is parked is told again, once it was moved"
    assert statuses(go_on(tmp_path, accept=("duplicates", "move", "verify")))["lock"] == "done"


def test_rows_that_cannot_be_used_stop_it(tmp_path):
    project = company(tmp_path, CONFIG.replace("grade: {}", "grade: {one_of: [A, B, C]}"), ROTA.replace("שלום,C", "שלום,X"))
    ended = project.trueup("migrate", "person", "--to", "rota", "--until", "lock").expect(3)
    assert "standardise" in ended.out
    assert "1 row that cannot be used" in ended.out
    project.write("rota.csv", ROTA)
    assert "looked at anew: rota changed since" in project.trueup("migrate", "person", "--until", "lock").expect(0).out
    assert held(project) == AGREED


def test_a_guard_holds_the_move(tmp_path):
    config = CONFIG.replace("    owner: Personnel\n", "    owner: Personnel\n    guard: {updates: 10%, at_least: 1}\n")
    project = company(tmp_path, config)
    project.trueup("sync").expect(0)
    project.write("rota.csv", project.read("rota.csv").replace(",A,", ",Z,").replace(",B,", ",Z,").replace(",C,", ",Z,"))
    ended = project.trueup("migrate", "person", "--to", "rota", "--until", "lock").expect(4)
    assert "trueup holds" in ended.out
    (hold,) = project.trueup("holds", "--json").json
    project.trueup("holds", "approve", str(hold["id"])).expect(0)
    done = project.trueup("migrate", "person", "--until", "lock", "--json").expect(0).json
    assert done["next"] is None
    assert [row[2] for row in held(project)["pay"]] == ["Z", "Z", "Z"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("nobody", "--to", "rota"), 2, "there is no entity 'nobody'"),
        (("person",), 2, "say which system becomes the source of truth"),
        (("person", "--to", "payroll"), 2, "payroll does not show person"),
        (("person", "--to", "pay"), 2, "no field of person is changed in pay"),
        (("person", "--to", "rota", "--until", "end"), 2, "there is no stage 'end'"),
        (("person", "--to", "rota", "--accept", "plan"), 2, "nobody can go on past the stage 'plan'"),
        (("person", "--back"), 2, "no migration of person was begun"),
        (("person", "--status", "--back"), 2, "not both"),
    ],
)
def test_what_cannot_be_asked(tmp_path, words, status, said):
    assert said in company(tmp_path).trueup("migrate", *words).expect(status).err


def test_a_field_that_nobody_owns_is_named(tmp_path):
    project = company(tmp_path, CONFIG.replace("    source_of_truth: rota\n", ""))
    said = project.trueup("migrate", "person", "--to", "rota").expect(2).err
    assert "does not say where number, name, grade of person are changed" in said
    assert "source_of_truth: rota" in said


def test_a_system_that_is_away_stops_it_before_anything_is_written(tmp_path):
    project = company(tmp_path)
    (tmp_path / "pay.db").rename(tmp_path / "away.db")
    ended = project.trueup("migrate", "person", "--to", "rota", "--until", "lock").expect(1)
    assert "there is no database file" in ended.out
    assert "STOPPED" in ended.out
    (tmp_path / "away.db").rename(tmp_path / "pay.db")
    project.trueup("migrate", "person", "--until", "lock").expect(0)
    assert held(project) == AGREED


def test_once_something_was_moved_it_goes_to_no_other_system(tmp_path):
    project = company(
        tmp_path, CONFIG.replace("phone: {source_of_truth: desk}", "phone: {source_of_truth: desk}\n      extra: {source_of_truth: desk}")
    )
    project.write("trueup.yaml", CONFIG)
    go_on(tmp_path, until="move")
    assert "the migration to rota was begun" in project.trueup("migrate", "person", "--to", "desk").expect(2).err


def test_what_was_locked_before_stays_locked(tmp_path):
    project = company(tmp_path)
    project.trueup("lock", "desk", "--apply").expect(0)
    go_on(tmp_path)
    project.trueup("migrate", "person", "--back").expect(0)
    assert refuses(project, "UPDATE people SET name = 'Z'", "desk.db")
    assert not refuses(project, "UPDATE employee SET name = 'Z'", "pay.db")


def test_what_was_edited_since_stays_when_it_is_taken_back(tmp_path):
    project = company(tmp_path)
    go_on(tmp_path)
    project.write("rota.csv", project.read("rota.csv").replace("Béa 🙂", "Béatrice"))
    project.trueup("sync").expect(0)
    ended = project.trueup("migrate", "person", "--back").expect(3)
    assert "edited since" in ended.out
    assert "S2,Béatrice" in project.read("rota.csv")
    assert not refuses(project, "UPDATE employee SET paid = 2, name = name", "pay.db")


@pytest.mark.parametrize(
    "where", [*(pytest.param(name, marks=[pytest.mark.slow]) for name in ("profile", "plan", "verify")), "move", "lock"]
)
def test_broken_off_in_any_stage_it_goes_on(tmp_path, monkeypatch, where):
    """Whatever a stage does is done, and what is known of its end is lost."""
    project = company(tmp_path)
    whole: Callable[[stages.Work], stages.Found] = migration._DO[where]

    def broken_off(work: stages.Work) -> stages.Found:
        whole(work)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setitem(migration._DO, where, broken_off)
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path)
    with at_work(tmp_path) as workspace:
        assert statuses(migration.standing(workspace, "person"))[where] == "running"
    assert statuses(go_on(tmp_path)) == dict.fromkeys(STAGES, "done")
    assert held(project) == AGREED
    with at_work(tmp_path) as workspace:
        assert migration.back(workspace, "person").whole
    assert not refuses(project, "UPDATE employee SET grade = 'free'", "pay.db")


KILLED = """
import sys
from pathlib import Path

from tests.system.cli import test_migrate as tests
from tests.system.kills import killed_at_each_step

folder = Path(sys.argv[1], "work")
folder.mkdir()
tests.forked(lambda: tests.prepared(folder, done=sys.argv[2] == "back"))
work, then = (tests.go_back, tests.is_as_before) if sys.argv[2] == "back" else (tests.go_on, tests.goes_on_and_back)
print("killed", killed_at_each_step(folder, work, then, every=int(sys.argv[3])))
"""


def forked(job: Callable[[], object]) -> None:
    """Done in a process of its own: the one that is forked later has nothing but one thread."""
    child = os.fork()
    if child == 0:
        job()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def prepared(folder: Path, *, done: bool) -> None:
    """A company, with its migration behind it where `done`."""
    company(folder)
    if done:
        go_on(folder)


def goes_on_and_back(folder: Path) -> None:
    """What a kill has left goes on to its end, and can be taken back."""
    assert statuses(go_on(folder)) == dict.fromkeys(STAGES, "done")
    assert held(Project(folder)) == AGREED
    go_back(folder)
    is_as_before(folder)


def go_back(folder: Path) -> None:
    """Take it back where it is not back yet."""
    with at_work(folder) as workspace:
        with workspace.store.read() as db:
            known = kept_stages.of(db, "person")
        if known:
            migration.back(workspace, "person")


def is_as_before(folder: Path) -> None:
    """Called again, it has taken everything back; of what differed before, a person is asked."""
    go_back(folder)
    project = Project(folder)
    assert held(project) == {"rota": sorted(ROTA.splitlines()), "pay": PAID, "desk": AT_DESK}
    for database in ("pay.db", "desk.db"):
        assert project.sql("SELECT name FROM sqlite_schema WHERE name LIKE 'trueup%'", database=database) == []


@pytest.mark.slow
@pytest.mark.parametrize(("what", "every", "least"), [("forth", 13, 20), ("back", 5, 10)])
def test_killed_at_any_step_it_goes_on_and_back(tmp_path, what, every, least):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), what, str(every)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > least


@pytest.mark.slow
def test_between_servers_with_a_state_on_one(tmp_path, postgres_url, mariadb_url):
    """The rota is a file, the front desk is in PostgreSQL with the state, payroll in MariaDB."""
    config = CONFIG.replace(
        "{connector: sqlite, path: desk.db, owner: Front desk}", "{connector: postgres, url: '${PG}', owner: Front desk}"
    )
    config = config.replace("{connector: sqlite, path: pay.db}", "{connector: mysql, url: '${MY}'}")
    project = company(tmp_path, f"state: '${{PG}}'\n{config}")
    parts = urlsplit(mariadb_url)
    where: Any = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    with pymysql.connect(**where, database=parts.path[1:], autocommit=True) as session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE employee (no varchar(20) PRIMARY KEY, name varchar(80), grade varchar(9), paid int DEFAULT 0)")
        cursor.executemany("INSERT INTO employee (no, name, grade) VALUES (%s, %s, %s)", PAID)
        with psycopg.connect(postgres_url, autocommit=True) as desk:
            desk.execute("CREATE TABLE people (no text PRIMARY KEY, name text, phone text)")
            desk.cursor().executemany("INSERT INTO people VALUES (%s, %s, %s)", AT_DESK)
            done = project.trueup("migrate", "person", "--to", "rota", "--until", "lock", "--json", PG=postgres_url, MY=mariadb_url).expect(
                0
            )
            assert done.json["next"] is None
            assert desk.execute("SELECT * FROM people ORDER BY no").fetchall() == AGREED["desk"]
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="changed in rota"):
                desk.execute("UPDATE people SET name = 'Z'")
            desk.execute("UPDATE people SET phone = '5' WHERE no = 'S1'")
            cursor.execute("SELECT no, name, grade FROM employee ORDER BY no")
            assert list(cursor.fetchall()) == AGREED["pay"]
            with pytest.raises(pymysql.Error, match="changed in rota"):
                cursor.execute("UPDATE employee SET grade = 'Z'")
            project.trueup("sync", PG=postgres_url, MY=mariadb_url).expect(0)
            assert "S1,Ada O'Neil,A,5" in project.read("rota.csv")
            back = project.trueup("migrate", "person", "--back", "--json", PG=postgres_url, MY=mariadb_url).expect(3).json
            assert back["as_before"] == {"rota": False, "pay": True, "desk": False}, "the edit since stays"
            cursor.execute("UPDATE employee SET grade = 'free'")
