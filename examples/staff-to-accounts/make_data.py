"""Makes the application's database: accounts, and one that no list of staff knows."""

import sqlite3

with sqlite3.connect("app.db") as database:
    database.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, staff_no TEXT, login TEXT, name TEXT, groups TEXT, active INTEGER)")
    database.execute("INSERT INTO accounts VALUES (1, 'S01', 'ada', 'Ada Example', 'sales', 1)")
    database.execute("INSERT INTO accounts VALUES (2, NULL, 'robot', 'Backup job', 'machines', 1)")
database.close()
