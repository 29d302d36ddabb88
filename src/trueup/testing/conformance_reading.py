"""Rules about reading: pages, listings, cursors, keys, finding, and what an object is said to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import join_key
from trueup.connectors.sql_types import dtype_of
from trueup.errors import ObjectMissingError, SystemError_
from trueup.testing.conformance_tools import (
    TEXTS,
    Rules,
    connected,
    equal,
    listing,
    people,
    person,
    raises,
    require,
    send,
    shown,
    stored,
    texts,
    types_of,
)
from trueup.testing.conformance_world import Column, Trial

if TYPE_CHECKING:
    from trueup.connectors.base import Connector
    from trueup.model import ColumnType, ObjectSpec, OperationKind
    from trueup.testing.conformance_tools import Listing
    from trueup.testing.conformance_world import Row, World

read_rule = Rules()

STRANGE_KEYS = (
    "O'Brien",
    '"quoted"',
    "back\\slash",
    "pipe|inside",
    "\\|both\\\\",
    "two words",
    "100%",
    "under_score",
    "a,b;c",
    "semi;DROP TABLE x",
    "Zoë",
    "👩‍👩‍👧",
    "שלום",
    "007",
    "1e5",
    "true",
    "null",
    "{brace} $1 :x ?",
    "#hash/slash",
)


def _twenty(world: World) -> ObjectSpec:
    """Twenty people, of whom the first nine have no note."""
    rows = [person(f"k{number:02}", name=f"name {number}", note=None if number < 9 else "n") for number in range(20)]
    return world.object(people(), rows)


@read_rule()
def pages_have_the_form_asked_for(world: World) -> None:
    """A page holds the key, then exactly the columns asked for, in that order and in their types."""
    obj = _twenty(world)
    wanted_last = ["__version"] * world.traits.versions + ["__absent"] * world.traits.absent
    with connected(world) as connector:
        types = {name: dtype_of(column_type) for name, column_type in types_of(connector, obj).items()}
        for asked in (["name"], ["city", "name"], ["id"], [], list(TEXTS)):
            rows = listing(connector, obj, asked).rows
            native = [name for name in rows.columns if name not in {"__version", "__absent"}]
            equal(native, ["__key", *asked], "columns of the page")
            extra = [name for name in ("__version", "__absent") if name in rows.columns]
            # __absent may be left out by a page in which nothing is absent.
            require(set(extra) <= set(wanted_last), f"the page has {extra}, which the system's traits do not declare")
            require(not world.traits.versions or "__version" in extra, "the system has versions and the page shows none")
            equal(dict(rows.select(native).schema), {"__key": pl.String()} | {name: types[name] for name in asked}, "types of the page")


@read_rule()
def pages_agree_in_type(world: World) -> None:
    """Every page of a read has the same columns and types, though one is all null."""
    obj = _twenty(world)
    with connected(world) as connector:
        for page_rows in (1, 3, 20):
            schemas = {tuple(page.rows.schema.items()) for page in listing(connector, obj, page_rows=page_rows).pages}
            equal(len(schemas), 1, f"different forms of page in one read of {page_rows} rows a page: {schemas}")


@read_rule()
def quiet_scans_are_quiet(world: World) -> None:
    """Read twice with nothing done between, an object is the same twice."""
    obj = _twenty(world)
    with connected(world) as connector:
        first = listing(connector, obj).rows.sort("__key")
        second = listing(connector, obj).rows.sort("__key")
        require(first.equals(second), f"two reads of an untouched object differ:\n{first}\n{second}")
    with connected(world) as connector:
        third = listing(connector, obj).rows.sort("__key")
        require(first.equals(third), f"two connectors read an untouched object differently:\n{first}\n{third}")


@read_rule()
def pages_lose_nothing(world: World) -> None:
    """Pages lose nothing and double nothing, whatever their size."""
    obj = _twenty(world)
    wanted = texts(world, obj)
    with connected(world) as connector:
        for page_rows in (1, 2, 3, 7, 19, 20, 21):
            read = listing(connector, obj, page_rows=page_rows)
            equal(sorted(read.keys), sorted(wanted), f"keys with {page_rows} rows a page")
            equal(read.by_key(), wanted, f"rows with {page_rows} rows a page")


@read_rule()
def keyed_pages_lose_nothing(world: World) -> None:
    """Pages of a read by key lose nothing and double nothing, whatever their size."""
    obj = _twenty(world)
    asked = [f"k{number:02}" for number in (17, 3, 3, 0, 11, 5, 99)]
    with connected(world) as connector:
        for page_rows in (1, 2, 3, 7):
            read = listing(connector, obj, keys=asked, page_rows=page_rows)
            equal(sorted(read.keys), ["k00", "k03", "k05", "k11", "k17"], f"keys with {page_rows} rows a page")
            equal([page.complete for page in read.pages], [False] * (len(read.pages) - 1) + [True], "complete, page by page")


@read_rule()
def listings_survive_edits_meanwhile(world: World) -> None:
    """A listing that says it is complete shows every row that was there throughout once, whatever is edited meanwhile."""
    obj = _twenty(world)
    with connected(world) as connector:
        pages = connector.read(obj, TEXTS, page_rows=3)
        try:
            first = next(pages)
            early = sorted(first.rows.get_column("__key").to_list())
            world.remove(obj, {"id": early[0]})
            world.remove(obj, {"id": early[1]})
            world.edit(obj, {"id": early[2]}, {"name": "edited"})
            world.insert(obj, [person("a first"), person("z last")])
            rest = list(pages)
        except SystemError_ as error:
            equal(error.remedy, "retry", f"a listing that gives up because of an edit should say that it can be tried again: {error}")
            return
        keys = [key for page in (first, *rest) for key in page.rows.get_column("__key").to_list()]
        equal(sorted(keys), sorted(set(keys)), "a key was shown more than once")
        untouched = {f"k{number:02}" for number in range(20)} - set(early)
        if rest[-1].complete:
            equal(sorted(untouched - set(keys)), [], "rows that were there throughout and not shown by a complete listing")


@read_rule()
def many_keys_can_be_asked_for(world: World) -> None:
    """A read by key takes tens of thousands of keys."""
    obj = _twenty(world)
    asked = [f"unknown {number}" for number in range(40_000)]
    asked[500], asked[20_000], asked[-1] = "k03", "k11", "k19"
    with connected(world) as connector:
        read = listing(connector, obj, ["name"], keys=asked)
        equal((sorted(read.keys), read.complete), (["k03", "k11", "k19"], True), "keys shown of 40,000 asked for, and complete")


@read_rule()
def pages_are_bounded(world: World) -> None:
    """No page is longer than asked for."""
    obj = _twenty(world)
    with connected(world) as connector:
        for page_rows in (1, 3, 7):
            longest = max(page.rows.height for page in listing(connector, obj, page_rows=page_rows).pages)
            require(longest <= page_rows, f"a page of {longest} rows, where {page_rows} were asked for")


@read_rule()
def the_last_page_says_complete(world: World) -> None:
    """The last page, and no other, says that the listing is complete."""
    obj = _twenty(world)
    with connected(world) as connector:
        for page_rows in (1, 4, 20, 50):
            flags = [page.complete for page in listing(connector, obj, page_rows=page_rows).pages]
            equal(flags, [False] * (len(flags) - 1) + [True], f"complete, page by page, with {page_rows} rows a page")


@read_rule()
def an_empty_object_is_complete(world: World) -> None:
    """An empty object is a complete listing of nothing, in the usual form."""
    empty, filled = world.object(people()), world.object(people(), [person("a")])
    with connected(world) as connector:
        read = listing(connector, empty)
        equal((read.rows.height, read.complete, read.rejected, read.gone), (0, True, [], []), "rows, complete, rejects, gone")
        wanted = {name: dtype for name, dtype in listing(connector, filled).rows.schema.items() if name != "__absent"}
        equal({name: dtype for name, dtype in read.rows.schema.items() if name != "__absent"}, wanted, "the form of an empty page")


@read_rule()
def missing_objects_are_named(world: World) -> None:
    """An object that is not there is an ObjectMissingError that names it, never an empty listing."""
    obj = world.unmade(people())
    with connected(world) as connector:
        for what, call in (("describe", connector.describe), ("read", _first_page(connector))):
            with raises(ObjectMissingError, f"{what} of an object that is not there") as caught:
                call(obj)
            require(str(obj.name) in str(caught[0]) or obj.name is None, f"the error does not name {obj.name!r}: {caught[0]}")


def _first_page(connector: Connector) -> Any:
    return lambda obj: listing(connector, obj)


@read_rule()
def missing_columns_are_named(world: World) -> None:
    """A column that is not there is an ObjectMissingError that names it, never nulls."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        with raises(ObjectMissingError, "reading a column that is not there") as caught:
            listing(connector, obj, ["name", "no_such_column"])
        require("no_such_column" in str(caught[0]), f"the error does not name the column: {caught[0]}")
        with raises(ObjectMissingError, "a missing key column") as caught:
            connector.describe(_keyed_by(obj, "no_such_key"))
        require("no_such_key" in str(caught[0]), f"the error does not name the key column: {caught[0]}")


def _keyed_by(obj: ObjectSpec, column: str) -> ObjectSpec:
    from dataclasses import replace

    return replace(obj, key=(column,))


@read_rule()
def keys_give_exactly_those(world: World) -> None:
    """A read by key gives those rows and no others; an unknown key is simply not there."""
    obj = world.object(people(), [person(key, name=f"name of {key}") for key in ("a", "B", "c", "aa", "d e")])
    with connected(world) as connector:
        for asked, wanted in (
            (["c", "a"], ["a", "c"]),
            (["a", "zz", "a"], ["a"]),
            (["zz"], []),
            (["b", "A", "d  e", " a", "a "], []),
            ([], []),
        ):
            read = listing(connector, obj, keys=asked)
            equal(sorted(read.keys), wanted, f"keys shown when {asked} were asked for")
            equal((read.complete, read.rejected), (True, []), f"complete and rejects when {asked} were asked for")
        equal(listing(connector, obj, keys=["d e"]).by_key()["d e"]["name"], "name of d e", "the row of the key 'd e'")


@read_rule("updates", "strange_keys")
def strange_keys_work(world: World) -> None:
    """Any text can be a key: quotes, pipes, backslashes, spaces, other scripts."""
    obj = world.object(people(), [person(key, name=f"<{key}>") for key in STRANGE_KEYS])
    with connected(world) as connector:
        equal(sorted(listing(connector, obj).keys), sorted(STRANGE_KEYS), "keys of the listing")
        named = {key: row["name"] for key, row in listing(connector, obj, keys=STRANGE_KEYS).by_key().items()}
        equal(named, {key: f"<{key}>" for key in STRANGE_KEYS}, "rows read by key")
        outcomes = send(connector, obj, "update", [(key, {"note": key[::-1]}) for key in STRANGE_KEYS])
        equal({row["__key"]: row["__status"] for row in outcomes}, dict.fromkeys(STRANGE_KEYS, "done"), "outcomes by key")
        equal({key: row["note"] for key, row in texts(world, obj).items()}, {key: key[::-1] for key in STRANGE_KEYS}, "notes written")


@read_rule("type:integer", "updates")
def number_keys_have_one_text(world: World) -> None:
    """A whole number has one key text: 7 is a key, and 007, 7.0 and seven are none."""
    trial = Trial(columns={"id": Column(type="integer", nullable=False), "name": Column()})
    obj = world.object(trial, [{"id": number, "name": f"n{number}"} for number in (7, -3, 0, 10**9)])
    with connected(world) as connector:
        names = {key: row["name"] for key, row in shown(connector, obj, ["name"]).items()}
        equal(names, {"7": "n7", "-3": "n-3", "0": "n0", "1000000000": "n1000000000"}, "names by key")
        others = ["007", "7.0", " 7", "+7", "7e0", "-0", "seven", "", "99999999999999999999999"]
        equal(listing(connector, obj, ["name"], keys=others).keys, [], "keys shown when only others were asked for")
        equal(sorted(listing(connector, obj, ["name"], keys=[*others, "-3", "7"]).keys), ["-3", "7"], "keys shown among others")
        outcomes = send(connector, obj, "update", [(key, {"name": "x"}) for key in [*others, "0"]])
        equal([row["__status"] for row in outcomes], ["gone"] * len(others) + ["done"], "status of updates by these keys")
    equal({str(row["id"]): row["name"] for row in world.rows(obj)}, {**names, "0": "x"}, "names as stored")


@read_rule("creates", "updates")
def strange_column_names_work(world: World) -> None:
    """Any name can be a column's: reserved words, quotes, blanks, per cent signs, upper and lower case."""
    usual = ("select", "Mixed Case", "per%cent %s", "semi;colon", "dotted.name", "dash-ed", "ünï", ":colon", "q?")
    names = (*usual, 'quo"te', "back`tick", "it's")
    columns = {"Key Of": Column(nullable=False, max_length=120), **{name: Column() for name in names}}
    obj = world.object(Trial(columns=columns, key=("Key Of",)), [{"Key Of": "a", **{name: f"<{name}>" for name in names}}])
    with connected(world) as connector:
        equal(shown(connector, obj, names), {"a": {name: f"<{name}>" for name in names}}, "the row as read")
        before = {name: f"<{name}>" for name in names}
        changed = {name: f"{name}!" for name in names}
        equal(send(connector, obj, "update", [("a", changed)], expected=[before])[0]["__status"], "done", "status of the update")
        equal(send(connector, obj, "create", [("b", {"Key Of": "b", **before})])[0]["__status"], "done", "status of the create")
        if connector.caps.find:
            found = connector.find(obj, names, pl.DataFrame({name: [changed[name]] for name in names}))
            equal(found.get_column("__key").to_list(), ["a"], "keys found by all columns")
    held = {str(row["Key Of"]): {name: row[name] for name in names} for row in world.rows(obj)}
    equal(held, {"a": changed, "b": before}, "rows as stored")


@read_rule("composite_keys", "creates", "updates", "deletes")
def composite_keys_round_trip(world: World) -> None:
    """Keys of several columns are told apart and lead back to their rows."""
    columns = {name: Column(nullable=False, max_length=60) for name in ("region", "number")} | {"name": Column()}
    pairs = [("a|b", "c"), ("a", "b|c"), ("a\\", "|b"), ("a\\|", "b"), ("x", "1"), ("x", "2")]
    rows = [{"region": first, "number": second, "name": f"{first}/{second}"} for first, second in pairs]
    obj = world.object(Trial(columns=columns, key=("region", "number")), rows)
    wanted = {join_key(pair): f"{pair[0]}/{pair[1]}" for pair in pairs}
    with connected(world) as connector:
        equal({key: row["name"] for key, row in shown(connector, obj, ["name"]).items()}, wanted, "rows of the listing")
        read = listing(connector, obj, ["name"], keys=[*wanted, "x|3", "x"]).by_key()
        equal({key: row["name"] for key, row in read.items()}, wanted, "rows read by key")
        target = join_key(pairs[0])
        equal(send(connector, obj, "update", [(target, {"name": "changed"})])[0]["__status"], "done", "update of a row")
        equal(send(connector, obj, "delete", [(join_key(pairs[1]), {})])[0]["__status"], "done", "delete of a row")
        made = send(connector, obj, "create", [("n|7", {"region": "n", "number": "7", "name": "new"})])[0]
        equal((made["__status"], made["__key"]), ("done", "n|7"), "a create's status and key")
    held = {(str(row["region"]), str(row["number"])): row["name"] for row in world.rows(obj)}
    wanted_rows = {pair: f"{pair[0]}/{pair[1]}" for pair in pairs[2:]} | {pairs[0]: "changed", ("n", "7"): "new"}
    equal(held, wanted_rows, "rows as stored")


@read_rule("unguarded_keys")
def null_keys_are_rejects(world: World) -> None:
    """A row whose key is null is a reject with a reason, never a row."""
    trial = Trial(columns={"id": Column(max_length=120), "name": Column(), "note": Column(), "city": Column()}, guarded=False)
    rows = [person("a"), {"id": None, "name": "nobody", "note": None, "city": None}, person("b")]
    obj = world.object(trial, rows)
    with connected(world) as connector:
        for page_rows in (1, 50):
            read = listing(connector, obj, page_rows=page_rows)
            equal(sorted(read.keys), ["a", "b"], "keys of the rows")
            equal([reject.key for reject in read.rejected], [None], "keys of the rejects")
            require(read.rejected[0].reason, "a reject must say why")


@read_rule("unguarded_keys", "updates", "deletes")
def doubled_keys_are_rejects(world: World) -> None:
    """Rows that share a key are rejects, and none of them is written or deleted."""
    trial = Trial(columns={"id": Column(max_length=120), "name": Column(), "note": Column(), "city": Column()}, guarded=False)
    obj = world.object(trial, [person("a"), person("b", name="one"), person("c"), person("b", name="two")])
    before = sorted((str(row["id"]), str(row["name"])) for row in world.rows(obj))
    with connected(world) as connector:
        for page_rows in (1, 2, 50):
            read = listing(connector, obj, page_rows=page_rows)
            equal(sorted(read.keys), ["a", "c"], "keys of the rows")
            equal({reject.key for reject in read.rejected}, {"b"}, "keys of the rejects")
        by_key = listing(connector, obj, keys=["a", "b"])
        equal((by_key.keys, {reject.key for reject in by_key.rejected}), (["a"], {"b"}), "rows and rejects, read by key")
        writes: tuple[tuple[OperationKind, Row], ...] = (("update", {"name": "three"}), ("delete", {}))
        for kind, values in writes:
            status = send(connector, obj, kind, [("b", values)])[0]["__status"]
            require(status not in {"done", "gone"}, f"{kind} of a doubled key says {status}")
    equal(sorted((str(row["id"]), str(row["name"])) for row in world.rows(obj)), before, "rows after writes to a doubled key")


# ---------------------------------------------------------------- changes since


def _dated(world: World) -> tuple[ObjectSpec, dict[str, int]]:
    """An object with a modified column of which many rows share a time; key -> minute."""
    column_type: ColumnType = next(name for name in ("datetime", "timestamp", "integer", "text") if name in world.traits.types)
    minutes = {f"k{number:02}": minute for number, minute in enumerate([0, 5, 5, 5, 5, 1, 2, 9, 9, 9, 3, 5])}
    rows = [{**person(key), "changed": _minute(minute, column_type, world.traits.fraction_digits)} for key, minute in minutes.items()]
    return world.object(Trial(columns={**people().columns, "changed": Column(type=column_type)}, modified="changed"), rows), minutes


def _minute(minute: int, column_type: ColumnType, fraction_digits: int) -> Any:
    moment = datetime(2026, 11, 20, 2, 0, tzinfo=UTC) + timedelta(minutes=minute)
    if minute % 2:  # a cursor that is cut or rounded to seconds or milliseconds leads elsewhere
        moment += timedelta(microseconds=123456 // 10 ** (6 - fraction_digits) * 10 ** (6 - fraction_digits))
    match column_type:
        case "datetime":
            return moment
        case "timestamp":
            return moment.replace(tzinfo=None)
        case "integer":
            return 1000 + minute
        case _:
            return moment.isoformat()


@read_rule("incremental")
def cursors_are_inclusive(world: World) -> None:
    """A read since a cursor shows the rows of the cursor's own moment again, and all later ones."""
    obj, minutes = _dated(world)
    with connected(world) as connector:
        cursor = listing(connector, obj).cursor
        require(cursor is not None, "a full listing of an object with a modified column ends without a cursor")
        latest = sorted(key for key, minute in minutes.items() if minute == 9)
        equal(sorted(listing(connector, obj, since=cursor).keys), latest, "rows since the cursor of the full listing")
        world.insert(obj, [{**person("late"), "changed": world.rows(obj)[7]["changed"]}])
        again = listing(connector, obj, since=cursor)
        equal(sorted(again.keys), sorted([*latest, "late"]), "rows since the same cursor, after one more of the same moment")
        equal((again.complete, again.cursor), (True, cursor), "complete, and the new cursor")


@read_rule("incremental")
def resumed_reads_lose_nothing(world: World) -> None:
    """A read resumed from any page's cursor loses nothing, though many rows share a moment."""
    obj, minutes = _dated(world)
    with connected(world) as connector:
        start = _earliest(connector, obj, minutes)
        for page_rows in (1, 2, 3):
            whole = listing(connector, obj, since=start, page_rows=page_rows)
            equal(sorted(whole.keys), sorted(minutes), f"rows since the first moment, {page_rows} a page")
            for number, page in enumerate(whole.pages):
                require(page.cursor is not None, "a page of a read since a cursor has no cursor")
                before = {key for done in whole.pages[: number + 1] for key in done.rows.get_column("__key").to_list()}
                rest = set(_resumed(connector, obj, page.cursor).keys)
                equal(sorted(before | rest), sorted(minutes), f"rows up to page {number} and those since its cursor, {page_rows} a page")


def _resumed(connector: Connector, obj: ObjectSpec, cursor: str | None) -> Listing:
    return listing(connector, obj, since=cursor)


def _earliest(connector: Connector, obj: ObjectSpec, minutes: dict[str, int]) -> str:
    """A cursor at the first moment of all, got from the connector itself by reading a copy that ends there."""
    for key, minute in minutes.items():
        if minute == 0:
            read = listing(connector, obj, ["changed"], keys=[key])
            value = read.by_key()[key]["changed"]
            return _cursor_text(value)
    message = "no row of the first moment"
    raise LookupError(message)


def _cursor_text(value: Any) -> str:
    """The contract's canonical text of a moment."""
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat()
        return f"{text}Z" if value.tzinfo else text
    return str(value)


@read_rule("incremental")
def edits_move_past_the_cursor(world: World) -> None:
    """A row edited later is shown by the next read since the cursor, and the cursor moves on."""
    obj, _ = _dated(world)
    with connected(world) as connector:
        cursor = listing(connector, obj).cursor
        kind = types_of(connector, obj)["changed"]
        world.edit(obj, {"id": "k00"}, {"name": "edited", "changed": _minute(30, kind, world.traits.fraction_digits)})
        read = listing(connector, obj, since=cursor)
        equal(read.by_key().get("k00", {}).get("name"), "edited", "the edited row, read since the cursor")
        require(read.cursor not in {None, cursor}, f"the cursor did not move: {read.cursor}")
        equal(listing(connector, obj, since=read.cursor).keys, ["k00"], "rows since the new cursor")


@read_rule("tombstones")
def deletes_are_told(world: World) -> None:
    """A deleted row is told as gone, until it is there again."""
    obj, _ = _dated(world)
    with connected(world) as connector:
        cursor = listing(connector, obj).cursor
        again = next(row for row in world.rows(obj) if row["id"] == "k03")
        world.remove(obj, {"id": "k03"})
        require("k03" in listing(connector, obj, since=cursor).gone, "the deleted key is not told")
        world.insert(obj, [again])
        read = listing(connector, obj, since=cursor)
        require("k03" not in read.gone, "a key is told as gone while its row is there")


@read_rule("versions")
def versions_move_with_content(world: World) -> None:
    """A row's version moves when its content does, and only then."""
    obj = world.object(people(), [person("a"), person("b")])
    with connected(world) as connector:
        first = _versions(connector, obj)
        equal(_versions(connector, obj), first, "versions of untouched rows, read again")
        world.edit(obj, {"id": "a"}, {"note": "second"})
        second = _versions(connector, obj)
        require(second["a"] != first["a"], "the version did not move with the row's content")
        equal(second["b"], first["b"], "the version of the row that nobody touched")
        world.edit(obj, {"id": "a"}, {"note": "first"})
        require(_versions(connector, obj)["a"] != second["a"], "the version did not move when the row was edited back")


@read_rule("versions", "updates", "creates")
def written_versions_are_reported(world: World) -> None:
    """The version that a write reports is the one that a read then shows."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        before = _versions(connector, obj)["a"]
        reported = {row["__key"]: row["__version"] for row in send(connector, obj, "update", [("a", {"note": "second"})])}
        reported |= {row["__key"]: row["__version"] for row in send(connector, obj, "create", [("b", person("b"))])}
        equal(reported, _versions(connector, obj), "versions reported by the writes, beside those read")
        require(reported["a"] != before, "the version did not move with the write")


def _versions(connector: Connector, obj: ObjectSpec) -> dict[str, str]:
    rows = listing(connector, obj).rows
    require("__version" in rows.columns, "the page shows no versions")
    return dict(rows.select("__key", "__version").iter_rows())


# ---------------------------------------------------------------- finding, describing


@read_rule("find")
def find_is_exact(world: World) -> None:
    """Find gives the rows equal to a value in every column asked for, exactly and no others."""
    names = {"a": "Ada", "b": "ada", "c": "Ada ", "d": "Adá", "e": "A%", "f": "A_a", "g": "Ada"}
    obj = world.object(people(), [person(key, name=name, city="Rome" if key == "g" else "Paris") for key, name in names.items()])
    with connected(world) as connector:
        for wanted, values in (
            (["a", "g"], {"name": ["Ada"]}),
            (["b"], {"name": ["ada", "ADA"]}),
            (["e"], {"name": ["A%"]}),
            (["f"], {"name": ["A_a", "nobody"]}),
            (["a"], {"name": ["Ada"], "city": ["Paris"]}),
            (["a", "b"], {"name": ["Ada", "ada", "Ada"], "city": ["Paris", "Paris", "Paris"]}),
            ([], {"name": ["Ada"], "city": ["Berlin"]}),
        ):
            frame = connector.find(obj, ["note", "name"], pl.DataFrame(values, schema=dict.fromkeys(values, pl.String)))
            equal(sorted(frame.get_column("__key").to_list()), wanted, f"keys found for {values}")
            equal([name for name in frame.columns if name not in {"__version", "__absent"}], ["__key", "note", "name"], "columns found")


@read_rule("find")
def find_knows_null(world: World) -> None:
    """Find tells null from every value: null finds null, and nothing else."""
    rows = [person("a", name=None), person("b", name="x"), person("c", name="null"), person("d", name=None, city=None)]
    obj = world.object(people(), rows)
    with connected(world) as connector:
        null = pl.DataFrame({"name": [None], "city": ["Paris"]}, schema={"name": pl.String, "city": pl.String})
        equal(connector.find(obj, ["name"], null).get_column("__key").to_list(), ["a"], "keys found for name null in Paris")
        alone = pl.DataFrame({"name": [None]}, schema={"name": pl.String})
        equal(sorted(connector.find(obj, ["name"], alone).get_column("__key").to_list()), ["a", "d"], "keys found for name null")
        none = pl.DataFrame({"name": []}, schema={"name": pl.String})
        equal(connector.find(obj, ["name"], none).height, 0, "rows found for no values at all")


@read_rule()
def objects_are_described(world: World) -> None:
    """describe() names every column, and discover() lists the object the same way."""
    obj = world.object(people(), [person("a")])
    with connected(world) as connector:
        info = connector.describe(obj)
        equal(list(info.columns), ["id", *TEXTS], "columns described, in their order")
        equal({name: column.name for name, column in info.columns.items()}, {name: name for name in info.columns}, "names of the columns")
        require(info.key in {("id",), ()}, f"the key is described as {info.key}")
        found = [other for other in connector.discover() if other.name == info.name]
        equal(len(found), 1, f"objects called {info.name!r} that were discovered")
        plain = connector.describe(replace(obj, key=(), options={})) if world.traits.declares_columns else info
        equal(dict(found[0].columns), dict(plain.columns), "columns discovered, beside those described")


@read_rule()
def reading_changes_nothing(world: World) -> None:
    """Reading writes nothing."""
    obj = _twenty(world)
    before = stored(world, obj)
    with connected(world) as connector:
        listing(connector, obj, page_rows=3)
        listing(connector, obj, keys=["k01", "zz"])
        connector.describe(obj)
        connector.discover()
    equal(stored(world, obj), before, "rows after reading")
