"""`trueup rehearse` with real servers and an application on the web: they are only read, and what is told is theirs."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import psycopg
import pytest

from tests.servers import mariadb_client
from tests.system.cli.tool import Project
from tests.system.connectors.rest_tools import contacts, filled
from trueup.testing.rest_service import TOKEN, RestService

CONFIG = """\
systems:
  crm:       {connector: postgres, url: "%s"}
  billing:   {connector: mysql, url: "%s"}
  directory: {connector: rest, file: directory.yaml, secrets: {token: "%s"}}
entities:
  person:
    match: [[email]]
    precedence: [crm, billing, directory]
    fields:
      name:   {required: true}
      email:  {clean: [trim, lower]}
      age:    {type: integer, conflict: last_write_wins}
      credit: {type: decimal, scale: 2, source_of_truth: billing}
    mappings:
      crm:       {object: Person, key: id, fields: {name: full_name, email: email, age: age, credit: credit}}
      billing:   {object: debtor, key: {column: no, assign: sequence}, fields: {name: name, email: mail, credit: credit}}
      directory: {object: contacts, key: id, fields: {name: name, email: email, age: age}}
"""
EMAILS = [f"e{number}@example.com" for number in range(1, 61)]


@pytest.mark.slow
def test_real_servers_and_an_application_are_rehearsed_and_only_read(postgres_url, mariadb_url, tmp_path):
    with psycopg.connect(postgres_url, autocommit=True) as crm, mariadb_client(mariadb_url) as billing, RestService() as service:
        crm.execute(
            'CREATE TABLE "Person" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, full_name varchar(60) NOT NULL,'
            " email text UNIQUE, age int CHECK (age < 150), credit numeric(12, 2), at timestamptz DEFAULT now())"
        )
        for number, email in enumerate(EMAILS[:40]):
            crm.execute('INSERT INTO "Person" (full_name, email, age, credit) VALUES (%s, %s, %s, %s)', [f"N'ame {number} ☎", email, 30, 5])
        with billing.cursor() as cursor:
            cursor.execute("CREATE TABLE debtor (no INT PRIMARY KEY, name VARCHAR(60) NOT NULL, mail VARCHAR(80), credit DECIMAL(12, 2))")
            cursor.executemany(
                "INSERT INTO debtor VALUES (%s, %s, %s, %s)", [(number, f"Näme {number}", EMAILS[number], 7) for number in range(20, 55)]
            )
            filled(service, 30)
            project = Project(tmp_path)
            project.write("trueup.yaml", CONFIG % (postgres_url, mariadb_url, TOKEN))
            file = {
                "connector": "directory",
                "auth": {"kind": "bearer", "token": "${secrets.token}"},
                "http": {"base_url": service.url, "attempts": 3, "most_wait_s": 5},
                "objects": {"contacts": contacts()},
            }
            project.write("directory.yaml", orjson.dumps(file).decode())

            def everything() -> tuple[Any, ...]:
                cursor.execute("SELECT * FROM debtor ORDER BY no")
                return (
                    crm.execute('SELECT * FROM "Person" ORDER BY id').fetchall(),
                    crm.execute("SELECT sequencename, last_value FROM pg_sequences").fetchall(),
                    crm.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1").fetchall(),
                    cursor.fetchall(),
                    copy.deepcopy(service.collections["contacts"].rows),
                )

            before = everything()
            planned = project.trueup("plan", "--json").json["entities"]["person"]
            told = project.trueup("rehearse", "--rounds", "2", "--weather", "rough", "--json")
            assert everything() == before
    assert told.status in {0, 3}, told.err
    found = told.json
    assert found["left_out"] == {}
    assert {one["system"]: one["rows"] for one in found["copies"]} == {"crm": 40, "billing": 35, "directory": 30}
    assert (found["lost"], found["duplicates"], found["agree"]) == (0, 0, True)
    for row in found["first_run"]["systems"]:
        delivered = planned["systems"][row["system"]]["delivered"]
        assert (row["created"], row["updated"]) == (delivered["created"], delivered["updated"]), "as the real first run would"
    assert not [word for word in (*EMAILS, "N'ame", "Näme") if word in told.out]
