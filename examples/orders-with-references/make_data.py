"""Makes shop.db, which takes orders, and books.db, which knows customers and orders by other numbers."""

import sqlite3

with sqlite3.connect("shop.db") as shop:
    shop.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE)")
    shop.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, number TEXT NOT NULL UNIQUE,"
        " customer_id INTEGER NOT NULL REFERENCES customers, total NUMERIC)"
    )
    shop.execute("INSERT INTO customers VALUES (1, 'ada@example.org'), (2, 'ben@example.org'), (3, 'hal@example.org')")
    shop.execute("INSERT INTO orders VALUES (1, 'O-1', 2, 19.90), (2, 'O-2', 3, 7.25)")

with sqlite3.connect("books.db") as books:
    books.execute("CREATE TABLE debtors (debtor_no INTEGER PRIMARY KEY, mail TEXT NOT NULL UNIQUE)")
    books.execute("CREATE TABLE invoices (number TEXT PRIMARY KEY, debtor INTEGER NOT NULL REFERENCES debtors, amount NUMERIC)")
    books.execute("INSERT INTO debtors VALUES (70001, 'ben@example.org')")
