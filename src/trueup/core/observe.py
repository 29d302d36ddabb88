"""Observe: what systems show now minus what their shadows say they showed before -> changed cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core import quick
from trueup.core.cells import AT, GID, KEY, NULL, STILL, SYSTEM, json_to_records
from trueup.core.facts import GONE_SCHEMA, MISSING, NO_ROWS
from trueup.core.frames import (
    FEW_ROWS,
    constant,
    differ,
    exchanged,
    found,
    is_given,
    keep,
    long,
    looked_up,
    moments_of,
    one_of,
    stacked,
    sure,
    without,
)
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.core.facts import Facts


def golden_cells(facts: Facts, names: Collection[str] | None = None) -> pl.DataFrame:
    """Golden cells, wide: __gid and one column per field (None: all); records being born have no values yet."""
    known = facts.golden
    cells = json_to_records(known["data"], {name: item for name, item in facts.entity.fields.items() if names is None or name in names})
    wide = quick.frame([known["id"].alias(GID), *cells.get_columns()])
    observed = [frame[GID] for frame in facts.observed.values() if not frame.is_empty()]
    if all(one_of(gids, wide[GID]).all() for gids in observed):
        return wide
    gids = pl.concat(observed).unique(maintain_order=True).to_frame()
    return pl.concat([wide, without(gids, wide, [GID])], how="diagonal")


def holders(facts: Facts) -> pl.DataFrame:
    """(__gid, __system) of rows that are there now, with a link."""
    there = keep(facts.shadows, facts.shadows["state"] != MISSING)
    parts = [quick.table({GID: there["gid"], SYSTEM: there["system"]})]
    for system, frame in facts.observed.items():
        here = quick.table({GID: frame[GID], SYSTEM: constant(SYSTEM, system, frame.height, pl.String())})
        parts.append(without(here, parts[0], [GID, SYSTEM]))
    return without(stacked(parts), facts.gone, [GID, SYSTEM])


_MOMENT = pl.Datetime("us", "UTC")
_CELLS = pl.DataFrame(
    schema={
        GID: pl.Int64(),
        SYSTEM: pl.String(),
        "field": pl.String(),
        "observed": pl.String(),
        "seen": pl.String(),
        "sent": pl.String(),
        "golden": pl.String(),
        AT: _MOMENT,
        "first": pl.Boolean(),
        "new_row": pl.Boolean(),
        "refused": pl.Boolean(),
        "old_window": pl.Boolean(),
    }
)


def changed_cells(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Cell observations that say something new, in the form that `merge.Situation` wants, and `new_row` (no shadow before)."""
    parts = [_CELLS]
    for system, rows in facts.observed.items():
        shown = [name for name in facts.entity.shown(system) if name in rows.columns]
        if not rows.is_empty() and shown:
            parts.append(_changed(facts, system, rows, shown, golden, deltas))
    return with_origin(facts.golden, stacked(parts))


def _changed(
    facts: Facts, system: str, rows: pl.DataFrame, shown: list[str], golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """What the rows of one system say that is new."""
    known = keep(facts.shadows, facts.shadows["system"] == system)["gid"]
    agreed = found(quick.chosen(rows, [GID]), quick.chosen(golden, [GID, *shown]), [GID])
    cells = long(rows.hstack([~one_of(rows[GID], known).alias("new_row")]), [GID, AT, "new_row"], shown, "observed")
    cells = cells.hstack([long(agreed, [GID], shown, "golden")["golden"]])
    cells = keep(cells, is_given(cells["observed"]))
    mine = {column: keep(named, named[SYSTEM] == system)[[GID, "field", "cell"]] for column, named in deltas.items()}
    cells = with_deltas(cells, mine)
    new, nothing = cells["new_row"], constant("seen", None, cells.height, pl.String())
    seen = nothing.zip_with(new, cells["seen"]) if new.any() else cells["seen"]
    first = new | ~is_given(seen)
    cells = cells.with_columns(seen, first.alias("first")) if new.any() else cells.hstack([first.alias("first")])
    cells = keep(cells, first | differ(cells["observed"], seen))
    new, seen, many = cells["new_row"], cells["seen"], cells.height
    writable = dict.fromkeys(facts.entity.written(system), True)
    sent = cells["golden"].zip_with(sure(looked_up("writable", cells["field"], writable, pl.Boolean())), seen)
    sent = cells["_sent"].zip_with(cells["_has_sent"], sent)
    return _mark_old_windows(
        facts,
        system,
        quick.table(
            {
                GID: cells[GID],
                SYSTEM: constant(SYSTEM, system, many, pl.String()),
                "field": cells["field"],
                "observed": cells["observed"],
                "seen": seen,
                "sent": constant("sent", None, many, pl.String()).zip_with(new, sent) if new.any() else sent,
                "golden": cells["golden"],
                AT: cells[AT],
                "first": cells["first"],
                "new_row": new,
                "refused": constant("refused", system in facts.refused, many, pl.Boolean()),
            }
        ),
    )


def with_deltas(cells: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Cells with what each was `seen` to show, and what the shadow names for it as sent: `_sent`, where `_has_sent`.

    `deltas` are those of one system, without `__system`, or of all, with it. Most shadows name nothing: then nothing is joined.
    """
    for column in ("seen", "sent"):
        named = deltas[column]
        name, has = f"_{column}", f"_has_{column}"
        place = [name for name in (GID, SYSTEM, "field") if name in named.columns]
        if named.is_empty():
            nothing = constant(name, None, cells.height, pl.String()), constant(has, value=False, rows=cells.height, dtype=pl.Boolean())
            cells = cells.hstack(list(nothing))
            continue
        mine = quick.frame(
            [*named[place].get_columns(), named["cell"].alias(name), constant(has, value=True, rows=named.height, dtype=pl.Boolean())]
        )
        cells = found(cells, mine, place)
        cells = exchanged(cells, sure(cells[has]))
    seen = cells["_seen"].zip_with(cells["_has_seen"], cells["golden"]).alias("seen")
    return cells.hstack([seen])


def _mark_old_windows(facts: Facts, system: str, cells: pl.DataFrame) -> pl.DataFrame:
    """Mark edits in a file back to what it showed before our last delivery: perhaps an old window saved over it."""
    if system not in facts.files:
        return cells.hstack([constant("old_window", value=False, rows=cells.height, dtype=pl.Boolean())])
    earlier = long_deltas(facts.shadows.filter(pl.col("system") == system), "before").select(GID, "field", pl.col("cell").alias("_earlier"))
    return (
        cells.join(earlier, on=[GID, "field"], how="left")
        .with_columns(old_window=(pl.col("_earlier") == pl.col("observed")).fill_null(value=False))
        .drop("_earlier")
    )


def reused_keys(facts: Facts, cells: pl.DataFrame, golden: pl.DataFrame) -> pl.DataFrame:
    """Known rows of which every value changed at once, the match fields among them: perhaps another record under an old key."""
    entity = facts.entity
    matching = {name for rule in entity.match for name in rule}
    if not matching or cells.is_empty():
        return NO_ROWS
    del golden
    if cells.height == 1 and not facts.suspects:  # one value alone is an ordinary edit
        return NO_ROWS
    if matching.isdisjoint(cells["field"].unique().to_list() if cells.height > FEW_ROWS else cells["field"].to_list()):
        return NO_ROWS
    # What was not known before is no news, and says nothing against another record either.
    changed = (
        cells.filter(~pl.col("first") | pl.col("observed").ne_missing(pl.col("golden")))
        .group_by(GID, SYSTEM)
        .agg(pl.col("observed").ne(NULL).sum().alias("changed"), pl.col("field").filter(~pl.col("first")))
    )
    suspects = ["\x1f".join(pair) for pair in facts.suspects]
    parts = [NO_ROWS]
    for system, observed in facts.observed.items():
        rows = keep(observed, ~sure(observed[STILL])) if STILL in observed.columns else observed
        shown = [name for name in entity.shown(system) if name in rows.columns]
        needed = sorted(matching & set(shown))
        if rows.is_empty() or not needed:
            continue
        # What was empty and still is says nothing about whose row it is.
        said = rows.select(GID, KEY, pl.sum_horizontal(pl.col(name).ne(NULL).fill_null(value=False) for name in shown).alias("said"))
        mine = changed.filter(pl.col(SYSTEM) == system).join(said, on=GID)
        differs = [pl.col("field").list.contains(name) for name in needed]
        # In another place a key that is known proves little: there, what stayed must be most of it.
        many = pl.col("changed") * 2 > pl.col("said") if system in facts.moved else pl.col("changed") >= pl.col("said")
        exchanged = many & (pl.col("field").list.len() > 1) & pl.all_horizontal(differs)
        # Some value of the other record may come to equal this one's: only what tells records apart says whose row it is.
        still = pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(suspects) & pl.any_horizontal(differs)
        parts.append(mine.filter(exchanged | still).select(list(GONE_SCHEMA)))
    return pl.concat(parts).filter(~pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(list(facts.same_record)))


def without_rows(facts: Facts, rows: pl.DataFrame) -> Facts:
    """The facts without these readings: their rows are left as they were last seen."""
    observed = {system: without(frame, keep(rows, rows[SYSTEM] == system), [GID]) for system, frame in facts.observed.items()}
    return replace(facts, observed=observed)


def with_origin(golden: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Add `origin` and `origin_at`: where and when the golden value of each cell came from; null where it has none."""
    rows = quick.table({GID: golden["id"], "origin": golden["origin_system"], "origin_at": golden["origin_at"]})
    cells = found(cells, rows, [GID])
    if golden["origins"].null_count() == golden.height:
        return cells
    named = [
        (gid, name, system, at)
        for gid, text in zip(golden["id"].to_list(), golden["origins"].to_list(), strict=True)
        if text is not None
        for name, (system, at) in orjson.loads(text).items()
    ]
    if not named:
        return cells
    gids, names, systems, times = zip(*named, strict=True)
    overrides = quick.table(
        {
            GID: quick.series(GID, gids, pl.Int64()),
            "field": quick.series("field", names, pl.String()),
            "_by": quick.series("_by", systems, pl.String()),
            "_at": moments_of(times),
            "_named": constant("_named", value=True, rows=len(named), dtype=pl.Boolean()),  # one that a person settled comes from no system
        }
    )
    told = found(cells, overrides, [GID, "field"])
    elsewhere = sure(told["_named"])
    by = told["_by"].zip_with(elsewhere, told["origin"]).alias("origin")
    return exchanged(cells, by, told["_at"].zip_with(elsewhere, told["origin_at"]).alias("origin_at"))
