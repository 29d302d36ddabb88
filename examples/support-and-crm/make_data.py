"""Makes the databases of the CRM and of the support desk."""

import sqlite3

with sqlite3.connect("crm.db") as database:
    database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT, name TEXT, phone TEXT, tier TEXT, changed TEXT)")
    database.execute("CREATE TABLE cases (id INTEGER PRIMARY KEY, ticket TEXT, customer_id INTEGER, subject TEXT, status TEXT)")
    rows = [
        (1, "ada@example.com", "Ada Example", "+44 20 7946 0101", "gold", "2026-03-01 08:00"),
        (2, "ben@example.com", "Ben Sample", "+44 20 7946 0102", "standard", "2026-03-01 08:00"),
    ]
    database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)", rows)
database.close()

with sqlite3.connect("desk.db") as database:
    database.execute("CREATE TABLE requesters (id INTEGER PRIMARY KEY, mail TEXT, name TEXT, phone TEXT, tier TEXT, updated TEXT)")
    database.execute("CREATE TABLE tickets (no INTEGER PRIMARY KEY, requester INTEGER, subject TEXT, state TEXT)")
    database.execute("INSERT INTO requesters VALUES (31, 'Ada@Example.com', 'A. Example', NULL, NULL, '2026-02-01 08:00')")
    database.execute("INSERT INTO tickets VALUES (4001, 31, 'The door sticks', 'new')")
database.close()
