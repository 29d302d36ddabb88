"""Makes the web shop's and the tills' databases, each with its own table."""

import sqlite3

STOCK = [("H-1", 5), ("S-1", 18)]

with sqlite3.connect("shop.db") as database:
    database.execute("CREATE TABLE products (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, available INTEGER)")
    database.executemany("INSERT INTO products (sku, available) VALUES (?, ?)", STOCK)
database.close()
for till in ("till1", "till2"):
    with sqlite3.connect(f"{till}.db") as database:
        database.execute("CREATE TABLE articles (sku TEXT PRIMARY KEY, on_hand INTEGER)")
        database.executemany("INSERT INTO articles VALUES (?, ?)", STOCK)
    database.close()
