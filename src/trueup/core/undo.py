"""Undo: what one run did to a set of records, turned round.

An undo of a value is an edit like any other: of somebody who saw what the run left (`after`), and says what was there before it. So it
stands where the golden record still is what the run left, a counter gets the opposite difference, a set and a text what was added or
taken away; and where somebody has edited since, that edit stands and the undo is refused. The result is a `Merged`, which `reconcile`
carries out as it carries out a merge: golden values move, and what every system is told follows from that.

    values    first `before` and last `after` of the run per record and field    -> golden changes
    deletes   records that the run deleted                                        -> live again, and are made again where they are gone
    creates   rows that the run made for records that live on elsewhere           -> taken out, and left out from then on
    lost      values of single systems that were replaced at first contact, and
              nothing where it was filled                                         -> theirs again, and asked about
    left      values and missing rows that a person left apart                    -> edits and deletes again, as if not looked at yet
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import AT, GID, KEY, NULL, SYSTEM, cell_from_python
from trueup.core.combine import add_deltas, beyond_counting, merge_texts, merge_unions
from trueup.core.facts import GONE_SCHEMA, MISSING, PRESENT, RESTORE_SCHEMA, WITHDRAWN
from trueup.core.frames import keep, long, sure
from trueup.core.meet import MET
from trueup.core.merge import APART, CHANGE_SCHEMA, FILLED, FREEZE_SCHEMA, HISTORY_SCHEMA, LEFT, UPDATE_SCHEMA, Merged
from trueup.core.observe import golden_cells
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.core.facts import Facts
    from trueup.model import Entity, Field

UNDO = "undo"
EDITS = ("edit", "resolved", MET)
SETTING = (*EDITS, UNDO)
"""Kinds of history that set a golden value: edits and decisions of people, and undos of them."""
DELETED, REVIVED, TAKEN_OUT, PUT_BACK = "delete", "revived", "taken out", "put back"
"""Kinds of history about whole records and rows: the first by a delete that was believed, the others by an undo."""
LOOKED_AT_AGAIN = "looked at again"
"""The kind of history of what was left apart and, by an undo, counts again."""
LOST, RESTORED = "lost", "restored"
"""Kinds of history about the values of single systems: one that lost, and one that a system holds again by an undo."""
OWN = (LOST, FILLED)
"""Kinds of history that tell what a system held by itself when it was met, and was then replaced."""

LINE_SCHEMA = pl.Schema(
    {
        GID: pl.Int64(),
        "field": pl.String(),
        "kind": pl.String(),
        SYSTEM: pl.String(),
        AT: pl.Datetime("us", "UTC"),
        "run": pl.Int64(),
        "rule": pl.String(),
        "before": pl.String(),
        "after": pl.String(),
    }
)
REFUSED_SCHEMA = pl.Schema(
    {
        GID: pl.Int64(),
        "field": pl.String(),
        SYSTEM: pl.String(),
        "why": pl.String(),
        "by": pl.String(),
        AT: pl.Datetime("us", "UTC"),
        "run": pl.Int64(),
    }
)
RECORD_FIELD = [GID, "field"]
_UNDO_OF = r"^undo of run (\d+)$"
_PLAIN_TEXT = r'^"[^"\\]*"$'
_PLAIN_NUMBER = r"^(?:0|-?[1-9][0-9]{0,17})$"


@dataclass(frozen=True)
class Done:
    """What a run did to the records at hand, and what happened to them since.

    lines, later  history (LINE_SCHEMA, values as JSON), oldest first: of the run, and of afterwards, of which no values are told
    created       __gid, __system, __key: rows that the run made
    deletable     systems in which rows can be deleted now
    writable      systems in which rows can be changed now
    """

    run: int
    lines: pl.DataFrame
    later: pl.DataFrame
    created: pl.DataFrame
    deletable: frozenset[str]
    writable: frozenset[str]

    @cached_property
    def undone(self) -> pl.DataFrame:
        """Which later runs, and this one, are undone (__gid, field, run): by an undo that is not undone itself."""
        found = pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String(), "run": pl.Int64()})
        told = self.later.filter((pl.col("kind") == UNDO) & pl.col("run").is_not_null() & pl.col("field").is_not_null())
        lines = told.select(*RECORD_FIELD, "run", pl.col("rule").str.extract(_UNDO_OF).cast(pl.Int64).alias("of")).drop_nulls("of")
        for run in lines["run"].unique().sort(descending=True):  # whatever undoes an undo came after it
            mine = lines.filter(pl.col("run") == run).join(found, on=[*RECORD_FIELD, "run"], how="anti")
            found = pl.concat([found, mine.select(*RECORD_FIELD, pl.col("of").alias("run"))])
        return found.unique()

    @property
    def already(self) -> pl.DataFrame:
        """The (record, field) pairs of which the run is undone."""
        return self.undone.filter(pl.col("run") == self.run).select(RECORD_FIELD)

    @cached_property
    def standing(self) -> pl.DataFrame:
        """The edits of people after the run that stand: none that was undone is among them. Oldest first."""
        edits = self.later.filter(pl.col("kind").is_in(EDITS) & pl.col("field").is_not_null())
        return edits.join(self.undone, on=[*RECORD_FIELD, "run"], how="anti", maintain_order="left")


@dataclass
class Reversal:
    """What an undo comes to. `refused` (REFUSED_SCHEMA) says what stays as it is, and why."""

    merged: Merged = field(default_factory=Merged)
    refused: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REFUSED_SCHEMA))
    restores: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RESTORE_SCHEMA))


def reverse(facts: Facts, done: Done, golden: pl.DataFrame | None = None) -> Reversal:
    """Turn round what a run did to the records of `facts`, of which nothing is observed now.

    `golden` are the `golden_cells` of the facts, if they are known already.
    """
    refused: list[pl.DataFrame] = []
    merged = Merged()
    merged.revived, told_revived = _revived(facts, done, refused)
    golden = golden_cells(facts) if golden is None else golden
    changes = _of_the_living(_values(facts, done, golden, refused), facts, done, merged.revived, refused)
    merged.deleted, told_deleted = _deleted_again(facts, done, refused)
    rows, told_rows = _rows(facts, done, merged.deleted, refused)
    merged.withdrawn, merged.spared, merged.returned = rows
    # What was said of a record that goes again needs no value any more.
    merged.changes = changes.filter(~pl.col(GID).is_in(merged.deleted.implode()))
    restores, told_own = _own_values(facts, done, golden, merged, refused)
    merged.updates, merged.again, told_left = _left_no_longer(facts, done)
    merged.frozen = _asked_again(facts, told_own)
    merged.thawed = _settled_again(facts, done)
    told_values = merged.changes.with_columns(kind=pl.lit(UNDO)).cast(HISTORY_SCHEMA)
    merged.history = pl.concat([told_values, told_revived, told_deleted, told_rows, told_own, told_left])
    return Reversal(merged, pl.concat([pl.DataFrame(schema=REFUSED_SCHEMA), *refused]), restores)


# ---------------------------------------------------------------- values


def _values(facts: Facts, done: Done, records: pl.DataFrame, refused: list[pl.DataFrame]) -> pl.DataFrame:
    """The golden changes (CHANGE_SCHEMA) that put back what the run set."""
    set_by_run = done.lines.filter(pl.col("kind").is_in(SETTING) & pl.col("field").is_not_null())
    if set_by_run.is_empty():
        return pl.DataFrame(schema=CHANGE_SCHEMA)
    alive = facts.golden.filter(pl.col("alias_of").is_null())["id"]
    spans = (
        set_by_run.filter(pl.col(GID).is_in(alive.implode()))
        .group_by(RECORD_FIELD, maintain_order=True)
        .agg(pl.col("before").first(), pl.col("after").last())
    )
    known = pl.col("field").is_in(list(facts.entity.fields))
    refused.append(_refusal(spans.filter(~known), "unknown field"))
    cells, misfits = _as_cells(facts.entity, spans.filter(known))
    refused.append(_refusal(misfits, "other type"))
    golden = _golden_of(facts, records, cells)
    cells = cells.join(golden, on=RECORD_FIELD, how="inner", maintain_order="left")
    # Where nothing was said before there is nothing to put back.
    already = done.already
    cells = cells.filter(pl.col("observed").is_not_null()).join(already, on=RECORD_FIELD, how="anti", maintain_order="left")
    frozen = facts.frozen.select(RECORD_FIELD).unique()
    refused.append(_refusal(cells.join(frozen, on=RECORD_FIELD, how="semi", maintain_order="left"), "open conflict"))
    cells = cells.join(frozen, on=RECORD_FIELD, how="anti", maintain_order="left")
    parts = [_reversed_by_rule(facts, done, rule, rows, refused) for rule, rows in _by_rule(facts.entity, cells)]
    if not parts:
        return pl.DataFrame(schema=CHANGE_SCHEMA)
    return (
        pl.concat(parts)
        .filter(pl.col("value").ne_missing(pl.col("golden")))
        .select(
            GID,
            "field",
            pl.col("golden").alias("before"),
            pl.col("value").alias("after"),
            pl.lit(None, dtype=pl.String).alias(SYSTEM),
            pl.lit(facts.now).cast(pl.Datetime("us", "UTC")).alias(AT),
            pl.lit(rule_of(done.run)).alias("rule"),
        )
        .cast(CHANGE_SCHEMA)
    )


def _golden_of(facts: Facts, records: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """The golden values (__gid, field, golden) of the fields of these cells."""
    asked = set(cells["field"].unique())
    names = [name for name in facts.entity.fields if name in asked]
    return long(records, [GID], names, "golden")


def _of_the_living(changes: pl.DataFrame, facts: Facts, done: Done, revived: pl.Series, refused: list[pl.DataFrame]) -> pl.DataFrame:
    """The changes without those of records that were deleted since: a value that is put back must not bring them back."""
    dead = facts.golden.filter(pl.col("deleted_at").is_not_null() & ~pl.col("id").is_in(revived.implode()))["id"]
    of_dead = pl.col(GID).is_in(dead.implode())
    gone = changes.filter(of_dead).select(GID).unique()
    if gone.is_empty():
        return changes
    by = done.later.filter(pl.col("kind") == DELETED).unique(GID, keep="last", maintain_order=True)
    told = gone.join(by.select(GID, pl.col(SYSTEM).alias("by"), AT, "run"), on=GID, how="left")
    refused.append(_refusal(told, "deleted since"))
    return changes.filter(~of_dead)


def rule_of(run: int) -> str:
    """The rule that the history names for what the undo of a run did."""
    return f"undo of run {run}"


def _reversed_by_rule(facts: Facts, done: Done, rule: str, cells: pl.DataFrame, refused: list[pl.DataFrame]) -> pl.DataFrame:
    """Rows with `value`: the golden value after the undo."""
    untouched = cells.filter(pl.col("golden").eq_missing(pl.col("seen")))
    untouched = untouched.join(done.standing.select(RECORD_FIELD), on=RECORD_FIELD, how="anti", maintain_order="left")
    moved = cells if untouched.is_empty() else cells.join(untouched, on=RECORD_FIELD, how="anti", maintain_order="left")
    parts = [untouched.select(*RECORD_FIELD, "golden", pl.col("observed").alias("value"))]
    if moved.is_empty():
        return parts[0]
    if rule == "add":
        beyond = beyond_counting(moved).select(RECORD_FIELD).unique()
        refused.append(_refusal(beyond, "beyond counting"))
        moved = moved.join(beyond, on=RECORD_FIELD, how="anti", maintain_order="left")
        parts += [] if moved.is_empty() else [add_deltas(facts.entity, moved)[1]]
    elif rule == "union":
        parts.append(merge_unions(moved))
    elif rule == "text":
        rows, clashing = merge_texts(moved)
        refused.append(_edited_later(clashing, done))
        parts.append(rows)
    else:
        already = pl.col("golden").eq_missing(pl.col("observed"))
        refused.append(_edited_later(moved.filter(~already), done))
    return pl.concat([part.select(*RECORD_FIELD, "golden", "value") for part in parts])


def _by_rule(entity: Entity, cells: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """The cells by how their field is merged: one that takes every edit is reversed by its rule, any other whole."""
    rules = {name: item.conflict if item.conflict in {"add", "union", "text"} else "whole" for name, item in entity.fields.items()}
    marked = cells.with_columns(pl.col("field").replace_strict(rules, return_dtype=pl.String).alias("_rule"))
    return [(str(rule), rows.drop("_rule")) for (rule,), rows in marked.partition_by("_rule", as_dict=True, maintain_order=True).items()]


def _as_cells(entity: Entity, spans: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The run's edits turned round, as a merge sees edits; and those whose values are not of the field's type any more."""
    if SYSTEM not in spans.columns:
        spans = spans.with_columns(pl.lit(None, dtype=pl.String).alias(SYSTEM))
    seen, seen_fits = cells_of(entity, spans["field"], spans["after"])
    observed, observed_fits = cells_of(entity, spans["field"], spans["before"])
    told = seen_fits & observed_fits
    frame = spans.select(*RECORD_FIELD, SYSTEM, seen.alias("seen"), observed.alias("observed")).filter(told)
    frame = frame.with_columns(
        pl.col("seen").alias("sent"),
        pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(AT),
        pl.lit(0, dtype=pl.Int64).alias("rank"),
    )
    return frame, spans.filter(~told).select(RECORD_FIELD)


def cells_of(entity: Entity, names: pl.Series, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The cells of values as the history keeps them, null where nothing was said; and whether each is of its field's type (Boolean).

    Values that stand in JSON as their cells do, nearly all of them, are taken as they are; of the others each is looked at once.
    """
    kind, text = pl.col("kind"), pl.col("text")
    kinds = names.replace_strict({name: item.type for name, item in entity.fields.items()}, return_dtype=pl.String())
    plain = (
        pl.when(text == "null")
        .then(pl.lit(NULL))
        .when((kind == "text") & text.str.contains(_PLAIN_TEXT))
        .then(text.str.strip_chars('"').str.normalize("NFC"))
        .when(((kind == "integer") & text.str.contains(_PLAIN_NUMBER)) | ((kind == "boolean") & text.is_in(["true", "false"])))
        .then(text)
    )
    rows = pl.DataFrame([names.alias("field"), texts.alias("text"), kinds.alias("kind")]).with_columns(plain.alias("plain"))
    rest = rows.filter(text.is_not_null() & pl.col("plain").is_null()).select("field", "text").unique()
    if rest.is_empty():
        return rows["plain"], pl.repeat(value=True, n=rows.height, dtype=pl.Boolean, eager=True)
    found = [(name, value, _cell(value, entity.fields[name])) for name, value in rest.rows()]
    others = pl.DataFrame(found, schema={"field": pl.String(), "text": pl.String(), "cell": pl.String()}, orient="row")
    cells = rows.join(others, on=["field", "text"], how="left", maintain_order="left").select(pl.coalesce("plain", "cell")).to_series()
    return cells, cells.is_not_null() | texts.is_null()


def _cell(text: str, item: Field) -> str | None:
    """The cell of a value as the history keeps it; None where it is not of the field's type any more."""
    try:
        return cell_from_python(orjson.loads(text), item)
    except ValueError:
        return None


# ---------------------------------------------------------------- values that lost


def _own_values(
    facts: Facts, done: Done, records: pl.DataFrame, merged: Merged, refused: list[pl.DataFrame]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Values of single systems that the run replaced because they lost, and nothing where it was filled.

    Only where the golden value is none of an edit that is put back.

    Each system is to hold its own again (RESTORE_SCHEMA), while the question stands open for a person; with the history of that. An undo
    that was killed before it wrote a value has asked already: called again, it still owes that value to its system.
    """
    nothing = pl.DataFrame(schema=RESTORE_SCHEMA), pl.DataFrame(schema=HISTORY_SCHEMA)
    lost = done.lines.filter(pl.col("kind").is_in(OWN) & pl.col("field").is_in(list(facts.entity.fields)))
    lost = lost.unique([*RECORD_FIELD, SYSTEM], keep="last", maintain_order=True)
    gone = pl.concat([merged.deleted, facts.golden.filter(pl.col("deleted_at").is_not_null() | pl.col("alias_of").is_not_null())["id"]])
    lost = lost.filter(~pl.col(GID).is_in(gone.implode())).join(merged.changes, on=RECORD_FIELD, how="anti", maintain_order="left")
    lost = lost.join(done.already, on=RECORD_FIELD, how="anti", maintain_order="left")
    lost = lost.join(merged.withdrawn, on=[GID, SYSTEM], how="anti", maintain_order="left")  # of a row that goes nothing is its own
    if lost.is_empty():
        return nothing
    cells, misfits = _as_cells(facts.entity, lost.with_columns(before=pl.col("after")))
    golden = _golden_of(facts, records, cells)
    refused.append(_refusal(misfits, "other type"))
    rows = cells.select(*RECORD_FIELD, SYSTEM, pl.col("observed").alias("cell"))
    rows = rows.join(golden, on=RECORD_FIELD, how="inner", maintain_order="left").filter(pl.col("cell").ne_missing(pl.col("golden")))
    standing = done.standing
    refused.append(_edited_later(rows.join(standing, on=RECORD_FIELD, how="semi", maintain_order="left"), done))
    rows = rows.join(standing, on=RECORD_FIELD, how="anti", maintain_order="left")
    rows = rows.join(_asked_by_this(facts, done), on=[GID, SYSTEM, "field", "cell"], how="left", maintain_order="left")
    asked = sure(rows["asked"])
    frozen = keep(rows, ~asked).join(facts.frozen, on=RECORD_FIELD, how="semi", maintain_order="left")
    refused.append(_refusal(frozen, "open conflict"))
    rows = rows.join(frozen, on=RECORD_FIELD, how="anti", maintain_order="left")
    # Only a row that shows the golden value was given it.
    there = facts.shadows.filter(pl.col("state") == PRESENT).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    other = pl.concat([long_deltas(facts.shadows, column).select(GID, SYSTEM, "field") for column in ("seen", "sent")])
    unable = ~pl.col(SYSTEM).is_in(list(done.writable))
    refused.append(_refusal(rows.filter(unable), "cannot write"))
    rows = rows.filter(~unable)
    written = [f"{system}\x1f{name}" for system in facts.entity.mappings for name in facts.entity.written(system)]
    rows = (
        rows.join(there, on=[GID, SYSTEM], how="semi", maintain_order="left")
        .join(other, on=[GID, SYSTEM, "field"], how="anti", maintain_order="left")
        .filter(pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(written))
    )
    told = (
        keep(rows, ~sure(rows["asked"]))
        .select(
            GID,
            "field",
            pl.col("golden").alias("before"),
            pl.col("cell").alias("after"),
            SYSTEM,
            pl.lit(facts.now).cast(pl.Datetime("us", "UTC")).alias(AT),
            pl.lit(rule_of(done.run)).alias("rule"),
            pl.lit(RESTORED).alias("kind"),
        )
        .cast(HISTORY_SCHEMA)
    )
    return rows.select(list(RESTORE_SCHEMA)).cast(RESTORE_SCHEMA), told


def _asked_by_this(facts: Facts, done: Done) -> pl.DataFrame:
    """The values (__gid, __system, field, cell) about which an earlier call of this undo has asked, and that still wait for an answer."""
    mine = done.later.filter((pl.col("kind") == RESTORED) & (pl.col("rule") == rule_of(done.run)))
    mine = mine.select(GID, SYSTEM, "field").unique()
    waiting = facts.frozen.filter(pl.col(SYSTEM).is_not_null()).select(GID, SYSTEM, "field", pl.col("value").alias("cell"))
    return waiting.join(mine, on=[GID, SYSTEM, "field"], how="semi").with_columns(asked=pl.lit(value=True))


def _left_no_longer(facts: Facts, done: Done) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What the run left apart and is so still: as its system was before, with the rows to look at again, and the history of it.

    A value that its system is taken to show no longer is an edit when it is read next, and a row that is taken to be there is a delete.
    """
    lines = done.lines.filter((pl.col("kind") == APART) & (pl.col("rule") == LEFT))
    if lines.is_empty():
        return pl.DataFrame(schema=UPDATE_SCHEMA), pl.DataFrame(schema=GONE_SCHEMA), pl.DataFrame(schema=HISTORY_SCHEMA)
    alive = facts.golden.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())["id"]
    lines = lines.filter(pl.col(GID).is_in(alive.implode()))
    shadows = facts.shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias(KEY), "state")
    rows = lines.filter(pl.col("field").is_null()).select(GID, SYSTEM).unique()
    missing = shadows.filter(pl.col("state") == MISSING).join(rows, on=[GID, SYSTEM], how="semi")
    cells, _misfits = _as_cells(facts.entity, lines.filter(pl.col("field").is_in(list(facts.entity.fields))))
    golden = long(golden_cells(facts), [GID], list(facts.entity.fields), "golden")
    cells = cells.select(*RECORD_FIELD, SYSTEM, pl.col("observed").alias("held"), pl.col("seen").alias("agreed"))
    shown = long_deltas(facts.shadows, "seen").rename({"cell": "shown"})
    place = [GID, SYSTEM, "field"]
    due = long_deltas(facts.shadows, "sent")
    cells = cells.unique(place).join(golden, on=RECORD_FIELD, how="inner").join(shown, on=place, how="inner")
    cells = cells.filter(pl.col("shown").eq_missing(pl.col("held")) & pl.col("golden").eq_missing(pl.col("agreed")))
    cells = cells.join(due, on=place, how="anti")
    again = pl.concat([cells.select(GID, SYSTEM), missing.select(GID, SYSTEM)]).unique().join(shadows, on=[GID, SYSTEM])
    told = pl.concat([cells.select(place), missing.select(GID, SYSTEM, pl.lit(None, dtype=pl.String).alias("field"))])
    history = told.select(
        GID,
        "field",
        pl.lit(None, dtype=pl.String).alias("before"),
        pl.lit(None, dtype=pl.String).alias("after"),
        SYSTEM,
        pl.lit(facts.now).cast(pl.Datetime("us", "UTC")).alias(AT),
        pl.lit(rule_of(done.run)).alias("rule"),
        pl.lit(LOOKED_AT_AGAIN).alias("kind"),
    ).cast(HISTORY_SCHEMA)
    updates = cells.select(*place, pl.col("golden").alias("seen"), pl.col("golden").alias("sent")).select(list(UPDATE_SCHEMA))
    return updates.cast(UPDATE_SCHEMA), again.select(list(GONE_SCHEMA)).cast(GONE_SCHEMA), history


def _asked_again(facts: Facts, told: pl.DataFrame) -> pl.DataFrame:
    """The open questions (FREEZE_SCHEMA) about values that systems hold for themselves again."""
    sides = [
        told.select(*RECORD_FIELD, SYSTEM, pl.col("after").alias("value")),
        told.select(*RECORD_FIELD, pl.lit(None, dtype=pl.String).alias(SYSTEM), pl.col("before").alias("value")).unique(RECORD_FIELD),
    ]
    moment = pl.lit(facts.now).cast(pl.Datetime("us", "UTC"))
    return (
        pl.concat(sides)
        .with_columns(
            moment.alias(AT),
            pl.lit(value=True).alias("knew"),
            pl.lit(None, dtype=pl.String).alias("base"),
            pl.lit("conflict").alias("kind"),
        )
        .select(list(FREEZE_SCHEMA))
        .cast(FREEZE_SCHEMA)
    )


def _settled_again(facts: Facts, done: Done) -> pl.DataFrame:
    """The questions (__gid, field) that the run, itself an undo, asked and that are still open: the golden value is delivered again."""
    asked = done.lines.filter(pl.col("kind") == RESTORED).select(RECORD_FIELD).unique()
    return asked.join(facts.frozen, on=RECORD_FIELD, how="semi")


# ---------------------------------------------------------------- records and rows


def _revived(facts: Facts, done: Done, refused: list[pl.DataFrame]) -> tuple[pl.Series, pl.DataFrame]:
    """Records that the run deleted and that are deleted still."""
    ids = done.lines.filter(pl.col("kind") == DELETED)[GID].unique()
    if ids.is_empty():
        return ids, pl.DataFrame(schema=HISTORY_SCHEMA)
    dead = facts.golden.filter(pl.col("deleted_at").is_not_null() & pl.col("alias_of").is_null())["id"]
    ids = ids.filter(ids.is_in(dead.implode())).sort()
    again = done.later.filter((pl.col("kind") == DELETED) & pl.col(GID).is_in(ids.implode())).unique(GID, keep="last", maintain_order=True)
    refused.append(_refusal(again.with_columns(field=pl.lit(None, dtype=pl.String), by=SYSTEM), "deleted again"))
    ids = ids.filter(~ids.is_in(again[GID].implode()))
    return ids, told_of(ids.to_frame(GID), facts.now, done.run, REVIVED)


def _deleted_again(facts: Facts, done: Done, refused: list[pl.DataFrame]) -> tuple[pl.Series, pl.DataFrame]:
    """Records that the run, itself an undo, let live again."""
    ids = done.lines.filter(pl.col("kind") == REVIVED)[GID].unique()
    if ids.is_empty():
        return ids, pl.DataFrame(schema=HISTORY_SCHEMA)
    alive = facts.golden.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())["id"]
    ids = ids.filter(ids.is_in(alive.implode())).sort()
    edited = edits_since(done, ids)
    refused.append(edited)
    ids = ids.filter(~ids.is_in(edited[GID].implode()))
    return ids, told_of(ids.to_frame(GID), facts.now, done.run, DELETED)


def _rows(
    facts: Facts, done: Done, deleted: pl.Series, refused: list[pl.DataFrame]
) -> tuple[tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame], pl.DataFrame]:
    """Rows to take out, rows that were to be taken out and stay, and rows to be made again; with the history of them."""
    about_rows = done.lines.filter(pl.col("kind").is_in([TAKEN_OUT, PUT_BACK]))
    if done.created.is_empty() and about_rows.is_empty():
        nothing = pl.DataFrame(schema=GONE_SCHEMA)
        return (nothing, nothing, nothing), pl.DataFrame(schema=HISTORY_SCHEMA)
    alive = facts.golden.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())["id"]
    alive = alive.filter(~alive.is_in(deleted.implode()))
    pairs = [GID, SYSTEM]
    shadows = facts.shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias(KEY), "state")
    shadows = shadows.filter(pl.col(GID).is_in(alive.implode()))
    taken_out = about_rows.filter(pl.col("kind") == TAKEN_OUT).select(pairs).unique()
    was_out = shadows.join(taken_out, on=pairs, how="semi", maintain_order="left")
    spared = was_out.filter(pl.col("state") == WITHDRAWN)
    returned = was_out.filter(pl.col("state") == MISSING)
    put_back = about_rows.filter(pl.col("kind") == PUT_BACK).select(pairs).unique()
    made = pl.concat([done.created.select(pairs), put_back]).unique()
    there = shadows.filter(pl.col("state") == PRESENT).join(made, on=pairs, how="semi", maintain_order="left")
    unable = ~pl.col(SYSTEM).is_in(list(done.deletable))
    refused.append(_refusal(there.filter(unable), "cannot delete"))
    there = there.filter(~unable)
    edited = edits_since(done, there[GID].unique())
    refused.append(edited)
    there = there.filter(~pl.col(GID).is_in(edited[GID].implode()))
    elsewhere = shadows.filter(~pl.col("state").is_in([MISSING, WITHDRAWN])).join(there, on=pairs, how="anti")[GID].unique()
    last = ~pl.col(GID).is_in(elsewhere.implode())
    refused.append(_refusal(there.filter(last), "last row"))
    there = there.filter(~last)
    told = [
        told_of(there, facts.now, done.run, TAKEN_OUT),
        *(told_of(rows, facts.now, done.run, PUT_BACK) for rows in (spared, returned)),
    ]
    withdrawn, spared, returned = (rows.select(list(GONE_SCHEMA)).cast(GONE_SCHEMA) for rows in (there, spared, returned))
    return (withdrawn, spared, returned), pl.concat(told)


# ---------------------------------------------------------------- what happened since


def _edited_later(rows: pl.DataFrame, done: Done) -> pl.DataFrame:
    """Refusals of (record, field) rows, each with the edit that stands against it."""
    by = done.standing.unique(RECORD_FIELD, keep="last", maintain_order=True)
    told = by.select(*RECORD_FIELD, pl.col(SYSTEM).alias("by"), AT, "run")
    return _refusal(rows.select(RECORD_FIELD).join(told, on=RECORD_FIELD, how="left", maintain_order="left"), "edited since")


def edits_since(done: Done, gids: pl.Series) -> pl.DataFrame:
    """Refusals of whole records that somebody edited after the run: one each, with the last such edit."""
    edits = done.standing.filter(pl.col(GID).is_in(gids.implode()))
    last = edits.unique(GID, keep="last", maintain_order=True)
    return _refusal(last.select(GID, pl.col(SYSTEM).alias("by"), AT, "run", "field"), "record edited since")


def _refusal(rows: pl.DataFrame, why: str) -> pl.DataFrame:
    """Rows as refusals; what they do not say is null."""
    if rows.is_empty():
        return pl.DataFrame(schema=REFUSED_SCHEMA)
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in REFUSED_SCHEMA.items() if name not in rows.columns]
    return rows.with_columns(missing).with_columns(why=pl.lit(why)).select(list(REFUSED_SCHEMA)).cast(REFUSED_SCHEMA)


def told_of(rows: pl.DataFrame, now: datetime, run: int, kind: str) -> pl.DataFrame:
    """One history line per record or row (__gid, __system) that the undo of a run did something to, without a field."""
    if rows.is_empty():
        return pl.DataFrame(schema=HISTORY_SCHEMA)
    empty = pl.lit(None, dtype=pl.String)
    return rows.select(
        GID,
        empty.alias("field"),
        empty.alias("before"),
        empty.alias("after"),
        pl.col(SYSTEM) if SYSTEM in rows.columns else empty.alias(SYSTEM),
        pl.lit(now).cast(pl.Datetime("us", "UTC")).alias(AT),
        pl.lit(rule_of(run)).alias("rule"),
        pl.lit(kind).alias("kind"),
    ).cast(HISTORY_SCHEMA)
