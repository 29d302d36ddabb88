"""Lies about writing: outcomes, preconditions, isolation, keys that the system gives, settings."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS, WriteBatch
from trueup.connectors.sql_types import dtype_of
from trueup.errors import SystemUnreachableError, TrueupError, UsageError
from trueup.testing.mutants_base import Lie, lie, native, only, ops_where, restated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.base import Connector, Page
    from trueup.model import ObjectSpec
    from trueup.testing.conformance_world import World


def claimed(connector: Connector, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
    """Outcomes that say done for every operation of a batch, whatever became of it."""
    types = {name: dtype_of(column.type) for name, column in connector.describe(obj).columns.items()}
    schema = dict(OUTCOME_SCHEMA) | {name: types[name] for name in batch.returning}
    said = {"__op": pl.col("__op"), "__key": pl.col("__key"), "__status": pl.lit("done"), "__stored": pl.lit(value=False)}
    return batch.rows.select([said.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items()])


# ---------------------------------------------------------------- outcomes


@lie("outcomes_have_the_form")
class NumbersByPlace(Lie):
    """Outcomes are numbered by their place in the batch."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("__op"))


@lie("outcomes_have_the_form")
class SilentAboutFailures(Lie):
    """What failed has no outcome."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.filter(pl.col("__status") == "done")


@lie("outcomes_have_the_form")
class FailsWithoutReason(Lie):
    """What failed gives no reason."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.with_columns(pl.lit(None, dtype=pl.String).alias("__reason"))


@lie("creates_are_durable")
class PretendsToCreate(Lie):
    """A create says done and does nothing."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        return claimed(self.inner, obj, batch) if batch.kind == "create" else self.inner.write(obj, batch)


@lie("creates_are_durable", "one_bad_record_harms_only_itself")
class DoesHalfABatch(Lie):
    """Half a batch is done, and all of it is said to be."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        half = replace(batch, rows=batch.rows.head(batch.rows.height // 2))
        self.inner.write(obj, half)
        return claimed(self.inner, obj, batch)


@lie("updates_land_whole", "creates_land_whole", "deletes_land_whole")
class WritesInTwoSteps(Lie):
    """A batch is written in two halves, with other work in between."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        ops = batch.rows.get_column("__op").to_list()
        middle = len(ops) // 2
        first = self.inner.write(obj, only(batch, ops[:middle]))
        time.sleep(0.5)
        return pl.concat([first, self.inner.write(obj, only(batch, ops[middle:]))])


@lie("keys_may_come_alone")
class ForgetsTheKey(Lie):
    """The key of a new row counts only where the frame has the key column."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        if batch.kind == "create" and not set(obj.key) <= set(batch.columns):
            batch = replace(batch, rows=batch.rows.with_columns(pl.lit(None, dtype=pl.String).alias("__key")))
        return self.inner.write(obj, batch)


@lie("updates_touch_only_what_is_written")
class WritesEveryColumn(Lie):
    """Every column of the frame is written in every row."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        if batch.kind != "update":
            return batch
        every = pl.Series("__write", [list(batch.columns)] * batch.rows.height, dtype=pl.List(pl.String))
        return replace(batch, rows=batch.rows.with_columns(every))


@lie("updates_of_nothing_are_done")
class RefusesNothing(Lie):
    """An update without columns is rejected."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        idle = self.batch is not None and self.batch.kind == "update" and not self.batch.columns
        return restated(outcomes, outcomes.get_column("__op").to_list(), "rejected") if idle else outcomes


@lie("others_columns_stay")
class WritesBackWhatItRead(Lie):
    """An update puts the whole row in place as it was when it was read."""

    def __init__(self, inner: Connector) -> None:
        """Remember rows as they are read."""
        super().__init__(inner)
        self._rows_read: pl.DataFrame | None = None

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        every = [name for name in self.inner.describe(obj).columns if name not in obj.key]
        self._rows_read = self._all(obj, every)
        return self.inner.read(obj, columns, since=since, keys=keys, page_rows=page_rows)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        outcomes = self.inner.write(obj, batch)
        if self._rows_read is None or batch.kind != "update":
            return outcomes
        others = [name for name in native(self._rows_read) if name not in batch.columns]
        whole = batch.rows.select("__op", "__key").join(self._rows_read.select("__key", *others), on="__key")
        written = pl.Series("__write", [others] * whole.height, dtype=pl.List(pl.String))
        self.inner.write(obj, WriteBatch(kind="update", rows=whole.with_columns(written)))
        return outcomes


@lie("updates_of_missing_rows_are_gone", "deletes_of_missing_rows_are_gone")
class MissingIsDone(Lie):
    """What is not there is said to be done."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return restated(outcomes, outcomes.filter(pl.col("__status") == "gone").get_column("__op").to_list(), "done")


@lie("deletes_remove_only_their_row")
class DeletesTooMuch(Lie):
    """With a row the one after it is deleted; after the last one comes the first."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        before = self._all(obj).get_column("__key").to_list()
        outcomes = self.inner.write(obj, batch)
        left = set(self._all(obj).get_column("__key").to_list())
        after = [other for key, other in itertools.pairwise([*before, *before[:1]]) if key not in left and other in left]
        more = pl.DataFrame({"__op": list(range(len(after))), "__key": after}, schema={"__op": pl.Int64, "__key": pl.String})
        if batch.kind == "delete" and after:
            self.inner.write(obj, WriteBatch(kind="delete", rows=more))
        return outcomes


# ---------------------------------------------------------------- preconditions


@lie(
    "stale_updates_are_refused",
    "stale_deletes_are_refused",
    "preconditions_know_null",
    "preconditions_know_empty",
    "preconditions_are_exact",
    "writers_lose_no_update",
)
class IgnoresThePrecondition(Lie):
    """Writes land on whatever is there."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, expected=None)


@lie("stale_updates_are_refused", "stale_deletes_are_refused")
class StaleButWritten(Lie):
    """A stale write is refused, and carried out all the same."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        outcomes = self.inner.write(obj, batch)
        stale = outcomes.filter(pl.col("__status") == "stale").get_column("__op").to_list()
        if stale:
            self.inner.write(obj, replace(only(batch, stale), expected=None))
        return outcomes


@lie("preconditions_know_null")
class NullEqualsNothing(Lie):
    """The precondition compares with `=`, so that null is never as expected."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        null = ops_where(batch, lambda values: any(value is None for value in values.values()))
        rest = [op for op in batch.rows.get_column("__op").to_list() if op not in null]
        outcomes = self.inner.write(obj, only(batch, rest))
        return pl.concat([outcomes, restated(claimed(self.inner, obj, only(batch, null)), null, "stale")])


@lie("preconditions_know_null")
class NullEqualsAnything(Lie):
    """Where null is expected, anything will do."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        null = ops_where(batch, lambda values: any(value is None for value in values.values()))
        rest = [op for op in batch.rows.get_column("__op").to_list() if op not in null]
        parts = [only(batch, rest), replace(only(batch, null), expected=None)]
        return pl.concat([self.inner.write(obj, part) for part in parts])


class _TriesAgain(Lie):
    """What is stale is tried again where the row is near enough to what was expected."""

    def _near(self, expected: Any, current: Any) -> bool:
        raise TypeError(f"{type(self).__name__} has to say whether {expected!r} and {current!r} are near")

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        outcomes = self.inner.write(obj, batch)
        if batch.expected is None:
            return outcomes
        stale = set(outcomes.filter(pl.col("__status") == "stale").get_column("__op").to_list())
        columns = native(batch.expected)
        keys = dict(batch.rows.select("__op", "__key").iter_rows())
        current = {row["__key"]: row for row in self._all(obj, columns).to_dicts()}
        near = [
            row["__op"]
            for row in batch.expected.to_dicts()
            if row["__op"] in stale and all(self._near(row[name], current[keys[row["__op"]]][name]) for name in columns)
        ]
        if not near:
            return outcomes
        again = self.inner.write(obj, replace(only(batch, near), expected=None))
        return pl.concat([outcomes.filter(~pl.col("__op").is_in(near)), again])


@lie("preconditions_know_empty")
class EmptyEqualsNull(_TriesAgain):
    """The precondition takes the empty text for null."""

    def _near(self, expected: Any, current: Any) -> bool:
        return (expected or None) == (current or None)


@lie("preconditions_know_empty")
class SpacesDoNotCount(_TriesAgain):
    """The precondition does not see spaces at the end."""

    def _near(self, expected: Any, current: Any) -> bool:
        return isinstance(expected, str) and isinstance(current, str) and expected.rstrip() == current.rstrip()


@lie("preconditions_are_exact")
class CaseDoesNotCount(_TriesAgain):
    """The precondition does not see case."""

    def _near(self, expected: Any, current: Any) -> bool:
        return isinstance(expected, str) and isinstance(current, str) and expected.casefold() == current.casefold()


@lie("every_type_can_be_expected")
class OnlyTextIsComparable(Lie):
    """An expected value that is null or no text is taken for changed."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        other = ops_where(self.batch, lambda values: not all(isinstance(value, str) for value in values.values())) if self.batch else []
        return restated(outcomes, other, "stale")


@lie("writers_lose_no_update")
class ComparesThenWrites(Lie):
    """The precondition is looked at first, and the write is done a little later, by one of two writers later than by the other."""

    _later_s = itertools.cycle((0.02, 0.12))

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        if batch.expected is None:
            return self.inner.write(obj, batch)
        columns = native(batch.expected)
        current = {row["__key"]: row for row in self._all(obj, columns, batch.rows.get_column("__key").to_list()).to_dicts()}
        keys = dict(batch.rows.select("__op", "__key").iter_rows())
        same = [row["__op"] for row in batch.expected.to_dicts() if all(current[keys[row["__op"]]][name] == row[name] for name in columns)]
        time.sleep(next(self._later_s))
        other = [op for op in keys if op not in same]
        outcomes = self.inner.write(obj, replace(only(batch, same), expected=None))
        return pl.concat([outcomes, restated(claimed(self.inner, obj, only(batch, other)), other, "stale")])


# ---------------------------------------------------------------- writes that are ended


@lie("an_ended_write_never_lands")
class EndsNothing(Lie):
    """Who ends a write is told that it is ended."""

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""


@lie("writes_of_other_lanes_are_left_alone")
class OneLaneForAll(Lie):
    """All lanes have the same name."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, lane="one")

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""
        del lane
        super().end_writes("one")


@lie("what_may_not_land_does_not")
class AsksNobody(Lie):
    """Whether a write may land is not asked."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, may_land=None)


# ---------------------------------------------------------------- isolation


@lie("taken_keys_are_rejected")
class CreateOverwrites(Lie):
    """A create whose key is taken overwrites the row."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        outcomes = self.inner.write(obj, batch)
        taken = outcomes.filter(pl.col("__status") == "rejected").get_column("__op").to_list()
        if batch.kind != "create" or not taken:
            return outcomes
        columns = [name for name in batch.columns if name not in obj.key]
        rows = only(batch, taken).rows.select("__op", "__key", *columns)
        written = pl.Series("__write", [columns] * rows.height, dtype=pl.List(pl.String))
        again = self.inner.write(obj, WriteBatch(kind="update", rows=rows.with_columns(written), returning=batch.returning))
        return pl.concat([outcomes.filter(pl.col("__status") != "rejected"), again])


@lie(
    "one_bad_record_harms_only_itself",
    "too_long_text_harms_only_itself",
    "a_forbidden_null_harms_only_itself",
    "a_doubled_value_harms_only_itself",
    "a_bad_number_harms_only_itself",
)
class AllOrNothing(Lie):
    """One record that fails fails its whole batch."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        outcomes = self.inner.write(obj, batch)
        if (outcomes.get_column("__status") == "done").all():
            return outcomes
        return restated(outcomes, outcomes.get_column("__op").to_list(), "rejected")


@lie("too_long_text_harms_only_itself")
class CutsToFit(Lie):
    """Text too long for its column is cut."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, rows=batch.rows.with_columns(pl.col(native(batch.rows, pl.String)).str.slice(0, 10)))


@lie("a_key_may_come_twice")
class LastOfAKeyWins(Lie):
    """Of operations on one key only the last is carried out, and all are said to be done."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        self.inner.write(obj, replace(batch, rows=batch.rows.unique(subset=["__key"], keep="last", maintain_order=True)))
        return claimed(self.inner, obj, batch)


# ---------------------------------------------------------------- keys given by the system, rows as stored


@lie("assigned_keys_are_reported")
class MixesUpKeys(Lie):
    """Each new row is reported under the key of its neighbour."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        if self.batch is None or self.batch.kind != "create" or outcomes.height < 2:
            return outcomes
        key = outcomes.get_column("__key")
        return outcomes.with_columns(pl.concat([key.tail(-1), key.head(1)]).alias("__key"))


@lie("given_keys_are_taken")
class NumbersAnew(Lie):
    """A new row that is given a key gets another one, as if none had been given."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        if batch.kind == "create":
            batch = replace(batch, rows=batch.rows.with_columns(pl.lit(None, dtype=pl.String).alias("__key")))
        return self.inner.write(obj, batch)


@lie("stored_rows_are_told")
class EchoesWhatWasSent(Lie):
    """The row reported as stored is the one that was sent, with null where nothing was."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        unsent = [name for name in self.batch.returning if name not in self.batch.columns] if self.batch else []
        return outcomes.with_columns(pl.lit(None, dtype=outcomes.schema[name]).alias(name) for name in unsent)


@lie("rounded_values_are_told")
class TellsWhatWasSent(Lie):
    """The row reported as stored has the very values that were sent."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        if self.batch is None:
            return outcomes
        sent = [name for name in self.batch.returning if name in self.batch.columns]
        return outcomes.drop(sent).join(self.batch.rows.select("__op", *sent), on="__op").select(outcomes.columns)


@lie("stored_rows_are_told")
class TrimsWhatWasStored(Lie):
    """The row reported as stored has no spaces around its text."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.with_columns(pl.col(native(outcomes, pl.String)).str.strip_chars())


@lie("prepare_makes_objects")
class PreparesNothing(Lie):
    """prepare() does nothing."""

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""


# ---------------------------------------------------------------- settings and closing


@lie("required_settings_are_required")
class IgnoresUnknownSettings(Lie):
    """A setting that does not exist is ignored."""

    @classmethod
    def opens(cls, world: World, settings: Mapping[str, Any]) -> Connector:
        """See Lie."""
        known = world.connector.settings_schema()["properties"]
        return world.open_plainly({name: value for name, value in settings.items() if name in known})


@lie("required_settings_are_required", applies=lambda world: bool(world.connector.settings_schema().get("required")))
class GuessesMissingSettings(Lie):
    """A missing setting is guessed."""

    @classmethod
    def opens(cls, world: World, settings: Mapping[str, Any]) -> Connector:
        """See Lie."""
        return world.open_plainly({**world.settings(), **settings})


@lie("required_settings_are_required")
class HidesTheSetting(Lie):
    """The error does not say which setting is wrong."""

    @classmethod
    def opens(cls, world: World, settings: Mapping[str, Any]) -> Connector:
        """See Lie."""
        try:
            return world.open_plainly(settings)
        except TrueupError:
            message = "the settings are wrong"
            raise UsageError(message) from None


@lie("closing_twice_is_fine")
class ClosesOnce(Lie):
    """Closing a second time fails."""

    closed = False

    def close(self) -> None:
        """See base.Connector."""
        self.inner.close()
        if self.closed:
            message = "the connection is already closed"
            raise SystemUnreachableError(message)
        self.closed = True


@lie("missing_columns_are_not_written")
class DropsUnknownColumns(Lie):
    """Columns that are not there are left out of a write."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        known = self.inner.describe(obj).columns
        rows = batch.rows.select(name for name in batch.rows.columns if name.startswith("__") or name in known)
        if "__write" in rows.columns:
            rows = rows.with_columns(pl.col("__write").list.set_intersection(list(known)))
        return self.inner.write(obj, replace(batch, rows=rows))
