"""Rights on tables: which of them let somebody change what is changed elsewhere, and what is given in their place.

A right on a whole table that covers a locked column is taken, and given anew on each of the other columns, so that nothing else is lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from trueup.model import Lock

UPDATE = "UPDATE"
ROWS = frozenset({"INSERT", "DELETE", "TRUNCATE", "DROP"})
"""What adds and removes rows."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What somebody may do. `table` and `who` are written as statements name them; `column` is plain, "": the whole table.

    `by` is who gave it, as statements name them, "": the table's owner, or nobody knows; `passed_on`: may be given to others.
    """

    table: str
    who: str
    right: str
    column: str = ""
    by: str = ""
    passed_on: bool = False


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a lock took, and what it gave instead."""

    taken: tuple[Right, ...] = ()
    given: tuple[Right, ...] = ()

    def done(self, opened: Collection[Right]) -> frozenset[Right]:
        """The rights with the lock, from those without it."""
        return frozenset(opened) - frozenset(self.taken) | frozenset(self.given)

    def undone(self, found: Rights) -> frozenset[Right]:
        """The rights without the lock, from those that are found, whether it was carried out, in part, or not at all."""
        return found.there - frozenset(self.given) | {one for one in self.taken if found.may_have(one)}


@dataclass(frozen=True, slots=True)
class Loss:
    """What somebody loses: a right, on `columns` or (none) on the table's rows."""

    who: str
    right: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may change what in an object, as the system has it.

    `there` are the rights that were given; those of `spared` stay. `columns` are the columns of each table, `people` all who can have
    rights. `kept` says in words who may change everything all the same. `needed` is what our own login has through others, which it would
    lose with them.
    """

    there: frozenset[Right]
    columns: Mapping[str, tuple[str, ...]]
    people: frozenset[str]
    spared: frozenset[str] = frozenset()
    kept: tuple[str, ...] = ()
    needed: frozenset[Right] = field(default_factory=frozenset)

    def may_have(self, right: Right) -> bool:
        """Whether there still are the table and the column that a right is about, and whoever is to have it."""
        there = right.table in self.columns and (not right.column or right.column in self.columns[right.table])
        return there and {right.who, right.by} <= {*self.people, ""}

    def breaking(self, lock: Lock) -> list[Right]:
        """The rights by which somebody else may change what is locked."""
        return sorted(one for one in self.there if one.who not in self.spared and breaks(one, lock))


def breaks(right: Right, lock: Lock) -> bool:
    """Whether somebody with this right may change what is locked."""
    if right.right in ROWS:
        return bool(lock.rows)
    return right.right == UPDATE and bool(lock.columns) and (not right.column or right.column in lock.columns)


def exchange(found: Rights, lock: Lock, before: Exchange | None = None) -> Exchange:
    """What a lock takes and gives, from the rights without it. `before` is the lock in whose place it comes."""
    opened = replace(found, there=before.undone(found) if before is not None else found.there)
    taken = opened.breaking(lock)
    given = {one for one in found.needed if breaks(one, lock)} if taken or before is not None else set()
    for one in taken:
        if one.right == UPDATE and not one.column:
            given |= {replace(one, column=name) for name in found.columns.get(one.table, ()) if name not in lock.columns}
    # To have a right twice, and to give it to others only once, is to have it once.
    weaker = {lesser for one in given if one.passed_on and (lesser := replace(one, passed_on=False)) in opened.there}
    given = {one for one in given if one not in opened.there and replace(one, passed_on=True) not in opened.there}
    return Exchange(tuple(sorted({*taken, *weaker})), tuple(sorted(given)))


def losses(taken: Iterable[Right], lock: Lock) -> list[Loss]:
    """Who loses what, by name."""
    lost: dict[tuple[str, str], set[str]] = {}
    for one in (one for one in taken if breaks(one, lock)):
        columns = (set(lock.columns) if not one.column else {one.column}) if one.right == UPDATE else set()
        lost.setdefault((one.who, one.right), set()).update(columns)
    return [Loss(who, right, tuple(sorted(columns))) for (who, right), columns in sorted(lost.items())]


def statements(now: Collection[Right], then: Collection[Right], write: Callable[[str, Sequence[Right]], str]) -> list[str]:
    """The statements that make of the rights of `now` those of `then`. `write(verb, rights)` words one statement.

    What is taken comes first, from whom it was passed on to before whoever passed it on. One statement is about one table, person, giver
    and right, with all of its columns. Where a right on a whole table is taken, those on its columns are given anew: PostgreSQL takes
    them, too.
    """
    gone, new = frozenset(now) - frozenset(then), frozenset(then) - frozenset(now)
    whole = {_of(one) for one in gone if not one.column}
    new |= {one for one in then if one.column and _of(one) in whole}
    far = _distances({*now, *then})
    first_far = sorted(_grouped(gone), key=lambda group: -far.get(group[0].by, 0))
    last_far = sorted(_grouped(new), key=lambda group: far.get(group[0].by, 0))
    return [write("REVOKE", group) for group in first_far] + [write("GRANT", group) for group in last_far]


def _of(one: Right) -> tuple[str, str, str, str]:
    return (one.table, one.who, one.right, one.by)


def _grouped(rights: Iterable[Right]) -> list[list[Right]]:
    groups: dict[tuple[object, ...], list[Right]] = {}
    for one in sorted(rights):
        groups.setdefault((*_of(one), bool(one.column), one.passed_on), []).append(one)
    return list(groups.values())


def _distances(rights: Iterable[Right]) -> dict[str, int]:
    """How many hands each giver is away from the owner."""
    givers = {one.by for one in rights}
    from_whom: dict[str, set[str]] = {}
    for one in rights:
        if one.who in givers:
            from_whom.setdefault(one.who, set()).add(one.by)
    far = {"": 0}
    while reached := {who for who, by in from_whom.items() if who not in far and by & far.keys()}:
        far |= {who: 1 + min(far[by] for by in from_whom[who] if by in far) for who in reached}
    return far
