"""Of many records at once the same is decided and told as of each by itself, although it is worked out otherwise."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.tools import NOW, THEN, entity, golden, known, shadow, shows
from trueup.core.cells import AT, GID, NULL, SYSTEM, cell_from_python
from trueup.core.facts import GONE_SCHEMA
from trueup.core.reconcile import reconcile
from trueup.core.undo import LINE_SCHEMA, UNDO, Done, cells_of, rule_of
from trueup.model import Field
from trueup.runtime.commit import value_json, values_json

MANY = 120
KINDS = ("text", "integer", "decimal", "boolean", "date", "datetime", "float", "list", "json", "reference")
SHAPE = entity(*(Field(name=kind, type=kind) for kind in KINDS))  # type: ignore[arg-type]


def test_where_values_came_from() -> None:
    chance = Random(3)
    shape = entity()
    stamps = [None, "2026-11-19T12:00:00.000000Z", "2026-11-20T12:00:00.000000Z"]
    goldens, shadows, rows = [], [], {"crm": {}, "shop": {}}  # type: ignore[var-annotated]
    for gid in range(1, MANY + 1):
        named = {name: [chance.choice(["crm", "shop", None]), chance.choice(stamps)] for name in ("name", "email") if chance.random() < 0.4}
        origins = orjson.dumps(named).decode() if named else None
        came_from = {"origin_system": chance.choice(["crm", "shop"]), "origin_at": chance.choice([None, THEN, NOW]), "origins": origins}
        goldens.append(golden(shape, gid, {"name": "Ada", "email": "a"}, **came_from))
        shadows += [shadow(gid, system) for system in ("crm", "shop")]
        changed = {name: f"new {gid}" for name in ("name", "email") if chance.random() < 0.6}
        rows[chance.choice(["crm", "shop"])][gid] = changed
    for at in (NOW, THEN, None):
        facts = shows(known(shape, goldens, shadows), at, crm=rows["crm"], shop=rows["shop"])
        every = {row["id"]: row for row in reconcile(facts).golden.iter_rows(named=True)}
        for gid, row in every.items():
            system = "crm" if gid in rows["crm"] else "shop"
            alone = known(shape, [goldens[gid - 1]], [item for item in shadows if item["gid"] == gid])
            assert reconcile(shows(alone, at, **{system: {gid: rows[system][gid]}})).golden.rows(named=True) == [row]
        assert len(every) > MANY / 2


VALUES: list[Any] = [
    "",
    "a",
    'say "no"',
    "b\\c",
    "\u0001",
    "e\u0301",
    "null",
    "true",
    "12",
    "-0",
    "007",
    "1.50",
    "2026-02-30",
    "2026-02-28",
]
VALUES += ["2026-02-28T12:00:00Z", 0, 7, -12, 10**17, 10**30, 1.5, 2.0, True, False, None, [], ["b", "a"], {"a": 1}, "[1]", " x "]


def test_values_of_the_history() -> None:
    pairs = [
        (kind, orjson.dumps(value).decode() if not isinstance(value, int) else str(value).lower()) for kind in KINDS for value in VALUES
    ]
    pairs += [(kind, None) for kind in KINDS]  # type: ignore[misc]
    names, texts = (pl.Series(list(column), dtype=pl.String) for column in zip(*pairs, strict=True))
    cells, fits = cells_of(SHAPE, names, texts)
    for (name, text), cell, fit in zip(pairs, cells, fits, strict=True):
        assert (cell, fit) == _cell(name, text), (name, text)


def _cell(name: str, text: str | None) -> tuple[str | None, bool]:
    if text is None:
        return None, True
    try:
        return cell_from_python(orjson.loads(text), SHAPE.fields[name]), True
    except ValueError:
        return None, False


def test_values_for_the_history() -> None:
    cells = ["", "a", 'say "no"', "b\\c", "\u0001\u007f", "é🎉", "null", "true", "false", "12", "-12", "0", "1.5", "2026-02-28", NULL, None]
    cells += ["2026-02-28T12:00:00Z", "[]", '["a","b"]', '{"a":1}', "7"]
    told = {kind: [cell for cell in cells if kind != "json" or cell in (NULL, None, "[]", "12", '{"a":1}')] for kind in KINDS}
    pairs = [(kind, cell) for kind, mine in told.items() for cell in mine] + [("unknown", "a"), (None, "a"), (None, None)]
    names, column = (pl.Series(list(part), dtype=pl.String) for part in zip(*pairs, strict=True))
    assert values_json(column, names, SHAPE).to_list() == [value_json(cell, SHAPE, name) for name, cell in pairs]


LINE = st.tuples(
    st.integers(1, 2), st.sampled_from(["name", "email"]), st.integers(2, 7), st.sampled_from(["edit", UNDO]), st.integers(1, 6)
)


@given(st.lists(LINE, max_size=25))
@settings(deadline=None)
def test_what_is_undone_and_what_stands(lines: list[tuple[int, str, int, str, int]]) -> None:
    lines = [line for line in lines if line[3] == "edit" or line[4] < line[2]]
    rows = [
        {GID: gid, "field": name, "kind": kind, SYSTEM: "crm", AT: NOW, "run": run, "rule": rule_of(of) if kind == UNDO else None}
        for gid, name, run, kind, of in lines
    ]
    nothing = pl.DataFrame(schema=GONE_SCHEMA)
    later = pl.DataFrame([dict.fromkeys(LINE_SCHEMA) | row for row in rows], schema=LINE_SCHEMA)
    done = Done(1, later.clear(), later, nothing, frozenset(), frozenset())

    def is_undone(gid: int, name: str, run: int) -> bool:
        mine = [line for line in lines if line[:2] == (gid, name) and line[3] == UNDO and line[4] == run]
        return any(not is_undone(gid, name, by) for _gid, _name, by, _kind, _of in mine)

    assert set(done.already.rows()) == {line[:2] for line in lines if is_undone(*line[:2], 1)}
    standing = [line[:3] for line in lines if line[3] == "edit" and not is_undone(*line[:3])]
    assert done.standing.select(GID, "field", "run").rows() == standing
