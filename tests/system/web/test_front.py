"""What is answered at the port of `serve` besides webhooks: by whom, how soon, and to whom."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hook_client import STANDARD
from tests.system.web.conftest import HOOKS, config_of
from trueup.web import receiver
from trueup.web.front import METRICS, READY, Answer
from trueup.web.receiver import Handle


def get(handle: Handle, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Ask the port; status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{handle.port}{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def answers(what: str) -> Answer:
    return {READY: Answer(503, "not ready: it is starting\n"), METRICS: Answer(200, "m 1\n" * 50_000, "text/plain; version=0.0.4")}[what]


@pytest.fixture
def handle(started: Callable[..., Handle], tmp_path: Path) -> Handle:
    return started(tmp_path / "state.db", answer=answers)


def test_the_port_answers_what_only_serve_knows(handle: Handle):
    assert get(handle, "/healthz") == (200, "ok\n")
    assert get(handle, "/readyz") == (503, "not ready: it is starting\n")
    assert get(handle, "/metrics") == (200, "m 1\n" * 50_000)  # more than a pipe holds
    assert get(handle, "/metrics", "HEAD") == (200, "")
    assert get(handle, "/metrics", "POST")[0] == 405
    assert get(handle, "/other")[0] == 404


def test_metrics_are_for_this_machine_unless_there_is_a_token(started: Callable[..., Handle], tmp_path: Path, monkeypatch):
    handle = started(tmp_path / "state.db", answer=answers)
    assert get(handle, "/metrics", **{"X-Forwarded-For": "203.0.113.7"}) == (401, "not authenticated\n")
    config = replace(config_of(str(tmp_path / "state.db"), HOOKS), metrics_token="s3same")
    handle.change(config)
    wait_for(lambda: get(handle, "/metrics")[0] == 401)
    assert get(handle, "/metrics", Authorization="Bearer s3sam")[0] == 401
    assert get(handle, "/metrics", **{"Authorization": "Bearer s3same", "X-Forwarded-For": "203.0.113.7"})[0] == 200
    assert get(handle, "/healthz")[0] == 200


def test_whoever_waits_for_a_busy_server_keeps_nobody_else_waiting(started: Callable[..., Handle], tmp_path: Path, monkeypatch):
    free, asked = threading.Event(), []

    def slowly(what: str) -> Answer:
        asked.append(what)
        assert free.wait(30)
        return answers(what)

    handle = started(tmp_path / "state.db", answer=slowly)
    scrapes = [threading.Thread(target=get, args=(handle, "/readyz")) for _number in range(20)]
    for scrape in scrapes:
        scrape.start()
    wait_for(lambda: asked == [READY])
    assert get(handle, "/healthz") == (200, "ok\n")
    assert get(handle, "/readyz") == (503, "serve does not answer\n")
    assert asked == [READY]  # one question of a kind is on its way, however many ask
    free.set()
    for scrape in scrapes:
        scrape.join()
    wait_for(lambda: get(handle, "/readyz")[1].startswith("not ready"))


def test_a_defect_in_the_answer_is_told_and_asked_again(started: Callable[..., Handle], tmp_path: Path):
    told: list[str] = []
    handle = started(tmp_path / "state.db", answer=lambda what: answers({}[what]), log=told.append)
    assert get(handle, "/readyz") == (500, "it could not be told\n")
    assert get(handle, "/readyz")[0] == 500
    assert told == ["ready could not be told: KeyError"] * 2


def test_a_receiver_that_was_killed_answers_again_and_what_it_counted_is_kept(started: Callable[..., Handle], tmp_path: Path):
    told: list[str] = []
    handle = started(tmp_path / "state.db", answer=answers, log=told.append)
    assert get(handle, "/hooks/nobody", "POST")[0] == 404
    wait_for(lambda: bool(handle.counts))
    os.kill(handle.pid, signal.SIGKILL)
    wait_for(lambda: handle.restarts == 1)
    assert get(handle, "/readyz")[0] == 503
    assert get(handle, "/hooks/nobody", "POST")[0] == 404
    wait_for(lambda: handle.totals["answers"] == {"": {"404": 2}})
    assert told == ["the receiver ended with status -9, and is started anew"]


def test_without_a_webhook_there_is_no_inbox(tmp_path: Path):
    config = config_of(str(tmp_path / "state.db"), {})
    handle = receiver.start(config, config.state, port=0, answer=answers)
    try:
        assert get(handle, "/healthz") == (200, "ok\n")
        assert get(handle, "/hooks/shop", "POST")[0] == 404
    finally:
        handle.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_receiver_that_stands_still_is_ended_all_the_same(started: Callable[..., Handle], tmp_path: Path, monkeypatch):
    monkeypatch.setattr(receiver, "END_S", 0.5)
    handle = started(tmp_path / "state.db", {"shop": {"verify": {"kind": "standard", "secret": STANDARD}}}, answer=answers)
    stopped = handle.pid
    os.kill(stopped, signal.SIGSTOP)
    for _number in range(10):  # more than its pipe holds: whoever tells it this waits
        threading.Thread(target=handle._reply, args=(handle._process, METRICS), daemon=True).start()
    handle.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
