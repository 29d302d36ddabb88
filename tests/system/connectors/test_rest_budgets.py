"""What may be asked of an application is counted over everybody who shares a state: threads, processes, and those who died."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.system.connectors.rest_tools import contacts, creates, filled, opened, outcomes, read
from trueup.connectors.rest.connector import RestConnector
from trueup.connectors.rest.limits import Budget, BudgetSpentError, Memory
from trueup.connectors.rest.schema_http import LimitShape
from trueup.errors import SystemUnreachableError
from trueup.runtime.status import standing_of
from trueup.runtime.workspace import open_workspace
from trueup.store import Store, allowance
from trueup.testing.rest_service import RestService

DAY = {"requests": 5, "per_s": 86_400}


@pytest.fixture
def service():
    with RestService() as made:
        filled(made, 3)
        yield made


@pytest.fixture
def connect(service, tmp_path):
    """Connectors, each in a folder of its own and with the book of a state, as processes have them."""
    made: list[Any] = []

    def make(target: str, **http: Any) -> RestConnector:
        folder = tmp_path / f"process {len(made)}"
        folder.mkdir()
        connector, ledger = opened(folder, service, http=http), allowance.ledger(target, "directory")
        connector.share_limits(ledger)
        made.extend((connector, ledger))
        return connector

    yield make
    for one in made:
        one.close()


class Clock:
    """A moment that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def budget(clock: Clock, ledger: object = None, **limit: object) -> Budget:
    return Budget(
        [LimitShape.model_validate(limit)],
        most_wait_s=50,
        longest_s=10,
        ledger=ledger or Memory(clock),  # type: ignore[arg-type]
        wait=lambda turn, seconds: setattr(clock, "now", clock.now + (seconds or 0.0)),
    )


def test_a_place_is_free_again_when_its_window_has_passed_since_the_answer():
    clock = Clock()
    one = budget(clock, requests=2, per_s=10)
    with one.slot("/a", "crm"):
        clock.now += 3
    with one.slot("/a", "crm"):
        pass
    with one.slot("/a", "crm"):
        assert 1_013.0 <= clock.now <= 1_013.2  # a hundredth of the window too late at most


def test_who_died_with_a_request_under_way_gives_the_place_back():
    clock, ledger = Clock(), None
    ledger = Memory(clock)
    dead = budget(clock, ledger, requests=1, per_s=20)
    killed = dead.slot("/a", "crm")
    killed.__enter__()
    with budget(clock, ledger, requests=1, per_s=20).slot("/a", "crm"):
        assert 1_030.0 <= clock.now <= 1_031.0  # the longest that a request takes, and the window


def test_a_clock_that_is_set_back_makes_no_window_longer():
    clock = Clock()
    one = budget(clock, requests=1, per_s=10)
    with one.slot("/a", "crm"):
        pass
    clock.now -= 500
    with one.slot("/a", "crm"):
        assert clock.now < 600


def test_limits_that_are_others_by_now_begin_anew():
    clock = Clock()
    ledger = Memory(clock)
    with budget(clock, ledger, requests=1, per_s=40).slot("/a", "crm"):
        pass
    with budget(clock, ledger, requests=2, per_s=40).slot("/a", "crm"):
        assert clock.now == 1_000.0


@pytest.fixture(params=["file", "server"])
def state(request, tmp_path):
    """Where a state is, and it exists."""
    target = str(tmp_path / "state.db") if request.param == "file" else request.getfixturevalue("postgres_url")
    Store.open(target).close()
    return target


def test_everybody_who_shares_a_state_shares_its_budgets(state, service, connect):
    service.traps.per_s, service.traps.window_s = 20, 0.5
    made = [connect(state, limits=[{"requests": 20, "per_s": 0.5}, {"concurrency": 3}], attempts=1) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda one: outcomes(one, creates(*(f"x{number}" for number in range(15)))), made))
    assert {row["__status"] for rows in done for row in rows} == {"done"}
    assert 429 not in service.statuses


def test_a_spent_quota_of_a_day_is_counted_over_all_and_told(state, service, connect):
    first, second = (connect(state, limits=[DAY], attempts=1) for _ in range(2))
    read(first)
    read(second, keys=["1", "2"])
    read(first)
    read(second)
    asked = len(service.requests)
    assert asked == 5
    for connector in (first, second):
        with pytest.raises(BudgetSpentError) as error:
            read(connector)
        assert "used up" in str(error.value)
        assert "24 hours" in str(error.value.hint)
    assert len(service.requests) == asked
    with Store.open(state, read_only=True) as store, store.read() as db:
        (rest,) = allowance.resting(db, state, datetime.now(UTC)).values()
    assert timedelta(hours=23) < rest.until - datetime.now(UTC) < timedelta(hours=25)


def test_what_an_application_says_of_itself_holds_for_all(state, service, connect):
    """No limit is declared; the application says that it wants to be left alone for ten minutes."""
    service.traps.per_s, service.traps.window_s = 1, 600.0
    first, second = connect(state), connect(state)
    read(first)
    with pytest.raises(SystemUnreachableError, match="too many requests"):
        read(first)
    asked = len(service.requests)
    with pytest.raises(BudgetSpentError):
        read(second)
    assert len(service.requests) == asked


def test_a_folder_that_cannot_be_written_keeps_nobody_from_asking(connect, tmp_path):
    assert read(connect(str(tmp_path / "not" / "there" / "state.db"), limits=[{"requests": 20, "per_s": 1}]))


def test_a_book_that_was_half_written_is_begun_anew(connect, tmp_path):
    target = str(tmp_path / "state.db")
    allowance.books_path(target).write_bytes(b'{"directory": {"used": ')
    assert read(connect(target, limits=[{"requests": 20, "per_s": 1}]))
    assert allowance.books_path(target).read_bytes().startswith(b'{"directory":{"of":')


_PROGRAM = """
import sys
from pathlib import Path
from tests.system.connectors.rest_tools import creates, outcomes
from trueup.connectors.rest.connector import RestConnector
from trueup.store import allowance
from trueup.testing.rest_service import TOKEN
folder, target, name = sys.argv[1:]
connector = RestConnector.open("directory", {"file": "directory.yaml", "secrets": {"token": TOKEN}}, directory=folder)
connector.share_limits(allowance.ledger(target, "directory"))
print({row["__status"] for row in outcomes(connector, creates(*(f"{name}{number}" for number in range(60))))})
"""


@pytest.mark.slow
def test_three_processes_cause_no_refusal_and_use_what_is_allowed(service, tmp_path):
    service.traps.per_s, service.traps.window_s = 40, 1.0
    opened(tmp_path, service, http={"limits": [{"requests": 40, "per_s": 1}], "attempts": 1, "most_wait_s": 60}).close()
    words = [sys.executable, "-c", _PROGRAM, str(tmp_path), str(tmp_path / "state.db")]
    begun = time.monotonic()
    processes = [subprocess.Popen([*words, name], stdout=subprocess.PIPE, text=True) for name in "abc"]
    said = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert said == ["{'done'}"] * 3, time.monotonic() - begun
    assert 429 not in service.statuses
    assert len(service.rows("contacts")) == 3 + 180


def test_status_says_until_when_nothing_is_asked(service, tmp_path):
    opened(tmp_path, service, contacts(), http={"limits": [DAY], "attempts": 1}).close()
    (tmp_path / "office.csv").write_text("id,name,email\n", encoding="utf-8")
    (tmp_path / "trueup.yaml").write_text(
        "systems:\n  directory: {connector: rest, file: directory.yaml, secrets: {token: open-sesame}}\n"
        "  office: {connector: csv, path: office.csv}\n"
        "entities:\n  customer:\n    match: [[email]]\n    fields: {name: text, email: text}\n    mappings:\n"
        "      directory: {object: contacts, key: id, fields: {name: name, email: email}}\n"
        "      office: {key: id, fields: {name: name, email: email}}\n",
        encoding="utf-8",
    )
    for _ in range(6):
        with open_workspace(Path(tmp_path, "trueup.yaml")) as workspace:
            last = workspace.sync()
    assert len(service.requests) == 5
    assert last.status in {"partial", "failed"}
    with open_workspace(Path(tmp_path, "trueup.yaml")) as workspace:
        now = datetime.now(UTC)
        with workspace.store.read() as db:
            standing = standing_of(db, workspace.config, "state", now)
    assert "directory is not asked for anything until" in standing.as_text()
    assert standing.as_json()["spent"][0]["system"] == "directory"
