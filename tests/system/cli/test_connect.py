"""`trueup connect`: access is given, kept, renewed, lost and given again; and no secret is anywhere but sealed in the state."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.oauth_server import CLIENT, SECRET, OAuthServer
from trueup.cli import main as program
from trueup.connectors import registry
from trueup.sealing import new_key

CONFIG = """\
master_key: {{file: master.key}}
systems:
  crm: {{connector: gated, path: crm.jsonl, api: "{url}/api", oauth2: {oauth2}}}
  sheet: {{connector: csv, path: customers.csv}}
  till: {{connector: csv, path: till.csv}}
entities:
  customer:
    match: [[email]]
    precedence: [crm, sheet, till]
    fields: {{email: {{type: text}}, name: {{type: text}}}}
    mappings:
      crm:   {{key: id, fields: {{email: email, name: name}}}}
      sheet: {{key: No, fields: {{email: E-mail, name: Name}}}}
      till:  {{key: No, fields: {{email: E-mail, name: Name}}}}
"""


class Office:
    """A folder with a configuration, and a person in front of a browser."""

    def __init__(self, folder: Path, server: OAuthServer, monkeypatch, capfd):
        self.folder, self.server, self._capfd, self._patch = folder, server, capfd, monkeypatch
        monkeypatch.chdir(folder)
        monkeypatch.setitem(registry._SHIPPED, "gated", ("tests.gated", "GatedConnector"))
        monkeypatch.setattr("webbrowser.open", self.browse)
        monkeypatch.setenv("BROWSER", "none")
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        self.shown: list[str] = []
        self.pages: list[httpx2.Response] = []
        self.written: list[str] = []  # everything that any command printed
        self.visits = True
        (folder / "master.key").write_text(new_key().text + "\n")
        (folder / "master.key").chmod(0o600)
        (folder / "crm.jsonl").write_text('{"id": 1, "email": "ada@example.com", "name": "Ada"}\n')
        (folder / "customers.csv").write_text("No,E-mail,Name\n1,bo@example.com,Bo O'Neil 👩‍💻\n")
        (folder / "till.csv").write_text("No,E-mail,Name\n")
        self.configure()

    def configure(self, **more: Any) -> None:
        oauth2 = json.dumps({**self.server.settings, **more})
        (self.folder / "trueup.yaml").write_text(CONFIG.format(url=self.server.url, oauth2=oauth2))

    def taken_back(self) -> None:
        """The person takes back what they agreed to, some time after."""
        self.server.revoke_all()
        self.server._tokens.clear()
        self._patch.setattr("trueup.credentials.keeper.FRESH_S", 0.0)

    def browse(self, address: str) -> bool:
        self.shown.append(address)
        if self.visits:
            Thread(target=lambda: self.pages.append(httpx2.get(address, follow_redirects=True)), daemon=True).start()
        return True

    def run(self, *words: str, status: int | None = 0):
        self._patch.setattr(sys, "argv", ["trueup", *words])
        try:
            found = program.main()
        except SystemExit as ending:
            found = int(ending.code or 0)
        out, err = self._capfd.readouterr()
        self.written += [out, err]
        assert "Traceback" not in err
        assert status is None or found == status, (out, err)
        return out + err

    def says(self, *words: str, status: int | None = 0):
        return json.loads(self.run(*words, "--json", status=status))


@pytest.fixture
def office(tmp_path, monkeypatch, capfd):
    with OAuthServer() as server:
        yield Office(tmp_path, server, monkeypatch, capfd)


def test_a_browser_gives_access_which_is_renewed_and_the_work_goes_on(office):
    assert "crm: it was never connected (run `trueup connect crm`)" in office.run("sync", status=3)
    assert "Connected crm." in office.run("connect", "crm")
    [page] = office.pages
    assert page.status_code == 200
    assert "Access was given" in page.text
    query = parse_qs(urlsplit(office.shown[0]).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"][0].startswith("http://127.0.0.1:")
    office.run("sync")
    assert "Bo O'Neil" in (office.folder / "crm.jsonl").read_text()
    [one] = office.says("connect")
    assert (one["system"], one["scopes"], one["trouble"]) == ("crm", ["read", "write"], None)


def test_access_that_was_taken_back_lets_work_wait_and_says_so_once(office):
    office.run("connect", "crm")
    office.run("sync")
    office.taken_back()
    (office.folder / "customers.csv").write_text("No,E-mail,Name\n1,bo@example.com,Bo Changed\n")
    said = office.run("sync", status=3)
    assert "trueup connect crm" in said
    assert "Bo Changed" not in (office.folder / "crm.jsonl").read_text()
    assert office.says("failures") == []
    assert "trueup connect crm" in office.run("status")
    assert "trueup connect crm" in office.run("doctor", status=None)
    assert office.run("connect").count("ended: `trueup connect crm`") == 1
    asked = len(office.server.asked)
    office.run("sync", status=3)
    assert len(office.server.asked) == asked
    office.run("connect", "crm")
    office.run("sync")
    assert "Bo Changed" in (office.folder / "crm.jsonl").read_text()


def test_the_address_can_be_pasted_where_the_browser_is_elsewhere(office, monkeypatch, tmp_path):
    office.visits = False

    class Stdin:
        """A terminal in which the address is pasted that the browser shows, after a wrong one."""

        def __iter__(self):
            yield "what?\n"
            answer = httpx2.get(office.shown[0]).headers["location"]
            yield answer.replace("state=", "state=x") + "\n"
            yield answer + "\n"

        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Stdin())
    said = office.run("connect", "crm")
    assert said.count("That is not it") == 2
    assert "Connected crm." in said


def test_only_an_answer_to_this_question_counts(office):
    office.visits = False
    seen: list[int] = []

    def browse(address):
        def visit():
            query = parse_qs(urlsplit(address).query)
            home = query["redirect_uri"][0]
            strange = (f"{home}?code=stolen&state=guessed", f"{home}other?code=1&state={query['state'][0]}", f"{home}?code=1")
            seen.extend(httpx2.get(one).status_code for one in strange)
            seen.append(httpx2.get(f"{home}?code=1&state={query['state'][0]}", headers={"Host": "evil.example"}).status_code)
            httpx2.get(address, follow_redirects=True)

        Thread(target=visit, daemon=True).start()
        return True

    office._patch.setattr("webbrowser.open", browse)
    office.run("connect", "crm")
    assert seen == [400, 404, 400, 404]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (lambda server: setattr(server, "agrees", False), "access was not given \\(access_denied: The person said no.\\)"),
        (lambda server: server.faults.append(lambda form, _handler: form.update(code_verifier="x" * 43) is not None), "code is not known"),
    ],
)
def test_what_is_not_given_is_one_line(office, said, words):
    said(office.server)
    told = office.run("connect", "crm", status=1)
    assert re.search(words, told)
    assert "crm" in told
    assert office.says("connect")[0]["connected_at"] is None


def test_nobody_answers(office):
    office.visits = False
    assert "nobody gave access within 1 s (run it again when you are ready" in office.run("connect", "crm", "--timeout", "1", status=1)


def test_devices_clients_and_less_than_was_asked_for(office):
    office.configure(grant="device_code")
    office.server.device_polls = ["authorization_pending", "authorization_pending"]
    said = office.run("connect", "crm")
    assert "type in WDJB-MJHT" in said
    office.configure(grant="client_credentials")
    assert office.says("connect", "crm")["access"]["kind"] == "client_credentials"
    office.configure()
    office.server.granted = "read"
    assert "Not given: write" in office.run("connect", "crm")
    assert office.says("connect", "crm", "--forget") == {"system": "crm", "forgotten": True, "revoked": True}
    assert "never connected" in office.run("connect", "crm", "--forget", status=2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"token_url": "http://login.example.com/token"}, "not encrypted"),
        ({"token_url": "nowhere"}, "is no address"),
        ({"client_id": None}, "`client_id` is missing"),
        ({"redirect_host": "example.com"}, "redirect_host"),
        ({"scopes": ["a b"]}, "cannot be a scope"),
        ({"grant": "device_code", "device_url": None}, "`device_url` is missing"),
    ],
)
def test_a_grant_that_cannot_be_used_is_told_where_it_stands(office, wrong, words):
    office.configure(**wrong)
    assert words in office.run("connect", "crm", status=None)


def test_passwords_and_keys_are_asked_for(office, monkeypatch):
    text = (
        (office.folder / "trueup.yaml").read_text().replace("path: customers.csv", 'path: customers.csv, delimiter: "${secret:SHEET_KEY}"')
    )
    (office.folder / "trueup.yaml").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.StringIO(",\n"))
    assert "sheet has all that it needs" in office.run("connect", "sheet")
    assert [one["name"] for one in office.says("secrets")] == ["SHEET_KEY"]
    office.run("connect", "sheet")  # it is there: nothing is asked for


def test_no_secret_is_anywhere_but_sealed(office, monkeypatch):
    monkeypatch.setenv("TRUEUP_DEBUG", "0")
    office.run("connect", "crm")
    office.run("sync")
    office.run("status")
    office.run("secrets")
    office.run("audit", status=None)
    office.run("doctor", status=None)
    office.taken_back()
    office.run("sync", status=3)
    office.run("doctor", "--bundle", "bundle.zip", status=None)
    office.run("backup")
    secrets = {SECRET, *office.server._tokens, *(token for token, _ in office.server.calls), *office.server.refreshes}
    secrets |= {family.now for family in office.server.families} | {"MARK-"}
    assert len(secrets) > 2
    for text in office.written:
        assert not any(secret in text.replace(CLIENT, "") for secret in secrets)
    for path in office.folder.rglob("*"):
        if path.is_file() and path.name != "trueup.yaml":
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in secrets), path
    assert not any(secret in address for address in office.shown for secret in secrets)


def test_tokens_are_no_secrets_that_somebody_types(office):
    office.run("connect", "crm")
    assert "connect crm" in office.run("secrets")
    for words in (("set", "connect.crm"), ("remove", "connect.crm")):
        assert "trueup connect crm" in office.run("secrets", *words, status=2)
    text = (office.folder / "trueup.yaml").read_text().replace("path: customers.csv", 'path: "${secret:connect.crm}"')
    (office.folder / "trueup.yaml").write_text(text)
    assert "is a token that trueup renews" in office.run("check", status=1)
