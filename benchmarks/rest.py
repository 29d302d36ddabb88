"""Web applications: single rows and batches a second to a service on loopback, how much of a limit is used, and memory of a long list.

python benchmarks/rest.py [--rows 5000] [--listed 100000]

`synced` is the whole way, `trueup sync` from a SQLite table: reading, deciding, the state on disk, and each row's delivery and outcome.
Beside it stands a plain loop of the HTTP client, which knows nothing of any of that.
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.servers import free_port
from trueup.connectors.base import WriteBatch
from trueup.connectors.rest.connector import RestConnector
from trueup.model import ObjectSpec
from trueup.testing.rest_service import TOKEN

CONTACTS = ObjectSpec(name="contacts", key=("id",))
LIMIT = {"requests": 100, "per_s": 1}
BATCH = 500


def connector(folder: Path, port: int, **http: Any) -> RestConnector:
    """A connector to the service at a port."""
    told = {"results": "/results", "errors": "/errors", "index": "/index", "status": "/status", "id": "/id"}
    bulk = {
        "post": "/contacts/batch",
        "body": {"op": "create"},
        "items": "inputs",
        "item": {"attributes": "${fields}"},
        "max": BATCH,
        **told,
    }
    page = {"style": "cursor", "from": "/next", "to": "query.cursor", "size": {"to": "query.limit", "rows": 500}}
    contacts = {
        "key": "/id",
        "envelope": "/attributes",
        "columns": {"id": {"type": "integer", "at": "/id"}, "name": "text", "email": "text", "city": "text"},
        "read": {"full": {"get": "/contacts", "items": "/data", "page": page}, "one": {"get": "/contacts/${id}"}},
        "write": {
            "create": {"post": "/contacts", "body": {"attributes": "${fields}"}},
            "update": {
                "patch": "/contacts/${id}",
                "body": {"attributes": "${changed}"},
                "precondition": {"header": "If-Match", "from": "/version"},
            },
            "bulk": {"create": bulk},
        },
    }
    file = {
        "connector": "directory",
        "auth": {"kind": "bearer", "token": "${secrets.token}"},
        "http": {"base_url": f"http://127.0.0.1:{port}", **http},
        "objects": {"contacts": contacts},
    }
    (folder / "directory.yaml").write_text(json.dumps(file), encoding="utf-8")
    return RestConnector.open("directory", {"file": "directory.yaml", "secrets": {"token": TOKEN}}, directory=str(folder))


def creates(rows: int) -> WriteBatch:
    """So many new rows."""
    names = [f"new {number}" for number in range(rows)]
    data = {
        "__op": range(rows),
        "__key": [None] * rows,
        "name": names,
        "email": [f"{name[4:]}@example.com" for name in names],
        "city": "London",
    }
    return WriteBatch(kind="create", rows=pl.DataFrame(data, schema_overrides={"__key": pl.String, "__op": pl.Int64}))


def updates(rows: int) -> WriteBatch:
    """So many changed names, under the versions that the service begins with."""
    keys = [str(number + 1) for number in range(rows)]
    data = {"__op": range(rows), "__key": keys, "__write": [["name"]] * rows, "name": [f"changed {key}" for key in keys]}
    frame = pl.DataFrame(data, schema_overrides={"__op": pl.Int64})
    return WriteBatch(kind="update", rows=frame, expected=frame.select("__op", __version=pl.col("__key")))


def timed(opened: RestConnector, batch: WriteBatch) -> str:
    """Rows a second; raises RuntimeError unless all are done."""
    start, busy = time.perf_counter(), time.process_time()
    statuses = set(opened.write(CONTACTS, batch)["__status"])
    seconds, busy_s = time.perf_counter() - start, time.process_time() - busy
    if statuses != {"done"}:
        raise RuntimeError(f"not all were done: {statuses}")
    return f"{batch.rows.height / seconds:,.0f}/s ({batch.rows.height / busy_s:,.0f} for each second of processor time)"


def floor(port: int, count: int) -> str:
    """The HTTP client alone, one new row after the other."""
    import httpx2

    with httpx2.Client(verify=False, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        start, busy = time.perf_counter(), time.process_time()
        for number in range(count):
            body = {"attributes": {"name": f"plain {number}", "email": f"plain{number}@example.com", "city": "London"}}
            client.post(f"http://127.0.0.1:{port}/contacts", json=body)
        seconds, busy_s = time.perf_counter() - start, time.process_time() - busy
        return f"{count / seconds:,.0f}/s ({count / busy_s:,.0f} for each second of processor time)"


CONFIGURATION = """
systems:
  office: {{connector: sqlite, path: office.db}}
  directory: {{connector: rest, file: directory.yaml, secrets: {{token: {token}}}}}
entities:
  customer:
    match: [[email]]
    guard: off
    fields:
      email: text
      name: {{type: text, source_of_truth: office}}
      city: text
    mappings:
      office: {{object: people, key: id, fields: {{email: email, name: name, city: city}}}}
      directory: {{object: contacts, key: id, fields: {{email: email, name: name, city: city}}}}
"""


def synced(folder: Path, port: int, rows: int, *, bulk: bool) -> Iterator[str]:
    """`trueup sync` from a table into the application: new rows, then a changed name in each of them."""
    from trueup.runtime.workspace import open_workspace

    opened = connector(folder, port)
    opened.close()
    if not bulk:
        said = json.loads((folder / "directory.yaml").read_text(encoding="utf-8"))
        del said["objects"]["contacts"]["write"]["bulk"]
        (folder / "directory.yaml").write_text(json.dumps(said), encoding="utf-8")
    (folder / "trueup.yaml").write_text(CONFIGURATION.format(token=TOKEN), encoding="utf-8")
    with closing(sqlite3.connect(folder / "office.db")) as office, office:
        office.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, city TEXT)")
        made = ((number, f"synced{number}@example.com", f"Synced {number}", "Ulm") for number in range(1, rows + 1))
        office.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", made)
    kind = "in batches" if bulk else "single rows"
    for what, statement in (("created", None), ("updated", "UPDATE people SET name = 'Again ' || id")):
        if statement is not None:
            if bulk:
                return
            with closing(sqlite3.connect(folder / "office.db")) as office, office:
                office.execute(statement)
        with open_workspace(folder / "trueup.yaml") as workspace:
            start = time.perf_counter()
            summary = workspace.sync()
            seconds = time.perf_counter() - start
        done = getattr(summary.entities["customer"].systems["directory"].delivered, what)
        if done < rows:
            raise RuntimeError(f"only {done} of {rows} rows were {what}")
        yield f"{rows / seconds:,.0f}/s, {what}, {kind}"


def served(folder: Path, rows: int) -> tuple[subprocess.Popen[str], int]:
    """A service with so many contacts, and its port."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    words = [sys.executable, "-m", "trueup.testing.rest_service", "--port", str(port), "--rows", str(rows), "--alike"]
    service = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    service.stdout.readline()
    return service, port


def whole_way(folder: Path, rows: int) -> Iterator[str]:
    """The whole way, into an empty directory each time: row by row, and in batches of which there are ten times as many."""
    for bulk in (False, True):
        own = folder / ("bulk" if bulk else "single")
        service, port = served(own, 0)
        try:
            yield from synced(own, port, 10 * rows if bulk else rows, bulk=bulk)
        finally:
            service.terminate()
            service.wait()
            if service.stdout is not None:
                service.stdout.close()


def main() -> None:
    """Measure, and print one line each."""
    parser = argparse.ArgumentParser(description="How fast a web application is read and written.")
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--listed", type=int, default=100_000)
    options = parser.parse_args()
    applications(options.rows, options.listed)


def applications(rows: int = 5_000, listed: int = 100_000) -> None:
    """All of it: a line for each."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder, port = Path(folder_name), free_port()
        words = [sys.executable, "-m", "trueup.testing.rest_service", "--port", str(port), "--rows", str(listed), "--alike"]
        service = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert service.stdout is not None
            service.stdout.readline()
            opened = connector(folder, port)
            start = time.perf_counter()
            found = sum(page.rows.height for page in opened.read(CONTACTS, ["name", "email", "city"]))
            memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"listed       {found:,} rows, {found / (time.perf_counter() - start):,.0f} rows/s, {memory_mb:.0f} MB at most")
            print(f"floor        {floor(port, rows)}, the HTTP client alone")
            for parallel in (1, 4):
                opened = connector(folder, port, parallel=parallel)
                timed(opened, creates(200))  # connections are there
                print(f"batches      {timed(opened, creates(10 * rows))}, {BATCH} rows a request, {parallel} at once")
                opened.file.objects["contacts"].write.bulk.clear()
                print(f"single rows  {timed(opened, creates(rows))}, creates, {parallel} at once")
            print(f"single rows  {timed(opened, updates(rows))}, updates under If-Match, 4 at once")
            opened.close()
        finally:
            service.terminate()
            service.wait()
            if service.stdout is not None:
                service.stdout.close()
        for line in whole_way(folder, rows):
            print(f"synced       {line}")
        limited(folder)


def limited(folder: Path) -> None:
    """A service that counts strictly, and a connector to which the limit is declared."""
    port = free_port()
    words = [sys.executable, "-m", "trueup.testing.rest_service", "--port", str(port), "--per-s", str(LIMIT["requests"])]
    service = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        service.stdout.readline()
        opened = connector(folder, port, limits=[LIMIT], attempts=1)
        rows = 10 * LIMIT["requests"]
        start = time.perf_counter()
        opened.file.objects["contacts"].write.bulk.clear()
        statuses = opened.write(CONTACTS, creates(rows))["__status"].to_list()
        seconds = time.perf_counter() - start
        allowed = int(LIMIT["requests"] / LIMIT["per_s"] * seconds)
        refused = sum(status != "done" for status in statuses)
        print(f"limited      {rows} requests in {seconds:.2f} s, {allowed} allowed: {rows / allowed:.0%} used, {refused} refused")
        opened.close()
    finally:
        service.terminate()
        service.wait()
        if service.stdout is not None:
            service.stdout.close()


if __name__ == "__main__":
    main()
