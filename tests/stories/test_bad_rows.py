"""Single rows that cannot be read, understood or written: each is named with its reason, and every other one is done."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import mariadb_client
from tests.stories.project import ANN, BEN, CLEO, PEOPLE, PRIVATE, Project, Row

DORA: Row = ("dora@example.org", "Dora", "4", None)
EVE: Row = ("eve@example.org", "Eve", "5", None)
FINN: Row = ("finn@example.org", "Finn", "6", None)
GIL: Row = ("gil@example.org", "Gil", "7", None)
HAL: Row = ("hal@example.org", "Hal", "8", None)
IDA: Row = ("ida@example.org", "Ida", "9", "2021-02-28")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One system in good order: `crm` with three customers."""
    made = Project(tmp_path)
    made.add_sqlite("crm", PEOPLE)
    return made


def _reasons(failures: list[dict[str, Any]], system: str) -> dict[str, str]:
    """What is said about each key (or record) of a system."""
    return {
        item["key"] or f"record {item['record']}": f"{item['stage']}: {item['reason']}" for item in failures if item["system"] == system
    }


def test_a_key_twice_a_key_missing_and_cells_that_are_no_values(project: Project) -> None:
    """Rows that cannot be read are left alone, and no second row is made for what they may be."""
    path = project.add_csv("sheet")
    header = path.read_text(encoding="utf-8")
    good = f"1,dora@example.org,Dora,4,,{PRIVATE}\n"
    bad = [
        f"7,eve@example.org,Eve,5,,{PRIVATE}",
        f"7,finn@example.org,Finn,6,,{PRIVATE}",
        f"8,gil@example.org,Gil,7,,{PRIVATE}",
        f"8,gil@example.org,Gil,7,,{PRIVATE}",
        f",hal@example.org,Hal,8,,{PRIVATE}",
        f"9,ann@example.org,Ann,many,1980-01-31,{PRIVATE}",
        f"10,ida@example.org,Ida,9,2021-02-30,{PRIVATE}",
        f"11,,Nobody,9,,{PRIVATE}",
    ]
    path.write_text(header + good + "\n".join(bad) + "\n", encoding="utf-8")
    project.add_sqlite("shop", [EVE, GIL, HAL, IDA])
    project.configure()
    first = project.sync(expect=3)
    assert first.system("sheet")["observed"]["rejected"] == 8
    reasons = _reasons(project.failures(), "sheet")
    assert reasons["7"] == "read: line 4: the key (id) occurs more than once"
    assert reasons["(line 7)"] == "read: line 7: the key (id) is empty"
    assert reasons["9"] == 'map: points: "many" is not a whole number'
    assert reasons["10"].startswith('map: born: "2021-02-30" is not a date')
    assert reasons["11"] == "map: email is required, but empty"
    assert sum("mend that row first" in reason for reason in reasons.values()) == 5, "what the rows may be waits for them"
    assert project.rows("crm") == sorted([*PEOPLE, DORA, EVE, GIL, HAL, IDA], key=str)
    assert [row[0] for row in project.rows("sheet")].count("ann@example.org") == 1
    project.sync(expect=3)
    text = path.read_text(encoding="utf-8")
    assert all(line in text for line in bad)
    text = text.replace(bad[1] + "\n", bad[1].replace("7,", "17,", 1) + "\n").replace(bad[3] + "\n", "", 1).replace(bad[4], "19" + bad[4])
    text = text.replace("many", "1").replace("2021-02-30", "2021-02-28").replace(bad[7] + "\n", "")
    path.write_text(text, encoding="utf-8")
    project.mended([*PEOPLE, DORA, EVE, FINN, GIL, HAL, IDA])
    assert project.failures() == []


def test_a_row_that_cannot_be_read_is_found_before_one_is_made_beside_it(project: Project) -> None:
    """A run over one record reads nothing else: it asks the system for rows like it."""
    project.add_sqlite("shop")
    project.configure()
    project.sync()
    project.sql("crm", f"INSERT INTO customers VALUES (8, 'dora@example.org', 'Dora', 'many', NULL, '{PRIVATE}')")
    project.sql("shop", f"INSERT INTO customers VALUES (9, 'dora@example.org', 'Dora', 4, NULL, '{PRIVATE}')")
    project.sync("--record", "customer", "shop:9", expect=3)
    assert [item["reason"] for item in project.failures()] == ["a row of crm that cannot be read may be this record: mend that row first"]
    assert project.sql("crm", "SELECT count(*) FROM customers") == [(4,)]
    project.sql("crm", "UPDATE customers SET points = 4 WHERE id = 8")
    project.sync("--record", "customer", "shop:9")
    project.mended([*PEOPLE, DORA])


def test_a_row_that_is_gone_while_one_like_it_cannot_be_read_waits_and_differs_from_nothing(project: Project) -> None:
    """Nobody knows yet whether it got another key; told as missing, `verify --repair` could not mend it either."""
    project.add_sqlite("shop", PEOPLE)
    project.configure()
    project.sync()
    email, *_rest = PEOPLE[0]
    project.sql("crm", f"INSERT INTO customers SELECT 77, email, name, 'many', born, private FROM customers WHERE email = '{email}'")
    project.sql("crm", f"DELETE FROM customers WHERE email = '{email}' AND id <> 77")
    project.sync(expect=3)
    told = project.run("verify", "--json").body["entities"]["customer"]
    assert told["agree"] is True
    assert (told["systems"]["crm"]["missing"], told["systems"]["crm"]["waiting"]) == (0, 2)
    assert project.sql("shop", "SELECT count(*) FROM customers") == [(3,)]
    project.sql("crm", "DELETE FROM customers WHERE id = 77")
    assert project.run("verify", "--json", expect=3).body["entities"]["customer"]["systems"]["crm"]["missing"] == 1, (
        "nothing is like it now"
    )
    project.sql("crm", f"INSERT INTO customers VALUES (77, '{email}', 'Mended', 3, NULL, '{PRIVATE}')")
    project.mended()


def test_a_row_without_a_key_in_a_table_that_is_read_by_cursor(project: Project, postgres_url: str) -> None:
    """Only complete readings see it; it may be a record all the same, and none is made beside it in between."""
    project.add_postgres(
        "shop", postgres_url, [ANN, BEN], columns="email text, name text, points int, born date, at timestamptz DEFAULT now()"
    )
    with psycopg.connect(postgres_url) as db:
        db.execute("ALTER TABLE customers DROP CONSTRAINT customers_pkey, ALTER COLUMN id DROP NOT NULL, ADD UNIQUE (id)")
        db.execute("UPDATE customers SET id = NULL, at = now() - interval '1 day' WHERE email = 'ben@example.org'")
    project.add("shop", '{connector: postgres, url: "${SHOP_URL}"}', "object: customers, modified: at")
    project.configure()
    for _number in range(3):
        end = project.sync(expect=3)
        assert [row[0] for row in project.rows("shop")].count("ben@example.org") == 1
    assert end.system("shop")["delivered"]["failed"] == 1
    with psycopg.connect(postgres_url) as db:
        db.execute("UPDATE customers SET id = 99, at = now() WHERE id IS NULL")
    project.sync("--full")
    project.mended(PEOPLE)


def test_text_in_number_columns_of_databases(project: Project) -> None:
    """SQLite keeps any text in any column; nothing is made twice because of it, and a row that was fine before keeps its link."""
    project.add_sqlite("till", [BEN, DORA])
    project.configure()
    project.sql("till", "UPDATE customers SET points = 'a few', born = 'soon' WHERE id = 1")
    first = project.sync(expect=3)
    assert first.system("till")["delivered"]["created"] == 2
    reasons = _reasons(project.failures(), "till")
    assert "points" in reasons["1"]
    project.sql("till", "UPDATE customers SET points = 2, born = '1981-02-28' WHERE id = 1")
    project.mended([*PEOPLE, DORA])
    project.sql("till", "UPDATE customers SET points = 'lots' WHERE email = 'dora@example.org'")
    project.sql("crm", "UPDATE customers SET name = 'Dora D' WHERE email = 'dora@example.org'")
    project.sync(expect=3)
    assert ("dora@example.org", "Dora", "lots", None) in project.rows("till"), "a row that cannot be read receives nothing"
    assert ("dora@example.org", "Dora D", "4", None) in project.rows("crm"), "and gives nothing"
    project.sql("till", "UPDATE customers SET points = 4 WHERE email = 'dora@example.org'")
    project.mended([*PEOPLE, ("dora@example.org", "Dora D", "4", None)])


LONG = "A name that is far too long for the column that it is to be written to"


def test_constraints_of_postgresql(project: Project, postgres_url: str) -> None:
    """Unique, not null, check, foreign key and length: the database's own words, the record, and everything else done."""
    project.add_postgres(
        "shop",
        postgres_url,
        [ANN],
        columns="email text UNIQUE, name varchar(20) NOT NULL, points int CONSTRAINT few CHECK (points < 100), born date UNIQUE",
    )
    with psycopg.connect(postgres_url) as db:
        db.execute("CREATE TABLE names (name varchar(20) PRIMARY KEY)")
        db.execute("INSERT INTO names VALUES ('Ann'), ('Ben'), ('Cleo'), ('Eve'), ('Gil'), ('Hal'), ('Ida')")
        db.execute("ALTER TABLE customers ADD CONSTRAINT known FOREIGN KEY (name) REFERENCES names")
    project.sql(
        "crm",
        f"INSERT INTO customers (email, name, points, born) VALUES ('eve@example.org', '{LONG}', 5, NULL),"
        " ('finn@example.org', 'Finn', 6, NULL), ('gil@example.org', 'Gil', 700, NULL), ('hal@example.org', NULL, 8, NULL),"
        " ('ida@example.org', 'Ida', 9, '1980-01-31')",
    )
    project.configure()
    first = project.sync(expect=3)
    assert first.system("shop")["delivered"]["created"] >= 2
    failures = project.failures()
    said = " ".join(item["reason"] for item in failures)
    for words in ("too long", "known", "few", "not-null", "1980-01-31"):
        assert words in said, f"{words!r} is not in {said}"
    assert {item["system"] for item in failures} == {"shop"}
    assert LONG not in first.out + first.err
    held = {row[0] for row in project.rows("shop")}
    assert {"ann@example.org", "ben@example.org", "cleo@example.org"} <= held
    again = project.sync(expect=3)
    assert not again.system("shop")["delivered"]["created"], "what the database refused is not tried again by itself"
    project.sql("crm", "UPDATE customers SET name = 'Eve' WHERE email LIKE 'eve%'", "UPDATE customers SET points = 7 WHERE points = 700")
    project.sql(
        "crm", "UPDATE customers SET name = 'Hal' WHERE email LIKE 'hal%'", "UPDATE customers SET born = '1985-01-01' WHERE name = 'Ida'"
    )
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO names VALUES ('Finn')")
    project.run("failures", "retry")
    project.mended([*PEOPLE, EVE, FINN, GIL, HAL, (*IDA[:3], "1985-01-01")])
    assert project.failures() == []

    project.sql("crm", f"UPDATE customers SET name = '{LONG}', points = 20 WHERE email = 'eve@example.org'")
    one = project.sync(expect=3)
    assert one.system("shop")["delivered"]["failed"] == 1
    assert [item["key"] for item in project.failures()] != []
    project.sync(expect=3)
    project.sql("crm", "UPDATE customers SET name = 'Eve' WHERE email = 'eve@example.org'")
    project.mended([*PEOPLE, (*EVE[:2], "20", None), FINN, GIL, HAL, (*IDA[:3], "1985-01-01")])
    assert project.failures() == []


def test_constraints_of_mariadb(project: Project, mariadb_url: str) -> None:
    """The same in MariaDB, where a value that is too long is refused, never cut."""
    db = mariadb_client(mariadb_url)
    with db.cursor() as cursor:
        cursor.execute("CREATE TABLE names (name VARCHAR(20) PRIMARY KEY) CHARACTER SET utf8mb4")
        cursor.execute("INSERT INTO names VALUES ('Ann'), ('Ben'), ('Cleo'), ('Gil'), ('Hal'), ('Eve')")
        cursor.execute(
            "CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, email VARCHAR(80) UNIQUE, name VARCHAR(20) NOT NULL,"
            " points TINYINT CHECK (points < 100), born DATE, FOREIGN KEY (name) REFERENCES names (name)) CHARACTER SET utf8mb4"
        )
    project.environment["BILL_URL"] = mariadb_url
    project.add("bill", '{connector: mysql, url: "${BILL_URL}"}', "object: customers")

    def read() -> list[Row]:
        with db.cursor() as cursor:
            cursor.execute("SELECT email, name, points, born FROM customers")
            return [tuple(None if value is None else str(value) for value in row) for row in cursor.fetchall()]

    project.readers["bill"] = read
    project.sql(
        "crm",
        f"INSERT INTO customers (email, name, points, born) VALUES ('eve@example.org', '{LONG}', 5, NULL),"
        " ('finn@example.org', 'Finn', 6, NULL), ('gil@example.org', 'Gil', 700, NULL), ('hal@example.org', NULL, 8, NULL)",
    )
    project.configure()
    project.sync(expect=3)
    said = " ".join(item["reason"] for item in project.failures())
    for words in ("too long", "foreign key", "points", "name"):
        assert words in said, f"{words!r} is not in {said}"
    assert project.rows("bill") == sorted(PEOPLE, key=str)
    project.sql("crm", "UPDATE customers SET name = 'Eve' WHERE email LIKE 'eve%'", "UPDATE customers SET points = 7 WHERE points = 700")
    project.sql("crm", "UPDATE customers SET name = 'Hal' WHERE email LIKE 'hal%'")
    with db.cursor() as cursor:
        cursor.execute("INSERT INTO names VALUES ('Finn')")
    project.run("failures", "retry")
    project.mended([*PEOPLE, EVE, FINN, GIL, HAL])
    db.close()


def test_an_expression_fails_on_one_row_when_read_when_filtered_and_when_written(project: Project) -> None:
    columns = {
        "name": "{read: \"concat('', name)\", write: {name: name}}",
        "points": '{read: "CAST(count AS BIGINT)", write: {count: "CAST(points AS VARCHAR)"}}',
    }
    project.add_sqlite(
        "till", [BEN, DORA], columns="email TEXT, name TEXT, points TEXT, born TEXT, count TEXT DEFAULT '2', zone TEXT DEFAULT '1'"
    )
    project.sql("till", "UPDATE customers SET count = points")
    project.add(
        "till",
        "{connector: sqlite, path: till.db}",
        "object: customers, where: \"CAST(zone AS BIGINT) = 1\", set: {zone: '1'}",
        columns=columns,
    )
    project.readers["till"] = lambda: [
        tuple(None if value is None else str(value) for value in row)
        for row in project.sql("till", "SELECT email, name, count, born FROM customers")
    ]
    project.sql(
        "till",
        "INSERT INTO customers (email, name, count, zone)"
        " VALUES ('eve@example.org', 'Eve', 'five', '1'), ('finn@example.org', 'Finn', '6', 'one')",
    )
    project.configure()
    project.sync(expect=3)
    reasons = _reasons(project.failures(), "till")
    assert "points" in reasons["3"], reasons
    assert "five" in reasons["3"], reasons
    assert "where fails on this row" in reasons["4"], reasons
    assert project.rows("crm") == sorted([*PEOPLE, DORA], key=str)
    assert len(project.rows("till")) == 6, "the good rows are done"
    project.sql("till", "UPDATE customers SET count = '5' WHERE id = 3", "UPDATE customers SET zone = '1' WHERE id = 4")
    project.mended([*PEOPLE, DORA, EVE, FINN])

    columns["name"] = '{read: "concat(\'\', name)", write: {name: "CAST(CAST(name AS BIGINT) AS VARCHAR)"}}'
    project.add(
        "till",
        "{connector: sqlite, path: till.db}",
        "object: customers, where: \"CAST(zone AS BIGINT) = 1\", set: {zone: '1'}",
        columns=columns,
    )
    project.configure()
    project.sql(
        "crm",
        "UPDATE customers SET name = '007x', points = 11 WHERE email = 'ann@example.org'",
        "UPDATE customers SET name = '8' WHERE id = 2",
    )
    written = project.sync(expect=3)
    written.system("till")
    reason = " ".join(item["reason"] for item in project.failures())
    assert "007x" in reason, reason
    assert "name" in reason, reason
    rows = project.rows("till")
    assert ("ben@example.org", "8", "2", "1981-02-28") in rows
    assert ("ann@example.org", "Ann", "11", "1980-01-31") in rows, "the other field of the same record is delivered"
    project.sql("crm", "UPDATE customers SET name = '7' WHERE email = 'ann@example.org'")
    project.mended()
    assert project.failures() == []


def test_names_of_every_script(project: Project, postgres_url: str) -> None:
    """Apostrophes, quotes, emoji with joiners, right-to-left script and separators, in values, columns, tables and files."""
    names = (
        'O\'Brien "Bob"',
        "משה 😀 رسول",
        "👩‍👩‍👧‍👦 Zoë; Ł,\\ % ::text $1 {x}",
        "<script>alert('x')</script>",
        "\u202eevil\u202c",
        "a\tb",
    )
    project.add_csv("sheet")
    project.add_jsonl("feed", [("o'hara@example.org", "Q' OR 1=1 --", "1", None)])
    project.add_postgres("shop", postgres_url)
    with psycopg.connect(postgres_url) as db:
        db.execute("""ALTER TABLE customers RENAME TO "שם O'Table 😀" """)
        db.execute("""ALTER TABLE "שם O'Table 😀" RENAME COLUMN name TO "O'Name ""שם"" 😀" """)
    project.add(
        "shop", '{connector: postgres, url: "${SHOP_URL}"}', '''object: "שם O'Table 😀"''', columns={"name": '''"O'Name \\"שם\\" 😀"'''}
    )

    def read() -> list[Row]:
        with psycopg.connect(postgres_url) as db:
            found = db.execute("""SELECT email, "O'Name ""שם"" 😀", points, born FROM "שם O'Table 😀" """).fetchall()
        return [tuple(None if value is None else str(value) for value in row) for row in found]

    project.readers["shop"] = read
    with_names = [(f"x{number}@example.org", name, "1", None) for number, name in enumerate(names)]
    with sqlite3.connect(project.folder / "crm.db") as crm:
        crm.executemany("INSERT INTO customers (email, name, points, born) VALUES (?, ?, ?, ?)", with_names)
    crm.close()
    project.configure()
    project.mended([*PEOPLE, *with_names, ("o'hara@example.org", "Q' OR 1=1 --", "1", None)])
    shown = project.run("failures", "--json")
    assert shown.body == []
    assert CLEO in project.rows("feed")
