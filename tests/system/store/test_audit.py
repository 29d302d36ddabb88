"""The audit trail in the state: it tells of what was committed and of nothing else, whatever happens to the process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.system.store.older import make_state_of
from tests.system.store.test_life import child, says, tell
from trueup.core.chain import Flaw, Head
from trueup.errors import StateError
from trueup.runtime.audit_file import examine_file, examine_state, export
from trueup.store import Store, audit, meta, paused, schema

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_command() -> Iterator[None]:
    audit.begin(None)
    yield
    audit.begin(None)


def told(store: Store) -> list[tuple[str, object]]:
    """Kind and content of every line."""
    with store.read() as db:
        assert examine_state(db, None).flaw is None
        return [(line.told["kind"], line.told["what"]) for line in audit.lines(db)]


def tampered(store: Store, *statements: str) -> Flaw | None:
    """What a verification says after somebody worked on the table behind its guards."""
    with store.write() as tx:
        guards = {
            "sqlite": ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"],
            "postgresql": ["ALTER TABLE audit DISABLE TRIGGER USER"],
        }[store.backend]
        for statement in (*guards, *statements):
            tx.connection.exec_driver_sql(statement)
    with store.read() as db:
        return examine_state(db, None).flaw


def fill(store: Store, lines: int) -> Head:
    for number in range(lines):
        with store.write() as tx:
            audit.tell(tx, "decision", {"number": number}, at=NOW)
    with store.read() as db:
        return audit.head(db)


def test_a_line_is_there_with_what_it_tells_and_not_without(store: Store) -> None:
    with store.write() as tx:
        paused.set_(tx, "system", "crm")
        audit.tell(tx, "decision", {"about": "pause"}, at=NOW)
        audit.tell(tx, "decision", {"about": "more"}, at=NOW)
    with suppress(KeyError), store.write() as tx:
        paused.set_(tx, "system", "till")
        audit.tell(tx, "decision", {"about": "never"}, at=NOW)
        raise KeyError
    assert told(store) == [("decision", {"about": "pause"}), ("decision", {"about": "more"})]
    with store.read() as db:
        assert paused.list_(db) == [("system", "crm")]


def test_a_line_says_who_and_when(store: Store) -> None:
    with store.write() as tx:
        audit.tell(tx, "decision", {}, at=NOW.astimezone(timezone(timedelta(hours=5))))
    with store.read() as db:
        (line,) = audit.lines(db)
    assert line.told["at"] == "2026-03-29T01:30:00.000000Z"
    assert line.told["who"]["pid"] == os.getpid()
    assert line.told["who"]["host"] == os.uname().nodename
    assert line.told["who"]["user"]


def test_a_command_is_told_once_with_its_first_change(store: Store) -> None:
    audit.begin(audit.Command("pause", {"names": ["crm"]}, NOW))
    with suppress(KeyError), store.write() as tx:
        paused.set_(tx, "system", "crm")
        raise KeyError
    assert told(store) == []  # it changed nothing
    for name in ("crm", "till"):
        with store.write() as tx:
            paused.set_(tx, "system", name)
    assert told(store) == [("command", {"command": "pause", "arguments": {"names": ["crm"]}})]


def test_the_paths_of_a_changed_configuration_are_told_and_the_same_one_is_not(store: Store) -> None:
    for digests in ({"a.b": "1", "c": "2"}, {"a.b": "1", "c": "2"}, {"a.b": "3", "d": "2"}):
        audit.begin(audit.Command("sync", {}, NOW, "trueup.yaml", digests))
        with store.write() as tx:
            meta.set_(tx, "anything", "new")
    first, second = [what for kind, what in told(store) if kind == "configuration"]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert "changed" not in first
    assert first["hash"] != second["hash"]
    assert {name: second[name] for name in ("changed", "added", "removed")} == {"changed": ["a.b"], "added": ["d"], "removed": ["c"]}


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET line = 'x' WHERE number = 1", "DELETE FROM audit", "DELETE FROM audit WHERE number = 1"]
)
def test_the_database_itself_refuses_to_change_lines(store: Store, statement: str) -> None:
    fill(store, 2)
    with pytest.raises(StateError, match="only ever added"), store.write() as tx:
        tx.connection.exec_driver_sql(statement)
    assert len(told(store)) == 2


TAMPERED = [
    ("UPDATE audit SET line = replace(line, '\"number\":1', '\"number\":7') WHERE number = 2", 2, "changed"),
    ("UPDATE audit SET line = replace(line, 'decision', 'sending') WHERE number = 3", 3, "changed"),
    ("UPDATE audit SET hash = (SELECT hash FROM audit WHERE number = 1) WHERE number = 4", 4, "changed"),
    ("DELETE FROM audit WHERE number = 3", 3, "line 3 is missing"),
    ("DELETE FROM audit WHERE number < 3", 1, "lines 1 to 2 are missing"),
    ("UPDATE audit SET number = 1000 WHERE number = 2", 2, "missing"),
]


@pytest.mark.parametrize(("statement", "number", "said"), TAMPERED)
def test_the_first_line_that_suffered_is_named(store: Store, statement: str, number: int, said: str) -> None:
    fill(store, 5)
    flaw = tampered(store, statement)
    assert flaw is not None
    assert (flaw.number, said in flaw.what) == (number, True), flaw


def test_lines_that_exchange_their_numbers_are_found(store: Store) -> None:
    fill(store, 5)
    exchange = [f"UPDATE audit SET number = {new} WHERE number = {old}" for old, new in ((2, 1000), (3, 2), (1000, 3))]
    flaw = tampered(store, *exchange)
    assert flaw is not None
    assert flaw.number == 2


def test_a_cut_off_tail_is_found_by_a_head(store: Store) -> None:
    noted = fill(store, 5)
    assert tampered(store, "DELETE FROM audit WHERE number > 3") is None
    with store.read() as db:
        flaw = examine_state(db, noted).flaw
    assert flaw is not None
    assert (flaw.number, "cut off" in flaw.what) == (4, True)


def test_more_lines_than_are_read_at_once(store: Store) -> None:
    with store.write() as tx:
        for number in range(2_500):
            audit.tell(tx, "decision", {"number": number}, at=NOW)
    assert [what["number"] for _kind, what in told(store) if isinstance(what, dict)] == list(range(2_500))
    with store.read() as db:
        assert [line.number for line in audit.lines(db, newest_first=True)] == list(range(2_500, 0, -1))


def test_a_state_of_before_begins_a_trail(target: str) -> None:
    make_state_of(target, "0008")
    with Store.open(target) as store:
        with store.read() as db:
            assert audit.head(db) == Head()
        fill(store, 1)
        assert len(told(store)) == 1


# ---------------------------------------------------------------- processes

WRITER = """
    import sys
    from datetime import UTC, datetime
    from trueup.store import Store, audit, meta
    name, rounds = sys.argv[2], int(sys.argv[3])
    with Store.open(sys.argv[1]) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(rounds):
            with store.write() as tx:
                meta.set_(tx, name, str(number))
                audit.tell(tx, "decision", {"of": name, "number": number}, at=datetime.now(UTC))
    print("done", flush=True)
"""


def test_two_processes_make_one_chain(target: str) -> None:
    with Store.open(target) as store:
        with child(WRITER, target, "one", "60") as one, child(WRITER, target, "two", "60") as two:
            for process in (one, two):
                assert says(process) == "ready"
            for process in (one, two):
                tell(process)
            for process in (one, two):
                assert says(process) == "done"
        lines = [what for _kind, what in told(store) if isinstance(what, dict)]
    for name in ("one", "two"):
        assert [what["number"] for what in lines if what["of"] == name] == list(range(60))
    order = [what["of"] for what in lines]
    assert len(order) == 120


@pytest.mark.slow
def test_a_killed_process_leaves_a_line_for_every_change_and_none_besides(target: str) -> None:
    chance = random.Random(7)
    with Store.open(target) as store:
        for round_ in range(6):
            name = f"round {round_}"
            with child(WRITER, target, name, "100000") as process:
                assert says(process) == "ready"
                tell(process)
                time.sleep(chance.uniform(0.05, 0.4))
                assert process.poll() is None
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            lines = [what["number"] for _kind, what in told(store) if isinstance(what, dict) and what["of"] == name]
            with store.read() as db:
                changed = meta.get(db, name)
            assert lines == list(range(int(changed or -1) + 1))


# ---------------------------------------------------------------- files


def exported(store: Store, folder: Path) -> Path:
    path = folder / "trail.jsonl"
    with store.read() as db:
        export(db, path, NOW)
    return path


def test_a_file_is_whole_by_itself(store: Store, tmp_path: Path) -> None:
    head = fill(store, 5)
    path = exported(store, tmp_path)
    assert examine_file(path, None).flaw is None
    assert examine_file(path, head).head == head
    assert sorted(tmp_path.glob(".trail*")) == []
    exported(store, tmp_path)  # an older export is replaced


def _without(lines: list[bytes], number: int) -> list[bytes]:
    return lines[:number] + lines[number + 1 :]


EDITS = [
    (lambda lines: [*lines[:3], lines[3].replace(b"decision", b"sending"), *lines[4:]], 3, "changed"),
    (lambda lines: [*lines[:3], b"{}\n", *lines[4:]], 3, "changed"),
    (lambda lines: [*lines[:3], b"\xff\xfe rubbish\n", *lines[4:]], 3, "changed"),
    (lambda lines: [*lines[:3], b"\n", *lines[3:]], 3, "changed"),
    (lambda lines: _without(lines, 2), 2, "line 2 is missing"),
    (lambda lines: [*lines[:3], lines[2], *lines[3:]], 3, "put in"),
    (lambda lines: lines[:-2], 4, "lines 4 to 5 are missing: the file was cut off"),
    (lambda lines: [*lines[:-1], lines[-1][:-20]], 5, "ends within line 5"),
    (lambda lines: lines[:1], 1, "lines 1 to 5 are missing"),
    (lambda lines: [lines[0].replace(b'"lines": 5, "head": "5:', b'"lines": 3, "head": "3:'), *lines[1:]], 5, "another end"),
]


@pytest.mark.parametrize(("edit", "number", "said"), EDITS)
def test_an_edited_file_is_told_by_the_first_line_that_suffered(tmp_path: Path, edit: object, number: int, said: str) -> None:
    with Store.open(str(tmp_path / "state.db")) as store:
        fill(store, 5)
        path = exported(store, tmp_path)
    assert callable(edit)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))
    flaw = examine_file(path, None).flaw
    assert flaw is not None
    assert (flaw.number, said in flaw.what) == (number, True), flaw


def test_a_file_without_its_tail_and_with_a_matching_first_line_is_found_by_a_head(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "state.db")) as store:
        before = fill(store, 3)
        short = exported(store, tmp_path).read_bytes()
        noted = fill(store, 2)
    path = tmp_path / "trail.jsonl"
    path.write_bytes(short)
    assert examine_file(path, before).flaw is None
    flaw = examine_file(path, noted).flaw
    assert flaw is not None
    assert (flaw.number, "cut off" in flaw.what) == (4, True)


def test_the_table_is_the_last_thing_a_transaction_touches(store: Store) -> None:
    """So that it is locked for as short as can be: what was told first is still written last."""
    seen: list[str] = []
    with store.write() as tx:
        sa.event.listen(tx.connection, "before_cursor_execute", lambda *args: seen.append(str(args[2])))
        audit.tell(tx, "decision", {}, at=NOW)
        tx.execute(schema.meta.insert().values(key="later", value="x"))
    assert [statement.split()[0:3] for statement in seen if "INSERT" in statement][-1][2] == "audit"
