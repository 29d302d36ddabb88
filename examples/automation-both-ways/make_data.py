"""Makes the CRM's database."""

import sqlite3

with sqlite3.connect("crm.db") as database:
    database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, number TEXT, name TEXT, orders INTEGER, segment TEXT)")
    rows = [("C1", "Ada Example", 3), ("C2", "Ben Sample", 9), ("C3", "Cleo Specimen", 0)]
    database.executemany("INSERT INTO customers (number, name, orders) VALUES (?, ?, ?)", rows)
database.close()
