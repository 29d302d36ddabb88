"""PostgreSQL, MariaDB and a CSV file, edited by three processes while trueup syncs: at the end all agree and no sale is lost."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import mariadb_client

CONFIG = """
systems:
  shop: {connector: postgres, url: "${SHOP_URL}"}
  billing: {connector: mysql, url: "${BILLING_URL}"}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    precedence: [shop, billing, sheet]
    guard: off
    fields:
      email: {type: text, required: true, clean: [trim, lower]}
      name: {type: text, conflict: last_write_wins}
      credit: {type: decimal, scale: 2, source_of_truth: billing}
      points: {type: integer, conflict: {merge: add}}
      tags: {type: list, conflict: {merge: union}}
    mappings:
      shop:
        object: customers
        key: id
        fields: {email: email, name: full_name, credit: credit, points: points, tags: tags}
      billing:
        object: accounts
        key: account_no
        fields: {email: mail, name: name, credit: credit, points: points, tags: {column: labels, separator: ","}}
      sheet:
        key: {column: No, assign: sequence}
        fields: {email: E-mail, name: Name, credit: Credit, points: Points, tags: Tags}
"""

EDIT_SHOP = """
import psycopg, random, sys, time
rng = random.Random(1)
sold = 0
with psycopg.connect(sys.argv[1], autocommit=True) as db:
    for number in range(60):
        who, points = rng.randrange(1, 41), rng.randrange(1, 5)
        sold += db.execute("UPDATE customers SET points = points + %s WHERE id = %s", (points, who)).rowcount * points
        name = f"Shop name {number} \\u05e9\\u05dc\\u05d5\\u05dd"
        db.execute("UPDATE customers SET full_name = %s WHERE id = %s", (name, rng.randrange(1, 41)))
        if number % 10 == 0:
            db.execute("INSERT INTO customers (email, full_name, credit, points, tags) VALUES (%s, %s, 0, 1, ARRAY['new'])",
                       (f"shop{number}@example.org", "O'Neil \\U0001f600"))
            sold += 1
        time.sleep(0.05)
print(sold)
"""
EDIT_BILLING = """
import pymysql, random, sys, time
from urllib.parse import urlsplit
url = urlsplit(sys.argv[1])
db = pymysql.connect(host=url.hostname, port=url.port, user=url.username, password=url.password, database=url.path[1:], autocommit=True)
rng = random.Random(2)
sold = 0
with db.cursor() as cursor:
    for number in range(60):
        points = rng.randrange(1, 5)
        mail = f"c{rng.randrange(1, 41)}@example.org"
        sold += cursor.execute("UPDATE accounts SET points = points + %s WHERE mail = %s", (points, mail)) * points
        cursor.execute("UPDATE accounts SET credit = %s WHERE mail = %s", (f"{number}.50", f"c{rng.randrange(1, 41)}@example.org"))
        time.sleep(0.05)
print(sold)
"""
EDIT_SHEET = """
import csv, os, random, sys, time
# A careful program: it takes the file's own lock, reads, changes, and replaces the file whole.
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from trueup.connectors.filebase import locked
path = Path(sys.argv[1])
rng = random.Random(3)
sold = 0
for number in range(25):
    with locked("sheet", path):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        row = rng.choice(rows[1:])
        points = rng.randrange(1, 5)
        row[rows[0].index("Points")] = str(int(row[rows[0].index("Points")] or 0) + points)
        sold += points
        tags = rng.choice(rows[1:])
        tags[rows[0].index("Tags")] = ";".join(filter(None, [tags[rows[0].index("Tags")], f"t{number}"]))
        fresh = path.with_suffix(".new")
        with fresh.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\\n").writerows(rows)
        os.replace(fresh, path)
    time.sleep(0.1)
print(sold)
"""


def _trueup(folder: Path, *words: str, expect: set[int]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "trueup", *words, "--json"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout, f"{words}: nothing said, {done.stderr}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture
def company(tmp_path: Path, postgres_url: str, mariadb_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty customers in the shop, the same in billing with other writing, ten of them in the sheet."""
    monkeypatch.setenv("SHOP_URL", postgres_url)
    monkeypatch.setenv("BILLING_URL", mariadb_url)
    (tmp_path / "trueup.yaml").write_text(CONFIG, encoding="utf-8")
    with psycopg.connect(postgres_url, autocommit=True) as shop:
        shop.execute(
            "CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE NOT NULL, full_name text, credit numeric(12,2),"
            " points int NOT NULL DEFAULT 0, tags text[], secret text DEFAULT 'ours')"
        )
        for number in range(1, 41):
            shop.execute(
                "INSERT INTO customers (email, full_name, credit, points, tags) VALUES (%s, %s, 0, 10, '{a}')",
                (f"c{number}@example.org", f"Customer {number}"),
            )
    billing = mariadb_client(mariadb_url)
    with billing.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE accounts (account_no INT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(100) NOT NULL, name VARCHAR(60),"
            " credit DECIMAL(12,2), points INT, labels VARCHAR(2000)) CHARACTER SET utf8mb4"
        )
        for number in range(1, 41):
            cursor.execute(
                "INSERT INTO accounts (mail, name, credit, points, labels) VALUES (%s, %s, %s, 10, 'a')",
                (f" C{number}@example.org", f"Customer {number}", number),
            )
    billing.close()
    lines = ["No,Name,E-mail,Credit,Points,Tags,Remark"]
    lines += [f"{number:03},Customer {number},c{number}@example.org,,10,a,mine {number}" for number in range(1, 11)]
    (tmp_path / "customers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def _rows(folder: Path, postgres_url: str, mariadb_url: str) -> dict[str, dict[str, tuple[Any, ...]]]:
    """What each system holds at the end, by e-mail address, in one form."""
    with psycopg.connect(postgres_url) as shop:
        found = shop.execute("SELECT email, full_name, credit, points, tags FROM customers").fetchall()
    shop_rows = {
        mail: (name, None if credit is None else f"{credit:.2f}", points, tuple(sorted(tags or ())))
        for mail, name, credit, points, tags in found
    }
    billing = mariadb_client(mariadb_url)
    with billing.cursor() as cursor:
        cursor.execute("SELECT mail, name, credit, points, labels FROM accounts")
        listed = cursor.fetchall()
    billing.close()
    billing_rows = {
        mail.strip().lower(): (
            name,
            None if credit is None else f"{credit:.2f}",
            points,
            tuple(sorted(filter(None, (labels or "").split(",")))),
        )
        for mail, name, credit, points, labels in listed
    }
    with (folder / "customers.csv").open(newline="", encoding="utf-8") as file:
        sheet_rows = {
            row["E-mail"]: (
                row["Name"],
                f"{float(row['Credit']):.2f}" if row["Credit"] else None,
                int(row["Points"]),
                tuple(sorted(filter(None, row["Tags"].split(";")))),
            )
            for row in csv.DictReader(file)
        }
    return {"shop": shop_rows, "billing": billing_rows, "sheet": sheet_rows}


@pytest.mark.slow
def test_three_systems_converge_while_three_processes_edit_them(company: Path, postgres_url: str, mariadb_url: str) -> None:
    first = _trueup(company, "sync", expect={0})
    assert first["entities"]["customer"]["golden"]["total"] == 40

    source = str(Path(__file__).parents[2] / "src")
    editors = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), *words], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for program, words in (
            (EDIT_SHOP, [postgres_url]),
            (EDIT_BILLING, [mariadb_url]),
            (EDIT_SHEET, [str(company / "customers.csv"), source]),
        )
    ]
    while any(editor.poll() is None for editor in editors):
        _trueup(company, "sync", expect={0, 3})
    sold = [int((editor.communicate()[0] or "0").strip()) for editor in editors]
    assert [editor.returncode for editor in editors] == [0, 0, 0]

    for _number in range(4):
        last = _trueup(company, "sync", expect={0})
    written = [system["delivered"] for system in last["entities"]["customer"]["systems"].values()]
    assert all(counts["created"] == counts["updated"] == counts["deleted"] == 0 for counts in written), "a quiet pass writes nothing"

    rows = _rows(company, postgres_url, mariadb_url)
    assert len(rows["shop"]) == len(rows["billing"]) == len(rows["sheet"]) == 46
    assert rows["shop"] == rows["billing"]
    assert rows["shop"] == rows["sheet"]
    assert sum(points for _name, _credit, points, _tags in rows["shop"].values()) == 40 * 10 + sum(sold), "every sale is counted once"
    assert (company / "customers.csv").read_text(encoding="utf-8").count("mine ") == 10, "columns that are not ours stay"
    verified = _trueup(company, "verify", expect={0})
    assert verified["entities"]["customer"]["agree"] is True
