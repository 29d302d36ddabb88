"""Makes the CRM's database."""

import sqlite3

with sqlite3.connect("crm.db") as database:
    database.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, name TEXT, newsletter TEXT, changed TEXT)")
    rows = [
        ("ada@example.com", "Ada Example", "yes", "2026-03-01 08:00"),
        ("ben@example.com", "Ben Sample", "yes", "2026-03-01 08:00"),
        ("cleo@example.com", "Cleo Specimen", "no", "2026-03-01 08:00"),
    ]
    database.executemany("INSERT INTO contacts (email, name, newsletter, changed) VALUES (?, ?, ?, ?)", rows)
database.close()
