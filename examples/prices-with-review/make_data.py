"""Makes the shop's database and the office's price list."""

import sqlite3
from pathlib import Path

ARTICLES = [(f"A-{number:02}", f"Article {number}", 10.0 * number) for number in range(1, 41)]

with sqlite3.connect("shop.db") as database:
    database.execute("CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT, price NUMERIC)")
    database.executemany("INSERT INTO products VALUES (?, ?, ?)", ARTICLES)
database.close()
with Path("prices.csv").open("w", encoding="utf-8") as file:
    print("Article,Name,Price", *(f"{sku},{name},{price:.2f}" for sku, name, price in ARTICLES), sep="\n", file=file)
