"""Two servers on one state in PostgreSQL: one leads, the other one stands by and takes over."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.system.dispatch.firm import Firm, Process, processes


@pytest.mark.slow
def test_the_second_server_stands_by_and_takes_over_at_once_when_the_first_ends(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url)
    with processes() as all_of_them:
        first = Process(firm, "serve", "--port", "0")
        all_of_them.append(first)
        first.told("pass")
        second = Process(firm, "serve", "--port", "0")
        all_of_them.append(second)
        second.told("standing by")
        assert str(first.process.pid) in second.events("standing by")[0]["why"]
        firm.crosses("c1@example.org", "While the first one leads")
        first.end()
        second.told("pass")
        firm.crosses("c2@example.org", "While the second one leads")
    firm.agrees()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_leader_that_is_gone_is_followed_by_the_other(tmp_path: Path, postgres_url: str, how: str) -> None:
    firm = Firm(tmp_path, postgres_url)
    with processes() as all_of_them:
        first, second = Process(firm, "serve", "--port", "0"), None
        all_of_them.append(first)
        first.told("pass")
        second = Process(firm, "serve", "--port", "0")
        all_of_them.append(second)
        second.told("standing by")
        firm.crosses("c1@example.org", "Before")
        if how == "killed":
            first.kill()
            all_of_them.remove(first)
        else:
            first.signal(signal.SIGSTOP)
        firm.crosses("c2@example.org", "Meanwhile")
        assert second.events("leading")
        second.told("watching", 3)  # also the slots are taken from one that stands still
        firm.crosses("c2@example.org", "By the watchers")
        if how == "frozen":
            first.signal(signal.SIGCONT)
            first.told("stood down")
            first.told("standing by")
            assert str(second.process.pid) in first.events("standing by")[-1]["why"]
            firm.crosses("c3@example.org", "Afterwards")
    firm.agrees()
