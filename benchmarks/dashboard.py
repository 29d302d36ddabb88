"""How quickly the dashboard's pages come, what fifty open browsers cost, and whether they delay a sync, on a large state.

make bench ARGS="--dashboard"                      a SQLite state of a million records
make bench ARGS="--dashboard --records 100000"     a smaller one

Two SQLite systems are synced, then one value of each of 5,000 records is edited in both of them, which nobody but a person can settle. Runs
like the first one, a minute apart, and failures are added by SQL. `trueup serve` then shows that state to Chromium, whose clock is used.
"""

from __future__ import annotations

import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
from playwright.sync_api import BrowserContext, Page

from benchmarks.growth import CONFIG, fill
from benchmarks.measure import Measured, trueup
from tests.browsers import LIMIT_MS, chromium
from trueup.runtime.workspace import open_workspace
from trueup.store import conflict, golden

RUNS = 10_000
CONFLICTS = 5_000
FAILURES = 5_000
BROWSERS = 50
ROUNDS = 5
IDLE_S = 15
SYNCS = 3
EDITED = 1_000
PASSWORD = "eleven quiet lamps"  # noqa: S105  of a state that is thrown away
WHEN = "    when: [{every: 24h}]\n"

PAGES = (
    ("/conflicts", "Conflicts", ".choices"),
    ("/failures", "Failures", ".panel"),
    ("/holds", "Holds", ".panel"),
    ("/matches", "Matches", ".panel"),
    ("/records", "Records: customer", "table"),
    ("/runs", "Runs", "table"),
    ("/verification", "Verification", "button, p, .panel"),
    ("/schedules", "Schedules", "table"),
    ("/alerts", "Alerts", "table, p, .panel"),
    ("/checklist", "Checklist", "label, p"),
    ("/people", "People and keys", "button"),
    ("/", "Overview", ".charts"),
)
"""Path, heading, and what stands there once it can be used."""

FIRST = """(() => {
  const look = () => document.querySelector('#page .charts') ? (window.painted = performance.now()) : requestAnimationFrame(look);
  look();
})()"""
CHANGE = """([way, head, there]) => new Promise((done, missed) => {
  setTimeout(() => missed(new Error(`${way} did not come: ${document.getElementById('page').textContent.slice(0, 300)}`)), 30000);
  const begun = performance.now();
  const page = document.getElementById('page');
  const look = () => {
    const said = page.querySelector('h1');
    if (said && said.textContent.trim() === head && page.querySelector(there)) requestAnimationFrame(() => done(performance.now() - begun));
    else requestAnimationFrame(look);
  };
  const link = document.querySelector(`a[href="${way}"]`);
  if (!link) throw new Error(`there is no way to ${way}`);
  link.click();
  look();
})"""
SEARCH = """([text, there]) => new Promise((done, missed) => {
  setTimeout(() => missed(new Error(`${text} did not come: ${document.getElementById('page').textContent.slice(0, 300)}`)), 30000);
  const begun = performance.now();
  const page = document.getElementById('page');
  const over = () => done(performance.now() - begun);
  const look = () => requestAnimationFrame(page.textContent.includes(there) ? over : look);
  const box = page.querySelector('input');
  box.value = text;
  box.dispatchEvent(new Event('input', {bubbles: true}));
  box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
  look();
})"""

MINUTE = 60_000_000
OLDER = f"UPDATE run SET started_at = started_at - {(RUNS + 1) * MINUTE}, finished_at = finished_at - {(RUNS + 1) * MINUTE}"
MORE_RUNS = """INSERT INTO run (command, status, started_at, finished_at, seconds, summary, pid, host, error)
    SELECT command, status, started_at + {n} * 60000000, finished_at + {n} * 60000000, seconds, summary, pid, host, error
    FROM run, {runs} WHERE id = 1"""
MORE_FAILURES = """INSERT INTO failure
    (entity, system, subject, key, golden_id, stage, field, reason, attempts, first_at, last_at, next_try_at)
    SELECT 1, 1, 'k' || {n}, CAST({n} AS TEXT), {n}, 'write', 'phone', 'the system refused the value', 3, {now}, {now}, {now} * 2
    FROM {failures}"""


def main(records: int, folder: Path | None = None) -> None:
    """Make a state of that many records, and look. `folder`: where it is kept, and found again."""
    with tempfile.TemporaryDirectory(prefix="trueup-dashboard-") as name:
        lite = (folder or Path(name)) / "lite"
        if not lite.exists():
            make(lite, records)
        measure("SQLite", lite)


# ---------------------------------------------------------------- the state


def make(made: Path, records: int) -> None:
    """The systems, synced; conflicts, runs, failures, and somebody who may look."""
    begun = time.perf_counter()
    made.mkdir(parents=True)
    fill(made, records)
    (made / "trueup.yaml").write_text(CONFIG + WHEN, encoding="utf-8")
    trueup(made, "sync")
    for system in ("crm", "till"):
        edit(made, system, "city", CONFLICTS)
    trueup(made, "sync")
    with open_workspace(made / "trueup.yaml") as workspace:
        target = workspace.state_target
    now = int(time.time() * 1_000_000)
    with closing(sqlite3.connect(target)) as db, db:
        for statement in (OLDER, MORE_RUNS, MORE_FAILURES):
            db.execute(statement.format(n="n", runs=counted(RUNS), failures=counted(FAILURES), now=now))
    print(f"made in {time.perf_counter() - begun:.0f} s", flush=True)


def counted(last: int) -> str:
    """The numbers up to one, in SQLite."""
    return f"(WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {last}) SELECT n FROM counted)"


def edit(folder: Path, system: str, column: str, rows: int) -> None:
    """Another value for the first rows of one system, each time."""
    with closing(sqlite3.connect(folder / f"{system}.db")) as db, db:
        db.execute(f"UPDATE customers SET {column} = 'by {system} ' || id || ' ' || {time.time_ns()} WHERE id <= {rows}")


# ---------------------------------------------------------------- looking


def measure(what: str, folder: Path) -> None:
    """First paint, page changes, fifty browsers, and a sync beside them."""
    with open_workspace(folder / "trueup.yaml") as workspace, workspace.store as store, store.read() as db:
        has = f"{golden.count(db, 'customer'):,} records, {conflict.count(db):,} open conflicts"
    print(f"{what}: {has}", flush=True)
    alone = syncs(folder)
    with served(folder) as (at, serve), chromium() as browser:
        context = browser.new_context(locale="en-GB", timezone_id="Europe/London")
        context.set_default_timeout(LIMIT_MS)
        log_in(context, folder, at)
        paints = [first_paint(context, at) for _round in range(ROUNDS)]
        print(f"{what}: first useful paint of the overview: {middle(paints)}", flush=True)
        page = context.new_page()
        page.goto(f"{at}/")
        page.wait_for_selector("#page .charts")
        for words, times in changes(page).items():
            print(f"{what}: to {words}: {middle(times)}", flush=True)
        page.goto("about:blank")
        none = busy(serve, IDLE_S)
        watching = [context.new_page() for _number in range(BROWSERS)]
        for opened in watching:
            opened.goto(f"{at}/")
        for opened in watching:
            opened.wait_for_selector("#page .charts")
        time.sleep(5)
        many = busy(serve, IDLE_S)
        print(f"{what}: {BROWSERS} open overviews: {many:.1%} of one core; none open: {none:.1%}", flush=True)
        paged = 0

        def turn() -> None:
            nonlocal paged
            watching[0].evaluate(CHANGE, list(PAGES[paged % len(PAGES)]))
            paged += 1

        beside = syncs(folder, turn)
    for words, one, other in zip(("nothing changed", f"{EDITED:,} changed"), alone, beside, strict=True):
        print(
            f"{what}: a sync, {words}: {middle([it.seconds * 1000 for it in one])} alone, "
            f"{middle([it.seconds * 1000 for it in other])} beside {BROWSERS} open browsers, one of which pages ({paged} pages); "
            f"of the processor {middle([it.cpu_seconds * 1000 for it in one])} and {middle([it.cpu_seconds * 1000 for it in other])}",
            flush=True,
        )


def middle(times_ms: list[float]) -> str:
    """The median and the worst."""
    return f"{statistics.median(times_ms):.0f} ms (at most {max(times_ms):.0f})"


def first_paint(context: BrowserContext, at: str) -> float:
    """Milliseconds from the beginning of the way there until the overview with its charts stands on the page."""
    page = context.new_page()
    page.add_init_script(FIRST)
    page.goto(f"{at}/")
    page.wait_for_function("window.painted !== undefined")
    found = float(page.evaluate("window.painted"))
    page.close()
    return found


def changes(page: Page) -> dict[str, list[float]]:
    """Milliseconds from a click until what was asked for stands there, by page."""
    found: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        for way in PAGES:
            found.setdefault(way[1], []).append(page.evaluate(CHANGE, list(way)))
            if way[0] == "/runs":
                newest = str(page.locator("#page table a").first.get_attribute("href"))
                found.setdefault("one run", []).append(page.evaluate(CHANGE, [newest, f"Run {newest.rpartition('/')[2]}", "table"]))
            if way[0] == "/records":
                asked = f"crm:{(number + 1) * 900}"
                times = found.setdefault("a record by its key", [])
                times.append(page.evaluate(SEARCH, [asked, "Rows in the systems"]))
                page.evaluate(CHANGE, list(way))
                times = found.setdefault("a text that no record among the first 50,000 holds", [])
                times.append(page.evaluate(SEARCH, [f"nowhere {number}", "No record"]))
    return found


def log_in(context: BrowserContext, folder: Path, at: str) -> None:
    """Somebody who may do everything."""
    name = f"admin{time.time_ns()}"
    words = [sys.executable, "-m", "trueup", "users", "add", name, "--role", "admin"]
    said = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout
    page = context.new_page()
    token = re.findall(r"token=([\w-]+)", said)[0]
    page.goto(f"{at}/setup?token={token}")
    for box in page.query_selector_all("input[type=password]"):
        box.fill(PASSWORD)
    page.click("button")
    page.wait_for_selector("#page .charts")
    page.close()


def syncs(folder: Path, beside: Callable[[], object] | None = None) -> tuple[list[Measured], list[Measured]]:
    """Syncs in which nothing has changed, and in which values have; `beside` is called again and again meanwhile."""
    trueup(folder, "sync")
    quiet, at_work = [], []
    for _round in range(SYNCS):
        quiet.append(one_sync(folder, beside))
        edit(folder, "crm", "note", EDITED)
        at_work.append(one_sync(folder, beside))
    return quiet, at_work


def one_sync(folder: Path, beside: Callable[[], object] | None) -> Measured:
    """One of them."""
    if beside is None:
        return trueup(folder, "sync")
    found: list[Measured] = []
    thread = threading.Thread(target=lambda: found.append(trueup(folder, "sync")))
    thread.start()
    while thread.is_alive():
        beside()
    thread.join()
    return found[0]


# ---------------------------------------------------------------- the server


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, int]]:
    """`trueup serve`: its address and its process."""
    log = folder / "serve.log"
    with log.open("w") as stderr:
        running = subprocess.Popen(
            [sys.executable, "-m", "trueup", "serve", "--port", "0"], cwd=folder, stderr=stderr, stdout=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + 60
        at = ""
        while not at:
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            for line in log.read_text().splitlines():
                said = orjson.loads(line) if line.startswith("{") and line.endswith("}") else {}
                at = said["at"] if said.get("event") == "listening" else at
            time.sleep(0.1)
        yield at, running.pid
    finally:
        running.terminate()
        try:
            running.wait(60)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def busy(pid: int, seconds: float) -> float:
    """The share of one core that a process and all that it began take during so many seconds."""
    before, begun = ticks(pid), time.perf_counter()
    time.sleep(seconds)
    return (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - begun)


def ticks(pid: int) -> int:
    """Ticks of the processor that a process and those which it began have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    below = {int(child) for listed in children for child in listed.read_text(encoding="ascii").split()}
    return int(fields[11]) + int(fields[12]) + sum(map(ticks, below))
