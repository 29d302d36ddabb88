"""`trueup lock --by grants` on real servers: who may change what is changed elsewhere loses that right, and gets it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import pymysql
import pytest

from tests.servers import mariadb_client
from tests.system.cli.tool import Project
from trueup.connectors import mysql_grant, postgres_grant
from trueup.runtime import locks
from trueup.runtime.workspace import open_workspace

CONFIG = """\
systems:
  staff:  {connector: csv, path: staff.csv}
  phones: {connector: %s, url: "%s", owner: Telephone desk}
entities:
  person:
    match: [[number]]
    source_of_truth: staff
    owner: Personnel
    fields:
      number: {required: true}
      name: {}
      phone: {source_of_truth: phones}
    mappings:
      staff:  {key: {column: No, assign: number}, fields: {number: No, name: Name, phone: Phone}}
      phones: {object: people, key: {column: no, assign: number}, fields: {number: no, name: name, phone: phone}}
"""
SECRET = "clerk-secret"
REFUSED = (psycopg.errors.InsufficientPrivilege, pymysql.err.OperationalError)
_NUMBERS = count(1)


@dataclass
class Company:
    """A database with the table `people`, and people with rights on it; `url` is that of an administrator."""

    kind: str
    url: str
    people: list[str] = field(default_factory=list)

    def run(self, *statements: str, user: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of the last statement, as another application, or the administrator, gets them."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            if self.kind == "postgres":
                with psycopg.connect(self.at(user), autocommit=True) as session:
                    cursor = session.execute(statement.encode())
                    rows = cursor.fetchall() if cursor.description else []
            else:
                with closing(mariadb_client(self.at(user))) as client, client.cursor() as asked:
                    asked.execute(statement)
                    rows = list(asked.fetchall())
        return rows

    def at(self, user: str | None) -> str:
        if user is None:
            return self.url
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{quote(user)}:{SECRET}@{parts.hostname}:{parts.port}").geturl()

    def hired(self, name: str) -> str:
        """A new login; its name holds what must be quoted in statements, but is plain in a URL."""
        name = f"{name}_{next(_NUMBERS)}"
        self.people.append(name)
        word = f"PASSWORD '{SECRET}'" if self.kind == "postgres" else f"BY '{SECRET}'"
        self.run(f'CREATE ROLE "{name}" LOGIN {word}' if self.kind == "postgres" else f"CREATE USER `{name}`@`%` IDENTIFIED {word}")
        return name

    def who(self, name: str) -> str:
        return f'"{name}"' if self.kind == "postgres" else f"`{name}`@`%`"

    def granted(self, right: str, name: str) -> None:
        self.run(f"GRANT {right} ON people TO {self.who(name)}")

    def held(self) -> list[tuple[Any, ...]]:
        """Every right on the table."""
        if self.kind == "postgres":
            return self.run(
                "SELECT grantor::text, grantee::text, privilege_type::text, '' AS c, is_grantable::text"
                " FROM information_schema.table_privileges WHERE table_name = 'people'"
                " UNION ALL SELECT a.attname, x.grantee::regrole::text, x.privilege_type, '', x.is_grantable::text"
                " FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = 'people'::regclass ORDER BY 1, 2, 3, 4"
            )
        here = f"Db = '{urlsplit(self.url).path[1:]}' AND Table_name = 'people'"
        return self.run(
            f"SELECT User, Host, CAST(Table_priv AS CHAR), '' FROM mysql.tables_priv WHERE {here} AND Table_priv <> ''"
            f" UNION ALL SELECT User, Host, CAST(Column_priv AS CHAR), Column_name FROM mysql.columns_priv WHERE {here} ORDER BY 1, 2, 3, 4"
        )


@pytest.fixture(params=["postgres", "mysql"])
def company(request: pytest.FixtureRequest) -> Iterator[Company]:
    kind: str = request.param
    made = Company(kind, request.getfixturevalue("postgres_url" if kind == "postgres" else "mariadb_url"))
    made.run("CREATE TABLE people (no VARCHAR(20) PRIMARY KEY, name VARCHAR(80), phone VARCHAR(20), note VARCHAR(80))")
    made.run("INSERT INTO people VALUES ('S1', 'Ada', '1', NULL)")
    yield made
    for name in made.people:
        made.run(*([f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"'] if kind == "postgres" else [f"DROP USER `{name}`@`%`"]))


def project_of(company: Company, folder: Any, user: str | None = None) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", CONFIG % (company.kind, company.at(user)))
    project.write("staff.csv", "No,Name,Phone\nS1,Ada O'Neil,1\n")
    return project


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(REFUSED) as error:
        yield
    assert isinstance(error.value, psycopg.Error) or error.value.args[0] in {1142, 1143}, error.value


def test_from_the_plan_to_the_end(company, tmp_path):
    clerk = company.hired("Clerk ☎" if company.kind == "postgres" else "clerk")
    company.granted("SELECT, INSERT, UPDATE, DELETE", clerk) if company.kind == "mysql" else company.granted("ALL", clerk)
    before = company.held()
    project = project_of(company, tmp_path)
    shown = project.trueup("lock", "phones", "--show", "--by", "grants").expect(0).out
    assert f"-- {company.who(clerk)} loses UPDATE of name, no\n" in shown
    assert "REVOKE UPDATE ON" in shown
    assert "-- gets by: " in shown
    assert company.held() == before, "looking changes nothing"
    assert project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0).out == "people in phones: locked (name, no)\n"
    with refused():
        company.run("UPDATE people SET name = 'x'", user=clerk)
    company.run("UPDATE people SET phone = '2', note = 'mine'", user=clerk)
    company.run("INSERT INTO people VALUES ('S9', 'born here', NULL, NULL)", "DELETE FROM people WHERE no = 'S9'", user=clerk)
    project.trueup("sync").expect(0)
    assert company.run("SELECT name, phone, note FROM people") == [("Ada O'Neil", "2", "mine")]
    (told,) = project.trueup("lock", "phones", "--json").expect(0).json["locks"]
    assert (told["standing"], told["by"], told["make"]) == ("locked", "grants", [])
    assert told["loses"] == [{"who": company.who(clerk), "right": "UPDATE", "columns": ["name", "no"]}]
    assert "locked by grants" in project.trueup("lock", "phones").expect(0).out
    project.trueup("check").expect(0)
    assert project.trueup("lock", "phones", "--apply").expect(0).out == "people in phones: locked (name, no)\n", "as it is"
    assert (
        "locked by grants: `trueup lock phones --remove` first"
        in project.trueup("lock", "phones", "--apply", "--by", "triggers").expect(1).out
    )
    assert "open to everybody again" in project.trueup("lock", "--remove").expect(0).out
    assert company.held() == before
    company.run("UPDATE people SET name = 'free'", user=clerk)


@pytest.mark.slow
def test_a_right_that_somebody_gave_again_is_told_and_taken_again(company, tmp_path):
    clerk = company.hired("clerk")
    company.granted("SELECT, UPDATE", clerk)
    before = company.held()
    project = project_of(company, tmp_path)
    project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0)
    company.granted("UPDATE", clerk)
    assert "LOCK MISSING" in project.trueup("lock", "phones").expect(3).out
    project.trueup("lock", "phones", "--apply").expect(0)
    with refused():
        company.run("UPDATE people SET name = 'x'", user=clerk)
    company.granted("UPDATE (name)", clerk)
    assert "LOCK ALTERED" in project.trueup("lock", "phones").expect(3).out
    assert "has a lock that somebody altered" in project.trueup("check").expect(0).out
    project.trueup("lock", "phones", "--apply").expect(0)
    with refused():
        company.run("UPDATE people SET name = 'x'", user=clerk)
    project.trueup("lock", "--remove").expect(0)
    (more,) = [one for one in company.held() if one not in before]
    assert "name" in more, "what was there before, and the right that was given meanwhile"
    company.run("UPDATE people SET name = 'free'", user=clerk)


def test_who_had_some_columns_has_them_still(company, tmp_path):
    clerk, other = company.hired("clerk"), company.hired("other")
    company.granted("SELECT, UPDATE (name, note)", clerk)
    company.granted("SELECT", other)
    before = company.held()
    project = project_of(company, tmp_path)
    project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0)
    with refused():
        company.run("UPDATE people SET name = 'x'", user=clerk)
    company.run("UPDATE people SET note = 'mine'", user=clerk)
    with refused():
        company.run("UPDATE people SET phone = 'x'", user=clerk)
    with refused():
        company.run("UPDATE people SET note = 'x'", user=other)
    project.trueup("lock", "--remove").expect(0)
    assert company.held() == before


@pytest.mark.slow
def test_rows_are_locked_too_where_every_field_is_changed_elsewhere(company, tmp_path):
    clerk = company.hired("clerk")
    company.granted("ALL", clerk) if company.kind == "postgres" else company.granted("SELECT, INSERT, UPDATE, DELETE, DROP", clerk)
    before = company.held()
    project = project_of(company, tmp_path)
    project.write("trueup.yaml", project.read("trueup.yaml").replace("phone: {source_of_truth: phones}", "phone: {}"))
    assert "rows" in project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0).out
    for statement in (
        "INSERT INTO people (no) VALUES ('S9')",
        "DELETE FROM people",
        "TRUNCATE TABLE people",
        "UPDATE people SET phone = '7'",
    ):
        with refused():
            company.run(statement, user=clerk)
    company.run("UPDATE people SET note = 'mine'", user=clerk)
    project.trueup("lock", "--remove").expect(0)
    assert company.held() == before


@pytest.mark.slow
def test_a_lock_that_was_killed_half_way_is_completed_or_taken_away(company, tmp_path, monkeypatch):
    """After any number of statements: `--apply` completes it, `--remove` gives back what was taken."""
    clerk, other = company.hired("clerk"), company.hired("other")
    for name in (clerk, other):
        company.granted("SELECT, UPDATE", name)
    before = company.held()
    for done in range(5):
        for way in ("--remove", "--apply"):
            folder = tmp_path / f"{way}{done}"
            folder.mkdir()
            project = project_of(company, folder)
            with monkeypatch.context() as patched:
                _killed_after(patched, company.kind, done)
                with pytest.raises(_KilledError):
                    _in_process(project)
            standing = project.trueup("lock", "phones", "--json").json["locks"][0]["standing"]
            assert standing == "unfinished"
            project.trueup("lock", "phones", way).expect(0)
            if way == "--apply":
                with refused():
                    company.run("UPDATE people SET name = 'x'", user=clerk)
                project.trueup("lock", "phones", "--remove").expect(0)
            assert company.held() == before, (way, done)


class _KilledError(BaseException):
    """The process is gone."""


def _killed_after(patched: pytest.MonkeyPatch, kind: str, done: int) -> None:
    """The process dies after so many statements of the exchange; in PostgreSQL all of them are there, or none."""

    def exchange(self: Any, obj: Any, now: Any, then: Any) -> None:
        del obj
        statements = self.rights_statements(now, then)
        for statement in statements[:done] if kind == "mysql" else statements if done > 2 else ():
            run = self._session().run if kind == "mysql" else self._session().execute
            run(statement if kind == "mysql" else statement.encode())
        raise _KilledError

    patched.setattr(mysql_grant.GrantingConnector if kind == "mysql" else postgres_grant.GrantingConnector, "exchange_rights", exchange)


def _in_process(project: Project) -> None:
    with open_workspace(project.folder / "trueup.yaml") as workspace:
        locks.apply(workspace, locks.Asked(systems=("phones",), by="grants"))


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture
def shop(postgres_url: str) -> Iterator[Company]:
    made = Company("postgres", postgres_url)
    yield made
    for name in made.people:  # who passed rights on comes before those who got them
        made.run(f'DROP OWNED BY "{name}" CASCADE', f'DROP ROLE "{name}"')


def _table(shop: Company, owner: str) -> None:
    shop.run(
        f'GRANT CREATE ON SCHEMA public TO "{owner}"',
        "CREATE TABLE people (no text PRIMARY KEY, name text, phone text, note text)",
        "INSERT INTO people VALUES ('S1', 'Ada', '1', NULL)",
        f'ALTER TABLE people OWNER TO "{owner}"',
    )


@pytest.mark.slow
def test_trueups_own_login_keeps_what_it_has_through_others(shop, tmp_path):
    """It owns nothing, and writes by a role from which the right is taken; the owner carries out what is shown."""
    owner, ours, writers = shop.hired("owner"), shop.hired("ours"), shop.hired("writers")
    _table(shop, owner)
    shop.run(f'GRANT SELECT, INSERT, UPDATE, DELETE ON people TO "{writers}"', f'GRANT "{writers}" TO "{ours}"')
    project = project_of(shop, tmp_path, ours)
    refusal = project.trueup("lock", "phones", "--apply", "--by", "grants").expect(1).out
    assert "rights on people cannot be exchanged" in refusal
    assert owner in refusal
    before = shop.held()
    shown = project.trueup("lock", "phones", "--show", "--by", "grants").expect(0).out
    make, _, remove = shown.partition("-- to open it again")
    assert "who owns it" in make
    shop.run(*[line.rstrip(";") for line in make.splitlines() if line.startswith(("REVOKE", "GRANT"))], user=owner)
    with refused():
        shop.run("UPDATE people SET name = 'x'", user=writers)
    project.trueup("sync").expect(0)
    assert shop.run("SELECT name FROM people") == [("Ada O'Neil",)]
    assert "people in phones: locked" in project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0).out
    shop.run(*[line.rstrip(";") for line in remove.splitlines() if line.startswith(("REVOKE", "GRANT"))], user=owner)
    assert shop.held() == before


@pytest.mark.slow
def test_partitions_everybody_and_what_was_passed_on(shop, tmp_path):
    head, clerk, third = shop.hired("head"), shop.hired("clerk"), shop.hired("third")
    shop.run(
        "CREATE TABLE people (no text PRIMARY KEY, name text, phone text, note text) PARTITION BY HASH (no)",
        "CREATE TABLE people_0 PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE people_1 PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
        "INSERT INTO people VALUES ('S1', 'Ada', '1', NULL)",
        "GRANT SELECT, UPDATE ON people_0, people_1 TO PUBLIC",
        f'GRANT SELECT, UPDATE ON people TO "{head}" WITH GRANT OPTION',
    )
    shop.run(f'GRANT SELECT, UPDATE ON people TO "{clerk}" WITH GRANT OPTION', user=head)
    shop.run(f'GRANT UPDATE ON people TO "{third}"', user=clerk)
    before = shop.held()
    project = project_of(shop, tmp_path)
    project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0)
    for who in (head, clerk, third):
        for table in ("people", "people_0", "people_1"):
            with refused():
                shop.run(f"UPDATE {table} SET name = 'x'", user=who)
        shop.run("UPDATE people SET note = 'mine'", user=who)
    project.trueup("lock", "--remove").expect(0)
    assert shop.held() == before


@pytest.mark.slow
def test_what_was_taken_from_somebody_who_is_gone_is_not_given_back(shop, tmp_path):
    clerk = shop.hired("clerk")
    shop.run("CREATE TABLE people (no text PRIMARY KEY, name text, phone text, note text)")
    shop.granted("SELECT, UPDATE", clerk)
    project = project_of(shop, tmp_path)
    project.trueup("lock", "phones", "--apply", "--by", "grants").expect(0)
    shop.run(f'DROP OWNED BY "{clerk}"', f'DROP ROLE "{clerk}"')
    shop.people.clear()
    project.trueup("lock", "--remove").expect(0)
    assert project.trueup("lock", "phones", "--json").expect(0).json["locks"][0]["standing"] == "open"


@pytest.mark.slow
def test_a_login_that_may_not_sees_its_refusal_and_nothing_is_half_done(shop, tmp_path):
    """PostgreSQL tells whoever may give a right, but not all of them, in a notice alone."""
    owner, ours, clerk = shop.hired("owner"), shop.hired("ours"), shop.hired("clerk")
    _table(shop, owner)
    shop.run(f'GRANT SELECT, UPDATE ON people TO "{ours}" WITH GRANT OPTION', f'GRANT SELECT, UPDATE ON people TO "{clerk}"', user=owner)
    before = shop.held()
    project = project_of(shop, tmp_path, ours)
    assert "this login may not take or give all of them" in project.trueup("lock", "phones", "--apply", "--by", "grants").expect(1).out
    assert shop.held() == before
    assert project.trueup("lock", "phones", "--json").expect(0).json["locks"][0]["standing"] == "open"


# ---------------------------------------------------------------- MariaDB, and what has no rights


def test_a_right_on_the_whole_database_is_told_and_left(mariadb_url, tmp_path):
    company = Company("mysql", mariadb_url)
    company.run("CREATE TABLE people (no VARCHAR(20) PRIMARY KEY, name VARCHAR(80), phone VARCHAR(20), note VARCHAR(80))")
    clerk = company.hired("clerk")
    company.run(f"GRANT ALL ON `{urlsplit(mariadb_url).path[1:]}`.* TO `{clerk}`@`%`")
    project = project_of(company, tmp_path)
    told = project.trueup("lock", "phones", "--by", "grants").expect(0).out
    assert f"overruled: `{clerk}`@`%` may change all of" in told
    company.run(f"DROP USER `{clerk}`@`%`")


def test_systems_without_rights_say_so(tmp_path):
    project = Project(tmp_path)
    project.write("trueup.yaml", (CONFIG % ("sqlite", "x")).replace('url: "x"', "path: phones.db"))
    project.write("staff.csv", "No,Name,Phone\nS1,Ada,1\n")
    project.sql("CREATE TABLE people (no TEXT PRIMARY KEY, name TEXT, phone TEXT)", database="phones.db")
    told = project.trueup("lock", "--by", "grants").expect(0).out
    assert "it has no users whose rights could be taken" in told
    assert "a file cannot be locked" in told
    assert project.trueup("lock", "--apply", "--by", "grants").expect(0).out == "Nothing can be locked: see `trueup lock`.\n"
    assert "of triggers or of grants, not of 'magic'" in project.trueup("lock", "--by", "magic").expect(2).err
