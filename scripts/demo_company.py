"""The small company of the demo: five files that know the same customers and products, and have drifted apart.

People and goods are examples and look it: addresses end in example.org, telephone numbers are from the range kept for fiction.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

CONTACTS = """
    CREATE TABLE contacts (
        id INTEGER PRIMARY KEY, first_name TEXT NOT NULL, last_name TEXT, email TEXT NOT NULL UNIQUE, phone TEXT, address TEXT,
        state TEXT NOT NULL DEFAULT 'A' CHECK (state IN ('A', 'C')), account_manager TEXT NOT NULL DEFAULT 'nobody yet',
        updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TRIGGER contacts_touched AFTER UPDATE ON contacts WHEN NEW.updated_at = OLD.updated_at
    BEGIN UPDATE contacts SET updated_at = CURRENT_TIMESTAMP WHERE id = NEW.id; END;
"""
CONTACT_COLUMNS = "first_name, last_name, email, phone, address, state, account_manager, updated_at"
CONTACT_ROWS = [
    ("Ada", "Example", "ada@example.org", "01632 960101", "1 Sample Street", "A", "south", "2026-01-12 09:00:00"),
    ("Ben", "Sample", "ben@example.org", "01632 960102", "2 Sample Street", "A", "south", "2026-01-12 09:05:00"),
    # Moved since: the sheet knows the new address.
    ("Cora", "Placeholder", "cora@example.org", "01632 960103", "3 Old Lane", "A", "north", "2025-02-03 11:30:00"),
    ("Dan", "Dummy", "dan@example.org", "01632 960104", "4 Sample Street", "A", "north", "2026-01-15 14:10:00"),
    ("Eve", "Testcase", "eve@example.org", "01632 960105", "5 Sample Street", "C", "north", "2026-02-01 10:00:00"),
    # The latest address is here: the sheet is behind.
    ("Finn", "van Pattern", "finn@example.org", "01632 960106", "66 New Road", "A", "south", "2026-03-02 16:45:00"),
    ("Gwen", "Fictional", "gwen@example.org", None, "7 Sample Street", "A", "south", "2026-01-20 08:20:00"),
    # Nobody else knows this one.
    ("Hal", "Specimen", "hal@example.org", "01632 960108", "8 Sample Street", "A", "north", "2026-03-04 12:00:00"),
    ("Ivy", "Nonesuch", "ivy@example.org", "01632 960109", "9 Sample Street", "A", "south", "2026-01-22 13:00:00"),
]

CUSTOMER_COLUMNS = ("Customer No", "Name", "E-mail", "Phone", "Address", "Status", "Changed", "Remarks")
CUSTOMER_ROWS = [
    ("001", "Ada Example", "ada@example.org", "+44 1632 960101", "1 Sample Street", "active", "2026-01-10", "likes catalogues"),
    ("002", "Ben Sample", "Ben@Example.org ", "01632960102", "2 Sample Street", "active", "2026-01-10", ""),
    ("003", "Cora Placeholder", "cora@example.org", "01632 960103", "33 New Road", "active", "2026-02-20", "moved in February"),
    ("004", "Dan Dummy", "dan@example.org", "01632 960104", "4 Sample Street", "active", "2026-01-10", ""),
    # The CRM is where names are right.
    ("005", "Eva Testcase", "eve@example.org", "01632 960105", "5 Sample Street", "closed", "2026-01-10", '"do not call"'),
    ("006", "Finn van Pattern", "finn@example.org", "01632 960106", "6 Old Lane", "active", "2025-06-01", ""),
    ("007", "Gwen Fictional", "gwen@example.org", "01632 960107", "7 Sample Street", "active", "2026-01-10", "calls back"),
    # Ada once more.
    ("008", "A. Example", "ada@example.org", "01632 960101", "1 Sample Street", "active", "2026-01-11", "typed in twice?"),
    # Not an e-mail address.
    ("009", "Kim Blank", "kim at example.org", "01632 960110", "10 Sample Street", "active", "2026-02-02", ""),
    # Nobody else knows this one.
    ("010", "Lea Mockup", "lea@example.org", "01632 960111", "11 Sample Street", "active", "2026-03-05", "from the open day"),
]

TILL = """
    CREATE TABLE members (
        card_no INTEGER PRIMARY KEY, full_name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT, discount INTEGER NOT NULL DEFAULT 0,
        updated_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TRIGGER members_touched AFTER UPDATE ON members WHEN NEW.updated_at = OLD.updated_at
    BEGIN UPDATE members SET updated_at = CURRENT_TIMESTAMP WHERE card_no = NEW.card_no; END;
    CREATE TABLE articles (sku TEXT PRIMARY KEY, label TEXT NOT NULL, price NUMERIC, on_hand INTEGER, vat_group TEXT NOT NULL DEFAULT 'S');
"""
MEMBER_COLUMNS = "card_no, full_name, email, phone, discount, updated_at"
MEMBER_ROWS = [
    (7001, "Example, Ada", "ada@example.org", "01632 960101", 5, "2026-01-05 10:00:00"),
    (7002, "Sample, Ben", "ben@example.org", "01632 960102", 0, "2026-01-05 10:00:00"),
    # A new telephone number, given at the till.
    (7003, "Dummy, Dan", "dan@example.org", "01632 960144", 5, "2026-03-01 17:30:00"),
    (7004, "van Pattern, Finn", "finn@example.org", "01632 960106", 0, "2026-01-05 10:00:00"),
]
ARTICLE_ROWS = [
    ("P-101", "Hammer", "14.50", 40, "S"),
    ("P-102", "Pliers", "9.90", 25, "S"),
    ("P-103", "Spirit level", "19.00", 12, "S"),
    # The office says 24.90.
    ("P-104", "Hand saw", "22.90", 18, "S"),
    ("P-105", "Tape measure", "5.25", 60, "S"),
    ("P-107", "Gift card", "10.00", 100, "Z"),
]

MARKET = "CREATE TABLE goods (code TEXT PRIMARY KEY, title TEXT NOT NULL, pence INTEGER, on_hand INTEGER, shelf TEXT)"
GOODS_ROWS = [
    ("P-101", "Hammer", 1450, 40, "left"),
    ("P-102", "pliers", 990, 25, "left"),
    ("P-104", "Hand saw", 2490, 18, "right"),
    ("P-105", "Tape measure", 525, 60, "right"),
]

STOCK_HEAD = ("SKU", "Product", "Price", "On hand", "Reorder at", "Value")
STOCK_ROWS = [
    ("P-101", "Hammer", 14.50, 40, 10),
    ("P-102", "Pliers", 9.90, 25, 10),
    ("P-103", "Spirit level", 19.00, 12, 5),
    ("P-104", "Hand saw", 24.90, 18, 5),
    ("P-105", "Tape measure", 5.25, 60, 20),
    # Neither till knows it yet.
    ("P-106", "Work gloves", 7.75, 30, 10),
]
HEAD_ROW = 3


def make_company(folder: Path) -> None:
    """Write the files of the company into an existing folder."""
    _database(folder / "crm.db", CONTACTS, (f"contacts ({CONTACT_COLUMNS})", CONTACT_ROWS))
    _database(folder / "till.db", TILL, (f"members ({MEMBER_COLUMNS})", MEMBER_ROWS), ("articles", ARTICLE_ROWS))
    _database(folder / "market.db", MARKET, ("goods", GOODS_ROWS))
    with (folder / "customers.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\r\n").writerows([CUSTOMER_COLUMNS, *CUSTOMER_ROWS])
    _workbook(folder / "stock.xlsx")


def _database(path: Path, tables: str, *contents: tuple[str, Iterable[Sequence[object]]]) -> None:
    """A SQLite file with its tables; each of `contents` is a table, perhaps with its columns, and rows."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(tables)
        for table, rows in contents:
            for row in rows:
                database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _workbook(path: Path) -> None:
    book = Workbook()
    _stock_sheet(book.worksheets[0])
    suppliers = book.create_sheet("Suppliers")
    for line in (("Supplier", "Delivers"), ("Example Tools", "P-101 to P-104"), ("Sample Textiles", "P-106")):
        suppliers.append(line)
    book.save(path)


def _stock_sheet(sheet: Worksheet) -> None:
    """A title, a coloured head in row 3, the goods, and a column of formulas that belongs to the office alone."""
    sheet.title = "Stock"
    sheet["A1"] = "Stock list"
    sheet["A1"].font = Font(bold=True, size=16)
    sheet.append([])
    sheet.append(STOCK_HEAD)
    for number, row in enumerate(STOCK_ROWS, start=HEAD_ROW + 1):
        sheet.append([*row, f"=C{number}*D{number}"])
        sheet.cell(number, 3).number_format = "#,##0.00"
        sheet.cell(number, 6).number_format = "#,##0.00"
    for cell in sheet[HEAD_ROW]:
        cell.font = Font(bold=True, color="FFFFFF")
        cell.fill = PatternFill("solid", fgColor="1F4E79")
    for letter, width in zip("ABCDEF", (10, 18, 10, 10, 12, 12), strict=True):
        sheet.column_dimensions[letter].width = width
    sheet.freeze_panes = f"A{HEAD_ROW + 1}"


# --- looking and editing without trueup, as the people of the company would ---------------------------------------------------------------


def change_row(path: Path, statement: str) -> None:
    """Run one SQL statement that must change exactly one row."""
    with closing(sqlite3.connect(path)) as database, database:
        changed = database.execute(statement).rowcount
    if changed != 1:
        raise LookupError(f"{path.name}: {statement}: {changed} rows")


def change_text(path: Path, before: str, after: str) -> None:
    """Replace a text that must be in the file exactly once."""
    text = path.read_bytes().decode("utf-8")
    if text.count(before) != 1:
        raise LookupError(f"{path.name}: {before!r} is there {text.count(before)} times")
    path.write_bytes(text.replace(before, after).encode("utf-8"))


def customer_everywhere(folder: Path, email: str) -> dict[str, tuple[object, ...]]:
    """Each file's own way of showing a customer, read from the file itself; a file without that customer is left out."""
    found = {
        "crm.db": _row(folder / "crm.db", "SELECT first_name, last_name, phone, address FROM contacts WHERE email = ?", email),
        "customers.csv": _line(folder / "customers.csv", email),
        "till.db": _row(folder / "till.db", "SELECT full_name, phone FROM members WHERE email = ?", email),
    }
    return {name: row for name, row in found.items() if row is not None}


def product_everywhere(folder: Path, sku: str) -> dict[str, tuple[object, ...]]:
    """As `customer_everywhere`, for a product: name, price and number in stock."""
    found = {
        "stock.xlsx": _stock_row(folder / "stock.xlsx", sku),
        "till.db": _row(folder / "till.db", "SELECT label, price, on_hand FROM articles WHERE sku = ?", sku),
        "market.db": _row(folder / "market.db", "SELECT title, pence, on_hand FROM goods WHERE code = ?", sku),
    }
    return {name: row for name, row in found.items() if row is not None}


def _row(path: Path, query: str, value: str) -> tuple[object, ...] | None:
    with closing(sqlite3.connect(path)) as database:
        found: tuple[object, ...] | None = database.execute(query, (value,)).fetchone()
    return found


def _line(path: Path, email: str) -> tuple[object, ...] | None:
    """The first line with that address."""
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["E-mail"].strip().lower() == email:
                return line["Name"], line["Phone"], line["Address"]
    return None


def _stock_row(path: Path, sku: str) -> tuple[object, ...] | None:
    with closing(load_workbook(path, read_only=True)) as book:
        for row in book["Stock"].iter_rows(min_row=HEAD_ROW + 1, max_col=4, values_only=True):
            if row[0] == sku:
                return row[1:]
    return None
