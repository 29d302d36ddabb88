"""Webhooks received by the real process: what was answered 202 is there, whatever happened meanwhile; nothing else is told to anybody."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.hook_client import STANDARD, request, send_all, standard
from tests.system.web.conftest import HOOKS, TOKEN, config_of
from trueup.errors import UsageError
from trueup.model import KeyPlace
from trueup.sealing import master
from trueup.store import Store, convert
from trueup.store.inbox import Inbox
from trueup.web import receiver
from trueup.web.receiver import Handle

Start = Callable[..., Handle]
BODY = b'{"object":"orders","key":"42"}'
WITH_TOKEN = {"X-Token": "t0ken"}


def post(
    handle: Handle, system: str, body: bytes = BODY, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", handle.port, timeout=30)
    try:
        connection.request(method, f"/hooks/{system}", body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def keys(state: str) -> list[str | None]:
    with Inbox.open(state) as inbox:
        return [event.key for event in inbox.take(100_000)]


def test_each_answer(started: Start, state):
    handle = started(state)
    assert post(handle, "shop", BODY, standard(BODY))[:2] == (202, b'{"status":"stored"}')
    assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202
    assert post(handle, "basic", BODY, {"Authorization": "Basic aG9vazpwdw=="})[0] == 202
    assert post(handle, "till", b"{", WITH_TOKEN)[0] == 400
    assert post(handle, "till", b"", WITH_TOKEN)[0] == 400
    assert post(handle, "till", b"x" * 3000, WITH_TOKEN)[0] == 413
    assert post(handle, "nobody", BODY, WITH_TOKEN)[0] == 404
    assert post(handle, "silent", BODY, WITH_TOKEN)[0] == 404  # a system without a webhook
    assert post(handle, "", BODY, WITH_TOKEN)[0] == 404
    assert post(handle, "till/", BODY, WITH_TOKEN)[0] == 404
    assert post(handle, "till", method="GET", headers=WITH_TOKEN)[0] == 405
    with Inbox.open(state) as inbox:
        found = [(event.system, event.object, event.key, event.event_id) for event in inbox.take(10)]
    assert found == [("shop", "orders", "42", "msg_1"), ("till", "orders", "42", None), ("basic", "orders", "42", None)]


def test_refusals_are_all_alike_and_say_nothing(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    wrong = [
        ("shop", standard(BODY, secret="whsec_AAAA")),
        ("shop", standard(BODY, at=time.time() - 1000)),
        ("shop", standard(BODY + b" ")),
        ("shop", {}),
        ("till", {"X-Token": "wrong"}),
        ("till", {}),
        ("basic", {"Authorization": "Basic eDp5"}),
    ]
    answers = {
        (status, body, tuple(sorted(headers.items()))) for status, body, headers in (post(handle, name, BODY, sent) for name, sent in wrong)
    }
    assert len(answers) == 1
    [(status, body, headers)] = answers
    assert (status, body) == (401, b'{"error":"not authenticated"}')
    assert {name.lower() for name, _ in headers} == {"content-type", "content-length"}
    assert post(handle, "shop", b"{", {})[:2] == (401, body)  # who is not known learns nothing of what is readable
    assert post(handle, "shop", b"x" * 1000, {})[:2] == (401, body)
    assert keys(str(tmp_path / "state.db")) == []


def test_repeats_are_confirmed_and_kept_once(started: Start, state):
    handle = started(state)
    for _ in range(3):
        assert post(handle, "shop", BODY, standard(BODY))[0] == 202
    event = b'{"id": "e1", "data": {"id": 7, "table": "t"}}'
    for _ in range(2):
        assert post(handle, "crm", event, WITH_TOKEN)[0] == 202
    for _ in range(2):
        assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202  # no id: it may have happened twice
    assert keys(state) == ["42", "7", "42", "42"]


def test_a_repeat_that_two_receivers_get_at_once_is_kept_once(started: Start, state):
    handles = [started(state), started(state)]
    messages = [[(f"{n}", request("shop", BODY, standard(BODY, f"m{n}"))) for n in range(200)] for _ in handles]

    async def both() -> list[Any]:
        return await asyncio.gather(*(send_all(handle.port, line, connections=10) for handle, line in zip(handles, messages, strict=True)))

    assert [len(sent.accepted()) for sent in asyncio.run(both())] == [200, 200]
    assert len(keys(state)) == 200


def numbered(count: int) -> list[tuple[str, bytes]]:
    found = []
    for number in range(count):
        body = json.dumps({"object": "orders", "key": str(number), "text": "x" * 200}).encode()
        found.append((str(number), request("shop", body, standard(body, f"m{number}"))))
    return found


def test_a_burst_of_5000_by_200_connections_loses_nothing(started: Start, state):
    handle = started(state)
    sent = asyncio.run(send_all(handle.port, numbered(5000), connections=200))
    assert len(sent.accepted()) == 5000
    assert sorted(map(int, filter(None, keys(state)))) == list(range(5000))


def test_many_connections_at_once_are_all_answered(started: Start, tmp_path):
    """As a bulk edit elsewhere does: each message on a connection of its own, none kept."""
    handle = started(tmp_path / "state.db")
    count = 900  # as many as this test's own process may have open at once
    messages = numbered(count)
    sent = asyncio.run(send_all(handle.port, messages, connections=count))
    assert len(sent.accepted()) == count


def test_a_kill_in_the_middle_of_a_burst_loses_nothing_that_was_confirmed(started: Start, state):
    handle = started(state)
    killed: list[int] = []

    def kill() -> None:
        for _ in range(2):
            time.sleep(0.7)
            killed.append(handle.pid)
            os.kill(handle.pid, signal.SIGKILL)
            until = time.monotonic() + 60
            while handle.restarts < len(killed) and time.monotonic() < until:
                time.sleep(0.02)

    messages = numbered(4000)
    killer = threading.Thread(target=kill)
    killer.start()
    sent = asyncio.run(send_all(handle.port, messages, connections=100, again=True))
    killer.join()
    assert len(set(killed)) == 2
    assert handle.restarts == 2
    assert len(sent.accepted()) == 4000  # whoever got no answer has sent it again
    assert sorted(map(int, filter(None, keys(state)))) == list(range(4000))


def test_what_was_confirmed_before_a_kill_is_there_though_nobody_sends_again(started: Start, state):
    handle = started(state)
    timer = threading.Timer(0.6, os.kill, [handle.pid, signal.SIGKILL])
    timer.start()
    sent = asyncio.run(send_all(handle.port, numbered(3000), connections=50))
    timer.join()
    assert sent.accepted() <= {key for key in keys(state) if key is not None}
    assert sent.accepted()


def test_while_it_is_started_anew_connections_wait(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    first = handle.pid
    os.kill(first, signal.SIGKILL)
    assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202  # not refused: the socket is there all the time
    end = time.monotonic() + 60
    while handle.pid == first:  # it answers before it is known by its number
        assert time.monotonic() < end
        time.sleep(0.02)
    assert handle.alive()


def test_stopping_answers_what_is_being_stored(started: Start, state):
    handle = started(state)
    outcome: list[int] = []

    def send() -> None:
        with suppress(OSError, http.client.HTTPException):  # it may have stopped already
            outcome.append(post(handle, "till", BODY, WITH_TOKEN)[0])

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    handle.stop()
    handle.stop()
    for thread in threads:
        thread.join()
    assert not handle.alive()
    assert outcome.count(202) <= len(keys(state))
    with pytest.raises(ConnectionRefusedError):
        post(handle, "till", BODY, WITH_TOKEN)


def test_it_ends_with_who_started_it(tmp_path):
    program = f"""
import os, sys, time
from tests.system.web.conftest import HOOKS, config_of
from trueup.web import receiver
handle = receiver.start(config_of({str(tmp_path / "s.db")!r}, HOOKS), {str(tmp_path / "s.db")!r}, port=0)
print(handle.pid, handle.port, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, port = map(int, process.stdout.readline().split())
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    process.stdout.close()


def test_another_secret_while_it_runs(started: Start, tmp_path):
    state = str(tmp_path / "state.db")
    handle = started(state)

    def change(secret: Any) -> None:
        handle.change(config_of(state, HOOKS | {"till": {"verify": TOKEN | {"secret": secret}}}))

    def until(token: str, status: int) -> bool:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if post(handle, "till", BODY, {"X-Token": token})[0] == status:
                return True
            time.sleep(0.02)
        return False

    change(("new", "t0ken"))
    assert until("new", 202)
    assert until("t0ken", 202)
    change("new")
    assert until("t0ken", 401)
    os.kill(handle.pid, signal.SIGKILL)  # who comes after it knows the new secret too
    assert until("new", 202)
    assert until("t0ken", 401)


@pytest.mark.slow
def test_a_slow_client_delays_nobody_and_is_not_waited_for(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    slow = []
    for text in (
        b"POST /hooks/till HTTP/1.1\r\nhost: x\r\n",
        b"POST /hooks/till HTTP/1.1\r\nx-token: t0ken\r\ncontent-length: 30\r\n\r\n{",
        b"",
    ):
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", handle.port))
            connection.sendall(text)
            slow.append(connection)
    began = time.monotonic()
    assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202
    assert time.monotonic() - began < 5
    for connection in slow[:50]:  # the head never came: the connection is closed
        connection.settimeout(30)
        assert connection.recv(1) == b""
    for connection in slow[50:100]:  # the body never came
        connection.settimeout(45)
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    for connection in slow:
        connection.close()
    assert keys(str(tmp_path / "state.db")) == ["42"]


@pytest.mark.slow
def test_a_huge_body_is_refused_before_it_is_read(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    with socket.create_connection(("127.0.0.1", handle.port), timeout=60) as connection:
        connection.sendall(b"POST /hooks/till HTTP/1.1\r\nx-token: t0ken\r\ncontent-length: 100000000000\r\n\r\n")
        connection.sendall(b"x" * 100_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", handle.port), timeout=60) as connection:  # no length is told
        connection.sendall(b"POST /hooks/till HTTP/1.1\r\nx-token: t0ken\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(20):
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    status = Path(f"/proc/{handle.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 100_000  # KiB


def test_what_is_no_http_harms_nobody(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    for text in (
        b"\x16\x03\x01\x02\x00" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /hooks/%ff%00 HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", handle.port), timeout=60) as connection:
            connection.sendall(text)
            assert connection.recv(1000)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 404"}
    assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202
    assert handle.restarts == 0


def test_a_full_disk_is_no_loss(started: Start, tmp_path):
    """The file may not grow: nothing is confirmed, the sender is asked to come again, and once there is room it is taken."""
    state = str(tmp_path / "state.db")
    handle = started(state, {"till": {"verify": TOKEN, "max_bytes": 10_000_000}})
    soft = 4 * 1024 * 1024
    resource.prlimit(handle.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
    big = json.dumps({"object": "orders", "key": "big", "text": "x" * 1_000_000}).encode()
    answers = [post(handle, "till", big, WITH_TOKEN) for _ in range(10)]
    refused = [answer for answer in answers if answer[0] == 503]
    assert {answer[0] for answer in answers} == {202, 503}
    assert refused[0][1] == b'{"error":"it cannot be stored now, send it again"}'
    assert refused[0][2]["Retry-After"] == "5"
    resource.prlimit(handle.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert post(handle, "till", big, WITH_TOKEN)[0] == 202
    assert handle.restarts == 0
    assert len(keys(state)) == len(answers) - len(refused) + 1


def test_a_server_that_is_down_is_no_loss(started: Start, spare_postgres):
    with spare_postgres.database() as url:
        handle = started(url)
        assert post(handle, "till", BODY, WITH_TOKEN)[0] == 202
        spare_postgres.kill()
        assert post(handle, "till", BODY, WITH_TOKEN)[0] == 503
        spare_postgres.start()
        until = time.monotonic() + 60
        while post(handle, "till", BODY, WITH_TOKEN)[0] != 202:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert len(keys(url)) >= 2


def test_what_it_counts_is_told(started: Start, tmp_path):
    told: list[dict[str, Any]] = []
    handle = started(tmp_path / "state.db", told=told.append)
    for _ in range(2):
        post(handle, "shop", BODY, standard(BODY))
    post(handle, "shop", BODY, {})
    post(handle, "made-up", BODY, {})
    until = time.monotonic() + 60
    while (not told or sum(told[-1]["answers"].get("shop", {}).values()) < 3) and time.monotonic() < until:
        time.sleep(0.05)
    handle.stop()
    assert handle.counts["answers"] == {"shop": {"202": 2, "401": 1}, "": {"404": 1}}
    assert handle.counts["repeats"] == {"shop": 1}
    assert sum(handle.counts["stored_s"]) == 2
    assert '"42"' not in json.dumps(handle.counts)  # the record's key


def test_a_taken_port_is_told(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    config = config_of(str(tmp_path / "other.db"), HOOKS)
    with pytest.raises(UsageError, match=str(handle.port)):
        receiver.start(config, config.state, port=handle.port)
    with pytest.raises(UsageError, match="nobody can listen"):
        receiver.start(config, config.state, host="no.such.host.invalid", port=0)


def test_an_encrypted_state_has_its_messages_encrypted(started: Start, tmp_path, monkeypatch):
    monkeypatch.setattr(master, "_known", {})
    place = KeyPlace("file", str(tmp_path / "keys" / "master.key"))
    masters = master.remember(place)
    masters.add()
    state = tmp_path / "data" / "state.db"
    Store.open(str(state)).close()
    convert.encrypt(str(state), masters, datetime.now(UTC))
    config = replace(config_of(str(state), HOOKS), master_key=place)
    handle = receiver.start(config, config.state, port=0)
    try:
        body = b'{"lead": {"id": 1, "email": "nobody-else@example.com"}}'
        assert post(handle, "website", body, WITH_TOKEN)[0] == 202
        assert not any(b"nobody-else" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    finally:
        handle.stop()
    with Inbox.open(str(state)) as inbox:
        assert [message.body for message in inbox.messages(inbox.pushed("website"))] == [body]


def test_secrets_stand_in_no_argument_and_no_variable(started: Start, tmp_path):
    handle = started(tmp_path / "state.db")
    for name in ("cmdline", "environ"):
        content = Path(f"/proc/{handle.pid}/{name}").read_bytes()
        assert STANDARD.encode() not in content
        assert b"t0ken" not in content
