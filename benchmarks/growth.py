"""How large the state becomes over simulated days of edits, with and without `retention:`, and what it takes to keep it.

make growth                            20,000 records in two systems, 1 % of them edited a day, 100 days
make growth ARGS="--records 100000"    more of them
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from trueup.config.load import load_config
from trueup.runtime.compaction import compact
from trueup.runtime.keeping import back_up, put_back
from trueup.runtime.rebuild import rebuild
from trueup.runtime.workspace import Workspace
from trueup.store import Store
from trueup.store.retention import shrink, size

FIELDS = ("email", "name", "phone", "city", "points", "note")
MILLION = 1_000_000
CONFIG = """
systems:
  crm: {connector: sqlite, path: crm.db}
  till: {connector: sqlite, path: till.db}
entities:
  customer:
    match: [[email]]
    precedence: [crm, till]
    guard: off
    fields: {email: {required: true}, name: {conflict: last_write_wins}, phone: {}, city: {}, points: {type: integer}, note: {}}
    mappings:
      crm: {object: customers, key: id, fields: {email: email, name: name, phone: phone, city: city, points: points, note: note}}
      till: {object: customers, key: id, fields: {email: email, name: name, phone: phone, city: city, points: points, note: note}}
"""


def main() -> None:
    """Play the days and print what the state weighs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.01, help="of the records edited a day, one value each")
    parser.add_argument("--keep", type=int, default=30, help="days of history kept at the end")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueup-growth-") as name:
        play(Path(name), said.records, said.days, said.share, said.keep)


def play(folder: Path, records: int, days: int, share: float, keep: int) -> None:
    """Make two systems, sync them, and edit one or the other every day."""
    chance = random.Random(records)
    fill(folder, records)
    (folder / "trueup.yaml").write_text(CONFIG, encoding="utf-8")
    now = datetime(2026, 1, 1, 6, tzinfo=UTC)
    config = load_config(folder / "trueup.yaml")
    edits = max(1, int(records * share))

    def workspace() -> Workspace:
        return Workspace(config, clock=lambda: now)

    with workspace() as first:
        first.sync()
    tell("after the first sync", folder, records, now)
    begun = time.process_time()
    for _day in range(days):
        now += timedelta(days=1)
        edit(folder, chance, records, edits)
        with workspace() as daily:
            assert daily.sync().status == "done"
    print(f"{days} days of {edits:,} edits: {(time.process_time() - begun) / days:.2f} s of processor time a run")
    tell(f"after {days} days", folder, records, now)
    kept = folder / "kept.trueup"
    with workspace() as at_work:
        seconds("backup, verified", records, lambda: back_up(at_work, kept, verify=True))
        print(f"  the file: {kept.stat().st_size / records * MILLION / 1e6:,.0f} MB per million records")
    with workspace() as at_work:
        seconds("restore", records, lambda: put_back(at_work, kept))
    with workspace() as at_work:
        seconds("the first run after it", records, at_work.sync)
    with workspace() as at_work, at_work.store as store:
        rules = config.retention.__class__(history_s=keep * 86_400.0)
        seconds(f"compaction to {keep} days", records, lambda: (compact(store, rules, now), shrink(store)))
    tell(f"with {keep} days of history", folder, records, now)
    with workspace() as at_work:
        seconds("rebuild", records, lambda: rebuild(at_work, replacing=True))
    tell("after a rebuild", folder, records, now)


def fill(folder: Path, records: int) -> None:
    """Customers in one system, and an empty table in the other."""
    columns = ", ".join(f"{name} {'INTEGER' if name == 'points' else 'TEXT'}" for name in FIELDS)
    numbers = range(records)
    people = [(f"c{n}@example.org", f"Customer {n}", f"+44 20 7946 {n:06}", f"City {n % 500}", n % 100, "as agreed") for n in numbers]
    for system, rows in (("crm", people), ("till", [])):
        with closing(sqlite3.connect(folder / f"{system}.db")) as db, db:
            db.execute(f"CREATE TABLE customers (id INTEGER PRIMARY KEY, {columns})")
            db.executemany(f"INSERT INTO customers ({', '.join(FIELDS)}) VALUES (?, ?, ?, ?, ?, ?)", rows)


def edit(folder: Path, chance: random.Random, records: int, edits: int) -> None:
    """One value each of some records, in one of the systems."""
    keys = chance.sample(range(1, records + 1), edits)
    rows = [(chance.choice(("phone", "city", "note")), f"{chance.randrange(MILLION)}", key) for key in keys]
    with closing(sqlite3.connect(folder / f"{chance.choice(('crm', 'till'))}.db")) as db, db:
        for column, value, key in rows:
            db.execute(f"UPDATE customers SET {column} = ? WHERE id = ?", (value, key))


def tell(when: str, folder: Path, records: int, now: datetime) -> None:
    """The size of the state."""
    with Store.open(str(folder / ".trueup" / "state.db"), read_only=True) as store, store.read() as db:
        found = size(db, now, now - timedelta(days=30))
    million = found.size_bytes / records * MILLION / 1e6
    print(f"{when}: {million:,.0f} MB per million records, {found.lines / records:.2f} lines of history a record")


def seconds(what: str, records: int, work: Callable[[], object]) -> None:
    """How long one thing takes."""
    begun = time.process_time()
    work()
    print(f"{what}: {(time.process_time() - begun) / records * MILLION:.1f} s of processor time per million records")


if __name__ == "__main__":
    main()
