"""`trueup grants`: what is missing is told with what fails without it and how to give it, and so is what is too much."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.servers import mariadb_client
from tests.system.cli.tool import Project
from tests.system.connectors.rest_tools import contacts, filled, opened
from trueup.store import Store
from trueup.store.credential import Credential, put
from trueup.testing.rest_service import RestService

CONFIGURATION = """
systems:
  crm: {{connector: postgres, url: "{url}"}}
  office: {{connector: csv, path: office.csv}}
entities:
  customer:
    match: [[email]]
    fields: {{email: text, name: text, note: text}}
    deletes: {{from: [office], action: propagate}}
    mappings:
      crm: {{object: people, key: id, fields: {{email: email, name: full name, note: {{read: upper(note)}}}}}}
      office: {{key: id, fields: {{email: email, name: name, note: note}}}}
"""


def write(folder: Path, url: str) -> None:
    (folder / "trueup.yaml").write_text(CONFIGURATION.format(url=url), encoding="utf-8")
    (folder / "office.csv").write_text("id,email,name,note\n", encoding="utf-8")


def needed(told: dict[str, Any]) -> dict[tuple[str, str], bool | None]:
    return {(one["right"], one["on"]): one["given"] for one in told["needed"]}


@pytest.fixture
def limited(postgres_url):
    """A login that may read one column and change another one, and its address."""
    url = sa.make_url(postgres_url).set(drivername="postgresql")
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute('CREATE TABLE people (id serial PRIMARY KEY, email text, "full name" text, note text, salary numeric)')
        db.execute("CREATE ROLE weak LOGIN PASSWORD 'weak-secret' NOSUPERUSER")
        db.execute("GRANT SELECT (id, email), UPDATE (email) ON people TO weak")
        db.execute("GRANT TRUNCATE ON people TO weak")
        yield url.set(username="weak", password="weak-secret").render_as_string(hide_password=False), postgres_url
        db.execute("DROP OWNED BY weak")
        db.execute("DROP ROLE weak")


def test_what_a_database_does_not_allow_is_told_and_done_it_is_enough(tmp_path, limited):
    weak, strong = limited
    write(tmp_path, weak)
    tool = Project(tmp_path)
    told = tool.trueup("grants", "crm", "--json").expect(3)
    facts = json.loads(told.out)
    assert needed(facts) == {
        ("SELECT", "people (full name, note)"): False,
        ("UPDATE", "people (full name)"): False,
        ("INSERT", "people (email, full name)"): False,
        ("USAGE", "sequence public.people_id_seq"): False,
        ("DELETE", "people"): False,
    }
    assert facts["beyond"] == ["TRUNCATE on people is allowed, and nothing here needs it"]
    words = tool.trueup("grants", "crm").expect(3).out
    assert "rows that are deleted elsewhere stay there" in words
    assert "weak-secret" not in words
    checked = json.loads(tool.trueup("check", "--json").out)
    assert any("DELETE on people is not allowed" in one["message"] for one in checked["warnings"])
    with psycopg.connect(strong, autocommit=True) as db:
        for one in facts["needed"]:
            db.execute(one["remedy"])
        db.execute("REVOKE TRUNCATE ON people FROM weak")
    after = json.loads(tool.trueup("grants", "crm", "--json").expect(0).out)
    assert set(needed(after).values()) == {True}
    assert after["beyond"] == []


def test_a_superuser_is_too_much(tmp_path, postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute('CREATE TABLE people (id serial PRIMARY KEY, email text, "full name" text, note text)')
    write(tmp_path, postgres_url)
    told = Project(tmp_path).trueup("grants", "crm").expect(0).out
    assert "is a superuser" in told


def test_scopes_of_an_application(tmp_path):
    with RestService() as service:
        filled(service, 2)
        made = contacts(scopes={"read": ["people.read"], "write": ["people.write"], "delete": ["people.admin"]})
        opened(tmp_path, service, made).close()
        said = json.loads((tmp_path / "directory.yaml").read_text(encoding="utf-8"))
        said["auth"] = {
            "kind": "oauth2", "authorize_url": f"{service.url}/authorize", "token_url": f"{service.url}/token",
            "scopes": ["people.read", "people.write", "money.read"],
        }  # fmt: skip
        (tmp_path / "directory.yaml").write_text(json.dumps(said), encoding="utf-8")
        (tmp_path / "office.csv").write_text("id,email,name\n", encoding="utf-8")
        (tmp_path / "trueup.yaml").write_text(
            "systems:\n  directory: {connector: rest, file: directory.yaml, oauth2: {client_id: us}}\n"
            "  office: {connector: csv, path: office.csv}\n"
            "entities:\n  customer:\n    match: [[email]]\n    fields: {name: text, email: text}\n    mappings:\n"
            "      directory: {object: contacts, key: id, fields: {name: name, email: email}}\n"
            "      office: {key: id, fields: {name: name, email: email}}\n",
            encoding="utf-8",
        )
        tool = Project(tmp_path)
        before = json.loads(tool.trueup("grants", "directory", "--json").expect(0).out)
        assert needed(before) == {("people.read", "contacts"): None, ("people.write", "contacts"): None}
        with Store.open(str(tmp_path / ".trueup" / "state.db")) as store, store.write() as tx:
            at = datetime.now(UTC)
            row = Credential("directory", "connect.directory", 1, "authorization_code", at, at, scopes=("people.read", "money.read"))
            put(tx, row)
        facts = json.loads(tool.trueup("grants", "directory", "--json").expect(3).out)
        assert needed(facts) == {("people.read", "contacts"): True, ("people.write", "contacts"): False}
        assert "trueup connect directory" in facts["needed"][1]["remedy"]
        assert facts["beyond"] == ["the scope money.read is given, and nothing here needs it"]


def test_a_system_that_is_not_there(tmp_path, postgres_url):
    write(tmp_path, postgres_url)
    assert "there is no system nothing" in Project(tmp_path).trueup("grants", "nothing").expect(2).err


@pytest.fixture
def limited_mariadb(mariadb_url):
    """A login that may read some columns and change one, and address of whoever may give it more."""
    url = sa.make_url(mariadb_url)
    with mariadb_client(mariadb_url) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE people (id int AUTO_INCREMENT PRIMARY KEY, email text, `full name` text, note text, salary int)")
        cursor.execute("CREATE USER weak@'127.0.0.1' IDENTIFIED BY 'weak-secret'")
        cursor.execute("CREATE ROLE readers")
        cursor.execute("GRANT SELECT (id, email, `full name`, note) ON people TO readers")
        cursor.execute("GRANT readers TO weak@'127.0.0.1'")
        cursor.execute("SET DEFAULT ROLE readers FOR weak@'127.0.0.1'")
        cursor.execute("GRANT UPDATE (email) ON people TO weak@'127.0.0.1'")
        yield url.set(username="weak", password="weak-secret", host="127.0.0.1").render_as_string(hide_password=False), cursor
        cursor.execute("DROP USER weak@'127.0.0.1'")
        cursor.execute("DROP ROLE readers")


@pytest.mark.slow
def test_what_mariadb_does_not_allow_is_told_and_done_it_is_enough(tmp_path, limited_mariadb):
    weak, cursor = limited_mariadb
    write(tmp_path, weak)
    text = (tmp_path / "trueup.yaml").read_text(encoding="utf-8")
    (tmp_path / "trueup.yaml").write_text(text.replace("connector: postgres", "connector: mysql"), encoding="utf-8")
    tool = Project(tmp_path)
    facts = json.loads(tool.trueup("grants", "crm", "--json").expect(3).out)
    assert needed(facts) == {
        ("SELECT", "people (id, email, full name, note)"): True,  # by a role
        ("UPDATE", "people (full name)"): False,
        ("INSERT", "people (email, full name)"): False,
        ("DELETE", "people"): False,
    }
    assert facts["beyond"] == []
    checked = json.loads(tool.trueup("check", "--json").out)
    assert any("DELETE on people is not allowed" in one["message"] for one in checked["warnings"])
    for one in facts["needed"]:
        if one["remedy"]:
            cursor.execute(one["remedy"])
    after = json.loads(tool.trueup("grants", "crm", "--json").expect(0).out)
    assert set(needed(after).values()) == {True}
    text = (tmp_path / "trueup.yaml").read_text(encoding="utf-8")
    (tmp_path / "trueup.yaml").write_text(text.replace("object: people,", "object: people, direction: read,"), encoding="utf-8")
    cursor.execute("INSERT INTO people (email) VALUES ('a@example.com')")
    assert json.loads(tool.trueup("grants", "crm", "--json").expect(0).out)["beyond"] == [
        f"{right} on people is allowed, and nothing here needs it" for right in ("INSERT", "UPDATE", "DELETE")
    ]
    cursor.execute("SELECT count(*) FROM people")
    assert cursor.fetchone() == (1,)


@pytest.mark.slow
def test_an_administrator_of_mariadb_is_too_much(tmp_path, mariadb_url):
    with mariadb_client(mariadb_url) as db, db.cursor() as cursor:
        cursor.execute("CREATE TABLE people (id int AUTO_INCREMENT PRIMARY KEY, email text, `full name` text, note text)")
    write(tmp_path, mariadb_url)
    text = (tmp_path / "trueup.yaml").read_text(encoding="utf-8")
    (tmp_path / "trueup.yaml").write_text(text.replace("connector: postgres", "connector: mysql"), encoding="utf-8")
    told = Project(tmp_path).trueup("grants", "crm").expect(0).out
    assert "may make and change logins (CREATE USER)" in told
