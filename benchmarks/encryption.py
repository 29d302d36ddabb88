"""What an encrypted state costs: the same runs with the state in the clear and encrypted, in turns; processor seconds, the lesser of each.

python benchmarks/encryption.py [--rows 100000] [--times 3]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import trueup
from benchmarks.tables import configuration, fill_postgres
from tests.servers import PostgresServer, start_postgres

LIMIT = 1.3
KINDS = ("in the clear", "encrypted")
WORK = ("first sync", "nothing changed", "1,000 changed", "everything read again")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    best: dict[tuple[str, str], float] = {}
    server = start_postgres(durable=True)
    try:
        for number in range(options.times):
            for kind in KINDS if number % 2 == 0 else reversed(KINDS):
                with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
                    for work, seconds in one(server, Path(folder), options.rows, encrypted=kind == "encrypted").items():
                        best[work, kind] = min(seconds, best.get((work, kind), seconds))
    finally:
        server.stop()
    print(f"| {options.rows:,} rows | in the clear, s | encrypted, s | ratio (must: ≤ {LIMIT}) |\n|---|---:|---:|---:|")
    for work in WORK:
        plain, sealed = (best[work, kind] for kind in KINDS)
        print(f"| {work} | {plain:.2f} | {sealed:.2f} | {sealed / plain:.2f} |")


def one(server: PostgresServer, folder: Path, rows: int, *, encrypted: bool) -> dict[str, float]:
    """Processor seconds of each kind of run."""
    with server.database() as source, server.database() as target:
        fill_postgres(source, rows)
        fill_postgres(target, 0)
        places = ({"connector": "postgres", "url": url} for url in (source, target))
        (folder / "trueup.yaml").write_text("master_key: {file: master.key}\n" + configuration(*places), encoding="utf-8")
        if encrypted:
            trueup(folder, "keys", "new")
            trueup(folder, "keys", "encrypt")
        found = {WORK[0]: trueup(folder, "sync").cpu_seconds, WORK[1]: trueup(folder, "sync").cpu_seconds}
        with psycopg.connect(source, autocommit=True) as db:
            db.execute(f"UPDATE contact SET note = note || 'a' WHERE id % {max(rows // 1_000, 1)} = 0")
        return found | {WORK[2]: trueup(folder, "sync").cpu_seconds, WORK[3]: trueup(folder, "sync", "--full").cpu_seconds}


if __name__ == "__main__":
    main()
