"""What `check` warns of: each thing would surprise someone later."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg

from tests.system.cli.tool import CONFIG as CUSTOMERS
from tests.system.cli.tool import Project, company

CONFIG = """\
systems:
  shop:  {connector: sqlite, path: shop.db}
  store: {connector: sqlite, path: store.db}
  sheet: {connector: csv, path: sheet.csv}
entities:
  item:
    match: [[sku]]
    fields:
      sku:   {type: text}
      price: {type: decimal, conflict: last_write_wins}
      seen:  {type: datetime, source_of_truth: shop}
    mappings:
      shop:  {object: items, key: id, modified: changed, fields: {sku: sku, price: price, seen: seen}}
      store: {object: goods, key: code, fields: {sku: sku, price: price}}
      sheet: {key: No, fields: {sku: SKU, price: Price}, where: "SKU != 'X'"}
"""


def shop(folder: Path) -> Project:
    project = Project(folder)
    project.write("trueup.yaml", CONFIG)
    project.sql(
        "CREATE TABLE items (id INTEGER PRIMARY KEY, sku VARCHAR(20), price NUMERIC, seen TEXT, changed TIMESTAMP)", database="shop.db"
    )
    project.sql("INSERT INTO items VALUES (1, 'A', 1.5, '2026-01-02 10:00:00', '2026-01-02 10:00:00')", database="shop.db")
    project.sql("CREATE TABLE goods (code TEXT NOT NULL PRIMARY KEY, sku VARCHAR(5), price TEXT, shelf TEXT NOT NULL)", database="store.db")
    project.write("sheet.csv", "No,SKU,Price\n1,A,1.5\n2,X,ten\n3,B,ten\n4,C,eleven\n")
    return project


def test_warnings_and_notes_stand_at_their_lines(tmp_path):
    project = shop(tmp_path)
    before = project.files()
    found = project.trueup("check", "--json").expect(0).json
    assert project.files() == before
    warned = {(problem["line"], problem["message"]) for problem in found["warnings"]}
    noted = {(problem["line"], problem["message"]) for problem in found["notes"]}

    def has(said: set[tuple[int, str]], line: int, *words: str) -> bool:
        return any(at == line and all(word in message for word in words) for at, message in said)

    assert has(warned, 2, "seen", "times without a zone, taken as UTC")
    assert has(warned, 2, "changed", "times without a zone, taken as UTC")
    assert has(warned, 14, "goods does not number new rows by itself", "code")
    assert has(warned, 14, "new rows in goods need shelf")
    assert has(warned, 15, "2 rows cannot be used", "price")
    assert has(noted, 9, "nothing says who wins where sku is edited in two systems at once")
    assert has(noted, 14, "price is decimal", "holds text")
    sheet = next(sample for sample in found["samples"] if sample["system"] == "sheet")
    assert (sheet["read"], sheet["outside"], sheet["rejected"], sheet["whole"]) == (4, 1, 2, True)
    assert [row["key"] for row in sheet["rows"]] == ["1"]

    told = project.trueup("check").expect(0).out
    assert "item from sheet (the file): 4 rows; 1 left out by the filter; 2 cannot be used" in told
    assert not re.search(r"(\w+): \1: ", told)
    assert "trueup.yaml:14: entities.item.mappings.store" in told
    assert "No problems, 4 warnings." in told


def test_a_schedule_that_cannot_keep_what_is_tolerated(tmp_path):
    project = shop(tmp_path)

    def warned(when: str, limits: str = "") -> list[str]:
        text = CONFIG.replace("    match:", f"    max_delay: 2h\n{when}    match:").replace("sheet.csv}", f"sheet.csv{limits}}}")
        project.write("trueup.yaml", text)
        problems = project.trueup("check", "--json").expect(0).json["warnings"]
        return [problem["message"] for problem in problems if "tolerates" in problem["message"]]

    assert ["nothing runs it" in message for message in warned("")] == [True]
    assert ["wait for up to 24 h" in message for message in warned('    when: [{at: "02:00"}]\n')] == [True]
    assert warned("    when: [{every: 1h}]\n") == []
    assert warned('    when: [realtime, {at: "02:00"}]\n') == []
    office = ', limits: {not_between: ["09:00", "17:00"]}'
    assert ["sheet is left alone for up to 8 h" in message for message in warned("    when: [realtime]\n", office)] == [True]


def test_a_zone_settles_the_times(tmp_path):
    project = shop(tmp_path)
    project.write("trueup.yaml", CONFIG.replace("path: shop.db", "path: shop.db, timezone: Europe/London"))
    warnings = project.trueup("check", "--json").expect(0).json["warnings"]
    assert not any("without a zone" in warning["message"] for warning in warnings)


def test_an_entity_of_one_usable_system_is_a_problem(tmp_path):
    project = shop(tmp_path)
    project.sql("DROP TABLE goods", database="store.db")
    (tmp_path / "sheet.csv").unlink()
    found = project.trueup("check", "--json").expect(1).json
    assert found["ok"] is False
    assert [problem["path"] for problem in found["problems"]] == ["systems.sheet", "entities.item", "entities.item.mappings.store.object"]
    assert "needs two systems that can be used, and has 1" in found["problems"][1]["message"]
    assert found["systems"]["store"]["reachable"] is True


def test_columns_of_unlike_room(tmp_path, postgres_url):
    project = Project(tmp_path)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE long (id serial PRIMARY KEY, sku varchar(20))")
        connection.execute("CREATE TABLE short (id serial PRIMARY KEY, sku varchar(5))")
    project.write(
        "trueup.yaml",
        """\
systems:
  one: {connector: postgres, url: "${SERVER}"}
  two: {connector: postgres, url: "${SERVER}"}
entities:
  item:
    match: [[sku]]
    fields: {sku: {type: text, source_of_truth: one}}
    mappings:
      one: {object: long, key: id, fields: {sku: sku}}
      two: {object: short, key: id, fields: {sku: sku}}
""",
    )
    found = project.trueup("check", "--json", SERVER=postgres_url).expect(0).json
    assert [one["message"] for one in found["warnings"] if "superuser" not in one["message"]] == []
    assert [(note["line"], note["message"]) for note in found["notes"]] == [
        (10, "sku has room for 5 characters in two, for 20 in one: longer ones fail")
    ]


def test_untidy_values_about_to_be_spread_are_named(tmp_path):
    project = company(tmp_path)
    project.sql("UPDATE contacts SET name = ' Ada ', email = ' ADA@example.com' WHERE id = 1")
    project.sql("UPDATE contacts SET name = 'n/a' WHERE id = 2")
    project.write("customers.csv", project.read("customers.csv") + "003,Zo\u00a0\u200be,zoe@example.com,1\n")
    notes = {note["path"]: note for note in project.trueup("check", "--json").expect(0).json["notes"]}
    crm = notes["entities.customer.mappings.crm.fields.name"]
    assert crm["message"].startswith("name is untidy in 2 of 3 rows of crm, and would be copied so to sheet: ")
    assert crm["hint"] == "clean: [trim, {null_if: [n/a]}]; `trueup profile customer` shows more"
    assert crm["line"] == 16
    assert "clean: [collapse, visible]" in notes["entities.customer.mappings.sheet.fields.name"]["hint"]
    assert not [path for path in notes if path.endswith("fields.email")]  # its cleaning sees to that
    project.write("trueup.yaml", CUSTOMERS.replace("required: true}", "required: true, source_of_truth: sheet}"))
    notes = {note["path"]: note for note in project.trueup("check", "--json").expect(0).json["notes"]}
    assert "entities.customer.mappings.crm.fields.name" not in notes  # what is overruled is not spread


def test_what_only_pushes_and_has_sent_nothing_is_no_file_to_be_made(tmp_path):
    project = shop(tmp_path)
    project.write(
        "trueup.yaml",
        """\
systems:
  shop: {connector: sqlite, path: pushed.db}
  website:
    connector: webhook
    webhook: {verify: {kind: token, header: X-Token, secret: t0ken}}
entities:
  lead:
    match: [[email]]
    fields: {email: text}
    mappings:
      shop: {object: leads, key: id, fields: {email: email}}
      website: {key: /id, fields: {email: /email}}
""",
    )
    project.sql("CREATE TABLE leads (id INTEGER PRIMARY KEY, email TEXT)", database="pushed.db")
    told = project.trueup("check").expect(0)
    assert "mappings.website: website has sent nothing yet" in told.out
    assert "the file is not there" not in told.out
