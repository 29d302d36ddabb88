"""Troubles that come seldom, one by one, while `trueup serve` is at work: what could not be told is found, and nothing is lost."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.servers import mariadb_client
from tests.stories.test_serve import Company, wait_until
from tests.system.cli.test_serve import serving
from tests.weather.soak import Soak
from trueup.runtime.serving import server as server_module
from trueup.runtime.workspace import open_workspace

pytestmark = pytest.mark.slow


class Watched:
    """The company of the soak, served without any sweep after the first one: what is not told must be noticed."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.soak = Soak(stack, folder, 1)
        self.company = self.soak.company
        file = folder / "trueup.yaml"
        file.write_text(file.read_text(encoding="utf-8").replace(", {every: 20s}", ""), encoding="utf-8")
        self.soak.serve()
        wait_until(lambda: {"crm", "shop"} <= {event["system"] for event in self.events("watching")}, "both servers are watched")
        self.agrees()

    def events(self, what: str) -> list[dict[str, object]]:
        """What the server told so far."""
        return [event for event in self.soak.told() if event["event"] == what]

    def watched_again(self, system: str, times: int) -> bool:
        """Whether a system is watched after so many times before."""
        return sum(event["system"] == system for event in self.events("watching")) > times

    def agrees(self) -> None:
        """All comes to agree."""
        wait_until(lambda: not self.company.wrong(), "all agrees")

    def ended(self) -> None:
        """The server ends in peace, and was never surprised."""
        assert self.soak.end() == 0
        assert not self.events("defect")
        assert not self.company.wrong()
        self.soak.trueup("verify")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """The company at work."""
    with ExitStack() as stack:
        yield Watched(stack, tmp_path)


def test_a_replication_slot_is_dropped(watched: Watched) -> None:
    """Somebody tidies up on the server. What was edited before the next slot was there is in no log that anybody reads."""
    company = watched.company
    with psycopg.connect(company.crm, autocommit=True) as db:
        slots = db.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()").fetchall()
        assert slots
        watched.soak.proxies["crm"].turn("cut")
        for (slot,) in slots:
            db.execute("SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = %s", [slot])
            db.execute("SELECT pg_drop_replication_slot(%s)", [slot])
    company.count("crm", "c1@example.org", 5)
    company.count("shop", "c1@example.org", 2)
    watched.soak.proxies["crm"].turn("fair")
    watched.agrees()
    wait_until(lambda: watched.watched_again("crm", 1), "it is watched again")
    company.count("crm", "c1@example.org", 1)
    watched.agrees()
    watched.ended()


def test_the_binary_log_is_purged(watched: Watched) -> None:
    """The network is away for longer than the server keeps its log."""
    company = watched.company
    watched.soak.proxies["shop"].turn("cut")
    company.count("shop", "c2@example.org", 5)
    company.count("till", "c2@example.org", 2)
    with contextlib.closing(mariadb_client(company.shop)) as connection, connection.cursor() as cursor:
        cursor.execute("FLUSH BINARY LOGS")
        until = time.monotonic() + 60
        while cursor.execute("SHOW BINARY LOGS") > 1:  # a reader that is gone is noticed by and by
            assert time.monotonic() < until, "the old logs are still there"
            cursor.execute(f"PURGE BINARY LOGS TO '{cursor.fetchall()[-1][0]}'")
            time.sleep(0.1)
    watched.soak.proxies["shop"].turn("fair")
    watched.agrees()
    wait_until(lambda: watched.watched_again("shop", 1), "it is watched again")
    company.count("shop", "c2@example.org", 1)
    watched.agrees()
    watched.ended()


def test_the_disk_of_the_state_is_full(tmp_path: Path) -> None:
    """Nothing can be stored for a while: nothing is written to a system then, it is told, and afterwards all goes on by itself."""
    company = Company(tmp_path)
    with serving(company) as server:
        pid = server.process.pid
        written = max(path.stat().st_size for path in tmp_path.glob("*.db"))  # the systems have room
        state = tmp_path / ".trueup" / "state.db"
        assert state.stat().st_size > 4 * written
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * written, resource.RLIM_INFINITY))
        last = ""
        until = time.monotonic() + 60
        while not server.events("trouble"):
            assert time.monotonic() < until, "a full disk is told"
            last = f"Name {time.monotonic_ns()}"
            company.rename("crm", "c1@example.org", last)
            time.sleep(0.2)
        assert "state" in server.events("trouble")[0]["why"]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(lambda: company.name("till", "c1@example.org") == last, "what waited crosses")
        company.rename("till", "c2@example.org", "Afterwards")
        wait_until(lambda: company.name("crm", "c2@example.org") == "Afterwards", "so does what comes")
        assert not server.events("defect")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


@pytest.mark.parametrize("wrong_by", [timedelta(days=400), timedelta(days=-3)])
def test_the_clock_is_put_wrong_and_right_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta) -> None:
    """Changes go on to cross, and so do those that only a sweep finds."""
    monkeypatch.setattr(server_module, "POLL_S", 1e12)  # nobody looks at the file but a sweep
    company = Company(tmp_path, "[realtime, {every: 2s}]", watch="off")
    offset = [timedelta(0)]
    with company.serving(clock=lambda: datetime.now(UTC) + offset[0]) as server:
        for number, ahead in enumerate((wrong_by, timedelta(0))):
            offset[0] = ahead
            company.rename("crm", "c1@example.org", f"Told {number}")
            server.workers["customer"].wakes.look("crm", ["1"])
            company.rename("till", "c2@example.org", f"Untold {number}")
            wait_until(lambda number=number: company.name("shop", "c1@example.org") == f"Told {number}", "what is told crosses")  # type: ignore[misc]
            wait_until(lambda number=number: company.name("shop", "c2@example.org") == f"Untold {number}", "a sweep finds the rest")  # type: ignore[misc]
            assert [company.name(system, "c1@example.org") for system in ("crm", "till")] == [f"Told {number}"] * 2
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees
