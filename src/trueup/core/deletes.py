"""Deletes: believed only when confirmed, and only from a system that may delete. A delete loses against an edit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, GID, KEY, SYSTEM, cell_from_python, json_to_records
from trueup.core.facts import FILTERED, GONE_SCHEMA, NO_ROWS, NOBODY, WITHDRAWN
from trueup.core.merge import APART, HISTORY_SCHEMA, LEFT, NO_CHANGES, NO_HISTORY, NO_UPDATES
from trueup.core.observe import holders

if TYPE_CHECKING:
    from trueup.core.facts import Facts
    from trueup.core.merge import Merged


@dataclass(frozen=True)
class DeleteVerdict:
    """What follows from rows that are gone.

    changes   golden changes of `archive`
    stated    what the rows gone stand for by that (as `merge.UPDATE_SCHEMA`): one that returns and shows otherwise was edited
    removed   shadows to drop (__gid, __system, __key)
    missing   rows to be left alone from now on (__gid, __system, __key, told: whether a person must hear of it)
    deleted   golden ids deleted now; `dead` all golden ids at hand that are deleted afterwards; `revived` those that live again;
              `restored` those of which a row is made again where it is gone
    overruled how many values of `archive` their owners stand against
    """

    changes: pl.DataFrame
    stated: pl.DataFrame
    removed: pl.DataFrame
    missing: pl.DataFrame
    history: pl.DataFrame
    deleted: pl.Series
    dead: pl.Series
    revived: pl.Series
    restored: pl.Series
    overruled: int = 0


def settle_deletes(facts: Facts, merged: Merged) -> DeleteVerdict:
    """Decide what every confirmed disappearance means."""
    if facts.gone.is_empty() and merged.deleted.is_empty() and facts.golden["deleted_at"].null_count() == facts.golden.height:
        return _nothing_gone()
    gone = facts.gone.select(GID, SYSTEM, KEY)
    rule = facts.entity.deletes
    was_dead = facts.golden.filter(pl.col("deleted_at").is_not_null())["id"]
    edited = pl.concat([merged.changes[GID], merged.frozen[GID], merged.revived]).unique()
    revived = was_dead.filter(was_dead.is_in(edited.implode()))
    # A deleted record's row that is gone as well needs nothing more: it is what was wanted.
    done = gone.filter(pl.col(GID).is_in(was_dead.implode()) & ~pl.col(GID).is_in(revived.implode()))
    gone = gone.join(done, on=[GID, SYSTEM], how="anti")
    refused = gone.filter(pl.col(SYSTEM).is_in(list(facts.refused_deletes)))
    gone = gone.join(refused, on=[GID, SYSTEM], how="anti")
    # A row outside of the filter takes no part: that it is gone, or has another key there, says nothing about the record. That of a
    # row that was to be deleted anyway says nothing either.
    apart = facts.shadows.filter(pl.col("state").is_in([FILTERED, WITHDRAWN]))
    outside = apart.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    left = gone.join(outside, on=[GID, SYSTEM], how="semi")
    gone = gone.join(outside, on=[GID, SYSTEM], how="anti")
    # These stay gone there, and their records live on elsewhere.
    kept = gone.filter(pl.col(SYSTEM).is_in(list(facts.left_deletes)))
    gone = gone.join(kept, on=[GID, SYSTEM], how="anti")
    believed = set(rule.sources if rule else ()) - facts.moved
    entitled = gone.filter(pl.col(SYSTEM).is_in(list(believed)))
    if facts.older:
        entitled = gone.join(holders(facts), on=GID, how="anti").filter(pl.col(SYSTEM).is_in(list(rule.sources if rule else ())))
    if facts.strangers:  # perhaps its own row was left behind when the system moved, and the key given to another record
        others_keys = ["\x1f".join(pair) for pair in facts.strangers]
        entitled = entitled.filter(~pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(others_keys))
    others = gone.join(entitled.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti").with_columns(told=pl.lit(value=True))
    others = pl.concat([others, left.with_columns(told=pl.lit(value=False)), kept.with_columns(told=pl.lit(value=False))])
    if rule is not None and rule.action == "ignore":
        others = pl.concat([others, entitled.with_columns(told=pl.lit(value=False))])
        entitled = entitled.clear()
    losing = entitled.clear() if facts.older else _losing(facts, merged, entitled)
    standing = entitled.join(losing.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")
    changes, stated, overruled = NO_CHANGES, NO_UPDATES, 0
    deleted = merged.deleted if rule is not None and rule.action == "archive" else pl.concat([standing[GID], merged.deleted]).unique()
    # Its other rows that went as well need nobody: the record has ended.
    ended = others.filter(pl.col("told") & pl.col(GID).is_in(deleted.implode()))
    others = others.join(ended, on=[GID, SYSTEM], how="anti", maintain_order="left")
    missing = others
    removed = pl.concat([losing, refused, done, ended.drop("told")])
    told = [
        _history(losing, facts, "delete lost", "an edit, a pending delivery or an open conflict stands against it"),
        _history(refused, facts, "delete refused", "refused by a person"),
        _history(kept, facts, APART, LEFT),
    ]
    if rule is not None and rule.action == "archive":
        changes, stated, over = _archive(facts, standing)
        vain = _vain(standing, over, len(rule.set))
        archived = standing.join(vain, on=[GID, SYSTEM], how="anti")
        missing = pl.concat([others, archived.with_columns(told=pl.lit(value=False)), vain.with_columns(told=pl.lit(value=True))])
        told += [_history(archived, facts, "archive", "deletes: archive"), over]
        told.append(changes.with_columns(kind=pl.lit("edit")).cast(HISTORY_SCHEMA))
        overruled = over.height
    else:
        removed = pl.concat([removed, standing])
        told.append(_history(standing, facts, "delete", "deletes: propagate"))
    dead = pl.concat([was_dead, deleted]).unique()
    return DeleteVerdict(
        changes=changes,
        stated=stated,
        removed=removed,
        missing=missing,
        history=pl.concat(told),
        deleted=deleted,
        dead=dead.filter(~dead.is_in(revived.implode())),
        revived=revived,
        restored=pl.concat([losing[GID], refused[GID]]).unique(),
        overruled=overruled,
    )


def _nothing_gone() -> DeleteVerdict:
    return DeleteVerdict(
        changes=NO_CHANGES,
        stated=NO_UPDATES,
        removed=NO_ROWS,
        missing=_NOTHING_MISSING,
        history=NO_HISTORY,
        deleted=NOBODY,
        dead=NOBODY,
        revived=NOBODY,
        restored=NOBODY,
    )


_NOTHING_MISSING = pl.DataFrame(schema={**GONE_SCHEMA, "told": pl.Boolean()})


def _losing(facts: Facts, merged: Merged, entitled: pl.DataFrame) -> pl.DataFrame:
    """Deletes that lose: the deleter had not heard of every golden value, an edit came in this run, or the record is frozen."""
    behind = facts.shadows.filter(pl.col("sent").is_not_null()).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    edited = pl.concat([merged.changes[GID], merged.frozen[GID], facts.frozen[GID]]).unique()
    unaware = entitled.join(behind, on=[GID, SYSTEM], how="semi")
    against = entitled.filter(pl.col(GID).is_in(edited.implode()))
    return pl.concat([unaware, against]).unique()


def _archive(facts: Facts, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The golden changes that `archive` makes, each field of `set` to its value; what the rows gone stand for by that; and what it may not.

    Only the source of truth moves its field: while another system holds the record and owns the field, that is overruled (HISTORY_SCHEMA).
    """
    changes, stated, over = [NO_CHANGES], [NO_UPDATES], [NO_HISTORY]
    ids = facts.golden.select(pl.col("id").alias(GID))
    golden = pl.concat([ids, json_to_records(facts.golden["data"], facts.entity.fields)], how="horizontal")
    deletes = facts.entity.deletes
    there = holders(facts)
    moment = pl.lit(facts.now).cast(pl.Datetime("us", "UTC"))
    for name, value in (deletes.set if deletes else {}).items():
        cell = pl.lit(cell_from_python(value, facts.entity.fields[name]), dtype=pl.String)
        other = rows.join(golden.select(GID, pl.col(name).alias("before")), on=GID).filter(pl.col("before").ne_missing(cell))
        told = (pl.lit(name).alias("field"), "before", cell.alias("after"), SYSTEM, moment.alias(AT))
        owner = facts.entity.fields[name].source_of_truth
        owned = other.clear() if owner is None else other.join(there.filter(pl.col(SYSTEM) == owner), on=GID, how="semi")
        why = pl.lit(f"source of truth: {owner}").alias("rule")
        over.append(owned.select(GID, *told, why, pl.lit("overruled").alias("kind")).cast(HISTORY_SCHEMA))
        free = other.join(owned, on=[GID, SYSTEM], how="anti", maintain_order="left").unique(GID, maintain_order=True)
        changes.append(free.select(GID, *told, pl.lit("deletes: archive").alias("rule")))
        shown = [system for system in facts.entity.mappings if name in facts.entity.shown(system)]
        said = rows.join(owned, on=[GID, SYSTEM], how="anti").filter(pl.col(SYSTEM).is_in(shown))
        stated.append(said.select(GID, SYSTEM, pl.lit(name).alias("field"), cell.alias("seen"), cell.alias("sent")))
    return pl.concat(changes), pl.concat(stated), pl.concat(over)


def _vain(rows: pl.DataFrame, over: pl.DataFrame, fields: int) -> pl.DataFrame:
    """The rows that archive nothing, because others own every field that they would set: they are missing, as if nothing followed."""
    if over.is_empty():
        return rows.clear()
    stopped = over.group_by(GID, SYSTEM).len().filter(pl.col("len") == fields)
    return rows.join(stopped, on=[GID, SYSTEM], how="semi", maintain_order="left")


def _history(rows: pl.DataFrame, facts: Facts, kind: str, rule: str) -> pl.DataFrame:
    """One history line per row, without a field."""
    return rows.select(
        GID,
        pl.lit(None, dtype=pl.String).alias("field"),
        pl.lit(None, dtype=pl.String).alias("before"),
        pl.lit(None, dtype=pl.String).alias("after"),
        SYSTEM,
        pl.lit(facts.now).cast(pl.Datetime("us", "UTC")).alias(AT),
        pl.lit(rule).alias("rule"),
        pl.lit(kind).alias("kind"),
    ).cast(HISTORY_SCHEMA)
