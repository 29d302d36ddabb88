"""Makes the billing system's and the bookkeeping's databases, each with its own numbers and words."""

import sqlite3

with sqlite3.connect("billing.db") as database:
    database.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, email TEXT, company TEXT)")
    database.execute(
        "CREATE TABLE invoices (id INTEGER PRIMARY KEY, number TEXT, account_id INTEGER, net TEXT, vat TEXT, state TEXT, issued TEXT)"
    )
    database.executemany(
        "INSERT INTO accounts VALUES (?, ?, ?)", [(501, "ada@example.com", "Example Ltd"), (502, "ben@example.com", "Sample & Sons")]
    )
    invoices = [
        (9001, "R-1001", 501, "100.00", "20.00", "paid", "2026-03-01"),
        (9002, "R-1002", 502, "80.50", "16.10", "open", "2026-03-02"),
        (9003, "R-1003", 501, "40.00", "8.00", "draft", "2026-03-03"),
    ]
    database.executemany("INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?, ?)", invoices)
database.close()

with sqlite3.connect("books.db") as database:
    database.execute("CREATE TABLE debtors (debtor_no INTEGER PRIMARY KEY, name TEXT, mail TEXT)")
    database.execute("CREATE TABLE postings (number TEXT PRIMARY KEY, debtor INTEGER, gross TEXT, day TEXT, status TEXT)")
    database.execute("INSERT INTO debtors VALUES (70001, 'Example Limited', 'ada@example.com')")
database.close()
