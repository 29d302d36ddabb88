"""`make demo`: what it promises is in the files it leaves behind, and it never replaces a demo that somebody edited."""

from __future__ import annotations

import csv
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def _demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--into", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo that was played, and what it said."""
    folder = tmp_path_factory.mktemp("play") / "demo"
    done = _demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return folder, done.stdout


@pytest.fixture
def demo(played: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the played demo, to be edited."""
    source, _ = played
    target = tmp_path / "demo"
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            place.write_bytes(path.read_bytes())
    return target


def _rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def _sheet(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _stock_list(folder: Path) -> list[tuple[Any, ...]]:
    sheet: Any = openpyxl.load_workbook(folder / "stock.xlsx")["Stock"]
    return list(sheet.iter_rows(min_row=4, max_col=4, values_only=True))


def test_every_step_is_said_in_one_line_and_every_command_of_the_main_job_is_shown(played):
    _, said = played
    steps = re.findall(r"^(\d+)\. .+[.?]$", said, re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    shown = re.findall(r"^\$ trueup (\w+)", said, re.MULTILINE)
    for command in ("drift", "check", "plan", "sync", "explain", "conflicts", "verify"):
        assert command in shown
    assert [command for command in shown if command in {"drift", "check", "plan", "sync"}][:4] == ["drift", "check", "plan", "sync"]


def test_the_customers_agree_in_all_three_files(played):
    folder, _ = played
    crm = _rows(folder / "crm.db", "SELECT email, first_name || ' ' || last_name, address FROM contacts")
    sheet = [
        (row["E-mail"].strip().lower(), row["Name"], row["Address"])
        for row in _sheet(folder / "customers.csv")
        if row["Customer No"] != "008"
    ]
    till = _rows(folder / "till.db", "SELECT email, full_name FROM members")
    assert sorted(crm) == sorted(sheet)
    assert len(crm) == 11
    assert sorted(till) == sorted((email, f"{str(name).split(' ', 1)[1]}, {str(name).split(' ', 1)[0]}") for email, name, _ in crm)


def test_the_latest_phone_and_address_and_the_owners_name_stand(played):
    folder, _ = played
    held = {email: (name, address) for email, name, address in _rows(folder / "crm.db", "SELECT email, last_name, address FROM contacts")}
    assert held["cora@example.org"] == ("Placeholder", "33 New Road")
    assert held["finn@example.org"] == ("van Pattern", "66 New Road")
    assert held["ben@example.org"] == ("Sample", "22 New Road")
    by_number = {row["Customer No"]: row for row in _sheet(folder / "customers.csv")}
    assert by_number["005"]["Name"] == "Eve Testcase"
    assert by_number["003"]["Name"] == "Cora Placeholder"
    assert by_number["002"]["Phone"] == "01632 960199"
    assert _rows(folder / "till.db", "SELECT phone FROM members WHERE card_no = 7002") == [("+441632960199",)]


def test_the_products_agree_in_the_workbook_and_both_tills(played):
    folder, _ = played
    stock = sorted((sku, name, round(100 * price), on_hand) for sku, name, price, on_hand in _stock_list(folder))
    assert stock == _rows(folder / "till.db", "SELECT sku, label, CAST(ROUND(price * 100) AS INTEGER), on_hand FROM articles ORDER BY sku")
    assert stock == _rows(folder / "market.db", "SELECT code, title, pence, on_hand FROM goods ORDER BY code")
    assert ("P-101", "Hammer", 1450, 35) in stock
    assert ("P-104", "Hand saw", 2490, 18) in stock
    assert len(stock) == 7


def test_what_is_not_mapped_stays_as_it_was(played):
    folder, _ = played
    book: Any = openpyxl.load_workbook(folder / "stock.xlsx")
    sheet = book["Stock"]
    assert [sheet.cell(row, 6).value for row in range(4, 10)] == [f"=C{row}*D{row}" for row in range(4, 10)]
    assert sheet["A3"].fill.fgColor.rgb == "001F4E79"
    assert sheet["A1"].font.size == 16
    assert sheet.freeze_panes == "A4"
    assert book["Suppliers"]["B2"].value == "P-101 to P-104"
    remarks = {row["Customer No"]: row["Remarks"] for row in _sheet(folder / "customers.csv")}
    assert remarks["005"] == '"do not call"'
    assert (folder / "customers.csv").read_bytes().count(b"\r\n") == len(remarks) + 1
    assert _rows(folder / "crm.db", "SELECT account_manager FROM contacts WHERE id = 1") == [("south",)]


def test_the_duplicate_is_left_as_it_was_for_a_person(played):
    folder, _ = played
    (second,) = [row for row in _sheet(folder / "customers.csv") if row["Customer No"] == "008"]
    assert (second["Name"], second["Remarks"]) == ("A. Example", "typed in twice?")
    assert _rows(folder / "crm.db", "SELECT COUNT(*) FROM contacts WHERE email = 'ada@example.org'") == [(1,)]


def test_an_edited_demo_is_refused_and_left_as_it_is(demo):
    (demo / "notes.txt").write_text("mine", encoding="utf-8")
    config = (demo / "trueup.yaml").read_bytes() + b"# edited\n"
    (demo / "trueup.yaml").write_bytes(config)
    done = _demo(demo)
    assert done.returncode == 1
    assert "notes.txt, trueup.yaml" in done.stderr
    assert ".venv/bin/python scripts/demo.py --force" in done.stderr
    assert (demo / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (demo / "trueup.yaml").read_bytes() == config


def test_a_folder_that_is_no_demo_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    done = _demo(tmp_path, "--force")
    assert done.returncode == 1
    assert "was not made by this demo" in done.stderr
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_an_edited_demo_is_replaced_when_told_so(demo):
    (demo / "notes.txt").write_text("mine", encoding="utf-8")
    done = _demo(demo, "--force", "--bare")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in demo.iterdir()) == [
        ".demo.json",
        "crm.db",
        "customers.csv",
        "market.db",
        "stock.xlsx",
        "till.db",
        "trueup.yaml",
    ]


def test_a_demo_that_nobody_edited_is_replaced_without_asking(demo):
    done = _demo(demo, "--bare")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _rows(demo / "crm.db", "SELECT address FROM contacts WHERE id = 3") == [("3 Old Lane",)]
