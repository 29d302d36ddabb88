"""Owners hear of troubles: once, with what to do; again only seldom; and when they are over. By real HTTP and real mail."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import orjson
import pytest

from tests.stories.test_serve import Company, opener, wait_until
from trueup.connectors.base import Connector
from trueup.errors import SystemUnreachableError
from trueup.runtime.serving import alerting
from trueup.store import Store, alert


class Chat:
    """A service that takes messages by HTTP, as a chat does; `mute` takes the connection and never answers, `status` answers otherwise."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.mute = Event()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if chat.mute.is_set():
                    time.sleep(60)
                if chat.status == 200:
                    chat.messages.append(orjson.loads(body))
                self.send_response(chat.status)
                self.end_headers()

            def log_message(self, *_words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"json://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, text: str) -> list[dict[str, Any]]:
        """The messages that say this."""
        return [message for message in self.messages if text in message["message"]]


@pytest.fixture
def chat() -> Iterator[Chat]:
    found = Chat()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "LOOK_S", 0.1)
    monkeypatch.setattr(alerting, "CALM_S", 0.5)
    monkeypatch.setattr(alerting, "AGAIN_S", (0.5,))


def company_with(folder: Path, to: str, rules: str = "unreachable: 1s", *, repeat: str = "1d") -> Company:
    company = Company(folder)
    text = company.file.read_text(encoding="utf-8").replace("path: till.db", "path: till.db, owner: Head of Sales")
    company.file.write_text(f"{text}\nalerts: {{to: {{{to}}}, gather: 1s, repeat: {repeat}, rules: {{{rules}}}}}\n", encoding="utf-8")
    return company


class Till:
    """Whether the till answers."""

    def __init__(self) -> None:
        self.away = Event()

    def around(self, connector: Connector) -> Connector:
        describe = connector.describe

        def asked(obj: object) -> object:
            if self.away.is_set():
                raise SystemUnreachableError("till: no answer", system="till")
            return describe(obj)  # type: ignore[arg-type]

        connector.describe = asked  # type: ignore[method-assign, assignment]
        return connector


@contextmanager
def serving(company: Company, till: Till) -> Iterator[Any]:
    with company.serving(connect=opener(company.config, {"till": till.around})) as server:
        yield server


def kept(company: Company) -> list[alert.Alert]:
    with Store.open(str(company.folder / ".trueup/state.db")) as store, store.read() as db:
        return alert.list_(db)


@pytest.mark.slow
def test_an_owner_hears_of_a_trouble_once_and_of_its_end_also_across_a_restart(tmp_path: Path, chat: Chat) -> None:
    company, till = company_with(tmp_path, f'Head of Sales: "{chat.address}"'), Till()
    with serving(company, till) as server:
        till.away.set()
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: bool(chat.messages), "the message")
        (message,) = chat.messages
        assert message["title"].startswith("trueup: till has not answered for ")
        assert "Since: " in message["message"]
        assert "What to do: look whether till runs and can be reached (`trueup check`)" in message["message"]
        wait_until(lambda: kept(company)[0].told_at is not None, "that it was told is kept")
    with serving(company, till) as server:
        wait_until(lambda: "till" in server.breakers.open, "it is away still")
        time.sleep(1.5)
        assert len(chat.messages) == 1
        till.away.clear()
        wait_until(lambda: len(chat.messages) == 2, "its end")
        assert chat.messages[1]["title"].startswith("trueup: over: till has not answered")
        assert "Over: till" in chat.messages[1]["message"]
        wait_until(lambda: kept(company) == [], "nothing fires")


@pytest.mark.slow
def test_what_lasts_is_told_again_and_what_ends_unheard_of_is_not_told(tmp_path: Path, chat: Chat) -> None:
    company, till = company_with(tmp_path, f'default: "{chat.address}"', repeat="2s"), Till()
    with serving(company, till) as server:
        till.away.set()
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: len(chat.messages) == 2, "the repeat")
        assert "told before" in chat.messages[1]["message"]
        till.away.clear()
        wait_until(lambda: bool(chat.told("Over: ")), "its end")
        before = len(chat.messages)
        with Store.open(str(company.folder / ".trueup/state.db")) as store, store.write() as tx:
            now = datetime.now(UTC)
            alert.keep(tx, alert.Alert("hold", "x", "nobody", "a hold", "look", now - timedelta(hours=1)))
        wait_until(lambda: kept(company) == [], "what ended before anybody heard of it is forgotten")
        assert len(chat.messages) == before


def test_several_troubles_of_one_owner_are_one_message(tmp_path: Path, chat: Chat) -> None:
    company, till = company_with(tmp_path, f'default: "{chat.address}"', "unreachable: 1s, conflicts_age: 1s"), Till()
    company.file.write_text(company.file.read_text(encoding="utf-8").replace("conflict: last_write_wins", "conflict: manual"), "utf-8")
    with serving(company, till) as server:
        company.rename("crm", "c1@example.org", "Secretive one")
        company.rename("shop", "c1@example.org", "Secretive other")
        wait_until(lambda: bool(server.knowing.picture().entities["customer"].waiting.conflicts), "the conflict")
        till.away.set()
        server.workers["customer"].wakes.sweep("a test")
        wait_until(lambda: bool(chat.told("1 conflict of customer to settle")) and bool(chat.told("till has not answered")), "both")
    assert len(chat.messages) <= 2
    assert "Secretive" not in orjson.dumps(chat.messages).decode() + company.told.getvalue()


@pytest.mark.slow
def test_a_channel_that_does_not_answer_delays_nothing_and_is_told_elsewhere(tmp_path: Path, chat: Chat) -> None:
    broken = Chat()
    broken.status = 500
    to = f'Head of Sales: "{broken.address}", default: "{chat.address}"'
    company, till = company_with(tmp_path, to), Till()
    try:
        with serving(company, till) as server:
            till.away.set()
            server.workers["customer"].wakes.sweep("a test")
            wait_until(lambda: bool(chat.told("alerts for Head of Sales cannot be sent")), "told to the others")
            company.rename("crm", "c1@example.org", "Meanwhile")
            wait_until(lambda: company.name("shop", "c1@example.org") == "Meanwhile", "work goes on")
            assert company.events("alert not sent")[0]["to"] == "Head of Sales"
            assert 'trueup_alerts_sent_total{outcome="failed",to="Head of Sales"}' in server.knowing.metrics()[1]
            broken.status = 200
            wait_until(lambda: bool(broken.messages), "it is tried again")
    finally:
        broken.close()


def test_alerts_go_out_by_mail(tmp_path: Path) -> None:
    from aiosmtpd.controller import Controller

    class Box:
        def __init__(self) -> None:
            self.mails: list[Any] = []

        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802  its name there
            self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
            return "250 taken"

    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    post = Controller(box, hostname="127.0.0.1", port=port)
    post.start()
    try:
        address = f"mailto://127.0.0.1:{port}?from=trueup@example.org&to=sales@example.org&smtp=127.0.0.1&mode=insecure"
        company, till = company_with(tmp_path, f'Head of Sales: "{address}"'), Till()
        with serving(company, till) as server:
            till.away.set()
            server.workers["customer"].wakes.sweep("a test")
            wait_until(lambda: bool(box.mails), "the mail")
    finally:
        post.stop()
    to, mail = box.mails[0]
    assert to == ["sales@example.org"]
    assert mail["Subject"].startswith("trueup: till has not answered for ")
    assert "What to do: look whether till runs" in mail.get_body(("plain", "html")).get_content()
