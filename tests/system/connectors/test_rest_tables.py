"""Rows as CSV: lists that are brought as such, and jobs that want their rows so, in several requests, and tell of them so."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.system.connectors.rest_tools import CONTACTS, contacts, creates, filled, keys, opened, outcomes, read
from trueup.connectors.base import WriteBatch
from trueup.connectors.rest.lines import bytes_of, rows_of
from trueup.errors import ConfigError, ObjectUnreadableError, SystemUnreachableError
from trueup.runtime.workspace import open_workspace
from trueup.testing.rest_service import TOKEN, RestService, Rule

PAGES = {"style": "cursor", "header": "X-Next", "to": "query.from"}
JOB: dict[str, Any] = {
    "id": "/job",
    "url": "/rows",
    "upload": {"put": "${url}"},
    "close": {"patch": "/imports/${job}", "body": {"status": "closed"}},
    "cancel": {"delete": "/imports/${job}"},
    "open": "open",
    "poll": {"get": "/imports/${job}"},
    "status": "/status",
    "done": "done",
    "failed": ["failed", "cancelled"],
    "running": {"get": "/imports", "items": "/data"},
    "outcome": [{"get": f"/imports/${{job}}/{which}", "format": "csv", "page": PAGES} for which in ("written", "failed")],
    "every_s": 0.001,
}
ODD = ["Zoë O'Neil 🪑", 'a "quoted", name', "two\nlines", "ليلى", "=1+1"]


def by_table(**job: Any) -> dict[str, Any]:
    """Contacts that are made and changed by jobs which want CSV."""
    made = contacts(match_on=["email"])
    bulk = {
        "post": "/imports/contacts",
        "format": "csv",
        "max": 50,
        "results": "",
        "error": "/sys__error",
        "id": "/sys__id",
        "pair_by": "row",
    }
    bulk |= {"message": "/sys__error", "job": {**JOB, **job}}
    made["write"] = {
        "bulk": {
            "create": {**bulk, "body": {"op": "create", "csv": True}, "item": "${fields}"},
            "update": {
                **bulk,
                "body": {"op": "update", "csv": True},
                "item": {"id": "${id}", "name": "${changed.name}", "email": "${changed.email}"},
            },
        }
    }
    return made


@pytest.fixture
def service():
    with RestService() as made:
        filled(made, 5)
        yield made


@pytest.fixture
def connect(service, tmp_path):
    connectors = []

    def made(obj: dict[str, Any] | None = None) -> Any:
        connectors.append(opened(tmp_path, service, obj or by_table()))
        return connectors[-1]

    yield made
    for one in connectors:
        one.close()


def asked(service: RestService, method: str) -> int:
    """How many requests of this kind came to imports."""
    return sum(how == method and path.startswith("/imports") for how, path in service.requests)


def test_rows_go_as_csv_and_each_has_the_outcome_that_pages_of_csv_tell_of_it(service, connect):
    service.collections["contacts"].rules["email"] = Rule(unique=True)
    taken = [f"e{number}" for number in range(1, 6)]
    found = outcomes(connect(), creates(*[name for pair in zip(ODD, taken, strict=True) for name in pair]))
    assert [row["__status"] for row in found] == ["done", "rejected"] * 5
    assert found[1]["__reason"] == "email e1@example.com is used by another record"
    by_key = {str(row["id"]): row["name"] for row in service.rows("contacts")}
    assert [by_key[row["__key"]] for row in found[::2]] == ODD
    assert (asked(service, "POST"), asked(service, "PUT"), asked(service, "PATCH"), asked(service, "DELETE")) == (1, 1, 1, 0)


def test_rows_that_are_alike_have_an_outcome_each(service, connect):
    found = outcomes(connect(), creates("same", "same"))
    assert [row["__status"] for row in found] == ["done", "done"]
    assert sorted(row["__key"] for row in found) == ["6", "7"]


def test_a_cell_that_is_not_written_is_no_empty_one(service, connect):
    rows = {"__op": [0, 1, 2], "__key": ["1", "2", "3"], "__write": [["name"], ["email"], ["name", "email"]]}
    rows |= {"name": ["x", None, "y"], "email": [None, "e@x", "e@y"]}
    done = outcomes(connect(), WriteBatch(kind="update", rows=pl.DataFrame(rows, schema_overrides={"__op": pl.Int64})))
    assert [row["__status"] for row in done] == ["done"] * 3
    assert [(row["name"], row["email"]) for row in service.rows("contacts")[:3]] == [("x", "e1@example.com"), ("n2", "e@x"), ("y", "e@y")]
    assert asked(service, "PUT") == 3


def test_a_job_whose_rows_are_refused_is_cancelled_and_the_row_at_fault_found(service, connect, monkeypatch):
    whole = service._imports.answer

    def fussy(method, more, body, query):
        if method == "PUT" and b"bad@" in body:
            more = ["nothing"]
        return whole(method, more, body, query)

    monkeypatch.setattr(service._imports, "answer", fussy)
    found = outcomes(connect(), creates("a", "b", "bad", "c"))
    assert [row["__status"] for row in found] == ["done", "done", "rejected", "done"]
    assert asked(service, "DELETE") == asked(service, "POST") - asked(service, "PATCH") > 0


@pytest.mark.parametrize("lost", [1, 2])
def test_an_answer_that_is_lost_before_the_rows_are_complete_makes_nothing_twice(service, connect, lost):
    service.traps.lose = lost
    assert [row["__status"] for row in outcomes(connect(), creates("a", "b"))] == ["done", "done"]
    assert [row["name"] for row in service.rows("contacts")][5:] == ["a", "b"]


def test_rows_are_not_given_to_a_job_twice(service, connect, monkeypatch):
    whole = service._imports.answer

    def losing(method, more, body, query):
        service.traps.lose = int(method == "PUT")
        return whole(method, more, body, query)

    monkeypatch.setattr(service._imports, "answer", losing)
    connector = connect()
    with pytest.raises(SystemUnreachableError, match="the connection broke off"):
        outcomes(connector, creates("a", "b"))
    assert (asked(service, "PUT"), asked(service, "PATCH"), asked(service, "DELETE")) == (1, 0, 1)
    assert len(service.rows("contacts")) == 5
    monkeypatch.undo()
    assert [row["__status"] for row in outcomes(connector, creates("a", "b"))] == ["done", "done"]
    assert [row["name"] for row in service.rows("contacts")][5:] == ["a", "b"]


def test_an_answer_that_is_lost_after_the_rows_were_complete_leaves_it_open(service, connect, monkeypatch):
    whole = service._imports.answer

    def losing(method, more, body, query):
        service.traps.lose = int(method == "PATCH")
        return whole(method, more, body, query)

    monkeypatch.setattr(service._imports, "answer", losing)
    with pytest.raises(SystemUnreachableError, match="not known whether 2 new rows arrived"):
        outcomes(connect(), creates("a", "b"))
    assert asked(service, "POST") == 1


def test_a_list_that_is_made_ready_as_pages_of_csv(service, connect):
    job = {"id": "/job", "poll": {"get": "/exports/${job}"}, "status": "/status", "done": "done", "every_s": 0.001, "format": "csv"}
    job["download"] = {"get": "/exports/${job}/table", "query": {"limit": 2}}
    columns = {"id": {"type": "integer", "format": "text"}, "name": "text", "email": "text", "age": {"type": "integer", "format": "text"}}
    service.put("contacts", {"id": 5, "name": ODD[2], "email": None, "age": 7})
    service.put("contacts", {"id": 4, "name": ODD[1], "email": "", "age": None})
    obj = contacts(envelope="", columns=columns, read={"full": {"post": "/exports/contacts", "job": job, "page": PAGES}})
    pages = read(connect(obj), ("name", "email", "age"))
    assert (keys(pages), pages[-1].complete) == (["1", "2", "3", "4", "5"], True)
    last = pl.concat([page.rows for page in pages], how="diagonal_relaxed").to_dicts()[-2:]
    assert [(row["name"], row["email"], row["age"]) for row in last] == [(ODD[1], None, None), (ODD[2], None, 7)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"a,a\n1,2\n", "two columns have the same name"),
        (b"a,b\n1\n", "line 2 has 1 cells, and there are 2 columns"),
        (b'a,b\n"1,2\n', "unexpected end of data"),
        (b"a\n\xff\n", "invalid start byte"),
    ],
)
def test_what_is_no_table_is_told(body, said):
    with pytest.raises(ValueError, match=said):
        rows_of(body, "csv")


def test_a_table_where_json_is_expected_is_told_as_such(service, connect):
    service._exports.answer("POST", "contacts", [], {})
    with pytest.raises(ObjectUnreadableError, match="the answer is CSV") as caught:
        read(connect(contacts(read={"full": {"get": "/exports/1/table"}})))
    assert "format: csv" in str(caught.value.hint)
    flat = contacts(envelope="", columns={"id": {"type": "integer", "format": "text"}, "name": "text"})
    flat["read"]["full"] = {"get": "/exports/1/table", "format": "csv", "total": "header X-Total"}
    assert keys(read(connect(flat))) == ["1", "2", "3", "4", "5"]


def test_a_page_for_people_is_no_table(service, connect):
    service.traps.html = True
    read_ = {"full": {"get": "/nothing", "format": "csv"}}
    with pytest.raises(ObjectUnreadableError):
        read(connect(contacts(read=read_)))


def test_lines_come_back_as_they_went():
    rows = [{"a": name, "b": None} for name in ODD]
    assert rows_of(bytes_of(rows, "csv"), "csv") == rows
    assert rows_of(bytes_of(rows, "jsonl"), "jsonl") == rows
    assert rows_of(b"\xef\xbb\xbfa,b\r\n1,\r\n", "csv") == [{"a": "1", "b": None}]
    assert rows_of(b"", "csv") == []
    assert rows_of(b'"a;b";c\n"x;y";"1,5"\n', "csv") == [{"a;b": "x;y", "c": "1,5"}]
    assert rows_of(b'"a,b,c"\td\n1\t2\n', "csv") == [{"a,b,c": "1", "d": "2"}]
    assert rows_of(b"a\n1;2\n", "csv") == [{"a": "1;2"}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item": None}, "a row of CSV is told by its cells"),
        ({"items": "inputs"}, "the lines of the csv are the whole body"),
        ({"results": "/results"}, "`outcome` are lists of rows"),
        ({"format": "json"}, "pair_by: row is for rows in CSV"),
        ({"job": {name: value for name, value in JOB.items() if name != "upload"}}, "`upload` is missing"),
        ({"job": {name: value for name, value in JOB.items() if name != "open"}}, "`close` needs `open`"),
        ({"job": {**JOB, "outcome": [{"get": "/x/${jobs}", "format": "csv"}]}}, "`\\${jobs}` stands for nothing here"),
        ({"job": {**JOB, "outcome": [{"get": "/x", "format": "csv", "items": "/data"}]}}, "has only rows"),
    ],
)
def test_a_file_that_says_what_cannot_be(connect, change, said):
    made = by_table()
    made["write"]["bulk"]["create"].update(change)
    with pytest.raises(ConfigError, match=said):
        connect(made)


CONFIGURATION = f"""
systems:
  office: {{connector: sqlite, path: office.db}}
  directory: {{connector: rest, file: directory.yaml, secrets: {{token: {TOKEN}}}}}
entities:
  customer:
    match: [[email]]
    fields: {{email: text, name: {{type: text, source_of_truth: office}}}}
    mappings:
      office: {{object: people, key: id, fields: {{email: email, name: name}}}}
      directory: {{object: contacts, key: id, fields: {{email: email, name: name}}}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), [("PUT", "/imports/1/rows"), ("PATCH", "/imports/1")])
def test_killed_before_and_after_the_rows_are_complete_each_row_is_there_once(service, tmp_path: Path, method, path, monkeypatch):
    opened(tmp_path, service, by_table()).close()
    (tmp_path / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
    people = [(number, f"new{number}@example.com", f"{ODD[number % 5]} {number}") for number in range(1, 21)]
    with sqlite3.connect(tmp_path / "office.db") as office:
        office.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        office.executemany("INSERT INTO people VALUES (?, ?, ?)", people)
    office.close()
    service.traps.import_stuck = True
    whole = service._imports.answer

    def slow(asked_method, more, body, query):
        service.traps.slow_s = 120.0 * (asked_method == method)
        return whole(asked_method, more, body, query)

    monkeypatch.setattr(service._imports, "answer", slow)
    words = [sys.executable, "-m", "trueup", "-c", str(tmp_path / "trueup.yaml"), "sync"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as work:
        until = time.monotonic() + 60
        while (method, path) not in service.requests:
            assert time.monotonic() < until, "its rows never came"
            assert work.poll() is None
            time.sleep(0.005)
        os.kill(work.pid, signal.SIGKILL)
    monkeypatch.undo()
    service.traps.slow_s, service.traps.import_stuck = 0.0, False
    for _ in range(2):
        with open_workspace(tmp_path / "trueup.yaml") as workspace:
            last = workspace.sync().status
    assert last == "done"
    made = [(row["email"], row["name"]) for row in service.rows("contacts") if row["email"].startswith("new")]
    assert sorted(made) == sorted((email, name) for _, email, name in people)
    assert asked(service, "POST") == (2 if method == "PUT" else 1)


def test_a_job_that_does_not_say_where_its_rows_go_gets_none(service, connect):
    with pytest.raises(SystemUnreachableError, match="does not say where the rows of an import job go"):
        outcomes(connect(by_table(url="/place")), creates("a"))
    assert len(service.rows("contacts")) == 5


def test_a_job_that_was_left_open_is_in_nobodys_way(service, connect):
    connector = connect()
    service._imports.answer("POST", ["contacts"], b'{"op": "create", "csv": true}', {})
    assert sum(page.rows.height for page in connector.read(CONTACTS, ["name"])) == 5
