"""From addresses to a project that runs: on a database and a file, and with everything that can be wrong about either."""

from __future__ import annotations

import csv
import stat
from pathlib import Path

import psycopg
import pytest

from tests.system.cli.tool import Project, typed_in
from tests.unit.setup.schemas import people

PASSWORD_PLACE = "crm=postgresql://nobody:sesame-9z@127.0.0.1:1/none"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A newsletter's list, of which a shop has most; names with an apostrophe, an accent, right-to-left and an emoji among them."""
    import random

    made = Project(tmp_path)
    known = people(random.Random(4))
    for number, name in enumerate(("O'Neil", "Zoë", "שלום", "Grin 😀")):
        known[number]["last"] = name
    made.sql(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, email TEXT, town TEXT, credit DECIMAL,"
        " updated_at TEXT)",
        database="shop.db",
    )
    for number, it in enumerate(known[:90]):
        row = (number, it["first"], it["last"], it["email"], it["town"], it["credit"], "2026-03-01T08:00:00Z")
        made.sql("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)", row, database="shop.db")
    made.sql("CREATE TABLE audit_log (at TEXT, what TEXT)", database="shop.db")
    with (tmp_path / "newsletter.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["No", "Given name", "Surname", "E-Mail", "City"])
        writer.writerows([f"{number:04}", it["first"], it["last"], it["email"], it["town"]] for number, it in enumerate(known[10:]))
    return made


def test_from_two_addresses_to_systems_that_agree(project: Project) -> None:
    told = project.trueup("init", "shop=shop.db", "news=newsletter.csv").expect(0)
    assert "customer (shop: customers, news: newsletter.csv), matched by email" in told.out
    assert "to look at" not in told.out
    project.trueup("check").expect(0)
    planned = project.trueup("plan", "--json").expect(0).json["entities"]["customer"]
    assert planned["golden"]["created"] == 120
    project.trueup("sync").expect(0)
    project.trueup("verify").expect(0)
    assert len(project.sql("SELECT 1 FROM customers", database="shop.db")) == 120
    again = project.trueup("init", "shop=shop.db", "news=newsletter.csv").expect(2)
    assert "trueup.yaml is there already" in again.err


def test_split_names_and_references_cross_although_each_system_keeps_them_its_own_way(project: Project) -> None:
    """Names in two columns here and in one there, each system's own numbers of customers in its orders, each system's own clock."""
    project.sql("CREATE TABLE clients (nr INTEGER PRIMARY KEY, full_name TEXT NOT NULL, email TEXT, changed TEXT)", database="till.db")
    project.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, number TEXT)", database="shop.db")
    project.sql("CREATE TABLE sales (id INTEGER PRIMARY KEY, client INTEGER, order_no TEXT)", database="till.db")
    known = project.sql("SELECT id, first_name, last_name, email FROM customers WHERE id >= 5", database="shop.db")
    for key, first, last, mail in known:
        row = (200 - key, f"{first} {last}", mail, "2026-03-01T09:30:00Z")
        project.sql("INSERT INTO clients VALUES (?, ?, ?, ?)", row, database="till.db")
    for number in range(40):
        project.sql("INSERT INTO orders VALUES (?, ?, ?)", (number, number % 60, f"A-{number:03}"), database="shop.db")
        if number >= 10:
            project.sql("INSERT INTO sales VALUES (?, ?, ?)", (1000 + number, 200 - number % 60, f"A-{number:03}"), database="till.db")
    told = project.trueup("init", "shop=shop.db", "till=till.db").expect(0)
    assert "first_name and last_name are one name there" in told.out
    assert "refer to the same customer" in told.out
    assert "Not mapped: shop.town, shop.credit, shop.updated_at, till.changed" in told.out
    written = (project.folder / "trueup.yaml").read_text(encoding="utf-8")
    assert "customer: {type: reference, entity: customer}" in written
    project.trueup("check").expect(0)
    project.trueup("sync").expect(0)
    assert project.sql("SELECT count(*), count(full_name) FROM clients", database="till.db") == [(90, 90)]
    ((first, last),) = project.sql("SELECT first_name, last_name FROM customers WHERE id = 2", database="shop.db")
    assert project.sql("SELECT 1 FROM clients WHERE full_name = ?", (f"{first} {last}",), database="till.db") != []
    (reached,) = project.sql(
        "SELECT email FROM sales JOIN clients ON sales.client = clients.nr WHERE order_no = 'A-003'", database="till.db"
    )
    assert project.sql("SELECT email FROM customers WHERE id = 3", database="shop.db") == [reached]
    project.sql("UPDATE clients SET full_name = 'Ann van Sample' WHERE nr = 190", database="till.db")
    project.trueup("sync").expect(0)
    assert project.sql("SELECT first_name, last_name FROM customers WHERE id = 10", database="shop.db") == [("Ann", "van Sample")]


def test_cleaning_is_proposed_where_values_need_it(project: Project) -> None:
    project.sql("UPDATE customers SET first_name = ' ' || first_name || ' ' WHERE id < 5", database="shop.db")
    project.sql("UPDATE customers SET town = 'n/a' WHERE id < 4", database="shop.db")
    project.trueup("init", "shop=shop.db", "news=newsletter.csv").expect(0)
    lines = project.read("trueup.yaml").splitlines()
    (first,) = [line for line in lines if line.strip().startswith("first_name: {")]
    assert "clean: [trim]" in first
    assert "5 values with space at an end in shop" in first
    assert any('clean: [{null_if: ["n/a"]}]' in line and "4 values without meaning in shop" in line for line in lines)
    assert "untidy" not in project.trueup("check").expect(0).out
    said = project.trueup("drift", "--json").expect(0).json["entities"]["customer"]["dirty"]
    assert {(item["system"], item["field"], item["count"]) for item in said if item["kind"] == "clean"} >= {("shop", "first_name", 5)}


def test_what_programs_are_told(project: Project) -> None:
    said = project.trueup("init", "shop=shop.db", "news=newsletter.csv", "--into", "made/here", "--json").expect(0).json
    (customer,) = said["entities"]
    assert customer["match"] == ["email"]
    assert customer["fields"]["last_name"]["columns"]["news"]["column"] == "Surname"
    assert customer["fields"]["last_name"]["sure"]
    assert customer["not_mapped"] == ["shop.credit", "shop.updated_at"]
    assert "path: ../../shop.db" in project.read("made/here/trueup.yaml").replace('"', "")
    project.trueup("check", "-c", "made/here/trueup.yaml").expect(0)


def test_answers_set_the_pace_and_the_owner(project: Project) -> None:
    project.write(
        "answers.yaml",
        "records:\n  customers: {frequency: real-time, delay: minutes, error_cost: high, people: 3, systems: 2, ownership: clear, "
        "quality: clean, maintenance: true}\n",
    )
    project.trueup("init", "shop=shop.db", "news=newsletter.csv", "--answers", "answers.yaml").expect(0)
    written = project.read("trueup.yaml")
    assert "when: [realtime]" in written
    assert "max_delay: 15m" in written
    assert written.count("source_of_truth: ") == 4
    project.trueup("check").expect(0)


def test_a_person_at_the_terminal_is_asked_what_nothing_tells(project: Project) -> None:
    """Each question has an answer that Enter takes; what is no answer is asked again; nothing is written before the last one."""
    told = typed_in(project.folder, ["9", "news", "", "Newsletter team"], "init", "shop=shop.db", "news=newsletter.csv")
    assert "whose word counts where the systems disagree?" in told
    assert "shop         90 rows, " in told
    assert "One of 1 to 3, or news, shop, each system." in told
    written = project.read("trueup.yaml")
    assert written.count("source_of_truth: news") == 4
    assert "precedence: [news, shop]    # as you said; " in written
    assert "when: [{every: 1h}]" in written
    assert "owner: Newsletter team" in written
    project.trueup("check").expect(0)


def test_a_person_who_leaves_half_way_finds_nothing_written(project: Project) -> None:
    before = project.files()
    told = typed_in(project.folder, ["news", "\x04"], "init", "shop=shop.db", "news=newsletter.csv", status=1)
    assert "how long may the other systems" in told
    assert project.files() == before


def test_nobody_is_asked_with_yes_or_json(project: Project) -> None:
    for number, option in enumerate(("--yes", "--json")):
        told = typed_in(project.folder, [], "init", "shop=shop.db", "news=newsletter.csv", "--into", f"made{number}", option)
        assert "whose word" not in told
    assert project.read("made0/trueup.yaml") == project.read("made1/trueup.yaml")


def test_answers_for_several_kinds_of_record(project: Project) -> None:
    one = (
        "{frequency: nightly, delay: hours, error_cost: medium, people: 3, systems: 2, ownership: clear, quality: clean, maintenance: true}"
    )
    project.write("answers.yaml", f"records:\n  Customers: {one}\n  rain: {one}\n")
    told = project.trueup("init", "shop=shop.db", "news=newsletter.csv", "--answers", "answers.yaml").expect(0)
    assert "The answers for `rain` were not used: nothing that was found is called so." in told.out
    written = project.read("trueup.yaml")
    assert 'when: [{at: "02:00"}]' in written
    assert "source_of_truth: news" in written, "it holds 110 of the 120 people"
    assert "110 rows, 100 % full and tidy; shop 90 rows, " in written
    project.trueup("check").expect(0)


def test_a_password_goes_into_a_file_of_its_own(project: Project, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE TABLE clients (id serial PRIMARY KEY, mail text, surname text, place text)")
        for _number, mail, last, town in project.sql("SELECT id, email, last_name, town FROM customers", database="shop.db"):
            db.execute("INSERT INTO clients (mail, surname, place) VALUES (%s, %s, %s)", (mail, last, town))
    told = project.trueup("init", f"crm={postgres_url}", "news=newsletter.csv").expect(0)
    written = project.read("trueup.yaml")
    assert "${CRM_URL}" in written
    assert postgres_url not in written + told.out + told.err
    assert project.read(".env") == f"CRM_URL={postgres_url}\n"
    assert stat.S_IMODE((project.folder / ".env").stat().st_mode) == 0o600
    project.trueup("check").expect(0)


BAD = {
    "fewer than two systems": (["shop=shop.db"], 2),
    "`shop` is given twice": (["shop=shop.db", "shop=newsletter.csv"], 2),
    "names no system and its address": (["shop.db", "news=newsletter.csv"], 2),
    "`my shop` cannot name a system": (["my shop=shop.db", "news=newsletter.csv"], 2),
    "nothing reads shop.fdb": (["shop=shop.fdb", "news=newsletter.csv"], 2),
    "`trueup connector show hubspot` says what to write": (["crm=hubspot", "news=newsletter.csv"], 2),
    "{connector: rest, file: …}": (["crm=crm.yaml", "news=newsletter.csv"], 2),
    "of a web application, `trueup connector list` says more": (["crm=https://crm.example.com", "news=newsletter.csv"], 2),
    "nothing connects to `oracle://` addresses": (["shop=oracle://me:sesame-9z@host/x", "news=newsletter.csv"], 2),
    "gone.csv": (["shop=shop.db", "news=gone.csv"], 1),
    "crm": ([PASSWORD_PLACE, "news=newsletter.csv"], 1),
    "no two objects of these systems": (["shop=shop.db", "log=log.csv"], 2),
    "cannot be written": (["shop=shop.db", "news=newsletter.csv", "--into", "shop.db/x"], 2),
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_done_is_said_and_nothing_is_written(project: Project, said: str) -> None:
    project.write("log.csv", "id,happened\n1,rain\n2,snow\n")
    before = project.files()
    words, status = BAD[said]
    told = project.trueup("init", *words).expect(status)
    assert said in told.err
    assert "sesame" not in told.err + told.out
    assert project.files() == before


def test_other_values_in_env_are_not_overwritten(project: Project, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE TABLE clients (id serial PRIMARY KEY, mail text)")
        for (mail,) in project.sql("SELECT email FROM customers", database="shop.db"):
            db.execute("INSERT INTO clients (mail) VALUES (%s)", (mail,))
    project.write(".env", "OTHER=1\nCRM_URL=elsewhere")
    told = project.trueup("init", f"crm={postgres_url}", "news=newsletter.csv").expect(2)
    assert "says something else for CRM_URL" in told.err
    assert project.read(".env") == "OTHER=1\nCRM_URL=elsewhere"


def test_where_nothing_belongs_together_it_is_said_what_was_found(project: Project) -> None:
    project.write("rain.csv", "Station,Rain\nMockbury,3\nTrialford,4\n")
    told = project.trueup("init", "shop=shop.db", "rain=rain.csv").expect(2)
    assert "no two objects of these systems seem to hold the same records (shop: audit_log, customers; rain: rain.csv)" in told.err
    assert "shop: audit_log, customers; rain: rain.csv" in project.trueup("drift", "shop=shop.db", "rain=rain.csv").expect(2).err
