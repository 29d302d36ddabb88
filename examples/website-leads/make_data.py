"""Makes the CRM's database, with one lead that somebody typed in by hand."""

import sqlite3

with sqlite3.connect("crm.db") as database:
    database.execute("CREATE TABLE leads (id INTEGER PRIMARY KEY, email TEXT, name TEXT, wish TEXT, stage TEXT, salesperson TEXT)")
    database.execute("INSERT INTO leads VALUES (1, 'ada@example.com', 'Ada Example', 'a garden house', 'contacted', 'Ben')")
database.close()
