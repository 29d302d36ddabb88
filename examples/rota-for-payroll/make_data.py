"""Makes payroll.db: hours that were typed in from the rota, with a slip, a shift that is missing, and a column of payroll's own."""

import sqlite3

with sqlite3.connect("payroll.db") as payroll:
    columns = "day TEXT, staff_no TEXT, name TEXT, hours DECIMAL TEXT, rate DECIMAL TEXT DEFAULT '12.50'"
    payroll.execute(f"CREATE TABLE worked (id INTEGER PRIMARY KEY, {columns})")
    payroll.executemany(
        "INSERT INTO worked (day, staff_no, name, hours) VALUES (?, ?, ?, ?)",
        [("2026-11-20", "S01", "Ada Example", "8"), ("2026-11-20", "S02", "Ben Sample", "75"), ("2026-11-21", "S01", "A. Example", "4")],
    )
