"""Writing to a file of records: all operations of a batch become one new file, every byte that is not theirs copied as it stands."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Outcomes
from trueup.connectors.filebase import BLOCK_BYTES, replacement
from trueup.connectors.filerows import CellRefusedError
from trueup.core.cells import KEY, OP
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.filebase import RemoteReplacement, Replacement
    from trueup.connectors.filerows import Chunk, Reading
    from trueup.model import ObjectSpec

_ROW = "__row"
_WAS = "__was"


@dataclass(slots=True)
class Sequence:
    """The highest number given so far, and the width that numbers are padded to with zeros (0: none are)."""

    highest: int = 0
    width: int = 0

    def follow(self, keys: pl.Series) -> None:
        """Take the whole numbers among the keys into account."""
        numbers = keys.filter(keys.str.contains(r"^[0-9]{1,18}$")) if len(keys) else keys
        if not numbers.len():
            return
        padded = numbers.filter(numbers.str.starts_with("0") & (numbers.str.len_bytes() > 1))
        self.highest = max(self.highest, *numbers.cast(pl.Int64).top_k(1))
        self.width = max(self.width, 0, *padded.str.len_bytes().top_k(1))

    def next(self) -> str:
        """The next number, padded."""
        self.highest += 1
        return str(self.highest).zfill(self.width)


def write_rows(reading: Reading, obj: ObjectSpec, batch: WriteBatch, sequence: Sequence) -> pl.DataFrame:
    """Carry out a batch on the file as just read, whose lock the caller holds; see the connector contract for the outcomes.

    Raises ObjectUnreadableError when the file is cut off, ChangedUnderneathError, WriteRefusedError; the file is then as it was.
    """
    if reading.broken:
        raise ObjectUnreadableError(
            f"nothing can be written to {reading.path}: {reading.broken}", hint="put back a complete file", system=reading.system
        )
    types = reading.types(batch.returning)
    outcomes = Outcomes(batch.returning, types)
    with replacement(reading.system, reading.path) as target:
        work = _Work(reading, obj, batch, outcomes, target)
        changed = work.create(sequence) if batch.kind == "create" else work.change()
        if changed:
            target.commit(reading.stamp)
    return outcomes.frame()


@dataclass(slots=True)
class _Work:
    """One batch on one reading."""

    reading: Reading
    obj: ObjectSpec
    batch: WriteBatch
    outcomes: Outcomes
    target: Replacement | RemoteReplacement
    _new_keys: set[str] = field(default_factory=set)

    # ---------------------------------------------------------------- creates

    def create(self, sequence: Sequence) -> bool:
        """Put new rows in after the last record. Returns whether there is any."""
        taken = self._taken()
        assign = self._assignment(sequence)
        made: list[bytes] = []
        for row in self.batch.rows.iter_rows(named=True):
            values = {name: row[name] for name in self.batch.columns}
            try:
                key = row[KEY] or self.reading.key_text(values) or _assigned(assign, sequence)
                values |= self.reading.key_values(key)
                self._refuse_taken(key, taken)
                raw = self.reading.made(values)
                stored = self._stored(raw)
            except CellRefusedError as error:
                self.outcomes.add(row[OP], "rejected", key=row[KEY], reason=error.reason, column=error.column)
                continue
            taken.add(key)
            made.append(raw)
            self.outcomes.add(row[OP], "done", key=key, stored=stored)
        if made:
            self._append(made)
        return bool(made)

    def _refuse_taken(self, key: str, taken: set[str]) -> None:
        if key in taken:
            raise CellRefusedError(f"a row with the key {key!r} exists already", self.reading.key_columns[0])

    def _taken(self) -> set[str]:
        """The keys of this batch that the file has already, in rows that cannot be read included. New ones are added as they come."""
        keys = self.reading.keys
        given = {key for key in self.batch.rows[KEY] if key is not None}
        given |= {key for row in self._key_cells() if (key := self.reading.key_text(row))}
        present = set(keys.filter(keys.is_in(pl.Series(sorted(given), dtype=pl.String).implode())))
        return present | {item.key for item in self.reading.rejected if item.key is not None}

    def _key_cells(self) -> list[dict[str, Any]]:
        names = self.reading.key_columns
        return self.batch.rows.select(names).to_dicts() if set(names) <= set(self.batch.rows.columns) else []

    def _assignment(self, sequence: Sequence) -> str:
        """`sequence`, `uuid`, or empty: the caller gives the key. Without a wish: a sequence where all keys are whole numbers."""
        if self.obj.assign.startswith("field:"):
            return ""
        if len(self.reading.key_columns) > 1:
            return ""
        keys = self.reading.keys.drop_nulls()
        doubled = [item.key for item in self.reading.rejected if item.key is not None]
        if self.obj.assign != "uuid":
            sequence.follow(pl.concat([keys, pl.Series(KEY, doubled, dtype=pl.String)]))
        if self.obj.assign in {"sequence", "uuid"}:
            return self.obj.assign
        return "sequence" if keys.str.contains(r"^[0-9]{1,18}$").all() else "uuid"

    def _append(self, made: list[bytes]) -> None:
        reading = self.reading
        data = b"".join(made)
        if reading.open_end:  # kept so: the file goes on without a final line end
            data = reading.line_end + data.removesuffix(reading.line_end)
        self._copy(0, reading.end)
        self._put(data)
        self._copy(reading.end, None)

    # ---------------------------------------------------------------- updates and deletes

    def change(self) -> bool:
        """Copy the file with rows updated, or without rows deleted. Returns whether anything changed."""
        operations = self._operations()
        for row in operations.filter(pl.col(_ROW).is_null()).iter_rows(named=True):
            self._missing(row)
        operations = operations.filter(pl.col(_ROW).is_not_null()).sort(_ROW, OP)
        changed, position = False, 0
        for chunk in self.reading.chunks:
            touched = operations.filter(pl.col(_ROW).is_between(chunk.row, chunk.row + chunk.rows, closed="left"))
            if touched.is_empty():
                continue
            self._copy(position, chunk.start)
            changed |= self._change_chunk(chunk, touched)
            position = chunk.start + chunk.size
        if changed:
            self._copy(position, None)
        return changed

    def _operations(self) -> pl.DataFrame:
        """The batch's rows with the row number of each (null: not there) and, as one struct, what is expected of it (null: nothing)."""
        rows = self.reading.found(self.batch.rows)
        if self.batch.expected is None:
            return rows.with_columns(pl.lit(None).alias(_WAS))
        names = [name for name in self.batch.expected.columns if not name.startswith("__")]
        expected = self.batch.expected.select(OP, pl.struct(names).alias(_WAS) if names else pl.lit(None).alias(_WAS))
        return rows.join(expected, on=OP, how="left", maintain_order="left")

    def _missing(self, row: Mapping[str, Any]) -> None:
        key = row[KEY]
        rejects = [item for item in self.reading.rejected if item.key is not None and item.key == key]
        if rejects:
            lines = ", ".join(item.where for item in rejects[:5])
            self.outcomes.add(row[OP], "rejected", key=key, reason=f"{rejects[0].reason} ({lines})", column=rejects[0].column)
        elif self.reading.lost:
            lines = ", ".join(item.where for item in self.reading.rejected[:5])
            reason = f"no row with this key can be read, but the file has unreadable rows ({lines})"
            self.outcomes.add(row[OP], "rejected", key=key, reason=reason)
        else:
            self.outcomes.add(row[OP], "gone", key=key, reason="there is no row with this key")

    def _change_chunk(self, chunk: Chunk, touched: pl.DataFrame) -> bool:
        by_row: dict[int, list[dict[str, Any]]] = {}
        for operation in touched.iter_rows(named=True):
            by_row.setdefault(operation[_ROW], []).append(operation)
        parts, changed = [], False
        for piece in self.reading.pieces(chunk, self.reading.data(chunk)):
            raw = piece.raw
            for operation in by_row.get(piece.row, ()) if piece.row is not None else ():
                raw = self._change_row(raw, operation)
            changed |= raw is not piece.raw
            parts.append(raw)
        self._put(b"".join(parts))
        return changed

    def _change_row(self, raw: bytes, operation: dict[str, Any]) -> bytes:
        """The record after one operation; the same object when nothing is to be done. Empty: deleted."""
        number, key = operation[OP], operation[KEY]
        if not raw:
            self.outcomes.add(number, "gone", key=key, reason="an earlier operation deleted the row")
            return raw
        written = self._written(operation)
        try:
            if self._is_stale(raw, operation, written):
                self.outcomes.add(number, "stale", key=key, reason="the row changed since it was read", stored=self._stored(raw))
                return raw
            if self.batch.kind == "delete":
                self.outcomes.add(number, "done", key=key)
                return b""
            changes = {name: operation[name] for name in written}
            new_key = self._new_key(raw, key, changes)
            after = self.reading.edited(raw, changes)
            self.outcomes.add(number, "done", key=new_key, stored=self._stored(after))
        except CellRefusedError as error:
            self.outcomes.add(number, "rejected", key=key, reason=error.reason, column=error.column)
            return raw
        return raw if after == raw else after

    def _written(self, operation: Mapping[str, Any]) -> list[str]:
        if self.batch.kind == "delete":
            return []
        named = operation.get("__write")
        return list(self.batch.columns if named is None else named)

    def _is_stale(self, raw: bytes, operation: Mapping[str, Any], written: list[str]) -> bool:
        expected = operation[_WAS]
        if expected is None:
            return False
        names = [name for name in expected if self.batch.kind == "delete" or name in written]
        cells = self.reading.cells(raw, names)
        return not all(self.reading.same(cells.get(name), expected[name]) for name in names)

    def _new_key(self, raw: bytes, key: str, changes: Mapping[str, Any]) -> str:
        """The row's key after the changes, which may write key columns. Raises CellRefusedError when it is empty or taken."""
        names = self.reading.key_columns
        if not any(name in changes for name in names):
            return key
        after = self.reading.key_text({**self.reading.cells(raw, names), **{name: changes[name] for name in names if name in changes}})
        if after == key:
            return key
        if after is None:
            raise CellRefusedError("the key would be empty", names[0])
        if after in self._new_keys or (self.reading.keys == after).any() or any(item.key == after for item in self.reading.rejected):
            raise CellRefusedError(f"a row with the key {after!r} exists already", names[0])
        self._new_keys.add(after)
        return after

    # ---------------------------------------------------------------- bytes

    def _stored(self, raw: bytes) -> dict[str, Any]:
        return self.reading.cells(raw, self.batch.returning)

    def _put(self, working: bytes) -> None:
        self.target.write(self.reading.to_file(working))

    def _copy(self, start: int, end: int | None) -> None:
        """Copy bytes of the working form; None: to its end. Both ends lie between records."""
        if start == 0:
            self.target.write(self.reading.prefix)
        self.reading.source.seek(start)
        left = self.reading.size if end is None else end - start
        while left > 0:
            block = self.reading.source.read(min(BLOCK_BYTES, left))
            if left > len(block):  # go on to a line end, so that no character is cut in two
                block += self.reading.source.readline(left - len(block))
            if not block:
                break
            left -= len(block)
            self._put(block)


def _assigned(assign: str, sequence: Sequence) -> str:
    if assign == "sequence":
        return sequence.next()
    if assign == "uuid":
        return str(uuid.uuid4())
    raise CellRefusedError("the new row has no key, and this file gives none", None)
