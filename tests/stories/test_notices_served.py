"""A server tells subscribers of changes at once; one who does not answer delays nobody; killed at any moment, it loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from tests.receivers import OTHER, SECRET, Receiver, Told
from tests.stories.test_serve import Company, wait_until
from trueup.reports.alert_rules import judge
from trueup.runtime.notices import sending
from trueup.web.door import Door


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Receiver]]:
    found = (Receiver(), Receiver())
    yield found
    for one in found:
        one.close()


def subscribed(folder: Path, **urls: str) -> Company:
    company = Company(folder)
    lines = "".join(f"  {name}: {{url: {url}, secret: {SECRET}, owner: Head of {name}}}\n" for name, url in urls.items())
    company.file.write_text(f"{company.file.read_text(encoding='utf-8')}\nnotices:\n{lines}", encoding="utf-8")
    return company


@pytest.mark.slow
def test_changes_are_told_at_once_and_who_does_not_answer_delays_nobody(
    tmp_path: Path, receivers: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, slow = receivers

    def say_nothing(_told: object, _handler: object) -> None:
        slow.closing.wait(60)

    slow.behave = say_nothing
    monkeypatch.setattr(sending, "AWAY_AFTER", 1)
    company = subscribed(tmp_path, prompt=prompt.url, slow=slow.url)
    with company.serving() as server:
        assert {event["to"] for event in company.events("subscribed")} == {"prompt", "slow"}
        for number in range(1, 4):
            company.rename("crm", f"c{number}@example.org", f"Renamed {number}")
            wait_until(lambda number=number: len(prompt.records()) == number, "the prompt one is told")  # type: ignore[misc]
            wait_until(
                lambda number=number: company.name("till", f"c{number}@example.org") == f"Renamed {number}",  # type: ignore[misc]
                "the change crosses",
            )
        assert slow.came
        assert not slow.told
        picture = server.knowing.picture()
        assert picture.told["prompt"].tries["ok"] == 3
        assert picture.told["prompt"].behind_s == 0
        assert picture.told["slow"].behind_s > 0
        thresholds = {"notices_age": 0.0, "notices_dead": 1.0, "notices_stopped": 1.0}
        (alert,) = judge(picture, thresholds)
        assert (alert.rule, alert.subject, alert.owner) == ("notices_age", "slow", "Head of slow")
        _kind, text = server.knowing.metrics()
        assert 'trueup_notices_total{outcome="ok",to="prompt"} 3.0' in text
        slow.closing.set()  # what is on its way comes to an end
    assert [one.data["change"] for one in prompt.told] == ["updated"] * 3


@pytest.mark.slow
def test_a_receiver_that_is_gone_is_told_of_and_another_secret_is_taken_up(tmp_path: Path, receivers: tuple[Receiver, Receiver]) -> None:
    gone, other = receivers[0], Receiver(secret=OTHER)
    gone.behave = lambda _told, _handler: 410
    company = subscribed(tmp_path, gone=gone.url, other=other.url)
    text = company.file.read_text(encoding="utf-8")
    with (
        company.serving() as server,
        Door("127.0.0.1", 0, str(company.file), server.log, lambda: None).open(server, lambda: False),
    ):
        company.rename("crm", "c1@example.org", "Renamed")
        wait_until(lambda: bool(company.events("notices stopped")), "the end of one")
        wait_until(lambda: bool(other.connections), "tries with a secret that is not the other's")
        assert not other.told
        (alert,) = judge(server.knowing.picture(), {"notices_stopped": 1.0})
        assert (alert.subject, alert.what) == (
            "gone",
            "gone is told of no more changes: the receiver answered 410: nobody is there any more",
        )
        before = text.rpartition(SECRET)
        company.file.write_text(f"{before[0]}{OTHER}{before[2]}", encoding="utf-8")
        wait_until(lambda: bool(company.events("secrets")), "the other secret is noticed")
        wait_until(lambda: bool(other.told), "what waited is told")
    other.close()
    assert len(gone.came) == 1


class Process:
    """`trueup serve`, as a process of its own."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "trueup", "serve", "--port", "0"]
        with (self._company.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._company.folder, stderr=log, env=dict(os.environ))

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def events(self, what: str) -> list[dict[str, Any]]:
        lines = (self._company.folder / "serve.log").read_bytes().splitlines()
        return [event for line in lines if line.startswith(b"{") and line.endswith(b"}") and (event := orjson.loads(line))["event"] == what]


@pytest.mark.slow
def test_nothing_is_lost_by_kills_at_any_moment(tmp_path: Path, receivers: tuple[Receiver, Receiver]) -> None:
    chance, receiver = Random(8), receivers[0]
    seen: set[str] = set()

    def now_and_then(told: Told, _handler: object) -> int:
        known = told.number in seen
        seen.add(told.number)
        return 500 if not known and chance.random() < 0.2 else 200

    receiver.behave = now_and_then
    company = subscribed(tmp_path, flow=receiver.url)
    for number in range(6, 200):
        company.ask("crm", "INSERT INTO people VALUES (?, ?, ?)", number, f"c{number}@example.org", f"Customer {number}")
    [(begun,)] = company.ask(".trueup/state", "SELECT value FROM counter WHERE name = 'version'")
    process = Process(company)
    process.start()
    wait_until(lambda: bool(process.events("subscribed")), "the first start")
    for turn in range(8):
        for _edit in range(20):
            number = chance.randrange(1, 200)
            company.rename("crm", f"c{number}@example.org", f"Renamed {turn}.{chance.random()}")
        time.sleep(chance.random() * 3)
        process.kill()
        process.start()
    wanted = dict(company.ask("crm", "SELECT email, name FROM people"))
    wait_until(lambda: dict(company.ask("till", "SELECT email, name FROM people")) == wanted, "everything crosses")

    heard: dict[int, int] = {}

    def everything_told() -> bool:
        """Of each record that moved since the subscription began, the version that it has now."""
        for one in list(receiver.told):
            heard[one.data["record"]] = max(heard.get(one.data["record"], 0), one.data["version"])
        moved = f"SELECT id, version FROM golden WHERE version > {begun}"
        return dict(company.ask(".trueup/state", moved)).items() <= heard.items()

    wait_until(everything_told, "everything is told")
    process.kill()
    assert len(heard) >= 194
