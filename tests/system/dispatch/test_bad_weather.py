"""Several processes under load while things go wrong: nothing is lost and nothing doubled, and everything agrees in the end."""

from __future__ import annotations

import random
import signal
import time
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.servers import PostgresServer
from tests.system.dispatch.firm import OFTEN, SYSTEMS, Firm, Process, explained, processes, wait_until

CUSTOMERS = 40


def begun(firm: Firm, kind: str) -> Process:
    """A process that has begun, as a leader or not."""
    process = Process(firm, *(["serve", "--port", "0"] if kind == "serve" else ["worker"]))
    wait_until(lambda: any(process.events(what) for what in ("leading", "standing by", "working")), f"{kind} has begun")
    return process


@pytest.mark.slow
@pytest.mark.parametrize("when", ["[realtime]", OFTEN])
def test_leaders_and_workers_killed_and_frozen_under_load(tmp_path: Path, postgres_url: str, when: str) -> None:
    firm = Firm(tmp_path, postgres_url, when=when, customers=CUSTOMERS)
    chance = random.Random(5)
    last: dict[str, str] = {}

    def edits(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            email = f"c{chance.randint(1, CUSTOMERS)}@example.org"
            last[email] = f"Name {len(last)}-{chance.randint(0, 9999)}"
            firm.rename("crm", email, last[email])
            if chance.random() < 0.1:
                new = f"n{chance.randint(0, 10**9)}@example.org"
                last[new] = "New"
                firm.ask("INSERT INTO crm_people (email, name) VALUES (%s, 'New')", new)
            time.sleep(0.03)

    with processes() as crew:
        crew += [begun(firm, kind) for kind in ("serve", "serve", "worker", "worker")]
        edits(3)
        for _round in range(6):
            number = chance.randrange(len(crew))
            victim, kind = crew[number], "serve" if number < 2 else "worker"
            if chance.random() < 0.6:
                victim.kill()
                edits(2)
                crew[number] = begun(firm, kind)
            else:
                victim.signal(signal.SIGSTOP)
                edits(chance.choice([1.0, 10.0]))
                victim.signal(signal.SIGCONT)
            edits(chance.uniform(0.5, 4.0))
        wait_until(
            lambda: not firm.missing("till", last),
            "every edit in the till",
            why_not=lambda: f"missing: {firm.missing('till', last)}\n{explained(firm, crew)}",
        )
    firm.agrees()
    for email, name in last.items():
        assert {firm.name(system, email) for system in SYSTEMS} == {name}


@pytest.mark.slow
def test_the_server_of_the_state_fails_and_comes_back(tmp_path: Path, spare_postgres: PostgresServer) -> None:
    with spare_postgres.database() as url:
        firm = Firm(tmp_path, url, customers=CUSTOMERS)
        with processes() as crew:
            crew += [begun(firm, kind) for kind in ("serve", "serve", "worker", "worker")]
            firm.crosses("c1@example.org", "Before")
            for round_ in range(2):
                for number in range(1, CUSTOMERS + 1):
                    firm.rename("crm", f"c{number}@example.org", f"Round {round_}")
                spare_postgres.kill()
                time.sleep(1.0 if round_ == 0 else 9.0)  # shorter, and longer than a lease
                spare_postgres.start()
                firm.crosses("c2@example.org", f"After {round_}")
            assert all(process.process.poll() is None for process in crew)
            assert sum(len(process.events("leading")) for process in crew) == 1, "after a restart everybody has time to be heard of"
            wait_until(lambda: firm.name("till", "c40@example.org") == "Round 1", "the last edit")
        firm.agrees()


@pytest.mark.slow
def test_what_is_told_to_the_one_that_stands_by_is_looked_at_by_the_leader(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url, hook=True)
    with processes() as crew:
        leader = begun(firm, "serve")
        crew.append(leader)
        leader.told("pass")
        other = begun(firm, "serve")
        crew.append(other)
        other.told("receiving")
        other.told("standing by")
        url = other.events("receiving")[0]["at"] + "crm"
        with_token = {"X-Token": "s3cret", "Content-Type": "application/json"}
        body = b'{"object": "crm_people", "key": "1"}'
        firm.rename("crm", "c1@example.org", "Told to the other one")
        request = urllib.request.Request(url, data=body, headers=with_token, method="POST")  # noqa: S310  http to ourselves
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            assert answer.status == 202
        wait_until(lambda: firm.name("till", "c1@example.org") == "Told to the other one", "the change in the till")
        wait_until(lambda: firm.ask("SELECT count(*) FROM trueup.inbox WHERE done_at IS NULL") == [(0,)], "an empty inbox")
    firm.agrees()


@pytest.mark.slow
def test_a_write_that_stood_still_half_way_is_nobodys_edit(tmp_path: Path, postgres_url: str) -> None:
    firm = Firm(tmp_path, postgres_url, when=OFTEN)
    with processes() as crew:
        server = begun(firm, "serve")
        crew.append(server)
        server.told("pass")
        worker = begun(firm, "worker")
        crew.append(worker)
        while not worker.events("pass"):
            firm.crosses("c1@example.org", f"Size {server.file.stat().st_size}")
        with psycopg.connect(postgres_url) as somebody:
            somebody.execute("SELECT FROM till_people WHERE email = 'c1@example.org' FOR UPDATE")
            firm.rename("crm", "c1@example.org", "Half way")
            wait_until(lambda: bool(firm.ask("SELECT 1 FROM pg_locks WHERE NOT granted")), "a write that waits for the row")
            worker.signal(signal.SIGSTOP)
        wait_until(lambda: not firm.ask("SELECT 1 FROM pg_locks WHERE NOT granted"), "a write that has the row")
        firm.rename("crm", "c1@example.org", "The newest")
        wait_until(lambda: bool(server.events("taken over")), "the worker declared gone")
        firm.crosses("c2@example.org", "By the server, which has found out what became of it")
        worker.signal(signal.SIGCONT)
        worker.told("stood down")
        wait_until(
            lambda: {firm.name(system, "c1@example.org") for system in SYSTEMS} == {"The newest"},
            "the newest name everywhere",
            why_not=lambda: f"{[firm.name(system, 'c1@example.org') for system in SYSTEMS]}\n{explained(firm, crew)}",
        )
    firm.agrees()
    assert firm.name("crm", "c1@example.org") == "The newest"
