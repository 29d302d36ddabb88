"""Opening, transactions, processes, crashes and threads of the state, on the real databases."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import sqlalchemy as sa

from trueup.errors import StateError, StateLockedError
from trueup.store import Db, Store, engine, golden, indexes, match_key, meta, migrate, paused, run, schema, shadow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
SOURCE = Path(__file__).parents[3] / "src"


@contextmanager
def child(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs `code` with the arguments in `sys.argv`; it is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let a child that waits for a line go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


HOLDER = """
    import sys
    from datetime import UTC, datetime
    from trueup.store import Store
    store = Store.open(sys.argv[1])
    with store.lock("sync", now=datetime.now(UTC)):
        print("holding", flush=True)
        sys.stdin.readline()
    print("released", flush=True)
    sys.stdin.readline()
"""


# ---------------------------------------------------------------- opening


def test_a_state_is_kept_between_openings(target: str) -> None:
    with Store.open(target) as store, store.write() as tx:
        meta.set_(tx, "a", "kept")
    for options in ({}, {"create": False}, {"read_only": True}):
        with Store.open(target, **options) as store, store.read() as db:
            assert meta.get(db, "a") == "kept"


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "state.db")) as store, store.write() as tx:
        meta.set_(tx, "a", "b")
        assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("state.db*")} == {0}


def test_a_state_is_lean(tmp_path: Path) -> None:
    rows = 20_000
    ids = pl.int_range(1, rows + 1, eager=True)
    numbers = pl.DataFrame({"gid": ids}).with_columns(
        khash=pl.col("gid").hash(1).reinterpret(signed=True), key=pl.col("gid").cast(pl.String)
    )
    Store.open(str(tmp_path / "state.db")).close()
    empty = (tmp_path / "state.db").stat().st_size
    with Store.open(str(tmp_path / "state.db")) as store, store.write() as tx:
        golden.upsert(tx, "customer", pl.DataFrame({"id": ids, "data": ["x" * 200] * rows, "version": [1] * rows}), new=True)
        for system in ("crm", "shop"):
            shadow.upsert(tx, "customer", system, numbers.with_columns(fingerprint="khash", modified=pl.lit(NOW)), new=True)
        match_key.add(tx, "customer", numbers.select("gid", rule=pl.lit(0), hash="khash"))
    # 200 bytes of data a record, and everything else that is kept of it in two systems.
    assert ((tmp_path / "state.db").stat().st_size - empty) / rows < 200 + 225


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}])
def test_a_missing_state_is_not_made_unasked(target: str, options: dict[str, bool]) -> None:
    with pytest.raises(StateError, match="there is no state"):
        Store.open(target, **options)
    with Store.open(target):
        pass
    with Store.open(target, **options):
        pass


def test_a_read_only_state_cannot_be_changed(target: str) -> None:
    with Store.open(target):
        pass
    with Store.open(target, read_only=True) as store:
        with pytest.raises(StateError, match="reading only"), store.write():
            pass
        with pytest.raises(StateError, match="reading only"):
            store.lock("sync", now=NOW)
        with pytest.raises(StateError), store.read() as db:
            db.connection.exec_driver_sql("DELETE FROM run")


@pytest.mark.parametrize("content", [b"id,name\n1,Ann\n" * 1000, b"SQLite format 3\x00" + b"\xff" * 8192], ids=["a CSV file", "damaged"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        Store.open(str(path))
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert path.read_bytes() == content


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Store.open(str(path)) as store, store.write() as tx:
        golden.upsert(tx, "customer", pl.DataFrame({"id": range(1000), "data": ["x" * 200] * 1000, "version": [1] * 1000}))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StateError, match="damaged"), Store.open(str(path)) as store, store.read() as db:
        golden.count(db, "customer")


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE run (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StateError, match="another program"):
        Store.open(str(path))
    assert path.read_bytes() == before


def test_a_folder_and_a_file_for_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is a folder"):
        Store.open(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError):
        Store.open(str(tmp_path / "file" / "state.db"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda url: url.replace("@127", "wrong@127"), "refused the user or password"),
        (lambda url: url.rpartition("/")[0] + "/absent", "absent"),
        (lambda url: sa.make_url(url).set(port=1).render_as_string(hide_password=False), "does not answer"),
        (lambda url: url + "?schema=a;b", "plain name"),
    ],
    ids=["password", "database", "port", "schema"],
)
def test_a_server_that_cannot_be_used_is_told_without_the_password(postgres_url: str, change: Callable[[str], str], text: str) -> None:
    password = sa.make_url(postgres_url).password
    assert password
    with pytest.raises(StateError, match=text) as caught:
        Store.open(change(postgres_url))
    assert password not in str(caught.value)
    assert caught.value.hint


def test_a_newer_state_is_refused_and_left_alone(target: str) -> None:
    with Store.open(target) as store, store.write() as tx:
        tx.connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StateError, match="newer trueup") as caught:
        Store.open(target)
    assert "install the newer version" in str(caught.value)
    with pytest.raises(StateError, match="newer trueup"):
        Store.open(target, read_only=True)


def described(connection: sa.Connection) -> object:
    """Everything that a database says about its tables and indexes, but for trueup's own version table."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE type <> 'trigger' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
        # A column that was added later stands right before the last bracket, without a line end.
        parts = {name: " ".join(sql.replace('"', "").removesuffix(")").split()).split(", ") for name, sql in rows}
        return {name: sorted(part.strip() for part in found) for name, found in parts.items() if name != schema.VERSION_TABLE}
    columns = connection.exec_driver_sql(
        "SELECT table_name, column_name, ordinal_position, data_type, is_nullable, column_default, is_identity"
        " FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1, 3"
    )
    indexes = connection.exec_driver_sql("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1")
    return [tuple(row) for rows in (columns, indexes) for row in rows if schema.VERSION_TABLE not in str(row)]


def test_the_migrations_add_up_to_the_schema(target: str) -> None:
    with Store.open(target) as store, store.write() as tx:
        migrated = described(tx.connection)
        for table in reversed(schema.metadata.sorted_tables):
            table.drop(tx.connection)
        indexes.metadata.create_all(tx.connection)
        assert described(tx.connection) == migrated


def test_the_revision_named_in_the_schema_is_the_newest_migration() -> None:
    newest = max(migrate.MIGRATIONS.glob("versions/[0-9]*.py"))
    assert newest.name.startswith(schema.REVISION)
    assert schema.REVISION in migrate.known_revisions()


OPENER = """
    import sys
    from trueup.store import Store, golden
    print("ready", flush=True)
    sys.stdin.readline()
    with Store.open(sys.argv[1]) as store, store.write() as tx:
        print(golden.next_version(tx), flush=True)
"""


def test_processes_that_make_a_state_at_once_share_it(target: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(child(OPENER, target)) for _ in range(4)]
        assert [says(process) for process in processes] == ["ready"] * 4
        for process in processes:
            tell(process)
        assert sorted(says(process) for process in processes) == ["1", "2", "3", "4"]


def test_a_state_is_made_once_another_process_has_stopped_writing_to_its_file(tmp_path: Path) -> None:
    """As when several processes make it at once: SQLite refuses the change to WAL mode at once while another connection writes."""
    path = tmp_path / "state.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waiting = threading.Timer(0.3, other.execute, ["COMMIT"])
    waiting.start()
    with Store.open(str(path)) as store, store.write() as tx:
        assert golden.next_version(tx) == 1
    waiting.join()
    other.close()


def test_missing_rights_are_told_in_the_words_of_files_and_of_servers() -> None:
    folder = engine.state_error(PermissionError(13, "Permission denied", "/srv/.trueup"), "/srv/.trueup/state.db")
    assert "the rights of the file and its folder" in str(folder)
    server = engine.state_error(sa.exc.ProgrammingError("", {}, Exception("permission denied for schema trueup")), "postgresql://state")
    assert "in its schema" in str(server)


# ---------------------------------------------------------------- transactions


def fail_after(store: Store, work: Callable[[Db], None]) -> None:
    """Do work in a step that then fails."""
    with store.write() as tx:
        work(tx)
        raise InterruptedError


def test_a_step_that_fails_leaves_nothing_behind(store: Store) -> None:
    def work(tx: Db) -> None:
        golden.upsert(tx, "customer", pl.DataFrame({"id": [golden.allocate(tx, "customer", 1)], "version": [1]}))
        tx.system("crm")

    with pytest.raises(InterruptedError):
        fail_after(store, work)
    with store.read() as db:
        assert golden.count(db, "customer") == 0
    # The names that were made in the failed step are not remembered either.
    with store.write() as tx:
        paused.set_(tx, "all")
        shadow.upsert(tx, "customer", "crm", pl.DataFrame({"key": ["a"], "gid": [1], "khash": [1]}))
    with store.read() as db:
        assert shadow.by_golden(db, "customer", pl.Series([1]))["system"].to_list() == ["crm"]


def test_a_write_inside_a_write_is_the_same_step(store: Store) -> None:
    def work(outer: Db) -> None:
        with store.write() as inner:
            assert inner is outer
            meta.set_(inner, "a", "b")

    with pytest.raises(InterruptedError):
        fail_after(store, work)
    with store.read() as db:
        assert meta.get(db, "a") is None


def test_a_full_disk_is_told_and_nothing_is_half_written(tmp_path: Path) -> None:
    rows = pl.DataFrame({"id": range(1, 5001), "data": ["x" * 500] * 5000, "version": [1] * 5000})
    with Store.open(str(tmp_path / "state.db")) as store:
        with store.write() as tx:
            meta.set_(tx, "a", "before")
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 20}")

        def work(tx: Db) -> None:
            meta.set_(tx, "a", "after")
            golden.upsert(tx, "customer", rows, new=True)

        with pytest.raises(StateError, match="is full") as caught:
            fail_after(store, work)
        assert "free some space" in str(caught.value)
        with store.write() as tx:
            tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
            assert meta.get(tx, "a") == "before"
            assert golden.count(tx, "customer") == 0
            golden.upsert(tx, "customer", rows, new=True)


WRITER = """
    import sys
    import polars as pl
    from trueup.store import Store, golden, shadow
    store = Store.open(sys.argv[1])
    print("ready", flush=True)
    for step in range(100000):
        with store.write() as tx:
            first = golden.allocate(tx, "customer", 200)
            ids = pl.int_range(first, first + 200, eager=True)
            golden.upsert(tx, "customer", pl.DataFrame({"id": ids, "version": ids}), new=True)
            rows = pl.DataFrame({"key": ids.cast(pl.String), "gid": ids, "khash": ids})
            shadow.upsert(tx, "customer", "crm", rows, new=True)
            shadow.upsert(tx, "customer", "shop", rows, new=True)
        print(step, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.05, 0.23])
def test_a_killed_process_leaves_whole_steps_only(target: str, delay_s: float) -> None:
    with child(WRITER, target) as process:
        assert says(process) == "ready"
        assert says(process) == "0"
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        told = 1 + len([line for line in process.stdout if line.strip().isdigit()])
    with Store.open(target) as store, store.write() as tx:
        found = golden.count(tx, "customer")
        assert found % 200 == 0
        # Every step that was reported is there; one more may have been committed before its report.
        assert found // 200 in {told, told + 1}
        assert shadow.count(tx, "customer", "crm") == shadow.count(tx, "customer", "shop") == found
        assert golden.allocate(tx, "customer", 1) == found + 1


def test_readers_see_whole_steps_while_a_writer_works(store: Store) -> None:
    stop, looks = threading.Event(), [0, 0]
    wrong: list[object] = []

    def look(number: int) -> None:
        try:
            while not stop.is_set():
                with store.read() as db:
                    records = golden.count(db, "customer")
                    time.sleep(0.002)
                    rows = shadow.index(db, "customer", "crm").height
                looks[number] += 1
                if records != rows or records % 100:
                    wrong.append((records, rows))
        except Exception as error:  # noqa: BLE001  told to the test below
            wrong.append(error)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for step in range(40):
        ids = pl.int_range(step * 100 + 1, step * 100 + 101, eager=True)
        with store.write() as tx:
            golden.upsert(tx, "customer", pl.DataFrame({"id": ids, "version": ids}), new=True)
            shadow.upsert(tx, "customer", "crm", pl.DataFrame({"key": ids.cast(pl.String), "gid": ids, "khash": ids}), new=True)
    until = time.monotonic() + 60
    while min(looks) == 0 and not wrong and time.monotonic() < until:
        time.sleep(0.002)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(looks) > 0


def test_a_snapshot_does_not_move(store: Store) -> None:
    with store.read() as db:
        with store.write() as tx:
            meta.set_(tx, "a", "b")
        assert meta.get(db, "a") is None
    with store.read() as db:
        assert meta.get(db, "a") == "b"


def test_threads_write_in_turn(store: Store) -> None:
    def add() -> None:
        for _ in range(25):
            with store.write() as tx:
                golden.next_version(tx)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as db:
        assert golden.current_version(db) == 100


# ---------------------------------------------------------------- processes


def test_a_second_process_is_refused_or_waits(target: str) -> None:
    with child(HOLDER, target) as process, Store.open(target) as store:
        assert says(process) == "holding"
        with pytest.raises(StateLockedError) as caught, store.lock("sync", now=NOW):
            pass
        assert (caught.value.pid, caught.value.host) == (process.pid, socket.gethostname())
        begun = time.monotonic()
        with pytest.raises(StateLockedError), store.lock("sync", 0.5, now=NOW):
            pass
        assert time.monotonic() - begun > 0.4
        assert not store.locked
        threading.Timer(0.3, tell, [process]).start()
        with store.lock("sync", 60, now=NOW), store.lock("nested", now=NOW), store.write() as tx:
            meta.set_(tx, "a", "b")
        assert not store.locked


def test_a_killed_process_holds_nothing(target: str) -> None:
    with child(HOLDER, target) as process:
        assert says(process) == "holding"
    with Store.open(target) as store, store.lock("sync", 10, now=NOW):
        assert store.locked


STARTER = """
    import sys
    from datetime import UTC, datetime
    from trueup.store import Store, run
    with Store.open(sys.argv[1]).write() as tx:
        run.start(tx, "sync", at=datetime.now(UTC))
"""


def test_runs_left_by_a_dead_process_are_marked(target: str) -> None:
    with child(STARTER, target) as left:
        assert left.wait() == 0
    with Store.open(target, read_only=True) as store, store.read() as db:  # nobody has written it down yet
        assert [(dead.status, dead.error) for dead in run.list_(db)] == [("failed", "stopped before its end")]
    with Store.open(target) as store, store.lock("sync", now=NOW), store.write() as tx:
        first = run.start(tx, "sync", at=NOW)
        second = run.start(tx, "verify", at=NOW)
        run.finish(tx, first, "partial", at=NOW, seconds=1.5, summary="{}")
        newest, done, dead = run.list_(tx)
        assert (newest.id, newest.status) == (second, "running")
        assert (done.status, done.seconds, done.summary, done.finished_at) == ("partial", 1.5, "{}", NOW)
        assert (dead.status, dead.error, dead.pid) == ("failed", "stopped before its end", left.pid)
        assert run.get(tx, 999) is None


def test_a_state_taken_over_is_not_written_any_more(postgres_url: str) -> None:
    with Store.open(postgres_url) as ours, Store.open(postgres_url) as theirs, ours.lock("sync", now=NOW):
        with ours.write() as tx:
            tx.connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
        with theirs.lock("sync", 10, now=NOW), pytest.raises(StateError, match="took over"), ours.write():
            pass


def test_two_states_in_one_database_are_two(postgres_url: str) -> None:
    with Store.open(postgres_url) as one, Store.open(f"{postgres_url}?schema=second") as two:
        with one.lock("sync", now=NOW), two.lock("sync", now=NOW), one.write() as tx:
            meta.set_(tx, "a", "b")
        with two.read() as db:
            assert meta.get(db, "a") is None


def test_the_address_is_shown_without_its_password() -> None:
    assert engine.shown("postgresql://ann:secret@host:5432/db?password=x") == "postgresql://ann:***@host:5432/db"
    assert engine.shown(".trueup/state.db") == ".trueup/state.db"
