"""Looking at what systems hold: by their addresses and by a configuration, and with everything that can be wrong about either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openpyxl
import psycopg
import pytest

from tests.system.cli.tool import Project, company

NAMES = ("Ann Ash", "BEN O'BIRCH", "Cleo  Cedar", "שלום", "Grin 😀", "Zoë Fir")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A shop without any configuration."""
    made = Project(tmp_path)
    made.sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, credit REAL)", database="shop.db")
    made.sql("CREATE TABLE orders (customer_id INTEGER, total REAL)", database="shop.db")
    made.sql("CREATE TABLE bare (id INTEGER PRIMARY KEY, x TEXT)", database="shop.db")
    for number in range(1, 31):
        mail = "n/a" if number == 3 else f"P{number}@Example.org " if number == 4 else f"p{number}@example.org"
        row = (number, NAMES[number % len(NAMES)], mail, 10**6 if number == 9 else number)
        made.sql("INSERT INTO customers VALUES (?, ?, ?, ?)", row, database="shop.db")
        made.sql("INSERT INTO orders VALUES (?, ?)", (number if number > 2 else None if number == 1 else 77, 5), database="shop.db")
    return made


def columns(profile: dict[str, Any], system: str, name: str) -> dict[str, Any]:
    """The columns of one object by name."""
    (found,) = (item for item in profile["systems"][system]["objects"] if item["object"] == name)
    return {column["column"]: column for column in found["columns"]}


def test_a_database_without_any_configuration(project: Project) -> None:
    before = project.files()
    told = project.trueup("profile", "shop=shop.db").expect(0)
    assert "customers: 30 rows, 4 columns, key id" in told.out
    assert "bare: 0 rows, 2 columns, key id" in told.out
    assert "orders: 30 rows, 2 columns, no key" in told.out
    assert "customer_id looks like a reference to customers.id: 1 row without a counterpart, of 1 value (77)" in told.out
    assert 'email: clean: [trim, {null_if: ["n/a"]}, lower]' in told.out
    assert "“P4@Example.org ” → “p4@example.org”" in told.out
    assert "credit: 1 value beyond" in told.out
    assert "שלום" not in told.err
    assert project.files() == before


def test_what_programs_are_told(project: Project) -> None:
    said = project.trueup("profile", "shop=shop.db", "--json").expect(0).json
    assert said["systems"]["shop"]["clock"] == {"by": "same", "seconds": 0.0, "within_s": 0.0}
    email = columns(said, "shop", "customers")["email"]
    assert email["proposal"]["clean"] == ["trim", '{null_if: ["n/a"]}', "lower"]
    assert (email["filled"], email["distinct"], email["proposal"]["changed"]) == (30, 30, 2)
    assert columns(said, "shop", "customers")["credit"]["spread"]["outlier_samples"] == [10**6]
    assert columns(said, "shop", "orders")["customer_id"]["empty"] == 1
    few = project.trueup("profile", "shop=shop.db", "--rows", "10", "--json").expect(0).json["systems"]["shop"]["objects"]
    assert [(item["rows"], item["whole"]) for item in few] == [(0, True), (10, False), (10, False)]


def test_a_page_to_hand_around(project: Project) -> None:
    project.sql("INSERT INTO customers VALUES (99, '<script>alert(1)</script>', 'x', 1)", database="shop.db")
    told = project.trueup("profile", "shop=shop.db", "--html", "page.html").expect(0)
    assert "The report is in page.html." in told.out
    page = project.read("page.html")
    assert page.count("<svg") == page.count("</svg>") > 4
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "cannot be written" in project.trueup("profile", "shop=shop.db", "--html", "no/page.html").expect(2).err


@pytest.mark.slow
def test_a_thousand_columns(project: Project) -> None:
    project.write("wide.csv", ",".join(f"c{n}" for n in range(1000)) + "\n" + ",".join(str(n) for n in range(1000)) + "\n")
    said = project.trueup("profile", "wide=wide.csv", "--json", "--html", "page.html").expect(0).json["systems"]
    assert [column["column"] for column in said["wide"]["objects"][0]["columns"]] == [f"c{n}" for n in range(1000)]


def test_files_of_every_kind(project: Project) -> None:
    project.write("empty.csv", "a,b\n")
    project.write("rows.jsonl", '{"id": 1, "mail": "A@b.de"}\n{"id": 1, "mail": null}\n{"mail": "c@d.de", "more": [1]}\nno json\n')
    said = project.trueup("profile", "none=empty.csv", "feed=rows.jsonl", "--json").expect(0).json["systems"]
    assert said["none"]["objects"][0]["rows"] == 0
    feed = said["feed"]["objects"][0]
    assert (feed["rows"], feed["refused"], feed["whole"]) == (3, 1, False)
    assert "no JSON" in feed["reasons"][0]["reason"]


# ---------------------------------------------------------------- with a configuration


def test_what_a_configuration_maps(tmp_path: Path) -> None:
    project = company(tmp_path)
    project.sql("CREATE TABLE secret (id INTEGER PRIMARY KEY, note TEXT)")
    project.sql("INSERT INTO contacts VALUES (9, 'Ada again', ' ADA@example.com', 1)")
    project.write("customers.csv", project.read("customers.csv") + "002,Twice,cy@example.com,7\n,No number,n@example.com,1\n")
    said = project.trueup("profile", "--json").expect(0).json
    assert [item["object"] for item in said["systems"]["crm"]["objects"]] == ["contacts"]
    (crm,) = said["systems"]["crm"]["objects"]
    assert crm["duplicates"] == [{"entity": "customer", "fields": ["email"], "records": 1, "rows": 2, "samples": [["ada@example.com"]]}]
    (sheet,) = said["systems"]["sheet"]["objects"]
    assert (sheet["rows"], sheet["refused"]) == (4, 0)  # rows of which the key is doubled or missing as well
    assert project.trueup("profile", "customer", "--json").expect(0).json["systems"].keys() == said["systems"].keys()
    whole = project.trueup("profile", "crm", "--json").expect(0).json["systems"]
    assert [item["object"] for item in whole["crm"]["objects"]] == ["contacts", "secret"]
    assert "sheet" not in whole
    assert not (tmp_path / ".trueup").exists()


def test_references_filters_and_what_is_not_looked_at(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write(
        "trueup.yaml",
        """\
systems:
  shop: {connector: sqlite, path: shop.db}
  list: {connector: csv, path: orders.csv}
entities:
  customer:
    match: [[email]]
    fields: {email: }
    mappings:
      shop: {object: customers, key: id, fields: {email: email}}
  order:
    match: [[number]]
    fields: {number: , customer: {type: reference, entity: customer}}
    mappings:
      shop: {object: orders, key: number, where: "number <> '5'", fields: {number: number, customer: buyer}}
      list: {key: No, fields: {number: No}}
""",
    )
    project.sql("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT)", database="shop.db")
    project.sql("CREATE TABLE orders (number TEXT PRIMARY KEY, buyer INTEGER)", database="shop.db")
    project.sql("INSERT INTO customers VALUES (1, 'a@b.de')", database="shop.db")
    for number, buyer in enumerate((1, 8, 8, None, 9), 1):
        project.sql("INSERT INTO orders VALUES (?, ?)", (str(number), buyer), database="shop.db")
    project.write("orders.csv", "No\n1\n")
    _customers, orders = project.trueup("profile", "--json").expect(0).json["systems"]["shop"]["objects"]
    assert (orders["rows"], orders["outside"]) == (4, 1)
    assert orders["orphans"] == [
        {"column": "buyer", "refers_to": "customers.id", "rows": 2, "values": 1, "samples": ["8"], "configured": True}
    ]
    (alone,) = project.trueup("profile", "order", "--json").expect(0).json["systems"]["shop"]["objects"]
    assert alone["orphans"] == []
    assert "no object of customer" in alone["notes"][0]


def test_one_system_away_is_told_and_the_others_are_looked_at(tmp_path: Path) -> None:
    project = company(tmp_path)
    (tmp_path / "crm.db").unlink()
    told = project.trueup("profile").expect(3)
    assert "left out: crm" in told.err
    assert "customers.csv (customer): 2 rows" in told.out
    (tmp_path / "customers.csv").unlink()
    assert "left out: sheet" in project.trueup("profile").expect(1).err


# ---------------------------------------------------------------- servers


def test_the_clocks_of_servers_and_tables_without_keys(tmp_path: Path, postgres_url: str, mariadb_url: str) -> None:
    project = Project(tmp_path)
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute('CREATE TABLE "Odd Name" (mail text, n numeric, at timestamptz, tags text[])')
        db.execute("INSERT INTO \"Odd Name\" SELECT 'P' || i || '@x.org', i, now(), ARRAY['a'] FROM generate_series(1, 30) i")
        db.execute("INSERT INTO \"Odd Name\" VALUES (NULL, 'NaN', NULL, NULL)")
    told = project.trueup("profile", f"crm={postgres_url}", f"erp={mariadb_url.replace('mysql', 'mariadb', 1)}", "--json").expect(0)
    said = told.json["systems"]
    for system in ("crm", "erp"):
        assert said[system]["clock"]["by"] == "asked"
        assert abs(said[system]["clock"]["seconds"]) < 3600  # the same machine, however busy
    (odd,) = said["crm"]["objects"]
    assert (odd["rows"], odd["refused"], odd["key"]) == (30, 1, [])  # NaN is no number to compare
    assert odd["columns"][0]["proposal"]["clean"] == ["trim", "lower"]
    assert postgres_url not in told.out + told.err


# ---------------------------------------------------------------- what cannot be done

BAD = {
    "there is no entity and no system 'nobody'": (["nobody"], 2),
    "`crm` is no address": (["crm", "shop=shop.db"], 2),
    "`shop` is given twice": (["shop=shop.db", "shop=shop.db"], 2),
    "nothing reads shop.fdb": (["shop=shop.fdb"], 2),
    "addresses need no configuration": (["shop=crm.db", "-c", "trueup.yaml"], 2),
    "there is no database file": (["shop=gone.db"], 1),
    "left out: crm": (["crm=postgresql://nobody:sesame-9z@127.0.0.1:1/none"], 1),
    "greater than or equal to 1": (["--rows", "0"], 2),
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_done_is_said(tmp_path: Path, said: str) -> None:
    project = company(tmp_path)
    words, status = BAD[said]
    told = project.trueup("profile", *words).expect(status)
    assert said in told.err
    assert "sesame" not in told.err + told.out


def test_without_any_configuration_that_is_said(tmp_path: Path) -> None:
    assert "trueup.yaml" in Project(tmp_path).trueup("profile").expect(1).err


def test_a_sheet_without_anything_in_it_is_said_and_leaves_nothing_out(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book["Sheet"].append(["SKU", "Fee"])
    book["Sheet"].append(["A-1", 2.5])
    book.create_sheet("Bare")
    book.save(tmp_path / "prices.xlsx")
    told = Project(tmp_path).trueup("profile", "prices=prices.xlsx").expect(0)
    assert "Sheet: 1 row, 2 columns" in told.out
    assert "Bare: 0 rows, 0 columns, no key\n  it has no column that can be read" in told.out
