"""What a changed mapping costs beside a run in which nothing changed: processor seconds, and what was delivered because of it.

python benchmarks/rebase.py [--rows 1000000] [--systems postgres|sqlite]
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import trueup
from benchmarks.tables import configuration, fill_postgres, fill_sqlite
from tests.servers import start_postgres

if TYPE_CHECKING:
    from benchmarks.measure import Measured

ONE_IN_A_HUNDRED = "UPDATE contact SET note = upper(note) WHERE id % 100 = 0"
CHANGES = {
    "a cleaning rule that changes no value": ("email: {type: text,", "email: {type: text, clean: [trim],"),
    "a cleaning rule that changes one value in a hundred": ("note: {type: text,", "note: {type: text, clean: [lower],"),
    "a cleaning rule that changes every value": ("name: {type: text,", "name: {type: text, clean: [upper],"),
}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--systems", choices=("postgres", "sqlite"), default="postgres")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trueup-bench-")))
        if options.systems == "postgres":
            server = start_postgres(durable=True)
            stack.callback(server.stop)
            urls = [stack.enter_context(server.database()) for _side in range(2)]
            fill_postgres(urls[0], options.rows)
            fill_postgres(urls[1], 0)
            with psycopg.connect(urls[0], autocommit=True) as db:
                db.execute(ONE_IN_A_HUNDRED)
            places = [{"connector": "postgres", "url": url} for url in urls]
        else:
            paths = [folder / f"{name}.db" for name in ("source", "target")]
            fill_sqlite(paths[0], options.rows)
            fill_sqlite(paths[1], 0)
            with closing(sqlite3.connect(paths[0])) as file, file:
                file.execute(ONE_IN_A_HUNDRED)
            places = [{"connector": "sqlite", "path": str(path)} for path in paths]
        measure(folder, places, options.rows)


def measure(folder: Path, places: list[dict[str, str]], rows: int) -> None:
    """The runs, one after the other."""
    path = folder / "trueup.yaml"
    text = configuration(places[0], places[1])
    path.write_text(text, encoding="utf-8")
    trueup(folder, "sync")
    trueup(folder, "sync")
    quiet = trueup(folder, "sync")
    whole = trueup(folder, "sync", "--full")
    print(f"| {rows:,} rows | processor s | × nothing changed | × every row read | delivered | peak MB |\n|---|---:|---:|---:|---:|---:|")
    _tell("nothing changed", quiet, quiet, whole)
    _tell("nothing changed, every row read (`--full`)", whole, quiet, whole)
    for what, (before, after) in CHANGES.items():
        text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")
        _tell(what, trueup(folder, "sync"), quiet, whole)
        _tell("the run after it", trueup(folder, "sync"), quiet, whole)


def _tell(what: str, run: Measured, quiet: Measured, whole: Measured) -> None:
    systems = run.answer["entities"]["contact"]["systems"].values()
    delivered = sum(part["delivered"][kind] for part in systems for kind in ("created", "updated", "deleted", "pending"))
    ratios = " | ".join(f"{run.cpu_seconds / other.cpu_seconds:.2f}" for other in (quiet, whole))
    print(f"| {what} | {run.cpu_seconds:.2f} | {ratios} | {delivered:,} | {run.peak_mb or 0:.0f} |", flush=True)


if __name__ == "__main__":
    main()
