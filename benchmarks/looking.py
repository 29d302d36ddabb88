"""How long it takes to look at one record in a state of a million records and ten million lines of history.

make bench ARGS="--explain"                                  a SQLite state
make bench ARGS="--explain --records 100000 --postgres"      a smaller one, and one in PostgreSQL as well

The state begins as a real one, of a sync of a few records. Rows like theirs are then added by SQL, in every table that `explain` asks and
that grows: records, rows of two systems, match values, history spread over ten thousand runs, settled conflicts, failures, parked rows.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.growth import CONFIG, fill
from benchmarks.measure import command
from tests.servers import start_postgres
from trueup.reports.record_words import explain_text, record_text
from trueup.runtime.expected import look_for
from trueup.runtime.explain import explain_record, view_record
from trueup.runtime.past import as_of
from trueup.runtime.records import find_record
from trueup.runtime.workspace import open_workspace
from trueup.store import Store

if TYPE_CHECKING:
    from trueup.store import Db

SEEDS = 50
"""Records that are really synced; the others are like them."""
LINES_A_RECORD = 10
RUNS = 10_000
WAITING = 10_000
LOOKED_AT = 100
COMMANDS = 5
ONE_HISTORY = "SELECT * FROM changes WHERE record = {}"

FILLING = (
    """INSERT INTO golden SELECT {n}, entity, replace(data, 'c0@', 'c' || {n} || '@'), origin_system, origin_at, origins, version,
       deleted_at, alias_of FROM golden, {numbers} WHERE id = 1""",
    """INSERT INTO shadow SELECT entity, system, CAST({n} AS TEXT), {n}, khash + {n}, fingerprint, seen, sent, before, written_at, modified,
       native_version, state FROM shadow, {numbers} WHERE golden_id = 1""",
    "INSERT INTO match_key SELECT entity, rule, hash + {n}, {n} FROM match_key, {numbers} WHERE golden_id = 1",
    "INSERT INTO match_golden SELECT entity, {n}, rule, hash + {n} FROM match_golden, {numbers} WHERE golden_id = 1",
    """INSERT INTO run (command, status, started_at, finished_at, seconds, summary, pid, host, error)
       SELECT command, status, started_at + {n} * 60000000, finished_at + {n} * 60000000, seconds, summary, pid, host, error
       FROM run, {runs} WHERE id = 1""",
    """INSERT INTO conflict (entity, golden_id, field, kind, base, golden, candidates, run, opened_at, closed_at, resolution)
       SELECT 1, {n}, 'name', 'conflict', 'a', 'b', '[]', 1, 1, 2, 'all agree' FROM {waiting}""",
    """INSERT INTO failure (entity, system, subject, key, golden_id, stage, field, reason, attempts, first_at, last_at)
       SELECT 1, 1, 'k' || ({n} * 7), CAST({n} * 7 AS TEXT), {n} * 7, 'write', '', 'refused', 1, 1, 1 FROM {waiting}""",
    """INSERT INTO parked (entity, system, key, candidates, why, run, since)
       SELECT 1, 2, 'p' || {n}, '[' || {n} || ']', 'may be one of several records', 1, 1 FROM {waiting}""",
    "INSERT INTO unsettled_key SELECT 1, 2, 'p' || {n}, 'parked', 1 FROM {waiting}",
    """INSERT INTO history (version, entity, golden_id, run, field, kind, system, at, recorded_at, rule, before, after)
       SELECT {n}, 1, ({n} * 7919) % {records} + 1, {n} / ({lines} / {run_count} + 1) + 1,
       CASE {n} % 3 WHEN 0 THEN 'phone' WHEN 1 THEN 'city' ELSE 'note' END,
       CASE {n} % 5 WHEN 0 THEN 'lost' ELSE 'edit' END, {n} % 2 + 1, {begun} + {n} * 6000000, {begun} + {n} * 6000000, 'accepted',
       '"before ' || ({n} - 1) || '"', '"after ' || {n} || '"' FROM {every_line}""",
)


def main(records: int, *, postgres: bool) -> None:
    """Fill states of that many records, and look."""
    with tempfile.TemporaryDirectory(prefix="trueup-looking-") as name:
        measure("SQLite", project(Path(name), "lite", ""), records)
        if postgres:
            server = start_postgres(durable=True)
            try:
                with server.database() as url:
                    measure("PostgreSQL", project(Path(name), "server", f'state: "{url}"\n'), records)
            finally:
                server.stop()


def project(folder: Path, name: str, begin: str) -> Path:
    """Two systems after their first sync."""
    made = folder / name
    made.mkdir()
    fill(made, SEEDS)
    (made / "trueup.yaml").write_text(begin + CONFIG, encoding="utf-8")
    with open_workspace(made / "trueup.yaml") as workspace:
        assert workspace.sync().status == "done"
    return made


def measure(what: str, folder: Path, records: int) -> None:
    """Fill the state, and time what looks at one record, within the process and as whole commands."""
    with open_workspace(folder / "trueup.yaml") as workspace:
        target = workspace.state_target
    begun = time.perf_counter()
    with Store.open(target) as store:
        is_file = store.backend == "sqlite"
    lines = records * LINES_A_RECORD
    (fill_sqlite if is_file else fill_postgres)(target, records, lines)
    size = f", {Path(target).stat().st_size / 1e9:.1f} GB" if is_file else ""
    print(f"{what}: {records:,} records, {lines:,} lines of history{size}; filled in {time.perf_counter() - begun:.0f} s", flush=True)
    chance = random.Random(records)
    for words, look in LOOKS.items():
        times = [timed(folder, look, chance.randrange(SEEDS + 1, records)) for _number in range(LOOKED_AT)]
        taken, worked = [wall for wall, _cpu in times], [cpu for _wall, cpu in times]
        p50, p99 = statistics.median(taken) * 1000, statistics.quantiles(taken, n=100)[98] * 1000
        cpu = statistics.median(worked) * 1000
        print(f"{what}: {words}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, of the processor {cpu:.1f} ms", flush=True)
    for verb, said in (("explain", ["customer", "{}", "city"]), ("record", ["customer", "{}"]), ("sql", [ONE_HISTORY])):
        gids = [str(chance.randrange(SEEDS + 1, records)) for _number in range(COMMANDS)]
        whole = [command([sys.executable, "-m", "trueup", verb, *(word.format(gid) for word in said)], folder) for gid in gids]
        wall, worked_s = statistics.median(one.seconds for one in whole), statistics.median(one.cpu_seconds for one in whole)
        print(f"{what}: `trueup {verb}`, the whole command: {wall:.2f} s, of the processor {worked_s:.2f} s", flush=True)


# ---------------------------------------------------------------- looking


def timed(folder: Path, look: Callable[[Any, Db, int], object], gid: int) -> tuple[float, float]:
    """Seconds, on the wall and of the processor, from opening the state to the finished text."""
    with open_workspace(folder / "trueup.yaml") as workspace:
        begun, cpu = time.perf_counter(), time.process_time()
        with Store.open(workspace.state_target, read_only=True) as store, store.read() as db:
            look(workspace, db, find_record(workspace, db, "customer", f"crm:{gid}"))
        return time.perf_counter() - begun, time.process_time() - cpu


def explained(workspace: Any, db: Db, gid: int) -> object:
    """`explain customer KEY`."""
    entity = workspace.config.entities["customer"]
    view = view_record(db, workspace.config, entity, gid)
    return explain_text(view, explain_record(view, entity))


def searched(workspace: Any, db: Db, gid: int) -> object:
    """`explain customer KEY city --expected VALUE`."""
    entity = workspace.config.entities["customer"]
    view = view_record(db, workspace.config, entity, gid)
    stories = explain_record(view, entity, "city")
    stories[0].expected = look_for(db, workspace.config, entity, view, stories[0], "Atlantis")
    return explain_text(view, stories, chain=True)


def shown(workspace: Any, db: Db, gid: int) -> object:
    """`record customer KEY`."""
    return record_text(view_record(db, workspace.config, workspace.config.entities["customer"], gid))


def shown_as_it_was(workspace: Any, db: Db, gid: int) -> object:
    """`record customer KEY --at TIME`."""
    entity = workspace.config.entities["customer"]
    return record_text(as_of(db, view_record(db, workspace.config, entity, gid), datetime.now(UTC) + timedelta(days=1)))


def asked(workspace: Any, db: Db, gid: int) -> object:
    """`sql` on the history of one record."""
    del workspace
    return db.connection.exec_driver_sql(ONE_HISTORY.format(gid)).all()


LOOKS: dict[str, Callable[[Any, Db, int], object]] = {
    "explain": explained,
    "explain --expected": searched,
    "record": shown,
    "record --at": shown_as_it_was,
    "sql, one record's history": asked,
}


# ---------------------------------------------------------------- filling


def fill_sqlite(path: str, records: int, lines: int) -> None:
    """The rows, without a journal; the two indexes of the history afterwards, sorted."""

    def numbers(last: int, first: int = 1) -> str:
        return f"(WITH RECURSIVE counted(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM counted WHERE n < {last}) SELECT n FROM counted)"

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -262144")
        db.execute("PRAGMA temp_store = MEMORY")
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'history' AND sql IS NOT NULL"
        ).fetchall()
        db.execute("BEGIN")
        for name, _statement in indexes:
            db.execute(f"DROP INDEX {name}")
        for statement in statements(records, lines, numbers):
            db.execute(statement)
        for _name, statement in indexes:
            db.execute(statement)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = WAL")


def fill_postgres(url: str, records: int, lines: int) -> None:
    """The same by `generate_series`."""

    def numbers(last: int, first: int = 1) -> str:
        return f"generate_series({first}::bigint, {last}::bigint) AS counted(n)"

    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET synchronous_commit = off")
        db.execute("SET maintenance_work_mem = '512MB'")
        found = db.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'history' AND indexname LIKE 'history\\_%'"
        ).fetchall()
        indexes = [(name, text) for name, text in found if "UNIQUE" not in text]
        for name, _text in indexes:
            db.execute(f"DROP INDEX {name}")  # type: ignore[call-overload]
        for statement in statements(records, lines, numbers):
            db.execute(statement)  # type: ignore[call-overload]
        for _name, text in indexes:
            db.execute(text)
        db.execute("ANALYZE")


def statements(records: int, lines: int, numbers: Callable[..., str]) -> list[str]:
    """What fills the tables."""
    begun = int((datetime.now(UTC) - timedelta(days=700)).timestamp()) * 1_000_000
    parts = {
        "n": "n",
        "numbers": numbers(records, SEEDS + 1),
        "runs": numbers(RUNS),
        "waiting": numbers(WAITING),
        "every_line": numbers(lines),
        "records": records,
        "lines": lines,
        "run_count": RUNS,
        "begun": begun,
    }
    return [statement.format(**parts) for statement in FILLING]
