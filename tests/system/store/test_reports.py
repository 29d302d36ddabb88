"""Reports and their copies, since when records differ, and what was done by hand, as the state keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trueup.errors import StateError
from trueup.store import Store, by_hand, difference
from trueup.store import report as reports

NOW = datetime(2026, 11, 20, 6, 30, 0, 123456, UTC)
DAY = timedelta(days=1)


def kept(store: Store, at: datetime, *, due_at: datetime | None = None, to: tuple[str, ...] = ("a", "b")) -> int:
    with store.write() as tx:
        return reports.keep(
            tx, at=at, since=at - DAY, due_at=due_at, title="t", counts={"c": {"open": 1}}, content=("m", "p", "l"), recipients=to
        )


def test_what_is_sent_is_kept_until_nobody_waits_for_it(store: Store) -> None:
    number = kept(store, NOW)
    with store.read() as db:
        first, second = reports.open_copies(db)
    with store.write() as tx:
        assert reports.claim(tx, first, NOW)
        reports.settle(tx, first, "sent")
    with store.read() as db:
        found = reports.get(db, number)
        assert found is not None
        assert (found.at, found.page, found.counts) == (NOW, "p", {"c": {"open": 1}})
        assert [copy.recipient for copy in reports.open_copies(db)] == ["b"]
    with store.write() as tx:
        reports.settle(tx, second, "given up", reason="gone")
    with store.read() as db:
        found = reports.get(db, number)
        assert found is not None
        assert (found.message, found.page, found.lines) == (None, None, None)
        assert {copy.recipient: copy.state for copy in reports.copies_of(db, [number])} == {"a": "sent", "b": "given up"}


def test_a_copy_is_claimed_once_and_one_that_is_over_stays_so(store: Store) -> None:
    kept(store, NOW, to=("a",))
    with store.read() as db:
        (copy,) = reports.open_copies(db)
    with store.write() as tx:
        assert reports.claim(tx, copy, NOW)
        assert not reports.claim(tx, copy, NOW)
        reports.settle(tx, copy, "sent")
        reports.settle(tx, copy, "waiting")
    with store.read() as db:
        assert reports.open_copies(db) == []


def test_a_moment_of_the_schedule_has_one_report(store: Store) -> None:
    number = kept(store, NOW, due_at=NOW)
    with store.read() as db:
        assert reports.made_for(db, NOW) == number
        assert reports.made_for(db, NOW + DAY) is None
    with pytest.raises(StateError):
        kept(store, NOW, due_at=NOW)
    kept(store, NOW + DAY)
    kept(store, NOW + DAY)
    with store.read() as db:
        assert len(reports.since(db, NOW)) == 3
        last = reports.last(db)
        assert last is not None
        assert last.at == NOW + DAY


def test_since_when_something_differs_is_kept_until_it_agrees(store: Store) -> None:
    with store.write() as tx:
        assert difference.note(tx, "customer", "crm", ["g1", "kX'Y"], NOW) == {"g1": NOW, "kX'Y": NOW}
        difference.note(tx, "customer", "shop", ["g1"], NOW)
    with store.write() as tx:
        assert difference.note(tx, "customer", "crm", ["g1", "g2"], NOW + DAY) == {"g1": NOW, "g2": NOW + DAY}
    with store.write() as tx:
        assert difference.note(tx, "customer", "crm", ["kX'Y"], NOW + 2 * DAY) == {"kX'Y": NOW + 2 * DAY}
    with store.read() as db:
        assert difference.of(db, "customer", "shop") == {"g1": NOW}


def test_what_was_done_by_hand(store: Store) -> None:
    done = by_hand.Done("prices & 'more' שלום", NOW, "me@here", 12.5, {2: 7.5}, "a note")
    with store.write() as tx:
        by_hand.add(tx, done)
        by_hand.add(tx, by_hand.Done(done.process, NOW - DAY, "me@here"))
    with store.read() as db:
        assert by_hand.last(db) == {done.process: NOW}
        assert by_hand.since(db, NOW) == [done]
        assert [one.minutes for one in by_hand.since(db, NOW - DAY)] == [None, 12.5]
