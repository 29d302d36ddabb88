"""All benchmarks in one run, each beside its floor and its peers, as ratios; writes the table of docs/performance.md with --write.

make bench                          1,000,000 rows
make bench ARGS="--rows 100000"     a quick look
make bench ARGS="--large"           four million rows as well, for memory
make bench ARGS="--explain"         looking at one record among a million, with ten million lines of history
make bench ARGS="--dashboard"       the dashboard's pages on a large state, fifty browsers, and syncs beside them
make bench ARGS="--hooks"           webhooks alone
make bench ARGS="--rest"            web applications alone
make bench ARGS="--workers"         several workers alone
make bench ARGS="--serve"           how long a change takes to cross by itself
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import dashboard, floors, looking, undo
from benchmarks.crossing import crossing
from benchmarks.hooks import webhooks
from benchmarks.measure import Measured, call, command, trueup
from benchmarks.one_record import one_record_ms
from benchmarks.rest import applications
from benchmarks.tables import configuration, fill_postgres, fill_sqlite, touch_sqlite
from benchmarks.workers import workers
from tests.servers import start_postgres

if TYPE_CHECKING:
    from tests.servers import PostgresServer

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
CHANGED_ROWS = 1_000
CONTACTS = 100_000
SMALL_ROWS = 1_000


@dataclass(frozen=True)
class Line:
    """One line of the table. `ratio` is against the floor named, `limit` what must be reached; None where there is none."""

    work: str
    seconds: float
    floor: str = ""
    ratio: float | None = None
    limit: str = ""
    peak_mb: float | None = None

    def text(self) -> str:
        """As a row of Markdown."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        peak = "" if self.peak_mb is None else f"{self.peak_mb:.0f}"
        return f"| {self.work} | {self.seconds:.2f} | {ratio} | {self.floor} | {self.limit} | {peak} |"


class Bench:
    """The lines so far; each is printed as soon as it is known."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, work: str, measured: Measured, *, floor: str = "", against: float | None = None, limit: str = "") -> None:
        """One measurement, beside its floor."""
        ratio = measured.seconds / against if against else None
        line = Line(work, measured.seconds, floor, ratio, limit, measured.peak_mb)
        self.lines.append(line)
        print(line.text(), flush=True)


def main() -> None:  # noqa: PLR0915  one option after the other
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--explain", action="store_true", help="only how long it takes to look at one record in a large state")
    parser.add_argument("--dashboard", action="store_true", help="only the dashboard, in a browser, on a large state")
    parser.add_argument("--records", type=int, default=1_000_000, help="of that state")
    parser.add_argument("--postgres", action="store_true", help="that state in PostgreSQL as well")
    parser.add_argument("--large", action="store_true", help="four times the rows as well")
    parser.add_argument("--rest", action="store_true", help="web applications alone")
    parser.add_argument("--hooks", action="store_true", help="webhooks alone")
    parser.add_argument("--serve", action="store_true", help="changes that cross by themselves alone")
    parser.add_argument("--workers", action="store_true", help="several workers on one state alone")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    if options.explain:
        looking.main(options.records, postgres=options.postgres)
        return
    if options.dashboard and options.postgres:
        parser.error("the dashboard is measured on a state in a file only")
    if options.dashboard:
        dashboard.main(options.records)
        return
    if options.rest:
        applications()
        return
    bench = Bench()
    print(HEAD, flush=True)
    if options.hooks:
        with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
            webhooks(bench, Path(folder))
        return
    server = start_postgres(durable=True)
    try:
        if options.serve:
            with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
                crossing(server, Path(folder))
            return
        if options.workers:
            with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
                workers(server, Path(folder))
            return
        with tempfile.TemporaryDirectory(prefix="trueup-bench-") as folder:
            whole_tables(bench, server, Path(folder), options.rows, peers=not options.no_peers)
            from_sqlite(bench, server, Path(folder), options.rows, peers=not options.no_peers)
            first_contact(bench, server, Path(folder))
            undone(bench, server, Path(folder))
            small(bench, server, Path(folder))
            webhooks(bench, Path(folder))
            crossing(server, Path(folder))
            workers(server, Path(folder))
            applications()
            if options.large:
                large(bench, server, Path(folder), options.rows * 4)
    finally:
        server.stop()
    if options.write:
        write(bench, options.rows)


HEAD = "| work | seconds | ratio | of what | must | peak MB |\n|---|---:|---:|---|---|---:|"


def whole_tables(bench: Bench, server: PostgresServer, folder: Path, rows: int, *, peers: bool) -> None:
    """PostgreSQL to PostgreSQL: first sync, nothing changed, a thousand changed; with and without a cursor."""
    with server.database() as source, server.database() as target:
        fill_postgres(source, rows)
        fill_postgres(target, 0)
        data = folder / "contact.copy"
        floors.export(source, data)
        copied = call(lambda: floors.copy_into_keyed_table(target, data))
        bench.add(f"floor: psql COPY, {rows:,} rows, primary key", copied)
        data.unlink()
        project = _project(folder, "tables", _postgres(source), _postgres(target))
        first = trueup(project, "sync")
        bench.add("first sync, PostgreSQL → PostgreSQL", first, floor="COPY", against=copied.seconds, limit="≤ 4")
        state_mb = (project / ".trueup" / "state.db").stat().st_size / 1e6
        print(f"state: {state_mb:.0f} MB (must: ≤ 500 at 1,000,000 rows)", flush=True)
        read = call(lambda: (floors.read_postgres(source), floors.read_postgres(target)))
        bench.add("floor: one plain read of each system", read)
        bench.add("nothing changed, no cursor", trueup(project, "sync"), floor="reads", against=read.seconds, limit="≤ 1.5")
        _touch(source, rows, "a")
        changed = trueup(project, "sync")
        bench.add(f"{CHANGED_ROWS:,} changed, no cursor", changed, floor="reads", against=read.seconds, limit="≤ 1.5")
        _rebased(bench, project)
        dated = _project(folder, "dated", _postgres(source), _postgres(target), modified=True)
        trueup(dated, "sync")
        _touch(source, rows, "b")
        bench.add(f"{CHANGED_ROWS:,} changed, cursor", trueup(dated, "sync"), limit="< 1.5 s")
        if peers:
            _peers(bench, folder, source, target, copied.seconds)


def _rebased(bench: Bench, project: Path) -> None:
    """A cleaning rule changes, beside a run that reads every row and finds nothing. `benchmarks/rebase.py` tells more of it."""
    path = project / "trueup.yaml"
    whole = trueup(project, "sync", "--full")
    bench.add("nothing changed, every row read (`--full`)", whole)
    for what, field, rule in (("no value", "email", "trim"), ("every value", "name", "upper")):
        path.write_text(
            path.read_text(encoding="utf-8").replace(f"{field}: {{type: text,", f"{field}: {{type: text, clean: [{rule}],"),
            encoding="utf-8",
        )
        run = trueup(project, "sync")
        bench.add(f"a cleaning rule changed that changes {what}", run, floor="every row read", against=whole.seconds, limit="≤ 2")


def _peers(bench: Bench, folder: Path, source: str, target: str, copied_s: float) -> None:
    if find_spec("dlt") is None:
        print("dlt is not installed (scripts/setup.sh bench), so it is left out", flush=True)
        return
    for disposition in ("append", "merge"):
        _peer(bench, f"dlt, first load, {disposition}", ["dlt", source, target, disposition], folder, copied_s)
    _peer(bench, "dlt, again with nothing changed, merge", ["dlt", source, target, "merge"], folder, copied_s)


def _peer(bench: Bench, work: str, words: list[str], folder: Path, copied_s: float) -> None:
    """One run of a peer; one that fails says why, and the others go on."""
    try:
        measured = command([sys.executable, str(Path(__file__).with_name("peers.py")), *words], folder)
    except RuntimeError as error:
        print(f"{work}: {str(error).strip().splitlines()[-1]}", flush=True)
        return
    bench.add(work, measured, floor="COPY", against=copied_s)


def from_sqlite(bench: Bench, server: PostgresServer, folder: Path, rows: int, *, peers: bool) -> None:
    """SQLite to PostgreSQL."""
    path = folder / "contact.db"
    fill_sqlite(path, rows)
    with server.database() as target, server.database() as copy_target:
        fill_postgres(target, 0)
        fill_postgres(copy_target, rows)
        data = folder / "contact.copy"
        floors.export(copy_target, data)
        copied = call(lambda: floors.copy_into_keyed_table(copy_target, data))
        project = _project(folder, "lite", {"connector": "sqlite", "path": str(path)}, _postgres(target))
        bench.add("first sync, SQLite → PostgreSQL", trueup(project, "sync"), floor="COPY", against=copied.seconds, limit="≤ 4")
        read = call(lambda: (floors.read_sqlite(path), floors.read_postgres(target)))
        bench.add("floor: one plain read of each system", read)
        bench.add("nothing changed, no cursor", trueup(project, "sync"), floor="reads", against=read.seconds, limit="≤ 1.5")
        touch_sqlite(path, rows // CHANGED_ROWS or 1)
        changed = trueup(project, "sync")
        bench.add(f"{CHANGED_ROWS:,} changed, no cursor", changed, floor="reads", against=read.seconds, limit="≤ 1.5")
        if peers and find_spec("dlt") is not None:
            _peer(bench, "dlt, SQLite → PostgreSQL, merge", ["dlt", f"sqlite:///{path}", copy_target, "merge"], folder, copied.seconds)


def first_contact(bench: Bench, server: PostgresServer, folder: Path) -> None:
    """Two systems of contacts that overlap by half, never seen before."""
    with server.database() as source, server.database() as target:
        fill_postgres(source, CONTACTS)
        fill_postgres(target, CONTACTS + CONTACTS // 2, first=CONTACTS // 2 + 1)
        project = _project(folder, "contact", _postgres(source), _postgres(target))
        measured = trueup(project, "sync")
        total = measured.answer["entities"]["contact"]["golden"]["total"]
        bench.add(f"first contact, 2 × {CONTACTS:,}, {total:,} records", measured, limit="≥ 8,000 records/s")
        print(f"first contact: {2 * CONTACTS / measured.seconds:,.0f} rows/s, {total / measured.seconds:,.0f} records/s", flush=True)


def undone(bench: Bench, server: PostgresServer, folder: Path) -> None:
    """A run that changes every row, and its undo; the first run, which makes every row, and its undo."""
    project = folder / "undone"
    project.mkdir()
    found = undo.one(server, project, CONTACTS)
    for run, its_undo in undo.PAIRS:
        bench.add(f"{run}, {CONTACTS:,} rows", found[run])
        bench.add(its_undo, found[its_undo], floor="the run", against=found[run].seconds, limit="≤ 1")


def small(bench: Bench, server: PostgresServer, folder: Path) -> None:
    """What people wait for: help, a quiet run over a thousand records, one record."""
    bench.add("trueup --help", command([sys.executable, "-m", "trueup", "--help"], folder), limit="< 0.3 s")
    with server.database() as source, server.database() as target:
        fill_postgres(source, SMALL_ROWS)
        fill_postgres(target, 0)
        project = _project(folder, "small", _postgres(source), _postgres(target))
        trueup(project, "sync")
        bench.add(f"quiet sync of {SMALL_ROWS:,} records, with start", trueup(project, "sync"), limit="< 1.5 s")
        p50_ms, p99_ms = one_record_ms(project, source)
        print(f"one record, engine time: p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms (must: p50 ≤ 10 ms)", flush=True)


def large(bench: Bench, server: PostgresServer, folder: Path, rows: int) -> None:
    """Memory at four times the rows."""
    with server.database() as source, server.database() as target:
        fill_postgres(source, rows)
        fill_postgres(target, 0)
        project = _project(folder, "large", _postgres(source), _postgres(target))
        bench.add(f"first sync of {rows:,} rows", trueup(project, "sync"), limit="peak ≤ 1.3 × that at a quarter")
        bench.add(f"nothing changed in {rows:,} rows", trueup(project, "sync"), limit="peak ≤ 1.3 × that at a quarter")


def _project(folder: Path, name: str, source: dict[str, str], target: dict[str, str], *, modified: bool = False) -> Path:
    project = folder / name
    project.mkdir()
    (project / "trueup.yaml").write_text(configuration(source, target, modified=modified), encoding="utf-8")
    return project


def _postgres(url: str) -> dict[str, str]:
    return {"connector": "postgres", "url": url}


def _touch(url: str, rows: int, mark: str) -> None:
    """Change a thousand rows spread over the table."""
    step = max(1, rows // CHANGED_ROWS)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"UPDATE contact SET note = note || '{mark}', updated = now() WHERE id % {step} = 0")


def write(bench: Bench, rows: int) -> None:
    """Put the table, the command and the machine into the page."""
    page = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
    text = page.read_text(encoding="utf-8")
    machine = f"{os.cpu_count()} processors, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    table = "\n".join([f'`make bench ARGS="--rows {rows} --write"`, {machine}.', "", HEAD, *(line.text() for line in bench.lines)])
    before, _mark, rest = text.partition(BEGIN)
    _old, _mark, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
