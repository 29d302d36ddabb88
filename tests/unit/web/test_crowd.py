"""Connections that wait for their clients: who has most of them gives way, and nobody else."""

from __future__ import annotations

import logging
import random

import pytest

from trueup.web.crowd import Crowd, client_of


class Line:
    """A connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.dropped = False

    def drop(self) -> None:
        """See crowd.Connection."""
        assert not self.dropped
        self.dropped = True


def waiting(crowd: Crowd, address: str, count: int = 1) -> list[Line]:
    """So many connections of one address that wait."""
    lines = [Line(address) for _number in range(count)]
    for line in lines:
        crowd.waits(line, address)
    return lines


def test_the_oldest_of_whoever_has_most_is_dropped() -> None:
    crowd = Crowd(10)
    few, many = waiting(crowd, "10.0.0.1", 3), waiting(crowd, "10.0.0.2", 7)
    assert not any(line.dropped for line in (*few, *many))
    late = waiting(crowd, "10.0.0.3", 2)
    assert [line.dropped for line in many] == [True, True, *[False] * 5]
    assert not any(line.dropped for line in (*few, *late))
    crowd.left(many[0])  # it is gone, as it was told
    assert len(crowd) == 10


def test_who_has_brought_a_request_is_not_in_the_crowd() -> None:
    crowd = Crowd(2)
    busy = waiting(crowd, "10.0.0.1", 2)
    for line in busy:
        crowd.left(line)
    idle = waiting(crowd, "10.0.0.1", 2)
    assert not any(line.dropped for line in (*busy, *idle))
    crowd.waits(busy[0], "10.0.0.1")
    crowd.waits(busy[0], "10.0.0.1")
    assert [line.dropped for line in (*idle, *busy)] == [True, False, False, False]
    assert len(crowd) == 2


def test_a_network_of_one_owner_counts_as_one() -> None:
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2%eth0") != client_of("2001:db8:0:1::1")
    assert client_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert client_of("") == ""


def test_whatever_comes_and_goes_it_is_counted_right() -> None:
    chance = random.Random(7)
    crowd, lines = Crowd(20), list[Line]()
    for _step in range(3_000):
        if lines and chance.random() < 0.4:
            line = lines.pop(chance.randrange(len(lines)))
            crowd.left(line)
        else:
            most = max((sum(1 for other in lines if other.address == line.address) for line in lines), default=0)
            lines += waiting(crowd, f"10.0.0.{chance.randrange(6)}")
            gone = [line for line in lines if line.dropped]
            assert len(gone) == (len(lines) > 20)
            lines = [line for line in lines if not line.dropped]
            for line in gone:
                assert sum(1 for other in lines if other.address == line.address) + 1 >= most
        assert len(crowd) == len(lines)
    assert crowd._of.keys() == {line.address for line in lines}


def test_it_is_told_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    crowd = Crowd(1, now=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        waiting(crowd, "10.0.0.1", 4)
        now[0] = 61.0
        waiting(crowd, "10.0.0.1")
    assert len(caplog.messages) == 2
    assert "10.0.0.1" in caplog.messages[0]
