"""What waits to be looked at: coalesced, in turns, confirmed in order, and nothing of it lost."""

from __future__ import annotations

import pytest

from trueup.runtime.serving import wakes as module
from trueup.runtime.serving.breakers import Breakers
from trueup.runtime.serving.wakes import Batch, Confirmations, Wakes


def take(wakes: Wakes, *away: str, paused: bool = False, busy: bool = False) -> Batch | None:
    """What is next, now."""
    return wakes.take(0.0, lambda: not paused, lambda: frozenset(away), lambda: not busy)


def taken(wakes: Wakes, *away: str) -> Batch:
    """What is next; there is something."""
    batch = take(wakes, *away)
    assert batch is not None
    return batch


def test_rows_are_looked_at_together_and_once() -> None:
    wakes, over = Wakes(), []
    wakes.look("crm", ["1", "2"], over=lambda: over.append("first"))
    wakes.look("crm", ["2", "3"], over=lambda: over.append("second"))
    wakes.look("till", ["9"])
    batch = taken(wakes)
    assert {name: list(look.keys or ()) for name, look in batch.looks.items()} == {"crm": ["1", "2", "3"], "till": ["9"]}
    assert over == []
    batch.over()
    assert over == ["first", "second"]
    assert take(wakes) is None


def test_no_kind_waits_for_ever() -> None:
    wakes, kinds = Wakes(), []
    wakes.sweep("every 900s")
    wakes.catch_up()
    wakes.look("till", None)
    for number in range(8):
        wakes.look("crm", [str(number)])  # rows never end
        batch = taken(wakes)
        kinds.append("sweep" if batch.sweep else "deliveries" if batch.catch_up else "systems" if batch.whole else "rows")
    assert {"sweep", "deliveries", "systems", "rows"} == set(kinds[:4])


def test_a_system_that_is_away_keeps_its_rows() -> None:
    wakes = Wakes()
    wakes.look("crm", ["1"])
    assert take(wakes, "crm") is None
    assert list(taken(wakes).looks) == ["crm"]


def test_nothing_is_taken_while_paused_and_no_sweep_while_a_lane_is_busy() -> None:
    wakes = Wakes()
    wakes.sweep("start")
    assert take(wakes, paused=True) is None
    assert take(wakes, busy=True) is None
    assert taken(wakes).sweep == ("start",)


def test_too_many_rows_are_taken_in_parts_and_over_only_when_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_PER_BATCH", 2)
    wakes, over = Wakes(), []
    wakes.look("crm", ["1", "2", "3"], over=lambda: over.append(True))
    first = taken(wakes)
    first.over()
    assert (list(first.looks["crm"].keys or ()), over) == (["1", "2"], [])
    wakes.put_back(first.looks.values())  # it could not be done after all
    seen: set[str] = set()
    while (batch := take(wakes)) is not None:
        seen.update(batch.looks["crm"].keys or ())
        batch.over()
    assert (seen, over) == ({"1", "2", "3"}, [True])


def test_more_rows_than_are_remembered_become_a_look_at_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_REMEMBERED", 3)
    wakes, over = Wakes(), []
    for key in "12345":
        wakes.look("crm", [key], over=lambda: over.append(True))
    batch = taken(wakes)
    assert batch.whole == {"crm"}
    batch.over()
    assert len(over) == 5


def test_positions_are_confirmed_in_their_order() -> None:
    confirmed: list[str] = []
    positions = Confirmations(confirmed.append)
    first, second, third = positions.told("1", 2), positions.told("2", 1), positions.told(None, 1)
    second()
    first()
    assert confirmed == []
    first()
    assert confirmed == ["2"]
    third()
    assert confirmed == ["2"]
    positions.told("3", 0)
    assert confirmed == ["2", "3"]
    assert positions.waiting == 0


def test_a_system_that_fails_is_tried_by_one_entity_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trueup.runtime.serving.breakers.time.monotonic", lambda: now[0])
    breakers = Breakers()
    assert breakers.failed("crm", "nobody answers")
    assert not breakers.failed("crm", "nobody answers")
    assert breakers.away("customer") == breakers.away("order") == {"crm"}
    now[0] += 2.0
    assert breakers.away("customer") == breakers.away("order") == frozenset()  # to look does not mean to try
    assert breakers.leave_out("customer") == frozenset()
    assert breakers.leave_out("order") == {"crm"}
    breakers.give_up_trying("customer")
    assert breakers.away("order") == frozenset()
    assert breakers.worked("crm")
    assert not breakers.worked("crm")
    assert breakers.away("customer") == frozenset()
