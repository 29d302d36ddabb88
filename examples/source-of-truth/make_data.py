"""Makes phones.db, the directory of the telephone system."""

import sqlite3

with sqlite3.connect("phones.db") as phones:
    phones.execute("CREATE TABLE people (staff_no TEXT PRIMARY KEY, name TEXT, department TEXT, extension TEXT)")
    phones.execute("INSERT INTO people VALUES ('S01', 'Ada Example', 'Sales', '101'), ('S02', 'Ben Sample', 'Stores', '102')")
