"""Merges that keep every side's work: sums of deltas, set differences, three-way text."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import orjson
import polars as pl

from trueup.core.cells import AT, GID, NULL, SYSTEM, from_cells, to_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.model import Entity, Field

RECORD_FIELD = [GID, "field"]
COUNTED_DIGITS = 17
"""Digits before the point up to which sums of counters are sure to fit an integer (18) and a decimal of 38 digits with 12 places."""


def sort_keys(value: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """A numeric cell as two sort keys: exact where it fits 38 digits with 12 places, and rough for what does not."""
    return value.cast(pl.Decimal(38, 12), strict=False), value.cast(pl.Float64, strict=False)


def add_deltas(entity: Entity, cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Golden + every system's (observed - seen). A null counts as zero.

    Returns the cells with `moved_sent` (what each system stands for after its own delta; one that shows null stands for null, so that it
    is told the sum), and one row per (record, field) with `value`. Cells must not be among `beyond_counting`.
    """
    moved, totals = [], []
    for (name,), group in cells.partition_by("field", as_dict=True, maintain_order=True).items():
        field = entity.fields[str(name)]
        numbers = group.with_columns(
            _delta=_number("observed", field) - _number("seen", field), _sent=_number("sent", field), _golden=_number("golden", field)
        )
        moved.append(
            numbers.with_columns(
                moved_sent=pl.when(pl.col("observed") == NULL)
                .then(pl.lit(NULL))
                .otherwise(to_cells(pl.col("_sent") + pl.col("_delta"), field))
            ).drop("_delta", "_sent", "_golden")
        )
        latest = numbers.sort([AT, "rank"], descending=[True, False])
        total = latest.group_by(RECORD_FIELD, maintain_order=True).agg(
            pl.col("golden").first(), (pl.col("_golden").first() + pl.col("_delta").sum()).alias("_total"), pl.col(SYSTEM, AT).first()
        )
        totals.append(total.with_columns(value=to_cells(pl.col("_total"), field)).drop("_total"))
    return pl.concat(moved), pl.concat(totals)


def beyond_counting(cells: pl.DataFrame) -> pl.DataFrame:
    """(__gid, field) of counters with so many digits that their sum may not fit: a person settles them."""
    digits = pl.max_horizontal(pl.col(name).str.extract(r"^-?([0-9]*)").str.len_chars() for name in ("observed", "seen", "sent", "golden"))
    return cells.filter(digits > COUNTED_DIGITS).select(RECORD_FIELD).unique()


def _number(column: str, field: Field) -> pl.Expr:
    """A cell as a number, zero where it holds none."""
    return from_cells(pl.col(column), field).fill_null(0)


class _Edit(NamedTuple):
    """What one system shows of one field of one record."""

    observed: str
    seen: str | None
    system: str
    at: datetime | None


def _per_record(cells: pl.DataFrame) -> Iterator[tuple[int, str, str | None, list[_Edit]]]:
    """The edits of one (record, field) at a time with the golden value, oldest first, ties by precedence, last precedence first."""
    ordered = cells.sort([*RECORD_FIELD, AT, "rank"], descending=[False, False, False, True])
    rows = ordered.select(GID, "field", "golden", "observed", "seen", SYSTEM, AT).rows()
    for (gid, name, golden), group in groupby(rows, key=itemgetter(0, 1, 2)):
        yield gid, name, golden, [_Edit(*row[3:]) for row in group]


def _result(rows: list[tuple[object, ...]], like: pl.DataFrame) -> pl.DataFrame:
    """Merged values as rows of __gid, field, golden, value, __system, __at."""
    types = {name: like.schema[name] for name in (GID, "field", "golden")}
    return pl.DataFrame(rows, schema=types | {"value": pl.String(), SYSTEM: pl.String(), AT: like.schema[AT]}, orient="row")


def merge_unions(cells: pl.DataFrame) -> pl.DataFrame:
    """Golden plus what each system added, minus what it removed; an item both added and removed stays."""
    rows: list[tuple[object, ...]] = []
    for gid, name, golden, edits in _per_record(cells):
        items, added = _items(golden), set()
        for edit in edits:
            items -= _items(edit.seen) - _items(edit.observed)
            added |= _items(edit.observed) - _items(edit.seen)
        merged = items | added
        taken_from_null = golden in (None, NULL) and all(_items(edit.seen) for edit in edits)  # nobody said that the list is empty
        empty = not merged and (edits[-1].observed == NULL or taken_from_null)
        value = NULL if empty else orjson.dumps(sorted(merged)).decode()
        rows.append((gid, name, golden, value, edits[-1].system, edits[-1].at))
    return _result(rows, cells)


def _items(cell: str | None) -> set[str]:
    """The items of a list cell; none for null and absent, and for a text that was agreed before the field was a list."""
    if cell is None or not cell.startswith("["):
        return set()
    try:
        return set(orjson.loads(cell))
    except ValueError:
        return set()


def merge_texts(cells: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Three-way merge of text, line by line, from `seen` as the base. Returns merged rows, and (__gid, field) whose edits overlap."""
    rows: list[tuple[object, ...]] = []
    clashing: list[tuple[object, ...]] = []
    for gid, name, golden, edits in _per_record(cells):
        text: str | None = golden
        for edit in edits:
            text = _merge_text(edit.seen, text, edit.observed)
            if text is None:
                break
        if text is None:
            clashing.append((gid, name))
        else:
            rows.append((gid, name, golden, text, edits[-1].system, edits[-1].at))
    clash = pl.DataFrame(clashing, schema={name: cells.schema[name] for name in RECORD_FIELD}, orient="row")
    return _result(rows, cells), clash


def _merge_text(base: str | None, golden: str | None, observed: str) -> str | None:
    """One three-way merge; None where both sides changed the same lines differently."""
    if golden is None or golden in (base, observed):
        return observed
    if observed == base:
        return golden
    if NULL in (golden, observed, base) or base is None:
        return None
    lines = merge_lines(base.splitlines(keepends=True), golden.splitlines(keepends=True), observed.splitlines(keepends=True))
    return None if lines is None else "".join(lines)


def merge_lines(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> list[str] | None:
    """Diff3 on lines: both sides' changes where they do not touch; None where they do (identical changes agree)."""
    mine, other = _edits(base, ours), _edits(base, theirs)
    merged: list[str] = []
    at = 0
    while mine or other:
        if mine and other and _touch(mine[0], other[0]):
            if mine[0] != other[0]:
                return None
            start, end, lines = mine.pop(0)
            other.pop(0)
        else:
            side = mine if not other or (mine and mine[0][0] < other[0][0]) else other
            start, end, lines = side.pop(0)
        merged.extend(base[at:start])
        merged.extend(lines)
        at = end
    return merged + list(base[at:])


def _edits(base: Sequence[str], changed: Sequence[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    """The replaced stretches of `base`: start, end, new lines."""
    matcher = SequenceMatcher(None, base, changed, autojunk=False)
    return [(i1, i2, tuple(changed[j1:j2])) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal"]


def _touch(first: tuple[int, int, tuple[str, ...]], second: tuple[int, int, tuple[str, ...]]) -> bool:
    """Whether two edits overlap or meet; edits that meet have no certain order, so they count as touching."""
    return first[0] <= second[1] and second[0] <= first[1]
