"""The server makes the morning report when its hour has come: each recipient gets it once, across bounces, restarts and cron beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.stories.test_alerts import Chat
from tests.stories.test_serve import Company, wait_until
from trueup.config.load import load_config
from trueup.runtime.reporting import sending
from trueup.runtime.serving import reporting
from trueup.store import Store
from trueup.store import report as reports


@pytest.fixture
def chats() -> Iterator[list[Chat]]:
    found = [Chat(), Chat()]
    yield found
    for chat in found:
        chat.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "LOOK_S", 0.1)
    monkeypatch.setattr(sending, "AGAIN_S", (0.2,))


def company_with(folder: Path, chats: list[Chat], *, reported: bool = True) -> Company:
    """Five customers, a report that is due at midnight, and the one of yesterday; without that, the first one is still to come."""
    company = Company(folder)
    addresses = ", ".join(f'"{chat.address}"' for chat in chats)
    text = company.file.read_text(encoding="utf-8")
    company.file.write_text(f'{text}\nalerts: {{to: {{default: [{addresses}]}}}}\nreport: {{at: "00:00"}}\n', encoding="utf-8")
    if reported:
        yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        with Store.open(str(folder / ".trueup/state.db")) as store, store.write() as tx:
            reports.keep(tx, at=yesterday, since=yesterday, due_at=yesterday, title="", counts={}, content=None, recipients=[])
    return company


def copies(company: Company) -> list[reports.Copy]:
    with Store.open(str(company.folder / ".trueup/state.db")) as store, store.read() as db:
        return reports.copies_of(db, [one.id for one in reports.list_(db, 10)])


def test_each_gets_it_once_also_where_one_bounces_and_the_server_starts_anew(tmp_path: Path, chats: list[Chat]) -> None:
    company = company_with(tmp_path, chats)
    chats[1].status = 500
    with company.serving() as server:
        wait_until(lambda: len(chats[0].messages) == 1, "the report")
        wait_until(lambda: any(one.attempts > 2 for one in copies(company)), "it was tried again")
        wait_until(lambda: "default" in server.knowing.broken_channels, "the alerts know of it")
        picture = server.knowing.picture()
        assert picture.report is not None
        assert "address 2" in picture.report.what
    (message,) = chats[0].messages
    assert message["title"].startswith("trueup: nothing to do")
    assert "3 systems agree with 5 records" in message["message"]
    assert [one["filename"].rpartition(".")[2] for one in message["attachments"]] == ["html", "csv"]
    chats[1].status = 200
    with company.serving() as server:
        wait_until(lambda: len(chats[1].messages) == 1, "the other one has it as well")
        wait_until(lambda: {one.state for one in copies(company)} == {"sent"}, "that it was sent is kept")
        wait_until(lambda: server.reporting.is_alive() and not server.knowing.broken_channels, "nothing is broken any more")
    assert chats[1].messages[0]["message"] == message["message"], "it is the same report"
    assert (len(chats[0].messages), len(chats[1].messages)) == (1, 1)


def test_two_who_send_at_once_send_each_copy_once(tmp_path: Path, chats: list[Chat]) -> None:
    """As `serve` and cron do; whoever comes second finds the copies claimed."""
    company = company_with(tmp_path, chats, reported=False)
    config, now = load_config(company.file), datetime.now(UTC)
    with Store.open(str(tmp_path / ".trueup/state.db")) as store:
        with store.write() as tx:
            to = list(sending.recipients(config))
            reports.keep(tx, at=now, since=now, due_at=None, title="t", counts={}, content=("m", "<p>", "a,b"), recipients=to)
        with store.read() as db:
            mine, theirs = reports.open_copies(db)
        with store.write() as tx:
            assert reports.claim(tx, theirs, now)
            assert not reports.claim(tx, theirs, now)
        posted = sending.post(store, config, lambda: now, at_once=True)
        assert [one.state for one in posted] == ["sending", "sent"]
        assert sum(len(chat.messages) for chat in chats) == 1
        assert [one.state for one in sending.post(store, config, lambda: now + timedelta(hours=1))] == ["unknown"]
        assert sending.post(store, config, lambda: now + timedelta(days=1)) == []
        assert sum(len(chat.messages) for chat in chats) == 1
        with store.read() as db:
            assert {one.state for one in reports.copies_of(db, [mine.report])} == {"sent", "unknown"}


def test_one_that_never_answers_is_given_up_after_days(tmp_path: Path, chats: list[Chat]) -> None:
    company = company_with(tmp_path, chats[:1], reported=False)
    config, now = load_config(company.file), datetime.now(UTC)
    chats[0].status = 500
    with Store.open(str(tmp_path / ".trueup/state.db")) as store:
        with store.write() as tx:
            to = list(sending.recipients(config))
            reports.keep(tx, at=now, since=now, due_at=None, title="t", counts={}, content=("m", "<p>", "a,b"), recipients=to)
        assert [one.state for one in sending.post(store, config, lambda: now)] == ["waiting"]
        assert sending.post(store, config, lambda: now) == [], "not before its time"
        assert [one.state for one in sending.post(store, config, lambda: now + timedelta(days=4))] == ["given up"]
        assert sending.post(store, config, lambda: now + timedelta(days=5), at_once=True) == []


def test_the_first_report_waits_for_its_hour(tmp_path: Path, chats: list[Chat]) -> None:
    company = company_with(tmp_path, chats, reported=False)
    with company.serving() as server:
        assert server.reporting._due_at() is None
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        server.clock  # noqa: B018
        server._main.clock = lambda: tomorrow
        assert server.reporting._due_at() == tomorrow.replace(hour=0, minute=0, second=0, microsecond=0)
