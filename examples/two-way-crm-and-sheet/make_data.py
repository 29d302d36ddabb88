"""Makes crm.db."""

import sqlite3

with sqlite3.connect("crm.db") as crm:
    crm.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, phone TEXT, town TEXT, owner TEXT)")
    crm.execute("INSERT INTO contacts VALUES (11, 'Ada Example', 'ada@example.org', '01632 960101', 'Sampleton', 'south')")
    crm.execute("INSERT INTO contacts VALUES (12, 'Ben Sample', 'ben@example.org', '01632 960102', 'Sampleton', 'south')")
    crm.execute("INSERT INTO contacts VALUES (13, 'Hal Specimen', 'hal@example.org', '01632 960108', 'Trialford', 'north')")
