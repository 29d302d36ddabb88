"""The inbox: what was confirmed is there, once, whoever put it and whatever was killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa

from tests.system.store.older import make_state_of
from trueup.errors import StateError, StateMissingError
from trueup.model import KeyPlace
from trueup.sealing import MasterKeys, master
from trueup.store import Store, convert, encryption, engine, migrate
from trueup.store.inbox import Event, Inbox
from trueup.store.inbox_sqlite import inbox_path

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def event(number: int = 1, **given: Any) -> Event:
    parts: dict[str, Any] = {"system": "shop", "object": "orders", "key": str(number), "received_at": NOW, "body": b'{"n": %d}' % number}
    return Event(**parts | given)


def keys(inbox: Inbox) -> list[str]:
    return [told.key or "" for told in inbox.take(10_000)]


def test_what_was_put_is_there_in_order_until_it_is_done(target):
    with Inbox.open(target) as inbox:
        assert inbox.put([event(1), event(2)]) == 2
        assert inbox.put([event(3, object=None, key=None, at=NOW - MINUTE, event_id="e3", item=4)]) == 1
    with Inbox.open(target) as inbox:
        first, second, third = inbox.take(10)
        assert [told.key for told in (first, second, third)] == ["1", "2", None]
        assert (third.system, third.object, third.event_id, third.item, third.at) == ("shop", None, "e3", 4, NOW - MINUTE)
        assert third.received_at == NOW
        assert inbox.take(1) == [first]
        assert inbox.take(1, but=[first.id]) == [second]
        inbox.done([first.id, third.id])
        assert inbox.take(10) == [second]


def test_a_repeat_is_kept_once_and_only_an_id_makes_a_repeat(target):
    with Inbox.open(target) as inbox:
        assert inbox.put([event(1, event_id="a"), event(1, event_id="a", item=1), event(1, event_id="a")]) == 2
        assert inbox.put([event(9, event_id="a")]) == 0
        assert inbox.put([event(1, event_id="a", system="till")]) == 1
        assert inbox.put([event(1), event(1)]) == 2  # without an id nobody knows whether it happened twice
        inbox.done([told.id for told in inbox.take(10)])
        assert inbox.put([event(1, event_id="a")]) == 0  # also when it was done


def test_a_hint_is_forgotten_once_somebody_has_looked_and_a_record_is_not(target):
    with Inbox.open(target) as inbox:
        inbox.put([event(1), event(2, system="web", record="lead 2")])
        ids = [told.id for told in inbox.take(10)]
        inbox.done(ids)
        assert inbox.pushed("web") == [ids[1]]
        assert [message.body for message in inbox.messages(ids)] == [b'{"n": 2}']
    if not target.startswith("postgresql"):
        access = encryption.access_to(inbox_path(Path(target)))
        connection = access.connect(str(inbox_path(Path(target))))
        assert connection.execute("SELECT body FROM event ORDER BY id").fetchall() == [(None,), (b'{"n": 2}',)]
        connection.close()


def test_messages_come_in_the_order_of_their_moments(target):
    with Inbox.open(target) as inbox:
        moments = [NOW, NOW - MINUTE, None, NOW]
        inbox.put([event(number, record="r", at=at, received_at=NOW + MINUTE) for number, at in enumerate(moments)])
        found = list(inbox.messages(inbox.pushed("shop")))
        assert [json.loads(message.body)["n"] for message in found] == [1, 0, 3, 2]
        assert [message.at for message in found] == [NOW - MINUTE, NOW, NOW, NOW + MINUTE]


def test_compaction_takes_out_what_is_done_and_old_but_never_the_last_message_about_a_record(target):
    with Inbox.open(target) as inbox:
        inbox.put(
            [event(1, event_id="a"), event(2), event(3, record="r", at=NOW), event(4, record="r", at=NOW - MINUTE), event(5, record="q")]
        )
        waiting, *handled = inbox.take(10)
        inbox.done([told.id for told in handled])
        assert inbox.compact(datetime.now(UTC) - MINUTE) == 0  # nothing was done before
        assert inbox.compact(datetime.now(UTC) + MINUTE) == 2
        assert inbox.take(10) == [waiting]
        assert sorted(json.loads(message.body)["n"] for message in inbox.messages(inbox.pushed("shop"))) == [3, 5]


def test_how_much_waits_and_since_when(target):
    with Inbox.open(target) as inbox:
        assert (inbox.lag().waiting, inbox.lag().oldest_at) == (0, None)
        inbox.put([event(1, received_at=NOW + MINUTE), event(2, received_at=NOW)])
        assert (inbox.lag().waiting, inbox.lag().oldest_at) == (2, NOW)


def test_many_threads_share_transactions_and_nothing_is_lost_or_doubled(target):
    with Inbox.open(target) as inbox:
        transactions = []
        insert = inbox._drawer.insert

        def slowly(events: Sequence[Event]) -> list[bool]:
            time.sleep(0.02)
            transactions.append(len(events))
            return insert(events)

        cast("Any", inbox._drawer).insert = slowly

        def send(thread: int) -> None:
            for number in range(20):
                assert inbox.put([event(thread * 100 + number, event_id=f"{thread}-{number % 10}")]) == (number < 10)

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(transactions) == 400
        assert len(transactions) < 400
        assert sorted(map(int, keys(inbox))) == [thread * 100 + number for thread in range(20) for number in range(10)]


def test_one_that_cannot_be_kept_harms_no_other(target):
    with Inbox.open(target) as inbox:
        bad = "\ud800" if not target.startswith("postgresql") else "\x00"
        gate = threading.Event()
        insert = inbox._drawer.insert
        cast("Any", inbox._drawer).insert = lambda events: (gate.wait(60), insert(events))[1]
        futures = [inbox.submit([event(number, key=bad if number == 2 else str(number))]) for number in range(4)]
        gate.set()
        outcomes = [future.exception(60) is None for future in futures]
        assert outcomes == [True, True, False, True]
        assert keys(inbox) == ["0", "1", "3"]


def test_somebody_who_waits_is_told_by_another_process(target):
    with Inbox.open(target) as inbox:
        while inbox.wait(0.3):
            pass
        assert not inbox.wait(0.1)
        with child("inbox.put([event(7)])", target) as other:
            assert inbox.wait(60)
            assert other.wait(60) == 0
        assert keys(inbox) == ["7"]


def test_what_came_before_the_wait_is_told_too(target):
    with Inbox.open(target) as inbox, Inbox.open(target) as other:
        while inbox.wait(0.3):
            pass
        other.put([event(1)])
        time.sleep(0.1)
        assert inbox.wait(60)
        inbox.put([event(2)])
        assert inbox.wait(60)


def test_a_wait_ends_when_it_is_asked_to(target):
    with Inbox.open(target) as inbox:
        while inbox.wait(0.3):
            pass
        threading.Timer(0.1, inbox.wake).start()
        began = time.monotonic()
        assert not inbox.wait(120)
        assert time.monotonic() - began < 60


def test_a_closed_inbox_takes_nothing_and_has_kept_what_was_in_line(target):
    inbox = Inbox.open(target)
    futures = [inbox.submit([event(number)]) for number in range(50)]
    inbox.close()
    inbox.close()
    assert all(future.result(0) == 1 for future in futures)
    with pytest.raises(StateError, match="closed"):
        inbox.put([event(1)])
    with Inbox.open(target) as again:
        assert len(keys(again)) == 50


PRELUDE = """
import sys
from datetime import UTC, datetime
from trueup.store.inbox import Event, Inbox

def event(number):
    return Event(system="shop", object="orders", key=str(number), received_at=datetime.now(UTC), body=b"{}", event_id=str(number))

inbox = Inbox.open(sys.argv[1])
"""


def child(program: str, target: str) -> subprocess.Popen[str]:
    code = PRELUDE + textwrap.dedent(program)
    return subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE, text=True)


def test_what_was_confirmed_survives_a_kill(target):
    Inbox.open(target).close()
    sender = """
        number = 0
        while True:
            inbox.put([event(number)])
            print(number, flush=True)
            number += 1
    """
    for _round in range(3):
        confirmed = -1
        with child(sender, target) as process:
            assert process.stdout is not None
            for line in process.stdout:
                confirmed = int(line)
                if confirmed >= 40:
                    os.kill(process.pid, signal.SIGKILL)
                    break
            confirmed = max([confirmed, *(int(line) for line in process.stdout if line.endswith("\n"))])
        with Inbox.open(target) as inbox:
            found = [int(key) for key in keys(inbox)]
        assert found[: confirmed + 1] == list(range(confirmed + 1))


def test_processes_that_make_and_fill_an_inbox_at_once_share_it(target):
    with ExitStack() as stack:
        program = "for number in range(100): inbox.put([event(number)])"
        processes = [stack.enter_context(child(program, target)) for _ in range(3)]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    with Inbox.open(target) as inbox:
        assert sorted(map(int, keys(inbox))) == list(range(100))


def test_an_inbox_that_may_not_be_made_is_told(target):
    with pytest.raises(StateMissingError):
        Inbox.open(target, create=False)
    assert target.startswith("postgresql") or not inbox_path(Path(target)).exists()


def test_receiving_needs_no_polars(tmp_path):
    loaded = "import sys; heavy = {'polars', 'sqlalchemy', 'pydantic', 'alembic'} & set(sys.modules); print(sorted(heavy))"
    with child(loaded, str(tmp_path / "state.db")) as process:
        assert process.communicate()[0].strip() == "[]"


# ---------------------------------------------------------------- files


def test_the_file_is_its_owners_alone(tmp_path):
    with Inbox.open(str(tmp_path / "state.db")) as inbox:
        inbox.put([event(1)])
        files = list(tmp_path.glob("state.db-inbox*"))
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_file_of_another_program_is_left_alone(tmp_path):
    path = inbox_path(tmp_path / "state.db")
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match="another program"):
        Inbox.open(str(tmp_path / "state.db"))
    assert path.read_bytes() == before


def test_a_newer_inbox_is_left_alone(tmp_path):
    Inbox.open(str(tmp_path / "state.db")).close()
    other = sqlite3.connect(inbox_path(tmp_path / "state.db"))
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(StateError, match="newer trueup"):
        Inbox.open(str(tmp_path / "state.db"))


def test_a_full_disk_is_told_and_nothing_is_confirmed(tmp_path):
    with Inbox.open(str(tmp_path / "state.db")) as inbox:
        connection = cast("Any", inbox._drawer)._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StateError, match="full"):
            inbox.put([event(number, body=b"x" * 4000) for number in range(100)])
        assert inbox.take(10) == []
        connection.execute("PRAGMA max_page_count = 1000000")
        assert inbox.put([event(1)]) == 1


# ---------------------------------------------------------------- encrypted


@pytest.fixture
def masters(monkeypatch, tmp_path) -> MasterKeys:
    monkeypatch.setattr(master, "_known", {})
    masters = master.remember(KeyPlace("file", str(tmp_path / "elsewhere" / "master.key")))
    masters.add()
    return masters


SECRET = b"a lead that nobody else may read"


def anything_in_the_clear(folder: Path) -> bool:
    return any(SECRET in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_inbox_of_an_encrypted_state_is_encrypted_from_the_first_byte(tmp_path, masters):
    target = str(tmp_path / "state.db")
    convert.encrypt(target, masters, NOW)
    with Inbox.open(target) as inbox:
        inbox.put([event(1, body=SECRET, record="r")])
        assert not anything_in_the_clear(tmp_path)
    with Inbox.open(target) as inbox:
        assert next(inbox.messages(inbox.pushed("shop"))).body == SECRET
    assert not anything_in_the_clear(tmp_path)


def test_an_inbox_is_encrypted_and_decrypted_with_its_state(tmp_path, masters):
    target = str(tmp_path / "state.db")
    Store.open(target).close()
    with Inbox.open(target) as inbox:
        inbox.put([event(1, body=SECRET, record="r", event_id="once")])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trueup.store.in_use.WAIT_FOR_OTHERS_S", 0.2)
            with pytest.raises(StateError, match="open"):
                convert.encrypt(target, masters, NOW)  # never under the hands of somebody who receives
    assert anything_in_the_clear(tmp_path)
    convert.encrypt(target, masters, NOW)
    assert not anything_in_the_clear(tmp_path)
    convert.encrypt(target, masters, NOW)  # under another key
    former = masters.current()
    masters.add()
    assert [encryption.rewrap(path, masters) for path in encryption.files_of(Path(target))] == [1, 1]
    masters.forget(former.id, {key.master for path in encryption.files_of(Path(target)) for key in encryption.file_keys(path)})
    with Inbox.open(target) as inbox:
        assert inbox.put([event(1, event_id="once")]) == 0
        assert [message.body for message in inbox.messages(inbox.pushed("shop"))] == [SECRET]
    assert convert.decrypt(target, NOW)
    assert anything_in_the_clear(tmp_path)
    with Inbox.open(target) as inbox:
        assert inbox.put([event(1, event_id="once"), event(2)]) == 1


# ---------------------------------------------------------------- PostgreSQL


def test_the_table_in_postgresql_is_the_one_that_the_file_has(tmp_path, postgres_url):
    Inbox.open(postgres_url).close()
    Inbox.open(str(tmp_path / "state.db")).close()
    pool, _schema = engine.postgres_engine(postgres_url, read_only=True)
    there = [column["name"] for column in sa.inspect(pool).get_columns("inbox", schema="trueup")]
    pool.dispose()
    connection = sqlite3.connect(inbox_path(tmp_path / "state.db"))
    assert [row[1] for row in connection.execute("PRAGMA table_info(event)")] == there
    connection.close()


def test_a_server_that_went_away_is_told_and_found_again(spare_postgres):
    with spare_postgres.database() as url, Inbox.open(url) as inbox:
        inbox.put([event(1)])
        while inbox.wait(0.3):
            pass
        spare_postgres.kill()
        with pytest.raises(StateError):
            inbox.put([event(2)])
        assert inbox.wait(60)  # nobody knows what was missed
        spare_postgres.start()
        assert inbox.put([event(3)]) == 1
        assert inbox.wait(60)
        assert keys(inbox) == ["1", "3"]


def test_an_older_state_in_postgresql_gets_its_inbox(postgres_url):
    make_state_of(postgres_url, "0010")
    assert "0011" in migrate.known_revisions()
    with Inbox.open(postgres_url) as inbox:
        assert inbox.put([event(1)]) == 1
