"""`trueup serve` as a process: messages by HTTP, signals, kills, and what stands afterwards."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.stories.test_serve import Company, wait_until
from trueup.runtime.workspace import open_workspace


class Process:
    """A server of a company, with what it tells."""

    def __init__(self, company: Company, *words: str) -> None:
        self.file = company.folder / f"serve-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "trueup", "serve", "--port", "0", *words]
        with self.file.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=company.folder, stderr=log, env=dict(os.environ))

    def events(self, what: str) -> list[dict[str, Any]]:
        """What it told so far."""
        found = [orjson.loads(line) for line in self.file.read_bytes().splitlines() if line.startswith(b"{")]
        return [event for event in found if event["event"] == what]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def serving(company: Company) -> Iterator[Process]:
    """A server at work, ended at last."""
    found = Process(company)
    try:
        wait_until(lambda: bool(found.events("pass")) or found.process.poll() is not None, "the first sweep")
        assert found.process.poll() is None, found.file.read_text()
        yield found
    finally:
        if found.process.poll() is None:
            assert found.end() == 0, found.file.read_text()


def post(url: str, body: bytes, token: str) -> int:
    """Send a message; the status that answers it."""
    request = urllib.request.Request(url, data=body, headers={"X-Token": token, "Content-Type": "application/json"}, method="POST")  # noqa: S310  http to ourselves
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_message_by_http_and_a_clean_end(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with serving(company) as server:
        url = server.events("receiving")[0]["at"] + "crm"
        company.rename("crm", "c1@example.org", "Told")
        assert post(url, b'{"object": "people", "key": "1"}', "wrong") == 401
        assert post(url, b'{"object": "people", "key": "1"}', "s3cret") == 202
        wait_until(lambda: company.name("till", "c1@example.org") == "Told", "the change in the till")
    assert not server.events("defect")
    with open_workspace(company.file) as workspace:
        assert workspace.verify().agrees


@pytest.mark.slow
def test_another_secret_is_taken_up_while_it_serves(tmp_path: Path) -> None:
    company = Company(tmp_path)
    text = company.file.read_text()
    company.file.write_text(text.replace("secret: s3cret", 'secret: "${TOKEN}"'))
    (tmp_path / ".env").write_text("TOKEN=first\n")
    body = b'{"object": "people", "key": "1"}'
    with serving(company) as server:
        url = server.events("receiving")[0]["at"] + "crm"
        assert (post(url, body, "first"), post(url, body, "n3w-s3cret")) == (202, 401)
        (tmp_path / ".env").write_text("TOKEN=[\n")
        company.file.write_text(company.file.read_text() + "\nwhat: is this\n")
        wait_until(lambda: bool(server.events("configuration")), "what is wrong is told")
        assert post(url, body, "first") == 202
        (tmp_path / ".env").write_text("TOKEN=n3w-s3cret\n")
        company.file.write_text(company.file.read_text().replace("\nwhat: is this\n", ""))
        wait_until(lambda: post(url, body, "n3w-s3cret") == 202, "the new one is taken")
        assert post(url, body, "first") == 401
        assert "n3w-s3cret" not in server.file.read_text()


def test_a_second_server_names_the_first(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with serving(company) as server:
        second = Process(company)
        assert second.process.wait(60) == 1
        assert str(server.process.pid) in second.file.read_text()


@pytest.mark.slow
def test_killed_again_and_again_under_edits_nothing_is_lost(tmp_path: Path) -> None:
    company = Company(tmp_path)
    chance = random.Random(11)
    last: dict[str, str] = {}
    for number in range(12):
        server = Process(company)
        wait_until(lambda server=server: bool(server.events("serving")), "it serves")  # type: ignore[misc]
        until = time.monotonic() + chance.uniform(0.1, 3.0)
        while time.monotonic() < until:
            email = f"c{chance.randint(1, 5)}@example.org"
            last[email] = f"Name {number}-{chance.randint(0, 999)}"
            company.rename("crm", email, last[email])
            time.sleep(0.05)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        assert not server.events("defect")
    with open_workspace(company.file) as workspace:
        assert workspace.sync(full=True, wait_s=30).status == "done"
        assert workspace.verify().agrees
    for email, name in last.items():
        assert {company.name(system, email) for system in ("crm", "shop", "till")} == {name}
    assert [company.ask(system, "SELECT count(*) FROM people") for system in ("crm", "shop", "till")] == [[(5,)]] * 3


def get(url: str) -> tuple[int, str]:
    """Ask; status and text."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
def test_the_port_answers_also_while_the_server_stands_still(tmp_path: Path) -> None:
    company = Company(tmp_path)
    with serving(company) as server:
        at = server.events("listening")[0]["at"]
        wait_until(lambda: get(f"{at}/readyz") == (200, "ready\n"), "it is ready")
        assert 'trueup_records{entity="customer"} 5.0' in get(f"{at}/metrics")[1]
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert get(f"{at}/healthz") == (200, "ok\n")
            assert get(f"{at}/readyz") == (503, "serve does not answer\n")
            assert post(f"{at}/hooks/crm", b'{"object": "people", "key": "1"}', "s3cret") == 202
        finally:
            server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: get(f"{at}/readyz")[0] == 200, "it is ready again")
        wait_until(lambda: 'trueup_webhooks_total{status="202",system="crm"} 1.0' in get(f"{at}/metrics")[1], "the message is counted")
        assert "trueup_webhook_accept_seconds_count 1.0" in get(f"{at}/metrics")[1]
