"""The work of a made-up company with two systems, and the mistakes made in it: each edits the second system unless it says otherwise."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    Step = Callable[["Books"], None]

CONTACTS, PRODUCTS, FIRMS = 2_000, 1_500, 120
CONTACT = "id INTEGER PRIMARY KEY, email TEXT, name TEXT, firm TEXT, phone TEXT, city TEXT, owner TEXT, newsletter BOOLEAN, note TEXT"
PRODUCT = "id INTEGER PRIMARY KEY, sku TEXT, ean TEXT, category TEXT, price TEXT, stock INTEGER, active BOOLEAN, launched DATE"
CATEGORIES = ("garden", "kitchen", "office", "toys", "lamps", "tools", "books", "wool")


class Books:
    """The tables of both systems, open for editing."""

    def __init__(self, folder: Path, chance: Random) -> None:
        self.folder = folder
        self.chance = chance
        self.open = {name: sqlite3.connect(folder / f"{name}.db") for name in ("crm", "news")}

    def close(self) -> None:
        """Keep what was done."""
        for db in self.open.values():
            db.commit()
            db.close()

    def do(self, statement: str, *values: Any, system: str = "news") -> None:
        """Edit a system."""
        self.open[system].execute(statement, values)
        self.open[system].commit()

    def rows(self, statement: str, *values: Any, system: str = "news") -> list[tuple[Any, ...]]:
        """Ask a system."""
        return self.open[system].execute(statement, values).fetchall()

    def some(self, table: str, share: float, *, system: str = "news", where: str = "1") -> list[int]:
        """Ids of about this share of a table's rows."""
        ids = [row[0] for row in self.rows(f"SELECT id FROM {table} WHERE {where} ORDER BY id", system=system)]
        return self.chance.sample(ids, min(len(ids), round(share * self.rows(f"SELECT count(*) FROM {table}", system=system)[0][0])))

    def edit(self, table: str, share: float, column: str, change: Callable[[Any], Any], *, system: str = "news", where: str = "1") -> None:
        """Change one column of some rows, one by one."""
        for number in self.some(table, share, system=system, where=where):
            ((value,),) = self.rows(f"SELECT {column} FROM {table} WHERE id = ?", number, system=system)
            if value is not None:
                self.open[system].execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (change(value), number))
        self.open[system].commit()

    def fingerprint(self, system: str) -> str:
        """What a system holds."""
        digest = hashlib.sha256()
        for table in ("contacts", "products"):
            for row in self.rows(f"SELECT * FROM {table} ORDER BY id", system=system):
                digest.update(repr(row).encode())
        return digest.hexdigest()

    def share(self, about: float) -> float:
        """About this share, more or less."""
        return about * self.chance.uniform(0.6, 1.4)


def fill(folder: Path, chance: Random) -> None:
    """Both systems with their tables; the first one has the records."""
    for name in ("crm", "news"):
        db = sqlite3.connect(folder / f"{name}.db")
        db.execute(f"CREATE TABLE contacts ({CONTACT})")
        db.execute(f"CREATE TABLE products ({PRODUCT})")
        if name == "crm":
            for number in range(CONTACTS):
                db.execute(_insert("contacts", 8), _contact(number, chance))
            for number in range(PRODUCTS):
                db.execute(_insert("products", 7), _product(number, chance))
        db.commit()
        db.close()


def _insert(table: str, columns: int) -> str:
    return f"INSERT INTO {table} VALUES (NULL, {', '.join('?' * columns)})"


def _contact(number: int, chance: Random) -> tuple[Any, ...]:
    firm = chance.randrange(FIRMS)
    phone = f"0{chance.randrange(20, 99)} {chance.randrange(100, 999)} {chance.randrange(1_000, 9_999)}"
    note = f"met in {chance.randrange(2005, 2026)}, wants offer {chance.randrange(10_000)}" if chance.random() < 0.6 else None
    name = f"{chance.choice(('Zoë', 'Ann', 'Björn', 'Chloé', 'Dave', 'Eve'))} {number}"
    owner, news = f"rep {chance.randrange(9)}", chance.random() < 0.4
    return f"c{number}@firm{firm}.example", name, f"Firm {firm}", phone, f"City {chance.randrange(60)}", owner, news, note


def _product(number: int, chance: Random) -> tuple[Any, ...]:
    price = f"{chance.randrange(2, 300)}.{chance.choice((0, 49, 95, 99)):02}"
    day = f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 13):02}"
    ean = f"{chance.choice((0, 4, 5))}{chance.randrange(10**11, 10**12)}"
    return f"{number:06}", ean, chance.choice(CATEGORIES), price, chance.randrange(200), True, day


def money(number: float) -> str:
    """A price as it is stored."""
    return f"{number:.2f}"


# ---------------------------------------------------------------- ordinary work


def a_day(books: Books) -> None:
    """Sales, corrections, some new and some deleted records, in both systems."""
    chance = books.chance
    for system in ("crm", "news"):
        books.edit("contacts", 0.003, "phone", lambda _old: f"0{chance.randrange(10**8, 10**9)}", system=system)
        books.edit("contacts", 0.002, "city", lambda _old: f"City {chance.randrange(60)}", system=system)
        books.edit("contacts", 0.004, "note", lambda _old: f"called, offer {chance.randrange(10_000)}", system=system)
        books.edit("contacts", 0.002, "newsletter", lambda old: not old, system=system)
    books.edit("products", 0.05, "stock", lambda old: old - chance.randrange(1, 4))
    books.edit("products", 0.004, "price", lambda old: money(float(old) * chance.uniform(0.9, 1.15)), system="crm")
    for _new in range(chance.randrange(8)):
        books.do(_insert("contacts", 8), *_contact(10_000 + chance.randrange(10**8), chance), system="crm")
    for number in books.some("contacts", 0.001):
        books.do("DELETE FROM contacts WHERE id = ?", number)


def price_rise(books: Books) -> None:
    """All prices up by 3 %."""
    books.edit("products", 1, "price", lambda old: money(float(old) * 1.03), system="crm")


def season(books: Books) -> None:
    """One category becomes a fifth cheaper."""
    category = books.chance.choice(CATEGORIES)
    books.edit("products", 1, "price", lambda old: money(float(old) * 0.8), system="crm", where=f"category = '{category}'")


def half_price(books: Books) -> None:
    """One category at half price."""
    books.do("UPDATE products SET price = printf('%.2f', price / 2) WHERE category = 'wool'", system="crm")


def sale_over(books: Books) -> None:
    """And back to what it was."""
    books.do("UPDATE products SET price = printf('%.2f', price * 2) WHERE category = 'wool'", system="crm")


def ninety_five(books: Books) -> None:
    """A quarter of the prices end in .95 from now on."""
    books.edit("products", books.share(0.2), "price", lambda old: f"{int(float(old))}.95", system="crm")


def customer_list(books: Books) -> None:
    """A list of new customers is imported."""
    for _number in range(400):
        books.do(_insert("contacts", 8), *_contact(10_000 + books.chance.randrange(10**8), books.chance))


def campaign(about: float, books: Books) -> None:
    """A flag is set on a part of the contacts."""
    books.edit("contacts", books.share(about), "newsletter", lambda _old: True, where="NOT newsletter")


def clean_up(books: Books) -> None:
    """Old contacts are deleted, 4 % of them."""
    for number in books.some("contacts", 0.04, system="crm"):
        books.do("DELETE FROM contacts WHERE id = ?", number, system="crm")


def clean_up_part(books: Books) -> None:
    """Old contacts are deleted, one and a half percent of them."""
    for number in books.some("contacts", 0.015, system="crm"):
        books.do("DELETE FROM contacts WHERE id = ?", number, system="crm")


def domain(books: Books) -> None:
    """One firm has another e-mail domain."""
    firm = books.chance.randrange(FIRMS)
    books.do(f"UPDATE contacts SET email = replace(email, '@firm{firm}.', '@new{firm}.') WHERE firm = 'Firm {firm}'", system="crm")


def stock_count(books: Books) -> None:
    """What was counted is a little other than what was thought."""
    books.edit("products", books.share(0.2), "stock", lambda old: max(0, old + books.chance.randrange(-9, 10)))


def phones(books: Books) -> None:
    """Telephone numbers are written without spaces."""
    books.edit("contacts", books.share(0.15), "phone", lambda old: old.replace(" ", ""))


def discontinued(books: Books) -> None:
    """Products that are no longer sold."""
    books.edit("products", books.share(0.08), "active", lambda _old: False, system="crm")


def notes_done(books: Books) -> None:
    """Notes that are done with are emptied."""
    books.edit("contacts", 0.03, "note", lambda _old: None)


def territories(books: Books) -> None:
    """A colleague takes over from another."""
    books.do("UPDATE contacts SET owner = 'rep 99' WHERE owner = 'rep 3'", system="crm")


def town_renamed(books: Books) -> None:
    """A town has another name."""
    books.do("UPDATE contacts SET city = 'Newtown' WHERE city IN ('City 7', 'City 8')", system="crm")


def names_tidied(books: Books) -> None:
    """Names in capitals are written in small letters, and the like."""
    books.edit(
        "contacts", books.share(0.1), "name", lambda old: f"{old.split()[0].title()} {books.chance.choice('ABCDE')}. {old.split()[-1]}"
    )


EVENTS: dict[str, tuple[Step, ...]] = {
    "all prices rise by 3 %": (price_rise,),
    "a category becomes a fifth cheaper": (season,),
    "a category is sold at half price, and back after a while": (half_price, a_day, sale_over),
    "a fifth of the prices end in .95": (ninety_five,),
    "400 new customers are imported": (customer_list,),
    "a campaign sets a flag on a tenth of the contacts": (partial(campaign, 0.1),),
    "a campaign sets a flag on a third of the contacts": (partial(campaign, 0.33),),
    "4 % of the contacts are deleted at once": (clean_up,),
    "9 % of the contacts are deleted in a day, in six runs": (clean_up_part,) * 6,
    "a firm has another e-mail domain": (domain,),
    "a fifth of the stock is counted anew": (stock_count,),
    "telephone numbers lose their spaces": (phones,),
    "8 % of the products are discontinued": (discontinued,),
    "3 % of the notes are emptied": (notes_done,),
    "a ninth of the contacts gets another owner": (territories,),
    "a town has another name": (town_renamed,),
    "a tenth of the names is tidied up": (names_tidied,),
}


# ---------------------------------------------------------------- mistakes


def blanked(books: Books) -> None:
    """A column was lost in an import."""
    books.edit("contacts", 0.12, "phone", lambda _old: None)


def slipped(factor: float, books: Books) -> None:
    """A currency, a unit or a decimal point."""
    books.edit("products", 0.12, "price", lambda old: money(float(old) * factor))


def one_value(books: Books) -> None:
    """A filled-down cell, an UPDATE without WHERE."""
    books.edit("contacts", 0.12, "phone", lambda _old: "n/a")


def zeros_lost(books: Books) -> None:
    """A spreadsheet takes telephone numbers for numbers."""
    books.edit("contacts", 0.12, "phone", lambda old: old.replace(" ", "").lstrip("0"))


def powers(books: Books) -> None:
    """And article numbers, too."""
    books.edit("products", 0.12, "ean", lambda old: f"{float(old):.5E}")


def dates_exchanged(books: Books) -> None:
    """Days are read as months."""
    books.edit("products", 0.2, "launched", lambda old: f"{old[:4]}-{old[8:10]}-{old[5:7]}")


def decimals_cut(books: Books) -> None:
    """Prices are read as whole numbers."""
    books.edit("products", 0.2, "price", lambda old: str(int(float(old))))


def garbled(books: Books) -> None:
    """A file is saved in one encoding and read in another."""
    books.edit("contacts", 0.2, "name", lambda old: old.encode().decode("cp1252"))


def lost_rows(share: float, books: Books) -> None:
    """An export that broke off, a filter that was left on."""
    for number in books.some("contacts", share):
        books.do("DELETE FROM contacts WHERE id = ?", number)


def everything_gone(books: Books) -> None:
    """An empty file."""
    books.do("DELETE FROM products")


def keep_copy(books: Books) -> None:
    """Somebody makes a backup; work goes on."""
    shutil.copy(books.folder / "news.db", books.folder / "news.backup")
    books.edit("contacts", 0.05, "note", lambda _old: f"newer {books.chance.randrange(10**6)}", system="crm")


def put_back(books: Books) -> None:
    """And puts it back."""
    books.open["news"].close()
    shutil.copy(books.folder / "news.backup", books.folder / "news.db")
    books.open["news"] = sqlite3.connect(books.folder / "news.db")


def touched(books: Books) -> None:
    """A script sets a flag wherever it can."""
    books.edit("contacts", 0.8, "newsletter", lambda old: not old)


DAMAGE: dict[str, tuple[Step, ...]] = {
    "a column emptied in 12 % of the rows": (blanked,),
    "prices times 100 in 12 % of the rows": (partial(slipped, 100),),
    "prices in another currency (times 7.46)": (partial(slipped, 7.46),),
    "prices by the dozen (divided by 12)": (partial(slipped, 1 / 12),),
    "one value written over 12 % of the telephone numbers": (one_value,),
    "telephone numbers that lost their leading zeros": (zeros_lost,),
    "article numbers that became powers of ten": (powers,),
    "days and months exchanged": (dates_exchanged,),
    "decimals cut off": (decimals_cut,),
    "letters garbled by an encoding": (garbled,),
    "a restored backup": (keep_copy, put_back),
    "a script that sets a flag in four fifths of the rows": (touched,),
    "8 % of the rows gone at once": (partial(lost_rows, 0.08),),
    "all rows gone": (everything_gone,),
    "a drip: 2 % of the rows deleted every 75 minutes": (partial(lost_rows, 0.02),) * 12,
}
