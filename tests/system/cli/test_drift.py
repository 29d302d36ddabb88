"""Drift: how far systems disagree, without a state and without a write."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl

from tests.system.cli.tool import Project, company, two_offices

CONFIG = """\
systems:
  crm:   {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    fields:
      name:   {type: text}
      email:  {type: text, clean: [trim, lower]}
      credit: {type: decimal, source_of_truth: crm}
      status: {type: text, one_of: [active, closed]}
    mappings:
      crm:   {object: people, key: id, fields: {name: name, email: email, credit: credit, status: status}}
      sheet: {key: "No", fields: {name: Name, email: Mail, credit: Credit, status: Status}}
"""
PEOPLE = [
    (1, "Ada", "ada@example.com", "10", "active"),
    (2, "Béa", " BEA@example.com", "20", "active"),
    (3, "Cy", "cy@example.com", "30", "active"),
    (4, "Dee", "dee@example.com", "40", "active"),
    (5, "Ada again", "ada@example.com", "1", "active"),
    (6, "Eve <b>", "eve@example.com", "lots", "active"),
    (7, "Only here", "only@example.com", "7", "closed"),
]
SHEET = """\
No,Name,Mail,Credit,Status
01,Ada,ada@example.com,10.0,active
02,BÉA,bea@example.com,20,active
03,"Cy & <script>alert(1)</script>",cy@example.com,,odd
04,Dee  Dee,dee@example.com,41,active
08,Fay,fay@example.com,8,active
"""


def drifted(folder: Path, config: str = CONFIG, sheet: str = SHEET, people: Any = PEOPLE) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", config)
    project.write("customers.csv", sheet)
    project.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, email TEXT, credit, status TEXT)")
    for person in people:
        project.sql("INSERT INTO people VALUES (?, ?, ?, ?, ?)", person)
    return project


def pair(body: Any, field: str) -> Any:
    return body["fields"][field]["pairs"][0]


def test_it_counts_what_agrees_what_differs_and_what_is_dirty(tmp_path):
    body = drifted(tmp_path).trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert body["systems"]["crm"] == {
        "rows": 7, "outside": 0, "rejected": 1, "only_here": 1, "duplicates": 1, "ambiguous": 0, "dirty": 2,
    }  # fmt: skip
    assert body["systems"]["sheet"]["rows"] == 5
    assert (body["records"], body["in_all"]) == (6, 4)
    assert {tuple(item["systems"]): item["records"] for item in body["presence"]} == {("crm", "sheet"): 4, ("crm",): 1, ("sheet",): 1}

    name = pair(body, "name")
    assert (name["compared"], name["agree"], name["differ"], name["differ_in_form"]) == (4, 1, 3, 1)
    assert {"keys": {"crm": "2", "sheet": "02"}, "values": {"crm": "Béa", "sheet": "BÉA"}} in name["samples"]
    credit = pair(body, "credit")
    assert (credit["agree"], credit["differ"], credit["missing"]) == (2, 1, {"crm": 0, "sheet": 1})
    assert pair(body, "email")["agree"] == 4
    assert body["compared"] == 16
    assert body["agreeing"] == 1 + 4 + 2 + 3
    assert body["agreement"] == 0.625

    assert body["duplicates"] == [{"system": "crm", "count": 1, "samples": [{"key": "5", "like": {"system": "crm", "keys": ["1"]}}]}]
    dirty = {(item["system"], item["field"], item["kind"]): item for item in body["dirty"]}
    assert dirty["crm", "email", "clean"]["samples"] == [
        {"key": "2", "value": " BEA@example.com", "becomes": "bea@example.com", "reason": None}
    ]
    assert dirty["crm", "credit", "unreadable"]["samples"][0]["key"] == "6"
    assert "lots" in dirty["crm", "credit", "unreadable"]["samples"][0]["reason"]
    assert dirty["sheet", "status", "invalid"]["samples"][0]["key"] == "03"
    assert dirty["sheet", "name", "untidy"]["samples"][0]["becomes"] == "Dee Dee"

    assert body["fields"]["credit"]["decided_by"] == "crm is the source of truth"
    assert body["fields"]["name"]["decided_by"] is None
    assert body["to_decide"] == 3 + 1


def test_nothing_is_written_anywhere(tmp_path):
    project = drifted(tmp_path)
    before = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in project.files()}
    project.trueup("drift").expect(0)
    assert {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in project.files()} == before


def test_read_only_files_and_columns_are_enough(tmp_path):
    project = drifted(tmp_path)
    project.sql("CREATE VIEW shown AS SELECT id, upper(name) AS name, email, credit, status FROM people")
    project.write("trueup.yaml", CONFIG.replace("object: people", "object: {sql: 'SELECT * FROM shown'}"))
    for name in project.files():
        (tmp_path / name).chmod(0o400)
    body = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert body["systems"]["crm"]["rows"] == 7
    assert pair(body, "name")["differ_in_form"] == 1 + 1  # Ada and Dee; BÉA agrees now


def test_the_text_is_for_people(tmp_path):
    out = drifted(tmp_path).trueup("drift").expect(0).out
    assert "customer: 62.5% of the values compared agree; 4 of 6 records are in both systems" in out
    assert "only in crm" in out
    assert "look like another row of the same system" in out
    assert "nobody yet: a person must settle 3 records" in out
    assert "Nothing was changed anywhere" in out


class Page(HTMLParser):
    """Finds what a page would load or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_values(tmp_path):
    project = drifted(tmp_path)
    assert "report.html" in project.trueup("drift", "--html", "report.html").expect(0).out
    source = project.read("report.html")
    page = Page()
    page.feed(source)
    assert page.loads == []
    assert "script" not in page.tags
    assert not re.search(r"url\(|@import", source)
    assert "<script>alert(1)</script>" in page.text
    assert "62.5%" in page.text
    assert source.startswith("<!doctype html>")
    assert "report.html" in project.files()
    assert not {name for name in project.files() if name.startswith(".trueup")}


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    ended = drifted(tmp_path).trueup("drift", "--html", "no/such/folder/report.html").expect(2)
    assert "no/such/folder" in ended.err


def test_a_system_that_cannot_be_read_is_left_out_and_named(tmp_path):
    more = CONFIG.replace("entities:", "  third: {connector: csv, path: third.csv}\nentities:") + (
        "      third: {key: No, fields: {name: Name, email: Mail}}\n"
    )
    project = drifted(tmp_path, more)
    ended = project.trueup("drift", "--json").expect(0)
    assert "third.csv" in ended.json["entities"]["customer"]["left_out"]["third"]
    assert "left out: third" in project.trueup("drift").expect(0).out
    (tmp_path / "customers.csv").unlink()
    ended = project.trueup("drift").expect(1)
    assert "fewer than two systems" in ended.err
    assert "customers.csv" in ended.err


def test_three_systems_and_a_workbook_with_ambiguous_rows(tmp_path):
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["Nr", "Who", "Email", "Phone"])
    for line in ([1, "Ada", "ada@example.com", "1"], [2, "Someone", None, "5"]):
        sheet.append(line)
    book.save(tmp_path / "book.xlsx")
    config = """\
systems:
  crm:  {connector: sqlite, path: crm.db}
  csv:  {connector: csv, path: customers.csv}
  book: {connector: excel, path: book.xlsx}
entities:
  customer:
    match: [[email], [phone]]
    precedence: [crm, csv, book]
    fields: {name: {type: text}, email: {type: text}, phone: {type: text}}
    mappings:
      crm:  {object: people, key: id, fields: {name: name, email: email, phone: phone}}
      csv:  {key: "No", fields: {name: Name, email: Mail}}
      book: {key: Nr, object: Sheet, fields: {name: Who, email: Email, phone: Phone}}
"""
    project = Project(tmp_path)
    project.write("trueup.yaml", config)
    project.write("customers.csv", "No,Name,Mail\n1,Ada,ada@example.com\n2,Bo,bo@example.com\n")
    project.sql("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT)")
    for row in [(1, "Ada", "ada@example.com", "1"), (2, "Bo", "bo@example.com", "5"), (3, "Cy", "cy@example.com", "5")]:
        project.sql("INSERT INTO people VALUES (?, ?, ?, ?)", row)
    body = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert {tuple(item["systems"]): item["records"] for item in body["presence"]} == {
        ("crm", "csv", "book"): 1,
        ("crm", "csv"): 1,
        ("crm",): 1,
    }
    ambiguous = body["ambiguous"][0]
    assert ambiguous["system"] == "book"
    assert ambiguous["samples"] == [{"key": "2", "like": {"system": "crm", "keys": ["2", "3"]}}]
    assert [pair["systems"] for pair in body["fields"]["phone"]["pairs"]] == [["crm", "book"]]


def test_references_are_compared_by_the_record_they_point_to(tmp_path):
    project = two_offices(tmp_path)
    for name, first, second in (("left.db", 1, 2), ("right.db", 20, 10)):
        project.sql("INSERT INTO customers VALUES (?, 'ada@example.com', NULL), (?, 'bea@example.com', ?)", (first, second, first), name)
        project.sql("INSERT INTO orders VALUES (1, 'A1', ?), (2, 'A2', ?)", (first, second), name)
    project.sql("UPDATE orders SET customer = 10 WHERE number = 'A1'", database="right.db")
    project.sql("INSERT INTO orders VALUES (3, 'A3', 99)", database="left.db")
    body = project.trueup("drift", "order", "--json").expect(0).json["entities"]
    assert list(body) == ["order"]
    compared = pair(body["order"], "customer")
    assert (compared["compared"], compared["agree"], compared["differ"]) == (2, 1, 1)
    assert compared["samples"] == [{"keys": {"left": "1", "right": "1"}, "values": {"left": "1", "right": "10"}}]
    assert [(item["field"], item["kind"], item["count"]) for item in body["order"]["dirty"]] == [("customer", "reference", 1)]
    customers = project.trueup("drift", "customer", "--json").expect(0).json["entities"]["customer"]
    assert pair(customers, "boss")["agree"] == 2


def test_without_match_rules_it_says_what_is_missing(tmp_path):
    project = drifted(tmp_path, CONFIG.replace("    match: [[email]]\n", ""))
    body = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert body["in_all"] == 0
    assert body["agreement"] is None
    assert any("match" in note for note in body["notes"])
    assert "no value could be compared" in project.trueup("drift").expect(0).out


def test_agreement_after_a_sync_is_whole(tmp_path):
    project = company(tmp_path)
    project.trueup("sync").expect(0)
    body = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert body["agreement"] == 1
    assert body["in_all"] == body["records"] == 4


def test_empty_systems_are_no_trouble(tmp_path):
    project = drifted(tmp_path, sheet="No,Name,Mail,Credit,Status\n", people=[])
    body = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]
    assert body["records"] == 0
    project.trueup("drift", "--html", "page.html").expect(0)


def test_more_than_one_chunk_of_records(tmp_path, monkeypatch):
    from trueup.runtime import drift
    from trueup.runtime.workspace import open_workspace

    monkeypatch.setattr(drift, "CHUNK_ROWS", 3)
    drifted(tmp_path)
    with open_workspace(tmp_path / "trueup.yaml") as workspace:
        report = drift.measure_drift(workspace.config, workspace.systems, ["customer"], workspace.clock())
    found = report.entities["customer"]
    assert (found.records, found.in_all, found.compared, found.agreeing, found.to_decide) == (6, 4, 16, 10, 4)


def test_systems_named_by_their_addresses_need_no_configuration(tmp_path, monkeypatch):
    """From nothing but a database and a file; nothing is left behind, here or in the temporary folder."""
    project = company(tmp_path)
    (tmp_path / "trueup.yaml").unlink()
    temporary = tmp_path.parent / f"{tmp_path.name}-temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    shown = project.trueup("drift", "crm=crm.db", "sheet=customers.csv").expect(0).out
    assert "of the values compared agree" in shown
    assert "`trueup init` writes it down, with the same words" in shown
    (told,) = project.trueup("drift", "crm=crm.db", "sheet=customers.csv", "--json").expect(0).json["entities"].values()
    assert told["systems"].keys() == {"crm", "sheet"}
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert [path.name for path in temporary.iterdir()] == []
    for words, said in (
        (["crm=crm.db"], "fewer than two systems"),
        (["crm=crm.db", "sheet=gone.csv"], "gone.csv"),
        (["crm=crm.db", "customer"], "names no system and its address"),
        (["crm=crm.db", "sheet=customers.csv", "-c", "trueup.yaml"], "addresses need no configuration"),
    ):
        assert said in project.trueup("drift", *words).expect(2 if "gone.csv" not in words[-1] else 1).err
    assert "`trueup init NAME=ADDRESS NAME=ADDRESS` proposes one" in project.trueup("drift").expect(1).err
