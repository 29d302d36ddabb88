"""Rights that are taken, and what is given in their place."""

from __future__ import annotations

from collections.abc import Sequence

from trueup.core.rights import Exchange, Right, Rights, exchange, losses, statements
from trueup.model import Lock

COLUMNS = {"t": ("id", "name", "note"), "part": ("id", "name", "note")}
NAMES = Lock({"name": "hr"})
WHOLE = Lock({"name": "hr"}, ("hr",))


def rights(*there: Right, needed: Sequence[Right] = (), people: Sequence[str] = ("ann", "ben", "us")) -> Rights:
    return Rights(frozenset(there), COLUMNS, frozenset(people), frozenset({"us"}), (), frozenset(needed))


def update(who: str, column: str = "", table: str = "t", by: str = "", *, passed_on: bool = False) -> Right:
    return Right(table, who, "UPDATE", column, by, passed_on)


def worded(verb: str, group: Sequence[Right]) -> str:
    return f"{verb} {group[0].right}({','.join(one.column for one in group)}) {group[0].table} {group[0].who} by {group[0].by or 'owner'}"


def test_a_right_on_the_table_becomes_rights_on_its_other_columns():
    found = exchange(rights(update("ann"), update("us"), Right("t", "ann", "DELETE")), NAMES)
    assert found == Exchange((update("ann"),), (update("ann", "id"), update("ann", "note")))


def test_a_right_on_a_locked_column_goes_and_on_another_one_stays():
    assert exchange(rights(update("ann", "name"), update("ann", "note")), NAMES) == Exchange((update("ann", "name"),), ())


def test_rows_are_taken_where_rows_are_locked():
    there = [Right("t", "ann", right) for right in ("INSERT", "DELETE", "TRUNCATE", "DROP")] + [Right("t", "ben", "INSERT", "note")]
    assert exchange(rights(*there), NAMES) == Exchange()
    assert set(exchange(rights(*there), WHOLE).taken) == set(there)


def test_what_we_have_through_others_is_given_to_us_by_name():
    asked = rights(update("ann"), needed=[update("us"), Right("t", "us", "INSERT")])
    assert set(exchange(asked, NAMES).given) == {update("us"), update("ann", "id"), update("ann", "note")}
    assert exchange(rights(needed=[update("us")]), NAMES) == Exchange(), "where nothing is taken, nothing is needed"


def test_doing_and_undoing_end_where_they_began():
    before = rights(update("ann", passed_on=True), update("ann", "note"), update("ben", "name"), Right("t", "ben", "INSERT"))
    for lock in (NAMES, WHOLE):
        found = exchange(before, lock)
        locked = rights(*found.done(before.there))
        assert locked.breaking(lock) == []
        assert found.undone(locked) == before.there
        assert found.undone(before) == before.there, "it was never carried out"
        assert exchange(locked, lock, found) == found, "made again it is the same"


def test_another_lock_in_its_place_gives_back_what_it_does_not_keep():
    before = rights(update("ann"))
    names = exchange(before, NAMES)
    notes = exchange(rights(*names.done(before.there)), Lock({"note": "hr"}), names)
    assert notes == exchange(before, Lock({"note": "hr"}))


def test_who_is_gone_gets_nothing_back():
    found = exchange(rights(update("ann"), update("ben", by="ann")), NAMES)
    assert found.undone(rights(people=["ben", "us"])) == set()
    assert Exchange((update("ann", "gone"), update("ann", table="gone"))).undone(rights()) == set()


def test_statements_take_first_and_from_the_far_end_of_a_chain():
    now = {update("ann", passed_on=True), update("ben", by="ann", passed_on=True), update("cy", by="ben"), update("ann", "note")}
    then = {update("ann", "id"), update("ann", "note")}
    assert statements(now, then, worded) == [
        "REVOKE UPDATE() t cy by ben",
        "REVOKE UPDATE() t ben by ann",
        "REVOKE UPDATE() t ann by owner",
        "GRANT UPDATE(id,note) t ann by owner",  # the second one went with the whole table's
    ]
    assert statements(then, then, worded) == []
    assert statements(set(), now, worded)[-1] == "GRANT UPDATE() t cy by ben"


def test_who_loses_what():
    taken = [update("ann"), update("ben", "name"), Right("t", "ann", "DELETE"), update("ann", "note")]
    assert [(one.who, one.right, one.columns) for one in losses(taken, WHOLE)] == [
        ("ann", "DELETE", ()),
        ("ann", "UPDATE", ("name",)),
        ("ben", "UPDATE", ("name",)),
    ]
