"""What the state keeps of locks and of migrations, in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

from trueup.model import Lock, ObjectSpec
from trueup.store import Store, migration, names, write_lock
from trueup.store.migration import Stage
from trueup.store.write_lock import WriteLock

NOW = datetime(2026, 11, 22, 13, 0, 0, 123456, tzinfo=UTC)


def test_a_lock_is_kept_as_it_is_now_and_forgotten(store: Store) -> None:
    people = ObjectSpec(name="people 🙂", key=("a", "b"), modified="at", options={"x": 1})
    begun = WriteLock("pay", people, Lock({"name": "h'r"}, ("h'r",)), None, NOW, "somebody")
    other = WriteLock("desk", ObjectSpec(name=None, key=("id",)), Lock({}), "digest", NOW)
    with store.write() as tx:
        write_lock.keep(tx, begun)
        write_lock.keep(tx, other)
    done = WriteLock("pay", people, begun.lock, "d1", NOW, "somebody")
    with store.write() as tx:
        write_lock.keep(tx, done)
    with store.read() as db:
        assert write_lock.list_(db) == [other, done]
    with store.write() as tx:
        names.rename(tx, "system", "pay", "payroll")
        write_lock.forget(tx, "desk", other.object.label)
    with store.read() as db:
        assert [(one.system, one.object) for one in write_lock.list_(db)] == [("payroll", people)]


def test_stages_are_kept_by_entity_and_forgotten_by_name(store: Store) -> None:
    running = Stage("move", "rota", "running", NOW, None, "somebody", {"after_run": 7})
    with store.write() as tx:
        migration.keep(tx, "person", running)
        migration.keep(tx, "order", running)
    done = Stage("move", "rota", "done", NOW, NOW, None, {"after_run": 7, "runs": [8], "שלום": 0.5})
    with store.write() as tx:
        migration.keep(tx, "person", done)
    with store.read() as db:
        assert migration.of(db, "person") == {"move": done}
        assert migration.of(db, "order") == {"move": running}
        assert migration.of(db, "nothing") == {}
        assert [stage.passed for stage in (running, done)] == [False, True]
    with store.write() as tx:
        migration.forget(tx, "person", ["move", "plan"])
    with store.read() as db:
        assert migration.of(db, "person") == {}
        assert set(migration.of(db, "order")) == {"move"}
