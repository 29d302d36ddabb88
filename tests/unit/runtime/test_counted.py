"""What a worker counts, as it goes with its answers."""

from __future__ import annotations

from collections import Counter

import orjson

from trueup.runtime.dispatch.counted import Counted
from trueup.runtime.measured import Calls
from trueup.runtime.tally import MOST, Tally, add_keys


def _asked(system: Calls, call: str, times: int) -> None:
    for _time in range(times):
        with system.counting(call):
            pass


def test_what_was_told_once_is_not_told_again() -> None:
    calls = {"crm": Calls(), "till": Calls()}
    _asked(calls["crm"], "read", 3)
    told = Counted.taken(calls).told()
    assert Counted.taken(calls).told()["calls"] == {}
    _asked(calls["crm"], "read", 1)
    assert Counted.heard(Counted.taken(calls).told()).calls["crm"][0] == Counter({("read", "ok"): 1})
    assert Counted.heard(told).calls["crm"][0] == Counter({("read", "ok"): 3})


def test_what_many_tell_adds_up() -> None:
    leader = {"crm": Calls(), "till": Calls()}
    _asked(leader["crm"], "read", 1)
    for times in (2, 5):
        worker = {"crm": Calls(), "till": Calls()}
        _asked(worker["crm"], "read", times)
        _asked(worker["till"], "write", times)
        Counted.heard(orjson.loads(orjson.dumps(Counted.taken(worker).told()))).add_calls(leader)
    outcomes, seconds = leader["crm"].taken()
    assert outcomes == {("read", "ok"): 8}
    assert seconds["read"].number == 8
    assert leader["till"].taken()[0] == {("write", "ok"): 7}


def test_what_a_pass_decided_reads_as_it_was_told() -> None:
    tally = Tally(telling=frozenset({"crm", "till"}))
    tally.decided["last_write_wins", "crm"] += 2
    add_keys(tally.found, "crm", ["O'Brien", "👩‍👩‍👧", "שלום"])
    add_keys(tally.found, "till", map(str, range(MOST + 1)))
    heard = Counted.heard(orjson.loads(orjson.dumps(Counted(tally).told()))).tally
    assert heard.decided == {("last_write_wins", "crm"): 2}
    assert heard.found == {"crm": {"O'Brien", "👩‍👩‍👧", "שלום"}, "till": None}
