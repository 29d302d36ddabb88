"""Rules about values: what is stored is what is read, and what is written is what is stored, whatever it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.testing.conformance_tools import (
    Rules,
    canonical,
    connected,
    equal,
    listing,
    people,
    person,
    require,
    send,
    shown,
    stored,
    texts,
    types_of,
)
from trueup.testing.conformance_world import Column, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.model import ColumnType
    from trueup.testing.conformance_world import Row, World

value_rule = Rules()

PLAIN_TEXTS = (
    "plain",
    "007",
    "0",
    "-0.50",
    "1e5",
    "1,234.56",
    " leading and trailing ",
    "null",
    "NULL",
    "NaN",
    "true",
    "2026-11-20",
    "=1+1",
    "'quoted' \"twice\" `thrice`",
    "back\\slash \\n \\0 \\x41",
    "semi;colon,comma|pipe\u00a6",
    "100% _like_ %s %(x)s :name ? $1 {brace}",
    "<b>&amp;</b>",
    "Zoë Ünal Łukasz ﬁ ß İ",
    "e\u0301 combining, é composed",
    "שלום עולם \u202bRTL\u202c مرحبا",
    "👩‍👩‍👧 🏳️‍🌈 🇬🇧 \U0001d518",
    "漢字かな交じり文",
    "\u200bzero width\u200d \u00a0no break\u2003em",
)
CONTROL_TEXTS = ("tab\tinside", "two\nlines", "three\r\nline\r\nends", "\n", "ends with newline\n")


def _typed(column_type: ColumnType) -> Trial:
    return Trial(columns={"id": Column(nullable=False, max_length=120), "value": Column(type=column_type), "other": Column()})


def _survive(world: World, column_type: ColumnType, values: Sequence[Any]) -> None:
    """Each value read as it was stored from outside, and stored as it was written through the connector."""
    wanted = {f"k{number}": canonical(value, column_type) for number, value in enumerate(values)}
    rows: list[Row] = [{"id": f"k{number}", "value": value, "other": "x"} for number, value in enumerate(values)]
    obj = world.object(_typed(column_type), rows)
    target = world.object(_typed(column_type))
    with connected(world) as connector:
        equal(types_of(connector, obj)["value"], column_type, "describe() reports another type for the column")
        read = listing(connector, obj, ["value"])
        require(not read.rejected, f"rows with good values were rejected: {read.rejected}")
        raw = {key: row["value"] for key, row in read.by_key().items()}
        equal({key: canonical(value, column_type) for key, value in raw.items()}, wanted, f"{column_type} values changed while read")
        outcomes = send(connector, target, "create", [(key, {"id": key, "value": value, "other": "x"}) for key, value in raw.items()])
        refused = {row["__key"]: row["__reason"] for row in outcomes if row["__status"] != "done"}
        require(not refused, f"good values were not taken: {refused}")
        kept = {key: canonical(row.get("value"), column_type) for key, row in stored(world, target).items()}
        equal(kept, wanted, f"{column_type} values changed while written")
        again = {key: canonical(row["value"], column_type) for key, row in shown(connector, target, ["value"]).items()}
        equal(again, wanted, f"{column_type} values changed on the way there and back")


@value_rule("creates")
def text_survives(world: World) -> None:
    """Text survives unchanged, both ways."""
    controls = CONTROL_TEXTS if world.traits.controls else ()
    _survive(world, "text", [*PLAIN_TEXTS, *controls])


@value_rule("creates")
def long_text_survives(world: World) -> None:
    """Long text survives unchanged, both ways."""
    longest = world.traits.max_text
    _survive(world, "text", ["é" * longest, ("0123456789" * (longest // 10 + 1))[:longest], "x"])


@value_rule("creates", "empty_text")
def empty_is_not_null(world: World) -> None:
    """The empty text is not null, and null is not the empty text."""
    _survive(world, "text", ["", None, " ", "x"])


@value_rule("creates", "updates")
def null_survives(world: World) -> None:
    """Null stays null in every type, and a value can be set to null and back."""
    trial = Trial(columns={"id": Column(nullable=False, max_length=120), **{f"c_{name}": Column(type=name) for name in _types(world)}})
    obj = world.object(trial, [{"id": "stored", **dict.fromkeys(_cells(world))}])
    cells = _cells(world)
    with connected(world) as connector:
        send(connector, obj, "create", [("made", {"id": "made", **cells}), ("empty", {"id": "empty", **dict.fromkeys(cells)})])
        equal(send(connector, obj, "update", [("made", dict.fromkeys(cells))])[0]["__status"], "done", "setting columns to null")
        for key in ("stored", "made", "empty"):
            equal(shown(connector, obj, list(cells))[key], dict.fromkeys(cells), f"row {key!r} should show null in every column")
            row = stored(world, obj)[key]
            # A file of text has no null of its own: an empty cell is one.
            held = {name: value for name in cells if (value := row.get(name)) not in {None, ""}}
            equal(held, {}, f"row {key!r} should hold null in every column")
        send(connector, obj, "update", [("empty", cells)])
        back = shown(connector, obj, list(cells))["empty"]
        require(all(value is not None for value in back.values()), f"a null column did not take a value again: {back}")


def _types(world: World) -> list[ColumnType]:
    return sorted(world.traits.types & SAMPLES.keys())


def _cells(world: World) -> Row:
    return {f"c_{name}": SAMPLES[name] for name in _types(world)}


SAMPLES: dict[ColumnType, Any] = {
    "text": "x",
    "integer": 5,
    "decimal": "1.5",
    "float": 2.5,
    "boolean": True,
    "date": date(2026, 11, 20),
    "datetime": datetime(2026, 11, 20, 2, 0, tzinfo=UTC),
    "timestamp": datetime.fromisoformat("2026-11-20T02:00:00"),
}


@value_rule("creates", "type:integer")
def whole_numbers_survive(world: World) -> None:
    """Whole numbers survive unchanged up to their limits."""
    greatest = min(2**63 - 1, 10**world.traits.integer_digits - 1)
    _survive(world, "integer", [0, 1, -1, 42, greatest, -greatest, 2**31, greatest // 7, None])


@value_rule("creates", "type:decimal")
def decimals_survive(world: World) -> None:
    """Decimals survive exactly, with all their digits."""
    digits = world.traits.decimal_digits
    fraction = min(10, digits // 3)
    pattern = ("1234567890" * 4)[: digits - fraction]
    exact = [f"{pattern}.{('9876543211' * 2)[:fraction]}", "0.1", "-0.1", "0.3", "2.675", "1.005", "-12345.6789", "100", "0"]
    _survive(world, "decimal", [*(Decimal(text) for text in exact), None])


@value_rule("creates", "type:float")
def floats_survive(world: World) -> None:
    """Floating point numbers survive to the last bit."""
    _survive(world, "float", [0.0, 0.1, -0.1, 1 / 3, 1e-12, 123456789.123456789, 1e300, 5e-300, -2.5, None])


@value_rule("creates", "type:boolean")
def booleans_survive(world: World) -> None:
    """True, false and null are three things."""
    _survive(world, "boolean", [True, False, None, False, True])


@value_rule("creates", "type:date")
def dates_survive(world: World) -> None:
    """Dates survive without moving a day, from the first to the last."""
    first, last = world.traits.first_date, world.traits.last_date
    days = [first, last, date(1970, 1, 1), date(1999, 12, 31), date(2024, 2, 29), date(2026, 3, 29), None]
    _survive(world, "date", [day for day in days if day is None or first <= day <= last])


def _moments(world: World, first: date, last: date) -> list[datetime]:
    step = 10 ** (6 - world.traits.fraction_digits)
    fraction = timedelta(microseconds=123456 // step * step)
    days = [first, last, date(1970, 1, 1), date(2026, 3, 29), date(2026, 10, 25), date(2024, 2, 29)]
    starts = [datetime.fromisoformat(f"{day}T00:00:00") for day in days if first <= day <= last]
    return [start + offset for start in starts for offset in (timedelta(), timedelta(hours=2, minutes=30) + fraction)]


@value_rule("creates", "type:datetime")
def moments_survive(world: World) -> None:
    """Points in time survive to the fraction, whatever clocks were changed that day."""
    traits = world.traits
    moments = _moments(world, max(traits.first_moment, traits.first_date), min(traits.last_moment, traits.last_date))
    _survive(world, "datetime", [*(moment.replace(tzinfo=UTC) for moment in moments), None])


@value_rule("creates", "type:timestamp")
def wall_clock_readings_survive(world: World) -> None:
    """Wall clock readings survive to the fraction, and gain no zone."""
    _survive(world, "timestamp", [*_moments(world, max(world.traits.first_date, date(1, 1, 2)), world.traits.last_date), None])


@value_rule("creates", "type:list")
def lists_survive(world: World) -> None:
    """Lists survive with their items' order and text."""
    _survive(world, "list", [["a", "b"], ["b", "a"], ["x;y", "z|", ""], [], ["007"], None])


@value_rule("updates")
def ways_of_reading_agree(world: World) -> None:
    """A listing, a read by key, find and a write's report show the same row in the same way, to the last digit."""
    kinds = {f"c_{name}": name for name in _types(world)}
    columns = {"id": Column(nullable=False, max_length=120), "other": Column()}
    columns |= {column: Column(type=kind) for column, kind in kinds.items()}
    # Digits at the edge of what a float tells apart, where two libraries write one number differently.
    numbers = (578175905, 722288108, 442287373, 596904070)
    many = [{**SAMPLES, "decimal": Decimal(f"{number}.29918"), "float": number / 3} for number in numbers]
    rows = [{"id": f"k{place}", "other": "x"} | {column: cells[kind] for column, kind in kinds.items()} for place, cells in enumerate(many)]
    obj = world.object(Trial(columns=columns), rows)
    with connected(world) as connector:
        listed = shown(connector, obj, list(kinds))
        equal(listing(connector, obj, list(kinds), keys=list(listed)).by_key(), listed, "rows read by key, beside those of the listing")
        if connector.caps.find:
            found = connector.find(obj, list(kinds), pl.DataFrame({"other": ["x"]}))
            rows_found = {row["__key"]: {name: row[name] for name in kinds} for row in found.to_dicts()}
            equal(rows_found, listed, "rows found, beside those of the listing")
        outcomes = send(connector, obj, "update", [(key, {"other": "y"}) for key in listed], returning=list(kinds))
        told = {row["__key"]: {name: row[name] for name in kinds} for row in outcomes if row["__stored"]}
        equal(told, listed if connector.caps.stored_row else {}, "rows as reported by a write, beside those of the listing")


@value_rule("creates", "type:json")
def json_survives(world: World) -> None:
    """JSON survives in meaning: numbers, text, nesting, and JSON's own null beside the column's."""
    values = ['{"a":1,"b":[true,null,"x"]}', "[]", '"text"', "12.5", "null", '{"é":"\\"quoted\\""}', None]
    _survive(world, "json", values)


@value_rule("creates", "type:binary")
def binary_survives(world: World) -> None:
    """Binary values survive byte for byte; they travel as lower-case hexadecimal text."""
    _survive(world, "binary", [bytes(range(256)), b"", b"\x00", b"text", None])


@value_rule("absent", "creates", "updates")
def absent_is_not_null(world: World) -> None:
    """An absent column is told apart from null, and stays absent when others are written."""
    obj = world.object(people(), [{"id": "a", "name": "Ada", "city": None}])
    with connected(world) as connector:
        rows = listing(connector, obj).rows
        require("__absent" in rows.columns, "the page does not say which columns are absent")
        equal(sorted(rows.get_column("__absent").to_list()[0] or []), ["note"], "absent columns of the row")
        equal(send(connector, obj, "update", [("a", {"name": "Grace"})])[0]["__status"], "done", "update of the row")
        held = stored(world, obj)["a"]
        require("note" not in held, f"the absent column is there after another was written: {held}")
        equal((held["name"], held["city"]), ("Grace", None), "the other columns of the row")


@value_rule("misfits")
def misfits_are_rejects(world: World) -> None:
    """A value that does not fit its column is a reject of its row alone."""
    obj = world.object(people(amount=Column(type="integer")), [{**person(key), "amount": 1} for key in "abc"])
    world.spoil(obj, {"id": "b"}, "amount")
    with connected(world) as connector:
        read = listing(connector, obj, ["amount"])
        equal(sorted(read.by_key()), ["a", "c"], "rows that can be read")
        equal([reject.key for reject in read.rejected], ["b"], "keys of the rejects")
        equal(sorted(listing(connector, obj, ["name"], keys=["a", "c"]).by_key()), ["a", "c"], "the other rows, read by key")
        require(read.rejected[0].reason, "a reject must say why")
    equal(sorted(texts(world, obj)), ["a", "b", "c"], "rows of the object")
