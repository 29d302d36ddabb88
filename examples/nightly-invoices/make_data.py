"""Makes sales/shop.db and accounting/ledger.db."""

import sqlite3
from pathlib import Path

for folder in ("outbox", "accounting/received"):
    Path(folder).mkdir(parents=True, exist_ok=True)

with sqlite3.connect("sales/shop.db") as shop:
    shop.execute(
        "CREATE TABLE invoices (id INTEGER PRIMARY KEY, number TEXT UNIQUE, customer TEXT, issued TEXT, net TEXT, vat TEXT, status TEXT)"
    )
    shop.executemany(
        "INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (1, "2026-0001", "Sample & Sons", "2026-11-19", "1200.00", "240.00", "paid"),
            (2, "2026-0002", "Ada Example", "2026-11-20", "49.90", "9.98", "open"),
            (3, "2026-0003", "Specimen Ltd", "2026-11-20", "310.25", "62.05", "open"),
        ],
    )

with sqlite3.connect("accounting/ledger.db") as ledger:
    ledger.execute(
        "CREATE TABLE receivables (id INTEGER PRIMARY KEY, invoice TEXT UNIQUE NOT NULL, debtor TEXT, dated TEXT, net NUMERIC, vat NUMERIC,"
        " state TEXT)"
    )
