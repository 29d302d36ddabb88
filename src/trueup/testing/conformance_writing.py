"""Rules about writing: outcomes, preconditions, isolation of bad records, keys that the system gives, and settings."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, WriteBatch
from trueup.connectors.sql_types import dtype_of
from trueup.errors import ObjectMissingError, SystemError_, TrueupError
from trueup.testing.conformance_tools import (
    TEXTS,
    Rules,
    batch_of,
    connected,
    equal,
    listing,
    people,
    person,
    raises,
    require,
    seen,
    send,
    shown,
    statuses,
    stored,
    texts,
    types_of,
)
from trueup.testing.conformance_world import Column, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.base import Connector
    from trueup.model import ColumnType, ObjectSpec, OperationKind
    from trueup.testing.conformance_world import Refusal, Row, World

write_rule = Rules()

STATUSES = {"done", "stale", "retry", "rejected", "gone"}


# ---------------------------------------------------------------- outcomes


@write_rule("creates", "updates", "deletes")
def outcomes_have_the_form(world: World) -> None:
    """Every operation has exactly one outcome, under its own number and in the contract's types."""
    obj = world.object(people(), [person("a"), person("b"), person("c")])
    with connected(world) as connector:
        batches: list[tuple[OperationKind, list[tuple[str | None, Row]]]] = [
            ("create", [("x", person("x")), ("a", person("a")), ("y", person("y"))]),
            ("update", [("zz", {"name": "n"}), ("a", {"name": "n", "city": None}), ("b", {"note": "m"})]),
            ("delete", [("c", {}), ("zz", {})]),
        ]
        for kind, operations in batches:
            batch = batch_of(connector, obj, kind, operations, returning=("city", "name"), first_op=7)
            _check_outcomes(connector, obj, batch)
            empty = WriteBatch(kind=kind, rows=batch.rows.clear(), returning=batch.returning)
            equal(connector.write(obj, empty).height, 0, f"outcomes of a {kind} of nothing")


def _check_outcomes(connector: Connector, obj: ObjectSpec, batch: WriteBatch) -> None:
    shuffled = WriteBatch(kind=batch.kind, rows=batch.rows.reverse(), returning=batch.returning)
    outcomes = connector.write(obj, shuffled)
    types = {name: dtype_of(column_type) for name, column_type in types_of(connector, obj).items()}
    wanted = dict(OUTCOME_SCHEMA) | {name: types[name] for name in batch.returning}
    equal(dict(outcomes.schema), wanted, f"columns and types of the outcomes of a {batch.kind}")
    equal(sorted(outcomes.get_column("__op").to_list()), sorted(batch.rows.get_column("__op").to_list()), "numbers of the outcomes")
    keys = dict(batch.rows.select("__op", "__key").iter_rows())
    for row in outcomes.to_dicts():
        require(row["__status"] in STATUSES, f"an outcome has the status {row['__status']!r}")
        equal(row["__key"], keys[row["__op"]], f"key of the {row['__status']} outcome of a {batch.kind}")
        require((row["__reason"] is None) == (row["__status"] == "done"), f"a reason belongs to every outcome but done: {row}")
        stores = connector.caps.stored_row and row["__status"] == "done" and batch.kind != "delete"
        equal(row["__stored"], stores, f"__stored of the {row['__status']} outcome of a {batch.kind}")


@write_rule("creates")
def creates_are_durable(world: World) -> None:
    """What a create says is done is in the system, whole, and the other rows are as they were."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        made = [person("b", name="Grace", note=None), person("c", name="x\ny" if world.traits.controls else "xy", city="Rome")]
        outcomes = send(connector, obj, "create", [(row["id"], row) for row in made])
        equal(statuses(outcomes), ["done", "done"], "status of the creates")
        equal([row["__key"] for row in outcomes], ["b", "c"], "keys of the creates")
        _same_texts(world, obj, {row["id"]: {name: row[name] for name in TEXTS} for row in (person("a"), *made)})
    with connected(world) as connector:
        wanted = {row["id"]: {name: row[name] for name in TEXTS} for row in (person("a"), *made)}
        equal(shown(connector, obj), wanted, "rows as another connector reads them")


def _same_texts(world: World, obj: ObjectSpec, wanted: dict[str, Row]) -> None:
    """Rows as stored; an empty cell of a file of text is null."""
    held = texts(world, obj)
    if not world.traits.empty_text:
        held = {key: {name: value or None for name, value in row.items()} for key, row in held.items()}
    equal(held, wanted, "rows as stored")


@write_rule("creates")
def keys_may_come_alone(world: World) -> None:
    """A create that gives the key as text alone stores it in the key column."""
    obj = world.object(people())
    with connected(world) as connector:
        outcome = send(connector, obj, "create", [("solo", {"name": "Ada"})])[0]
        equal((outcome["__status"], outcome["__key"]), ("done", "solo"), "status and key of the create")
        equal(shown(connector, obj, ["id", "name"]), {"solo": {"id": "solo", "name": "Ada"}}, "the row as read")
    equal(sorted(stored(world, obj)), ["solo"], "keys as stored")


@write_rule("updates")
def updates_touch_only_what_is_written(world: World) -> None:
    """An update changes the columns that it writes, in the rows that it names, and nothing else."""
    obj = world.object(people(), [person(key) for key in "abcd"])
    with connected(world) as connector:
        # The frame has all three columns; __write says which of them belong to the row.
        outcomes = send(connector, obj, "update", [("a", {"name": "N"}), ("b", {"note": None, "city": "C"}), ("d", {"city": "D"})])
        equal(statuses(outcomes), ["done"] * 3, "status of the updates")
    plain = {name: person("")[name] for name in TEXTS}
    wanted = {"a": {**plain, "name": "N"}, "b": {**plain, "note": None, "city": "C"}, "c": plain, "d": {**plain, "city": "D"}}
    _same_texts(world, obj, wanted)


@write_rule("updates")
def others_columns_stay(world: World) -> None:
    """Another's edit of another column survives an update, whether the update is done or stale."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        before = seen(connector, obj, "a", ["name"])
        world.edit(obj, {"id": "a"}, {"note": "theirs", "city": "Oslo"})
        status = send(connector, obj, "update", [("a", {"name": "ours"})], expected=[before])[0]["__status"]
        require(status in {"done", "stale"}, f"status of the update: {status}")
    name = "ours" if status == "done" else "Ada"
    equal(texts(world, obj)["a"], {"name": name, "note": "theirs", "city": "Oslo"}, "the row as stored")


@write_rule("updates")
def updates_of_nothing_are_done(world: World) -> None:
    """An update that writes no column is done where its row is, and gone where it is not."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        operations: list[tuple[str | None, Row]] = [("a", {}), ("zz", {})]
        equal(statuses(send(connector, obj, "update", operations)), ["done", "gone"], "status without a precondition")
        before = [{"name": "Ada", "note": "first", "city": "Paris"}] * 2
        equal(statuses(send(connector, obj, "update", operations, expected=before)), ["done", "gone"], "status with a precondition")
    _same_texts(world, obj, {"a": {name: person("a")[name] for name in TEXTS}})


@write_rule("updates")
def updates_of_missing_rows_are_gone(world: World) -> None:
    """An update of a row that is not there says gone and makes no row."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        outcomes = send(connector, obj, "update", [("zz", {"name": "n"}), ("a", {"name": "n"}), ("A", {"name": "n"})])
        equal(statuses(outcomes), ["gone", "done", "gone"], "status of updates of a missing, a present and a missing row")
        expected = {"name": "Ada", "note": "first", "city": "Paris"}
        equal(send(connector, obj, "update", [("zz", {"name": "n"})], expected=[expected])[0]["__status"], "gone", "with a precondition")
    equal(sorted(stored(world, obj)), ["a"], "keys as stored")


@write_rule("deletes")
def deletes_of_missing_rows_are_gone(world: World) -> None:
    """A delete of a row that is not there says gone."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        equal(statuses(send(connector, obj, "delete", [("zz", {}), ("A", {})])), ["gone", "gone"], "status of the deletes")
        expected = {"name": "Ada", "note": "first", "city": "Paris"}
        equal(send(connector, obj, "delete", [("zz", {})], expected=[expected])[0]["__status"], "gone", "with a precondition")
    equal(sorted(stored(world, obj)), ["a"], "keys as stored")


@write_rule("deletes")
def deletes_remove_only_their_row(world: World) -> None:
    """A delete removes the row it names, and every other row stays as it is."""
    obj = world.object(people(), [person(key, name=f"<{key}>") for key in "abcde"])
    with connected(world) as connector:
        before = [seen(connector, obj, "d")]
        equal(statuses(send(connector, obj, "delete", [("b", {}), ("e", {})])), ["done", "done"], "status of the deletes")
        equal(statuses(send(connector, obj, "delete", [("d", {})], expected=before)), ["done"], "status of the delete as last read")
        equal(sorted(listing(connector, obj).keys), ["a", "c"], "keys as read")
    equal({key: row["name"] for key, row in texts(world, obj).items()}, {"a": "<a>", "c": "<c>"}, "rows as stored")


# ---------------------------------------------------------------- preconditions


@write_rule("updates", "precondition")
def stale_updates_are_refused(world: World) -> None:
    """An update of a row that changed since it was read is stale and harmless; the others of its batch are done."""
    obj = world.object(people(), [person("a"), person("b"), person("c")])
    with connected(world) as connector:
        before = [seen(connector, obj, key) for key in "abc"]
        world.edit(obj, {"id": "b"}, {"name": "theirs"})
        outcomes = send(connector, obj, "update", [(key, {"name": "ours", "note": "ours"}) for key in "abc"], expected=before)
        equal(statuses(outcomes), ["done", "stale", "done"], "status of the updates")
    held = {key: (row["name"], row["note"]) for key, row in texts(world, obj).items()}
    equal(held, {"a": ("ours", "ours"), "b": ("theirs", "first"), "c": ("ours", "ours")}, "rows as stored")


@write_rule("deletes", "precondition")
def stale_deletes_are_refused(world: World) -> None:
    """A delete of a row that changed since it was read is stale and harmless."""
    obj = world.object(people(), [person("a"), person("b")])
    with connected(world) as connector:
        before = [seen(connector, obj, key) for key in "ab"]
        world.edit(obj, {"id": "a"}, {"city": "Oslo"})
        equal(statuses(send(connector, obj, "delete", [("a", {}), ("b", {})], expected=before)), ["stale", "done"], "status")
    equal({key: row["city"] for key, row in texts(world, obj).items()}, {"a": "Oslo"}, "rows as stored")


@write_rule("updates", "precondition")
def preconditions_know_null(world: World) -> None:
    """The precondition tells null from a value, both ways, and takes a null that is still null."""
    obj = world.object(people(), [person("a", name=None), person("b"), person("c", name=None), person("d", name=None)])
    with connected(world) as connector:
        before = [seen(connector, obj, key, ["name"]) for key in "abcd"]
        world.edit(obj, {"id": "a"}, {"name": "theirs"})
        world.edit(obj, {"id": "b"}, {"name": None})
        operations: list[tuple[str | None, Row]] = [("a", {"name": "x"}), ("b", {"name": "x"}), ("c", {"name": "x"}), ("d", {"name": "y"})]
        outcomes = send(connector, obj, "update", operations, expected=before)
        equal(statuses(outcomes), ["stale", "stale", "done", "done"], "status: null to value, value to null, still null, still null")
    held = {key: row["name"] or None for key, row in texts(world, obj).items()}
    equal(held, {"a": "theirs", "b": None, "c": "x", "d": "y"}, "names as stored")


@write_rule("updates", "precondition", "empty_text")
def preconditions_know_empty(world: World) -> None:
    """The precondition tells null, the empty text and spaces apart."""
    obj = world.object(people(), [person("a", name=None), person("b", name=""), person("c", name="x"), person("d", name="")])
    with connected(world) as connector:
        before = [seen(connector, obj, key, ["name"]) for key in "abcd"]
        for key, name in (("a", ""), ("b", None), ("c", "x ")):
            world.edit(obj, {"id": key}, {"name": name})
        outcomes = send(connector, obj, "update", [(key, {"name": "ours"}) for key in "abcd"], expected=before)
        equal(statuses(outcomes), ["stale", "stale", "stale", "done"], "status: null to empty, empty to null, a space more, still empty")
    equal({key: row["name"] for key, row in texts(world, obj).items()}, {"a": "", "b": None, "c": "x ", "d": "ours"}, "names as stored")


@write_rule("updates", "precondition")
def preconditions_are_exact(world: World) -> None:
    """The precondition sees a change of case or accent alone."""
    obj = world.object(people(), [person("a", name="Resume"), person("b", name="Resume")])
    with connected(world) as connector:
        before = [seen(connector, obj, key, ["name"]) for key in "ab"]
        world.edit(obj, {"id": "a"}, {"name": "resume"})
        world.edit(obj, {"id": "b"}, {"name": "Resumé"})
        outcomes = send(connector, obj, "update", [(key, {"name": "ours"}) for key in "ab"], expected=before)
        equal(statuses(outcomes), ["stale", "stale"], "status")
    equal({key: row["name"] for key, row in texts(world, obj).items()}, {"a": "resume", "b": "Resumé"}, "names as stored")


@write_rule("updates", "precondition")
def every_type_can_be_expected(world: World) -> None:
    """An untouched row takes an update that expects its values as read, whatever their types."""
    from trueup.testing.conformance_values import SAMPLES

    kinds = {f"c_{name}": name for name in sorted(world.traits.types & SAMPLES.keys())}
    columns = {"id": Column(nullable=False, max_length=120), **{column: Column(type=kind) for column, kind in kinds.items()}}
    values = {column: SAMPLES[kind] for column, kind in kinds.items()}
    obj = world.object(Trial(columns=columns), [{"id": "a", **values}, {"id": "b", **dict.fromkeys(kinds)}])
    with connected(world) as connector:
        for key in "ab":
            for column in kinds:
                before = seen(connector, obj, key, [column])
                status = send(connector, obj, "update", [(key, {column: before[column]})], expected=[before])[0]["__status"]
                equal(status, "done", f"update of {column} of row {key!r} to what it is, expecting {before[column]!r}")


@write_rule("updates", "native", "several_writers")
def writers_lose_no_update(world: World) -> None:
    """Of two writers that count up the same row at once, neither loses a step."""
    kind: ColumnType = "integer" if "integer" in world.traits.types else "text"
    obj = world.object(people(steps=Column(type=kind)), [{**person("a"), "steps": 0 if kind == "integer" else "0"}])
    done = [0, 0]
    troubles: list[Exception] = []
    together = threading.Barrier(2)

    def count(writer: int) -> None:
        try:
            with connected(world) as connector:
                for number in range(10):  # by turns at once, and the second one after the first
                    done[writer] += _step(connector, obj, together, first=None if number % 2 else writer == 0)
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread
            troubles.append(error)
            together.abort()

    threads = [threading.Thread(target=count, args=(writer,)) for writer in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    if troubles:
        raise next((error for error in troubles if not isinstance(error, threading.BrokenBarrierError)), troubles[0])
    equal(int(stored(world, obj)["a"]["steps"]), sum(done), f"steps stored, where the writers were told of {done} done")
    require(sum(done) > 0, "no writer's step was ever done")


def _step(connector: Connector, obj: ObjectSpec, together: threading.Barrier, *, first: bool | None) -> int:
    """Read, wait until the other has read too, add one, write as last read; 1 when done. A refusal of the whole call wrote nothing.

    None: both write at once.
    """
    before = seen(connector, obj, "a", ["steps"])
    following = type(before["steps"])(int(before["steps"]) + 1)
    together.wait(timeout=60)
    if first is False:
        together.wait(timeout=60)
    try:
        outcome = send(connector, obj, "update", [("a", {"steps": following})], expected=[before])[0]
    except SystemError_:
        return 0
    finally:
        if first is True:
            together.wait(timeout=60)
        together.wait(timeout=60)
    require(outcome["__status"] in {"done", "stale", "retry"}, f"a step's status is {outcome['__status']}: {outcome['__reason']}")
    return int(outcome["__status"] == "done")


# ---------------------------------------------------------------- isolation


@write_rule("creates")
def taken_keys_are_rejected(world: World) -> None:
    """A create whose key is taken is rejected, says that it exists, and leaves the row alone."""
    obj = world.object(people(), [person("a", name="theirs")])
    with connected(world) as connector:
        outcomes = send(connector, obj, "create", [("a", person("a", name="ours")), ("b", person("b"))])
        equal(statuses(outcomes), ["rejected", "done"], "status of the creates")
        require(outcomes[0]["__reason"], "the rejected create says no reason")
    equal({key: row["name"] for key, row in texts(world, obj).items()}, {"a": "theirs", "b": "Ada"}, "rows as stored")


@write_rule("creates", "updates", "deletes")
def one_bad_record_harms_only_itself(world: World) -> None:
    """One record among fifty that cannot be done leaves the other forty-nine done, for every kind of write."""
    keys = [f"k{number:02}" for number in range(50)]
    bad = 23
    obj = world.object(people(), [person(keys[bad], name="theirs")])
    with connected(world) as connector:
        outcomes = send(connector, obj, "create", [(key, person(key)) for key in keys])
        equal(_not_done(outcomes), {bad: "rejected"}, "creates not done")
        equal(len(stored(world, obj)), 50, "rows after the creates")
        world.remove(obj, {"id": keys[bad]})
        outcomes = send(connector, obj, "update", [(key, {"note": "new"}) for key in keys])
        equal(_not_done(outcomes), {bad: "gone"}, "updates not done")
        equal({row["note"] for row in texts(world, obj).values()}, {"new"}, "notes after the updates")
        equal(_not_done(send(connector, obj, "delete", [(key, {}) for key in keys])), {bad: "gone"}, "deletes not done")
    equal(stored(world, obj), {}, "rows after the deletes")


def _not_done(outcomes: Sequence[Row]) -> dict[int, str]:
    return {number: row["__status"] for number, row in enumerate(outcomes) if row["__status"] != "done"}


def _refused_value(refusal: Refusal) -> tuple[Column, Any, Any]:
    """A column with a limit, a value that it takes (of number n), and one that it does not."""
    match refusal:
        case "length":
            return Column(max_length=10), "short", "much too long for ten"
        case "null":
            return Column(nullable=False), "there", None
        case "unique":
            return Column(unique=True, max_length=60), "own {n}", "taken"
        case _:
            return Column(type="decimal"), "1.5", "not a number"


def _refuses(world: World, refusal: Refusal) -> None:
    column, good, bad = _refused_value(refusal)
    trial = people(limited=column)
    obj = world.object(trial, [{**person("old"), "limited": "taken" if refusal == "unique" else good}])
    values = [good.format(n=number) for number in range(50)]
    with connected(world) as connector:
        kinds: tuple[OperationKind, ...] = ("create", "update")
        for kind in kinds:
            rows: list[tuple[str | None, Row]] = [
                (f"k{number:02}", {"name": kind, "limited": bad if number == 31 else value}) for number, value in enumerate(values)
            ]
            if kind == "update":
                world.insert(obj, [{**person("k31", name="create"), "limited": good.format(n=31)}])
            outcomes = send(connector, obj, kind, rows)
            equal(_not_done(outcomes), {31: "rejected"}, f"{kind}s not done, of which one has {bad!r}")
            require(outcomes[31]["__reason"], "the rejected record says no reason")
            require(outcomes[31]["__field"] in {None, "limited"}, f"the column at fault is said to be {outcomes[31]['__field']!r}")
            held = texts(world, obj)
            others = {f"k{number:02}": kind for number in range(50) if number != 31}
            equal({key: row["name"] for key, row in held.items() if key not in {"old", "k31"}}, others, f"names after the {kind}s")
            equal(held.get("k31", {}).get("name"), "create" if kind == "update" else None, f"the refused record after the {kind}s")


@write_rule("creates", "updates", "refuses:length")
def too_long_text_harms_only_itself(world: World) -> None:
    """Text too long for its column is rejected, and the other records of the batch are done."""
    _refuses(world, "length")


@write_rule("creates", "updates", "refuses:null")
def a_forbidden_null_harms_only_itself(world: World) -> None:
    """A null where none may be is rejected, and the other records of the batch are done."""
    _refuses(world, "null")


@write_rule("creates", "updates", "refuses:unique")
def a_doubled_value_harms_only_itself(world: World) -> None:
    """A value that must be unique and is not is rejected, and the other records of the batch are done."""
    _refuses(world, "unique")


@write_rule("creates", "updates", "refuses:number", "type:decimal")
def a_bad_number_harms_only_itself(world: World) -> None:
    """A text where a number belongs is rejected, and the other records of the batch are done."""
    _refuses(world, "number")


@write_rule("updates", "creates", "deletes")
def a_key_may_come_twice(world: World) -> None:
    """The same key twice in a batch is two operations on one row, never two rows."""
    obj = world.object(people(), [person("a"), person("b")])
    with connected(world) as connector:
        outcomes = send(connector, obj, "update", [("a", {"name": "one"}), ("b", {"name": "n"}), ("a", {"note": "two"})])
        equal(statuses(outcomes), ["done"] * 3, "status of updates of two columns of one row")
        equal(texts(world, obj)["a"], {"name": "one", "note": "two", "city": "Paris"}, "the row as stored")
        made = send(connector, obj, "create", [("c", person("c", name="one")), ("c", person("c", name="two"))])
        equal(sorted(statuses(made)), ["done", "rejected"], "status of creates of one key")
        kept = "one" if made[0]["__status"] == "done" else "two"
        equal([row["name"] for row in world.rows(obj) if str(row["id"]) == "c"], [kept], "rows of the key created twice")
        equal(sorted(statuses(send(connector, obj, "delete", [("b", {}), ("b", {})]))), ["done", "gone"], "status of deletes of one row")
    equal(sorted(stored(world, obj)), ["a", "c"], "keys as stored")


# ---------------------------------------------------------------- keys given by the system, rows as stored


@write_rule("creates", "assigns_keys")
def assigned_keys_are_reported(world: World) -> None:
    """Keys that the system gives are each new, and reported for the very record that got them."""
    columns = {"id": Column(type=world.traits.assigned_type, nullable=False), "name": Column(), "note": Column(), "city": Column()}
    obj = world.object(Trial(columns=columns, assigned=True))
    with connected(world) as connector:
        keys: dict[str, str] = {}
        for start in (0, 15):
            operations: list[tuple[str | None, Row]] = [(None, {"name": f"n{number}"}) for number in range(start, start + 15)]
            outcomes = send(connector, obj, "create", operations)
            equal(statuses(outcomes), ["done"] * 15, "status of the creates")
            keys |= {row["__key"]: f"n{start + number}" for number, row in enumerate(outcomes)}
        equal(len(keys), 30, f"different keys reported for 30 records: {sorted(map(str, keys))}")
        equal({key: row["name"] for key, row in shown(connector, obj, ["name"]).items()}, keys, "names by key as read")
        some = sorted(keys)[:3]
        equal(sorted(listing(connector, obj, keys=some).keys), some, "rows found under reported keys")
    equal({key: row["name"] for key, row in stored(world, obj).items()}, keys, "names by key as stored")


@write_rule("creates", "deletes", "assigns_keys", "takes_keys")
def given_keys_are_taken(world: World) -> None:
    """Where the system gives keys, a new row can still be given that of one which was deleted."""
    columns = {"id": Column(type=world.traits.assigned_type, nullable=False), "name": Column(), "note": Column(), "city": Column()}
    obj = world.object(Trial(columns=columns, assigned=True))
    with connected(world) as connector:
        key = send(connector, obj, "create", [(None, {"name": "first"}), (None, {"name": "second"})])[0]["__key"]
        equal(statuses(send(connector, obj, "delete", [(key, {})])), ["done"], "status of the delete")
        (again,) = send(connector, obj, "create", [(key, {"name": "again"})])
        equal((again["__status"], again["__key"]), ("done", key), "status and key of a create under the key of a row that was deleted")
        (taken,) = send(connector, obj, "create", [(key, {"name": "another"})])
        equal(taken["__status"], "rejected", "status of a create under a key that is taken")
        (new,) = send(connector, obj, "create", [(None, {"name": "new"})])
        equal(new["__status"], "done", "status of a create without a key after that")
    names = {key: row["name"] for key, row in stored(world, obj).items()}
    equal((names.get(key), names.get(new["__key"]), len(names)), ("again", "new", 3), "names under these keys, and rows in all")


@write_rule("creates", "updates", "stored_row")
def stored_rows_are_told(world: World) -> None:
    """The row that a write reports is the row that a read then shows, written columns and others."""
    obj = world.object(people(), [person("a", city="Oslo"), person("b", note=None)])
    with connected(world) as connector:
        operations: list[tuple[str | None, Row]] = [("a", {"name": " spaced "}), ("b", {"city": None}), ("a", {"note": "second"})]
        outcomes = send(connector, obj, "update", operations[:2], returning=TEXTS)
        outcomes += send(connector, obj, "update", operations[2:], returning=TEXTS)
        made: list[tuple[str | None, Row]] = [("c", {"id": "c", "name": "made", "city": None}), ("d", {"id": "d", "name": "", "note": " "})]
        outcomes += send(connector, obj, "create", made, returning=TEXTS)
        equal([row["__stored"] for row in outcomes], [True] * 5, "__stored of done writes")
        told = {row["__key"]: {name: row[name] for name in TEXTS} for row in outcomes}
        equal(told, shown(connector, obj), "rows as reported by the writes, beside those read")
        if connector.caps.precondition != "none":
            again = send(connector, obj, "update", [(key, {"name": "next"}) for key in told], expected=list(told.values()))
            equal(statuses(again), ["done"] * 4, "status of updates that expect the rows as reported")


@write_rule("creates", "updates", "stored_row", "precondition", "rounds", "type:decimal")
def rounded_values_are_told(world: World) -> None:
    """What a system rounds is reported as rounded, and can be expected so by the next write."""
    obj = world.object(people(price=Column(type="decimal", scale=2)), [{**person("a"), "price": Decimal(1)}])
    with connected(world) as connector:
        outcomes = send(connector, obj, "update", [("a", {"price": "2.6789"})], returning=("price",))
        outcomes += send(connector, obj, "create", [("b", {**person("b"), "price": "7.5"})], returning=("price",))
        equal(statuses(outcomes), ["done", "done"], "status of the writes")
        told = {row["__key"]: row["price"] for row in outcomes}
        equal({key: Decimal(price) for key, price in told.items()}, {"a": Decimal("2.68"), "b": Decimal("7.5")}, "prices as reported")
        read = {key: row["price"] for key, row in shown(connector, obj, ["price"]).items()}
        equal(told, read, "prices as reported by the writes, beside those read")
        before = [{"price": price} for price in told.values()]
        following = send(connector, obj, "update", [(key, {"price": "9"}) for key in told], expected=before)
        equal(statuses(following), ["done", "done"], "status of updates that expect the prices as reported")


@write_rule("makes_objects", "creates")
def prepare_makes_objects(world: World) -> None:
    """prepare() makes an object only where it is allowed to and there is none, and leaves one that is there alone."""
    trial = people()
    forbidden, allowed = world.unmade(trial), world.unmade(trial, create=True)
    types = {name: column.type for name, column in trial.columns.items()}
    with connected(world) as connector:
        connector.prepare(forbidden, types)
        if forbidden.name != allowed.name:
            with raises(ObjectMissingError, "an object that prepare() must not make"):
                listing(connector, forbidden)
        connector.prepare(allowed, types)
        equal(send(connector, allowed, "create", [("a", person("a"))])[0]["__status"], "done", "a create in the new object")
        connector.prepare(allowed, types)
        equal(shown(connector, allowed), {"a": {name: person("a")[name] for name in TEXTS}}, "rows after prepare() was called again")


# ---------------------------------------------------------------- settings and closing


@write_rule()
def required_settings_are_required(world: World) -> None:
    """Each required setting, left out, is an error that names it; so is a setting that does not exist."""
    settings = world.settings()
    schema = world.connector.settings_schema()
    unlisted = sorted(settings.keys() - schema["properties"].keys())
    require(not unlisted, f"settings that settings_schema() does not know: {unlisted}")
    for name in schema.get("required", []):
        with raises(TrueupError, f"opening without the setting {name!r}") as caught:
            world.open({key: value for key, value in settings.items() if key != name}).close()
        require(name in str(caught[0]), f"the error does not name the setting {name!r}: {caught[0]}")
    with raises(TrueupError, "opening with a setting that does not exist") as caught:
        world.open({**settings, "no_such_setting": 1}).close()
    require("no_such_setting" in str(caught[0]), f"the error does not name the setting: {caught[0]}")


@write_rule()
def closing_twice_is_fine(world: World) -> None:
    """A connector may be closed twice, and another one is not harmed."""
    obj = world.object(people(), [person("a")])
    with connected(world) as other:
        connector = world.connect()
        listing(connector, obj)
        connector.close()
        connector.close()
        equal(listing(other, obj).keys, ["a"], "keys read by another connector")


@write_rule("updates")
def missing_columns_are_not_written(world: World) -> None:
    """Writing a column that is not there is an error that names it, and writes nothing."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        rows = pl.DataFrame(
            {"__op": [1], "__key": ["a"], "__write": [["name", "no_such_column"]], "name": ["ours"], "no_such_column": ["x"]}
        )
        with raises(SystemError_, "an update of a column that is not there") as caught:
            connector.write(obj, WriteBatch(kind="update", rows=rows))
        require("no_such_column" in str(caught[0]), f"the error does not name the column: {caught[0]}")
    equal(texts(world, obj)["a"]["name"], "Ada", "the row as stored")
