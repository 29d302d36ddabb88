"""Meet: a state that was put back from a backup is older than the systems. What of it still holds is found out before anything is merged.

What a system shows now against what the old state says it showed is no edit: most of it was agreed on long since, by the state that was
lost. So no value is taken from one system and given to another here, and nothing is counted twice. Per value that moved, or was on its
way when the backup was taken:

    all systems that can be heard show the same      it is the golden value, and they stand for it: nothing is due
    the owner and another one show the same          as well
    one system alone can be heard, and others hold   left to the merge, and to the guard, as an edit
    the record
    they differ, and a rule needs no base for that    left to the merge (union; max and min where each of them moved)
    they differ otherwise                            a person is asked: any of them may be the latest

A system that cannot be read now, or is not connected, has no base there any more: it is at first contact when it is back. So is a row that
is gone: it may have been made again under another key, by several systems, and what it shows then is nobody's edit. Everything else stays
as the backup says, and is compared as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import AT, GID, KEY, SYSTEM
from trueup.core.facts import FINGERPRINT, MISSING, PRESENT
from trueup.core.frames import long
from trueup.core.merge import CHANGE_SCHEMA, FREEZE_SCHEMA, HISTORY_SCHEMA, UPDATE_SCHEMA, Merged
from trueup.core.normal import may_be_stored_as
from trueup.core.rebase import standing
from trueup.core.settle import among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from trueup.core.facts import Facts, Meeting
    from trueup.model import Field

MET = "met"
"""The kind of history that tells what all systems showed when they were met."""
RECORD_FIELD = [GID, "field"]
CELL = [GID, SYSTEM, "field"]
RULE = "restored from a backup"


@dataclass(frozen=True, slots=True)
class Cell:
    """One system's value of one field: what it shows (`value`; None: not to be read now), and what the state says of it.

    `lost`: there, but not to be read, so that nothing is known of it any more. `gone`: not there, at least not under the key that is known.
    `deaf`: only ever written.
    """

    system: str
    value: str | None
    seen: str | None
    sent: str | None
    at: datetime | None
    deaf: bool
    lost: bool
    gone: bool

    @property
    def here(self) -> bool:
        """Whether it can be read now."""
        return self.value is not None

    @property
    def moved(self) -> bool:
        """Whether it shows something else than the state says."""
        return self.value is not None and self.value != self.seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """The golden value from now on and those that show it; or, without any of these, a question."""

    value: str | None = None
    agreeing: tuple[Cell, ...] = ()


def meet(facts: Facts, meeting: Meeting, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], reused: pl.DataFrame) -> Merged:
    """What follows from meeting the systems; a ruling for `reconcile`. Rows of `reused` keys count where all systems agree on them."""
    known = _cells(facts, meeting, golden, deltas)
    cells = known.join(_doubtful(facts, meeting, known), on=RECORD_FIELD, how="semi").sort(GID, "field", "rank")
    groups: dict[tuple[int, str], tuple[str | None, list[Cell]]] = {}
    columns = (GID, "field", "golden", SYSTEM, "value", "seen", "sent", AT, "deaf", "lost", "gone")
    for gid, name, agreed, *rest in cells.select(columns).rows():
        groups.setdefault((gid, name), (agreed, []))[1].append(Cell(*rest))
    frozen = set(facts.frozen.select(RECORD_FIELD).rows())

    def judged(pair: tuple[int, str]) -> Verdict | None:
        agreed, group = groups[pair]
        return _verdict(facts.entity.fields[pair[1]], agreed, group, meeting.forms)

    verdicts = {pair: judged(pair) for pair in groups}
    matching = {name for rule in facts.entity.match for name in rule}
    others = _other_records(
        reused, {pair: found.value is not None for pair, found in verdicts.items() if found is not None and pair[1] in matching}
    )
    strangers = set(reused.filter(pl.col(GID).is_in(list(others))).select(GID, SYSTEM).rows())
    for pair in [pair for pair in groups if pair[0] in others]:  # what another record shows says nothing of this one
        agreed, group = groups[pair]
        groups[pair] = agreed, [replace(cell, value=None) if (pair[0], cell.system) in strangers else cell for cell in group]
        verdicts[pair] = judged(pair)
    ruling = _Ruling(facts.now)
    for (gid, name), verdict in verdicts.items():
        if verdict is not None:
            agreed, group = groups[gid, name]
            ruling.add(gid, name, agreed, group, verdict, was_frozen=(gid, name) in frozen)
    away = _away(facts, meeting, known)
    for gid, name, system, agreed in away.select(GID, "field", SYSTEM, "golden").rows():
        verdict = verdicts.get((gid, name))
        if verdict is None or verdict.value is None:
            ruling.forget(gid, name, system, agreed)
    return ruling.merged()


def looked_at_again(facts: Facts, cells: pl.DataFrame, ruling: Merged) -> Facts:
    """The facts without the fingerprints of rows of which something is left to the merge: they are compared when they are next read."""
    told = ruling.updates.select(*CELL, pl.col("seen").alias("_told"), pl.lit(value=True).alias("_is_told"))
    last = pl.when("_is_told").then("_told").otherwise("seen")
    left = cells.join(told, on=CELL, how="left").filter(pl.col("observed").ne_missing(last)).select(GID, SYSTEM).unique()
    observed = {}
    for system, rows in facts.observed.items():
        mine = pl.col(GID).is_in(left.filter(pl.col(SYSTEM) == system)[GID].implode())
        observed[system] = rows.with_columns(pl.when(~mine).then(FINGERPRINT).alias(FINGERPRINT))
    return replace(facts, observed=observed)


def _cells(facts: Facts, meeting: Meeting, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Every cell of the records at hand: what is known of it, and what it shows now."""
    entity = facts.entity
    known = standing(facts, golden, deltas, list(entity.fields))
    nothing = {GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String(), AT: pl.Datetime("us", "UTC"), "now": pl.String()}
    read = [pl.DataFrame(schema=nothing)]
    for system, rows in facts.observed.items():
        names = [name for name in entity.shown(system) if name in rows.columns]
        if names and not rows.is_empty():
            cells = long(rows, [GID, AT], names, "now")
            read.append(cells.select(GID, pl.lit(system).alias(SYSTEM), "field", AT, "now").cast(nothing))  # type: ignore[arg-type]
    rows_read = pl.concat(read).select(GID, SYSTEM).unique().with_columns(_read=pl.lit(value=True))
    shadows = facts.shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias(KEY), "modified")
    away = shadows.join(meeting.away, on=[SYSTEM, KEY], how="semi").select(GID, SYSTEM).with_columns(_away=pl.lit(value=True))
    gone = facts.gone.select(GID, SYSTEM).with_columns(_gone=pl.lit(value=True))
    deaf = [name for name, mapping in entity.mappings.items() if mapping.direction == "write"]
    ranks = {name: rank for rank, name in enumerate(entity.precedence)}
    there = pl.col("_gone").is_null() & ((pl.col("state") != MISSING) | pl.col("_read").is_not_null())
    as_known = (pl.col("state") == PRESENT) & pl.col("_away").is_null() & pl.col(SYSTEM).is_in(list(entity.mappings))
    shown = pl.when(pl.col("_read").is_not_null()).then("now").when(as_known).then("seen")
    return (
        known.join(pl.concat(read), on=CELL, how="left")
        .join(rows_read, on=[GID, SYSTEM], how="left")
        .join(away, on=[GID, SYSTEM], how="left")
        .join(gone, on=[GID, SYSTEM], how="left")
        .join(shadows.drop(KEY), on=[GID, SYSTEM], how="left")
        .with_columns(value=pl.when(there & among(facts, "shown")).then(shown), deaf=pl.col(SYSTEM).is_in(deaf))
        .with_columns(
            lost=there & pl.col("value").is_null() & among(facts, "shown"),
            gone=~there & among(facts, "shown"),
            rank=pl.col(SYSTEM).replace_strict(ranks, default=len(ranks), return_dtype=pl.Int64()),
            **{AT: pl.when("_read").then(AT).otherwise("modified")},
        )
    )


def _doubtful(facts: Facts, meeting: Meeting, cells: pl.DataFrame) -> pl.DataFrame:
    """(__gid, field) of values that moved, and of which the backup does not tell what the systems were last given."""
    moved = cells.filter(pl.col("value").is_not_null() & pl.col("value").ne_missing(pl.col("seen"))).select(RECORD_FIELD).unique()
    if meeting.moved is None:
        return moved
    return moved.join(_uncertain(facts, meeting, cells), on=RECORD_FIELD, how="semi")


def _uncertain(facts: Facts, meeting: Meeting, cells: pl.DataFrame) -> pl.DataFrame:
    """(__gid, field) of which the backup does not tell what the systems were last given, where it is known what moved since."""
    moved = meeting.moved if meeting.moved is not None else cells
    due = cells.filter(pl.col("writable") & pl.col("sent").ne_missing(pl.col("golden"))).select(RECORD_FIELD)
    return pl.concat([moved.select(RECORD_FIELD), due, facts.frozen.select(RECORD_FIELD)]).unique()


def _away(facts: Facts, meeting: Meeting, cells: pl.DataFrame) -> pl.DataFrame:
    """The cells of rows that are not to be read now of which the state may not know any more what they show."""
    differing = pl.col("seen").ne_missing(pl.col("golden"))
    lost = cells.filter(pl.col("lost") & differing)
    gone = cells.filter("gone")
    if meeting.moved is not None:
        moved = gone.join(_uncertain(facts, meeting, cells), on=RECORD_FIELD, how="semi")
        gone = pl.concat([moved, gone.filter(differing)]).unique(CELL, keep="any", maintain_order=True)
    return pl.concat([lost, gone])


def returned(facts: Facts, cells: pl.DataFrame) -> pl.DataFrame:
    """(__gid, field) of which rows are back that the state knows and of which it does not know any more what they showed.

    `cells` are as `observe.changed_cells` gives them.
    """
    mine = [f"{system}\x1f{name}" for system, names in facts.reread.items() for name in names]
    otherwise = pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(mine)
    return cells.filter(pl.col("first") & ~pl.col("new_row") & ~otherwise).select(RECORD_FIELD).unique()


def lapsed(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], cells: pl.DataFrame, back: pl.DataFrame) -> pl.DataFrame:
    """Those of `back` (see `returned`) of which the golden value says nothing: nobody who is heard stands for it any more.

    What was agreed long before the rows were made again is no side in a first contact; a value that is edited now is one, and so is that
    of a system which cannot be read.
    """
    if back.is_empty():
        return back
    names = back["field"].unique().to_list()
    known = standing(facts, golden, deltas, [name for name in facts.entity.fields if name in names])
    deaf = [name for name, mapping in facts.entity.mappings.items() if mapping.direction == "write"]
    stands = (
        known.join(back, on=RECORD_FIELD, how="semi")
        .filter((pl.col("state") != MISSING) & (pl.col("seen") == pl.col("golden")) & ~pl.col(SYSTEM).is_in(deaf))
        .join(facts.gone, on=[GID, SYSTEM], how="anti")
        .join(cells.filter("first"), on=CELL, how="anti")
    )
    heard = pl.concat([stands.select(RECORD_FIELD), cells.filter(~pl.col("first")).select(RECORD_FIELD)])
    return back.join(heard, on=RECORD_FIELD, how="anti").sort(RECORD_FIELD)


def without_golden(cells: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The cells, as if nothing had been agreed on yet in these (__gid, field)."""
    mine = cells.join(pairs.with_columns(_lapsed=pl.lit(value=True)), on=RECORD_FIELD, how="left", maintain_order="left")
    names = ("golden", "origin", "origin_at")
    return mine.with_columns(pl.when(pl.col("_lapsed").is_null()).then(name).alias(name) for name in names).drop("_lapsed")


def with_golden(merged: Merged, pairs: pl.DataFrame, golden: pl.DataFrame) -> Merged:
    """What was decided `without_golden`, told against what had been agreed on (`golden`, wide)."""
    agreed = long(golden, [GID], pairs["field"].unique().sort().to_list(), "_agreed").join(pairs, on=RECORD_FIELD, how="semi")

    def told(rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.join(agreed, on=RECORD_FIELD, how="left", maintain_order="left")
        return rows.with_columns(before=pl.coalesce("before", "_agreed")).drop("_agreed")

    changes, history = told(merged.changes), told(merged.history)
    same = pl.col("before").eq_missing(pl.col("after"))
    return replace(merged, changes=changes.filter(~same), history=history.filter(~(same & (pl.col("kind") == "edit"))))


def _verdict(field: Field, golden: str | None, cells: list[Cell], forms: frozenset[tuple[str, str]]) -> Verdict | None:
    """What follows for one value; None: what the backup says of it stands, and the merge will compare."""

    def shows(cell: Cell, value: str) -> bool:
        form = (cell.system, field.name) in forms and may_be_stored_as(value, cell.value, field.type)
        return cell.value == value or (form and not _lacks_lines(field, cell.value, value))

    here = [cell for cell in cells if cell.here]
    owner = next((cell for cell in here if cell.system == field.source_of_truth), None)
    if owner is not None and owner.value is not None:
        alike = [cell for cell in here if cell is not owner and shows(cell, owner.value)]
        news = owner.value != golden or any(cell.moved for cell in alike)
        return Verdict(owner.value, (owner, *alike)) if alike and news else None
    voices = [cell for cell in here if not cell.deaf]
    values = dict.fromkeys(cell.value for cell in voices if cell.value is not None)
    agreed = [value for value in values if all(shows(cell, value) for cell in voices)]
    if len(agreed) == 1:
        alike = [cell for cell in here if shows(cell, agreed[0])]
        nobody_else = not any(cell.here or cell.lost for cell in cells if cell not in alike)
        return Verdict(agreed[0], tuple(alike)) if len(alike) > 1 or nobody_else else None
    movers = [cell for cell in voices if cell.moved]
    if not movers or field.conflict == "union" or (field.conflict in ("max", "min") and len(movers) == len(voices)):
        return None
    return Verdict()


def _lacks_lines(field: Field, shown: str | None, value: str) -> bool:
    """Whether a text that is merged line by line is shown without its last lines: others wrote these, and nobody has brought them there."""
    return field.conflict == "text" and shown is not None and value.casefold().startswith(f"{shown.casefold()}\n")


def _other_records(reused: pl.DataFrame, agreed: Mapping[tuple[int, str], bool]) -> frozenset[int]:
    """Records of which a row may be another one's under an old key: not all systems agree on what tells records apart."""
    settled = {gid for gid, _name in agreed} - {gid for (gid, _name), alike in agreed.items() if not alike}
    return frozenset(set(reused[GID].to_list()) - settled)


class _Ruling:
    """The verdicts as rows of a `Merged`."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._updates: list[tuple[Any, ...]] = []
        self._changes: list[tuple[Any, ...]] = []
        self._history: list[tuple[Any, ...]] = []
        self._frozen: list[tuple[Any, ...]] = []
        self._thawed: list[tuple[int, str]] = []

    def add(self, gid: int, name: str, golden: str | None, cells: Iterable[Cell], verdict: Verdict, *, was_frozen: bool) -> None:
        """One value."""
        if verdict.value is None:
            self._ask(gid, name, golden, cells)
            return
        value = verdict.value
        for cell in cells:
            if cell in verdict.agreeing:
                self._updates.append((gid, cell.system, name, cell.value, value))
            elif cell.lost or cell.gone:  # it may be back under another key, and shows then what is agreed, or an edit of nobody knows what
                self._updates.append((gid, cell.system, name, None, value))
            else:
                self._updates.append((gid, cell.system, name, cell.seen, cell.sent))
        if was_frozen:
            self._thawed.append((gid, name))
        if value != golden:
            by = next(cell for cell in verdict.agreeing if cell.value == value)
            change = (gid, name, golden, value, by.system, by.at or self._now, RULE)
            self._changes.append(change)
            self._history.append((*change, MET))

    def forget(self, gid: int, name: str, system: str, golden: str | None) -> None:
        """What a row showed that is not there, or not to be read: was that due there, it may have arrived since, and says nothing new."""
        self._updates.append((gid, system, name, None, golden))

    def _ask(self, gid: int, name: str, golden: str | None, cells: Iterable[Cell]) -> None:
        for cell in cells:
            if cell.here and not cell.deaf:
                self._updates.append((gid, cell.system, name, cell.value, cell.value))
                self._frozen.append((gid, name, cell.system, cell.value, cell.at, True, golden, "conflict"))
                self._history.append((gid, name, golden, cell.value, cell.system, cell.at, RULE, "candidate"))

    def merged(self) -> Merged:
        """All of it."""
        return Merged(
            updates=pl.DataFrame(self._updates, schema=UPDATE_SCHEMA, orient="row"),
            changes=pl.DataFrame(self._changes, schema=CHANGE_SCHEMA, orient="row"),
            history=pl.DataFrame(self._history, schema=HISTORY_SCHEMA, orient="row"),
            frozen=pl.DataFrame(self._frozen, schema=FREEZE_SCHEMA, orient="row"),
            thawed=pl.DataFrame(self._thawed, schema={GID: pl.Int64(), "field": pl.String()}, orient="row"),
        )
