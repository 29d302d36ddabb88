"""What a connector wrote itself is remembered by transaction, and not for ever."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

from trueup.connectors.watching import OwnWrites


def test_rows_are_known_until_they_were_told() -> None:
    own = OwnWrites()
    own.note(7, ["a", "b"])
    assert own.of(7) == {"a", "b"}
    assert own.of(8) == frozenset()
    own.note(7, ["b", "c"])
    assert own.of(7) == {"a", "b", "c"}
    own.forget(7)
    own.forget(7)
    assert own.of(7) == frozenset()
    assert own._room == own._most


def test_what_no_watch_tells_is_asked_for_once() -> None:
    own = OwnWrites()
    own.note(7, ["a", "b"])
    assert own.untold(["a"]) == frozenset()  # no watch heeds it
    own.heeded = True
    own.note(8, ["a", "c"])
    assert own.untold(["a", "b", "d"]) == {"a", "b"}
    assert own.untold(["a", "b"]) == frozenset()
    own.forget(8)  # it was told meanwhile
    assert own.untold(["c"]) == {"c"}
    own.note(9, ["e"])
    own.withdraw(9)
    assert (own.of(9), own.untold(["e"])) == (frozenset(), frozenset())


def test_a_commit_that_gets_its_number_by_being_made_is_waited_for() -> None:
    own = OwnWrites()
    own.heeded = True
    with own.committing(["a"]) as numbers:
        assert own.settled(["b"], 0.0)
        assert not own.settled(["a", "b"], 0.0)
        later = Thread(target=lambda: numbers.append("0-1-7"))
        later.start()
        later.join()
    assert own.settled(["a"], 0.0)
    assert own.of("0-1-7") == {"a"}
    assert own.untold(["a"]) == {"a"}
    with suppress(KeyError), own.committing(["b"]):
        raise KeyError
    assert own.settled(["b"], 0.0)
    assert own.untold(["b"]) == frozenset()


def test_of_too_many_the_oldest_are_forgotten() -> None:
    own = OwnWrites(keys=3)
    own.note(1, ["a", "b"])
    own.note(2, ["c", "d"])
    assert not own.of(1)
    assert own.of(2) == {"c", "d"}
    own.note(3, ["e", "f", "g", "h"])
    assert own.of(3) == frozenset()
    own.forget(2)
    own.note(4, ["i", "j", "k"])
    assert own.of(4) == {"i", "j", "k"}
