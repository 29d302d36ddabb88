"""How long it takes to undo a run, beside the run: one that changed every row, and the first one, which made them all.

By the clock, and in processor seconds, of which a machine with several processors spends more than one in a second.

python benchmarks/undo.py [--rows 100000] [--times 2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import Measured, trueup
from benchmarks.tables import configuration, fill_postgres
from tests.servers import PostgresServer, start_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping

MADE, CHANGED = "a first run, which makes every row", "a run that changes every row"
MADE_UNDONE, CHANGED_UNDONE = "the undo of the first run", "the undo of the run that changed every row"
PAIRS = ((CHANGED, CHANGED_UNDONE), (MADE, MADE_UNDONE))
LIMIT = 1.0


def main() -> None:
    """Measure, and print a table of the least of several measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=2)
    options = parser.parse_args()
    clock: dict[str, float] = {}
    processor: dict[str, float] = {}
    server = start_postgres(durable=True)
    try:
        for _number in range(options.times):
            with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
                for work, measured in one(server, Path(folder), options.rows).items():
                    clock[work] = min(measured.seconds, clock.get(work, measured.seconds))
                    processor[work] = min(measured.cpu_seconds, processor.get(work, measured.cpu_seconds))
    finally:
        server.stop()
    print(f"| {options.rows:,} rows | seconds of | the run | its undo | ratio |\n|---|---|---:|---:|---:|")
    for run, undone in PAIRS:
        for what, best in ((f"the clock (must: ≤ {LIMIT})", clock), ("processors", processor)):
            print(f"| {run} | {what} | {best[run]:.2f} | {best[undone]:.2f} | {best[undone] / best[run]:.2f} |")


def one(server: PostgresServer, folder: Path, rows: int) -> Mapping[str, Measured]:
    """What each run and each undo took."""
    with server.database() as source, server.database() as target:
        fill_postgres(source, rows)
        fill_postgres(target, 0)
        places = ({"connector": "postgres", "url": url} for url in (source, target))
        (folder / "trueup.yaml").write_text(configuration(*places), encoding="utf-8")
        found = {MADE: trueup(folder, "sync")}
        with psycopg.connect(source, autocommit=True) as db:
            db.execute("UPDATE contact SET note = note || 'a'")
        found[CHANGED] = trueup(folder, "sync")
        found[CHANGED_UNDONE] = trueup(folder, "undo", "2")
        _check(target, "SELECT count(*) FROM contact WHERE note NOT LIKE '%a'", rows)
        found[MADE_UNDONE] = trueup(folder, "undo", "1")
        _check(target, "SELECT count(*) FROM contact", 0)
    return found


def _check(url: str, asked: str, wanted: int) -> None:
    """Raise RuntimeError where an undo did not do what is measured here."""
    with psycopg.connect(url) as db:
        row = db.execute(asked).fetchone()
    if row is None or row[0] != wanted:
        message = f"{asked}: {row}, and {wanted} was expected"
        raise RuntimeError(message)


if __name__ == "__main__":
    main()
