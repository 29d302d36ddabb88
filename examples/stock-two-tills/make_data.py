"""Makes the two tills, each with the stock as it was this morning."""

import sqlite3

for till in ("front.db", "yard.db"):
    with sqlite3.connect(till) as database:
        database.execute("CREATE TABLE articles (sku TEXT PRIMARY KEY, on_hand INTEGER NOT NULL)")
        database.execute("INSERT INTO articles VALUES ('H-1', 40), ('S-1', 18)")
