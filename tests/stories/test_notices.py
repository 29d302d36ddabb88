"""Whoever subscribed hears of every change of a golden record at least once, and a receiver that fails holds up nobody."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.receivers import OTHER, SECRET, Receiver, babble, drip, endless_head, huge, later, redirect
from trueup.errors import StateLockedError
from trueup.runtime.notices import sending
from trueup.runtime.notices.sending import Sending, Step
from trueup.runtime.notices.standing import send_all
from trueup.runtime.notices.subscribed import settle
from trueup.runtime.workspace import Workspace, open_workspace
from trueup.store import Db, Store, golden, member, notice

CONFIGURATION = """
{state}systems:
  crm: {{connector: sqlite, path: crm.db}}
  shop: {{connector: sqlite, path: shop.db}}
entities:
  customer:
    match: [[email]]
    precedence: [crm, shop]
    guard: off
    deletes: {{from: [crm], action: propagate}}
    fields:
      email: text
      name: {{type: text, conflict: last_write_wins}}
      phone: {{type: text, conflict: last_write_wins}}
    mappings:
      crm: {{object: people, key: id, fields: {{email: email, name: name, phone: phone}}}}
      shop: {{object: people, key: id, fields: {{email: email, name: name, phone: phone}}}}
notices:
  flow: {{url: "{url}", secret: {secret}{more}}}
"""


class Company:
    """Two databases of the same customers, and somebody who wants to hear of them. Time passes when the test says so."""

    def __init__(self, folder: Path, url: str, *, secret: str = SECRET, more: str = "", customers: int = 3, state: str = "") -> None:
        self.folder = folder
        self.place = state or str(folder / ".trueup/state.db")
        self.now = datetime(2026, 11, 2, 9, tzinfo=UTC)
        self.write(url, secret, more)
        for system in ("crm", "shop"):
            self.ask(system, "CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, phone TEXT)")
        for number in range(1, customers + 1):
            self.add(number)
        self.sync()
        self.settle()

    def write(self, url: str, secret: str = SECRET, more: str = "") -> None:
        state = f"state: {self.place}\n" if "://" in self.place else ""
        text = CONFIGURATION.format(state=state, url=url, secret=secret, more=f", {more}" if more else "")
        (self.folder / "trueup.yaml").write_text(text, encoding="utf-8")

    def without_notices(self) -> None:
        file = self.folder / "trueup.yaml"
        file.write_text(file.read_text(encoding="utf-8").partition("notices:")[0], encoding="utf-8")

    def ask(self, system: str, statement: str, *values: Any) -> None:
        db = sqlite3.connect(self.folder / f"{system}.db", timeout=60)
        with db:
            db.execute(statement, values)
        db.close()

    def add(self, number: int, system: str = "crm") -> None:
        self.ask(system, "INSERT INTO people VALUES (?, ?, ?, ?)", number, f"c{number}@example.org", f"Customer {number}", "020")

    def rename(self, number: int, name: str, system: str = "crm") -> None:
        self.ask(system, "UPDATE people SET name = ? WHERE id = ?", name, number)

    def workspace(self) -> Workspace:
        return open_workspace(self.folder / "trueup.yaml")

    def sync(self) -> None:
        with self.workspace() as workspace:
            summary = workspace.sync()
            assert summary.status == "done", summary

    def settle(self) -> None:
        with self.workspace() as workspace:
            settle(workspace.store, workspace.config, self.now)

    def step(self) -> Step:
        """One step of a process that begins and ends with it."""
        with self.workspace() as workspace:
            found = Sending(workspace.config, workspace.config.notices["flow"], workspace.store, lambda: self.now, chance=lambda: 0.0)
            try:
                return found.step()
            finally:
                found.close()

    def steps(self, number: int = 20) -> list[Step]:
        """Steps until there is nothing more to do now."""
        done: list[Step] = []
        while len(done) < number:
            done.append(self.step())
            if done[-1].wait_s != 0.0:
                return done
        return done

    def state(self) -> Store:
        return Store.open(self.place)

    def asked(self, question: Callable[[Any], Any]) -> Any:
        with self.state() as store, store.read() as db:
            return question(db)

    def count(self, table: str) -> int:
        return int(self.asked(lambda db: db.rows(f"SELECT count(*) FROM {table}")[0][0]))

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def flow(db: Db) -> notice.Subscriber:
    found = notice.get(db, "flow")
    assert found is not None
    return found


def sent(steps: list[Step]) -> int:
    return sum(step.sent for step in steps)


# ---------------------------------------------------------------- what is told


def test_a_subscription_begins_at_its_making_and_tells_what_became_of_each_record(tmp_path, receiver):
    company = Company(tmp_path, receiver.url)
    assert (company.steps()[-1].sent, receiver.told) == (0, [])
    company.rename(2, "Bea")
    company.add(4)
    company.ask("crm", "DELETE FROM people WHERE id = 3")
    company.sync()
    assert sent(company.steps()) == 3
    told = {one.data["record"]: one.data for one in receiver.told}
    assert {record: (data["change"], data["fields"]) for record, data in told.items()} == {
        2: ("updated", ["name"]),
        3: ("deleted", []),
        4: ("created", ["email", "name", "phone"]),
    }
    assert {one.said["type"] for one in receiver.told} == {"customer.updated", "customer.deleted", "customer.created"}
    assert not any("values" in data or "keys" in data for data in told.values())
    assert all(b"example.org" not in one.body and b"Bea" not in one.body for one in receiver.told)
    assert sent(company.steps()) == 0


def test_values_and_keys_are_told_only_where_asked_for(tmp_path, receiver):
    company = Company(tmp_path, receiver.url, more="fields: {customer: [email, name]}, keys: [shop], changes: [updated, deleted]")
    company.rename(2, "Bea")
    company.add(4)
    company.sync()
    company.ask("crm", "DELETE FROM people WHERE id = 1")
    company.sync()
    assert sent(company.steps()) == 2
    told = {one.data["change"]: one.data for one in receiver.told}
    assert told["updated"]["values"] == {"email": "c2@example.org", "name": "Bea"}
    assert told["updated"]["keys"] == {"shop": "2"}
    assert told["deleted"]["values"] == {}
    assert "created" not in told


def test_what_happens_between_two_looks_is_one_notice_of_the_record_as_it_is(tmp_path, receiver):
    company = Company(tmp_path, receiver.url)
    company.rename(2, "Bea")
    company.sync()
    company.ask("shop", "UPDATE people SET phone = '030' WHERE id = 2")
    company.sync()
    company.add(5)
    company.sync()
    company.rename(5, "Eve")
    company.sync()
    assert sent(company.steps()) == 2
    told = {one.data["record"]: one.data for one in receiver.told}
    assert told[2]["fields"] == ["name", "phone"]
    assert told[5 if 5 in told else 4]["change"] == "created"
    versions = {record: data["version"] for record, data in told.items()}
    assert company.asked(lambda db: {gid: golden.fetch(db, "customer", ids(gid))["version"][0] for gid in versions}) == versions


def ids(gid: int) -> Any:
    import polars as pl

    return pl.Series([gid], dtype=pl.Int64)


def test_a_record_that_stands_for_another_one_is_told_as_merged(tmp_path, receiver):
    company = Company(tmp_path, receiver.url)
    with company.state() as store, store.write() as tx:
        merged = golden.fetch(tx, "customer", ids(2)).with_columns(alias_of=ids(1).cast(int), version=ids(golden.next_version(tx)))
        golden.upsert(tx, "customer", merged)
    assert sent(company.steps()) == 1
    assert (receiver.told[0].data["change"], receiver.told[0].data["into"]) == ("merged", 1)


def test_a_record_that_was_deleted_and_came_back_is_created_for_whoever_heard_of_its_end(tmp_path, receiver):
    company = Company(tmp_path, receiver.url)
    company.ask("crm", "DELETE FROM people WHERE id = 3")
    company.sync()
    company.steps()
    with company.workspace() as workspace:
        run = workspace.sync().run
        assert run is not None
        workspace.undo(run - 1)
    company.steps()
    assert [one.data["change"] for one in receiver.told if one.data["record"] == 3] == ["deleted", "created"]


@pytest.mark.parametrize("connections", [1, 4])
def test_many_records_of_one_commit_are_told_page_by_page(tmp_path, receiver, connections):
    company = Company(tmp_path, receiver.url, more=f"connections: {connections}")
    for number in range(10, 10 + 130):
        company.add(number)
    company.sync()
    steps = company.steps()
    assert [step.sent for step in steps] == [50, 50, 30, 0]
    assert len(receiver.told) == len({one.number for one in receiver.told}) == 130
    assert {one.data["change"] for one in receiver.told} == {"created"}
    assert receiver.connections <= len(steps) * connections
    assert company.count("notice_birth") <= 1


def test_two_secrets_at_once_are_two_signatures(tmp_path):
    new, old = Receiver(secret=OTHER), Receiver(secret=SECRET)
    try:
        company = Company(tmp_path, new.url, secret=f"[{OTHER}, {SECRET}]", more="headers: {X-Who: us}")
        company.rename(1, "Ada")
        company.sync()
        assert sent(company.steps()) == 1
        company.write(old.url, f"[{OTHER}, {SECRET}]")
        company.rename(1, "Ann")
        company.sync()
        assert sent(company.steps()) == 1
        assert len(new.told) == len(old.told) == 1
        assert len(new.told[0].headers["webhook-signature"].split()) == 2
        assert new.told[0].headers["x-who"] == "us"
    finally:
        new.close()
        old.close()


# ---------------------------------------------------------------- receivers that fail


def test_a_receiver_that_is_down_hears_of_everything_when_it_is_back(tmp_path):
    down = Receiver()
    down.close()
    company = Company(tmp_path, down.url, customers=70)
    company.ask("crm", "UPDATE people SET name = 'Nobody'")
    company.sync()
    assert company.step().why == "nobody listens there"
    for _hour in range(12):
        company.pass_time(3600)
        company.step()
    waiting, position = company.asked(lambda db: (notice.standings(db)["flow"], flow(db)))
    assert 3 <= waiting.waiting <= sending.AWAY_ASIDE
    assert waiting.dead == 0
    assert position.failures > sending.AWAY_AFTER
    back = Receiver(port=down.port)
    try:
        company.pass_time(3700)
        assert company.step().back
        company.steps()
        assert back.records() == set(range(1, 71))
        assert company.asked(notice.standings) == {}
        assert company.asked(flow).failing_since is None
    finally:
        back.close()


def test_pauses_grow_and_what_is_given_up_waits_for_a_person(tmp_path, receiver):
    receiver.behave = lambda told, _handler: 500 if told.data["record"] == 2 else 204
    company = Company(tmp_path, receiver.url, more="give_up: 1h")
    company.rename(1, "Ada")
    company.rename(2, "Bea")
    company.sync()
    steps = company.steps()
    assert (steps[0].sent, steps[0].failed, steps[0].why) == (1, 1, "it answered 500")
    pauses: list[float] = []
    while (found := company.asked(lambda db: notice.waiting(db, "flow", 5))) and len(pauses) < 20:
        pauses.append((found[0].next_try_at - company.now).total_seconds())
        company.now = found[0].next_try_at
        company.step()
    assert pauses == [5.0, 300.0, 1_800.0, 3600.0 - 2105.0]
    (dead,) = company.asked(notice.dead)
    assert (dead.golden_id, dead.attempts, dead.reason) == (2, 5, "it answered 500")
    assert company.step() == Step()
    # The record moves once more: what is told then tells of the other as well.
    receiver.behave = lambda _told, _handler: 200
    company.ask("crm", "UPDATE people SET phone = '040' WHERE id = 2")
    company.sync()
    assert sent(company.steps()) == 1
    assert receiver.told[-1].data["fields"] == ["name", "phone"]
    assert company.asked(notice.dead) == []


def test_the_pauses_begin_anew_where_the_record_has_moved_since(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 500
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.sync()
    for name, pause_s in (("Ada", 5.0), ("Ada", 300.0), ("Ada the second", 5.0)):
        company.rename(1, name)
        company.sync()
        company.steps()
        (waits,) = company.asked(lambda db: notice.waiting(db, "flow", 5))
        assert (waits.next_try_at - company.now).total_seconds() == pause_s, name
        company.now = waits.next_try_at
    (first, second, third) = receiver.came
    assert first.number == second.number != third.number


def test_one_record_that_is_refused_again_and_again_holds_up_no_other(tmp_path, receiver):
    receiver.behave = lambda told, _handler: 422 if told.data["record"] == 1 else 204
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.sync()
    for turn in range(4):
        company.steps()
        company.pass_time(86_400 / 2)
        company.rename(2, f"Bea {turn}")
        company.sync()
        steps = company.steps()
        assert sent(steps) == 1, turn
    assert company.asked(flow).failures < sending.AWAY_AFTER


def test_500_and_then_200_is_told_once_more_under_the_same_id(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 500 if len(receiver.came) == 1 else 200
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.sync()
    company.steps()
    company.pass_time(6)
    assert sent(company.steps()) == 1
    first, second = receiver.came
    assert (first.number, first.body) == (second.number, second.body)
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])


def test_a_notice_that_is_sent_late_tells_nothing_old(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 500 if len(receiver.came) == 1 else 200
    company = Company(tmp_path, receiver.url, more="fields: {customer: [name]}")
    company.rename(1, "Ada")
    company.sync()
    company.steps()
    company.rename(1, "Ann")
    company.sync()
    assert sent(company.steps()) == 1
    company.pass_time(600)
    assert sent(company.steps()) == 0
    assert [one.data["values"]["name"] for one in receiver.came] == ["Ada", "Ann"]
    assert receiver.came[0].number != receiver.came[1].number
    assert receiver.came[0].data["version"] < receiver.came[1].data["version"]


def test_a_page_that_is_broken_off_behind_a_record_that_failed_before_loses_nothing(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 500
    company = Company(tmp_path, receiver.url, customers=6, more="connections: 1")
    company.rename(6, "Fay")
    company.sync()
    assert company.step().failed == 1
    company.pass_time(6)
    for number in range(1, 6):
        company.rename(number, f"Nobody {number}")
        company.sync()
    company.ask("crm", "UPDATE people SET phone = '040' WHERE id = 6")
    company.sync()
    assert company.step().failed == 2  # a third failure in a row of notices that had not failed before: the page is broken off
    receiver.behave = lambda _told, _handler: 200
    for _turn in range(4):
        company.pass_time(3600)
        company.steps()
    assert receiver.records() == {1, 2, 3, 4, 5, 6}


def test_a_pause_that_the_receiver_asks_for_is_kept(tmp_path, receiver):
    receiver.behave = later("1200")
    company = Company(tmp_path, receiver.url)
    company.ask("crm", "UPDATE people SET name = 'Nobody'")
    company.sync()
    company.write(receiver.url, more="connections: 1")
    assert company.step().wait_s == pytest.approx(1200)
    assert len(receiver.came) == 1
    receiver.behave = lambda _told, _handler: 200
    company.pass_time(1100)
    assert company.step().wait_s == pytest.approx(100)
    company.pass_time(101)
    assert sent(company.steps()) == 3


def test_410_stops_it_and_a_person_begins_it_again(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 410
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.sync()
    assert "410" in (company.step().stopped or "")
    company.rename(2, "Bea")
    company.sync()
    company.pass_time(86_400)
    assert company.steps() == [Step()]
    receiver.behave = lambda _told, _handler: 200
    with company.state() as store, store.write() as tx:
        notice.stop(tx, "flow", None, company.now)
    company.steps()
    assert receiver.records() == {1, 2}


@pytest.mark.parametrize(
    ("behave", "why"),
    [
        (redirect, "it answered 307: redirects are not followed; write the address to which it leads"),
        (drip, "no answer within 0.5 s"),
        (endless_head, "its answer has no end of its head"),
        (babble, "what it answers is not HTTP"),
        (lambda _told, handler: handler.connection.shutdown(2), "it closed the connection without an answer"),
    ],
    ids=["redirect", "drip", "endless head", "no HTTP", "closed"],
)
def test_bad_answers_are_failures_and_bounded(tmp_path, receiver, behave, why):
    receiver.behave = behave
    company = Company(tmp_path, receiver.url, more="timeout: 500ms")
    company.rename(1, "Ada")
    company.sync()
    step = company.step()
    assert (step.sent, step.failed, step.why) == (0, 1, why)


def test_a_huge_answer_is_not_read(tmp_path, receiver):
    receiver.behave = huge
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.sync()
    assert sent(company.steps()) == 1


def test_unsubscribing_leaves_nothing_behind(tmp_path, receiver):
    receiver.behave = lambda _told, _handler: 500
    company = Company(tmp_path, receiver.url)
    company.rename(1, "Ada")
    company.add(7)
    company.sync()
    company.steps()
    company.without_notices()
    company.settle()
    for table in ("notice_subscriber", "notice_open", "notice_birth"):
        assert company.count(table) == 0, table
    company.add(8)
    company.sync()
    assert company.count("notice_birth") == 0


def test_a_state_in_postgresql_and_only_one_who_sends(tmp_path, receiver, postgres_url):
    receiver.behave = lambda told, _handler: 500 if told.data["record"] == 2 and len(receiver.came) < 4 else 200
    company = Company(tmp_path, receiver.url, state=postgres_url)
    company.rename(2, "Bea")
    company.add(4)
    company.ask("crm", "DELETE FROM people WHERE id = 3")
    company.sync()
    assert sent(company.steps()) == 2
    assert company.asked(lambda db: notice.standings(db)["flow"].waiting) == 1
    with company.workspace() as workspace:
        workspace.store.join("serve", "", company.now)
        with workspace.store.write() as tx:
            assert workspace.store.lease is not None
            assert member.lead(tx, workspace.store.lease.id)
        with company.workspace() as other, pytest.raises(StateLockedError):
            send_all(other.store, other.config, None, lambda: company.now)
        workspace.store.lease.leave()
    company.pass_time(6)
    with company.workspace() as workspace:
        found = send_all(workspace.store, workspace.config, None, lambda: company.now)
    assert (found["flow"]["sent"], found["flow"]["waiting"], found["flow"]["due"]) == (1, 0, 0)
    assert {one.data["record"]: one.data["change"] for one in receiver.told} == {2: "updated", 3: "deleted", 4: "created"}
