"""Tokens from a server that nobody here wrote: given in its own pages, of five seconds, with refresh tokens that serve once."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

from tests.node_servers import node_server
from tests.server_programs import ServerUnavailableError
from trueup.credentials import keeper as keeping
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.grant import grant_of
from trueup.credentials.keeper import Keeper
from trueup.credentials.walk import walk
from trueup.errors import GrantExpiredError
from trueup.model import KeyPlace
from trueup.runtime.credentials import StateShelf
from trueup.sealing import new_key

WORKS_S = 14.0


class Visitor:
    """A person who logs in and agrees. See `credentials.walk.Person`."""

    def __init__(self) -> None:
        self.pasted: Queue[str] = Queue()
        self.last = ""

    def show_page(self, address: str, redirect_uri: str) -> None:
        Thread(target=self.visit, args=(address,), daemon=True).start()

    def show_code(self, code: Any) -> None:
        raise AssertionError(code)

    def say(self, text: str) -> None:
        raise AssertionError(text)

    def visit(self, address: str) -> None:
        with httpx2.Client(follow_redirects=True, timeout=60) as browser:
            page = browser.get(address)
            while (form := re.search(r'<form[^>]*action="([^"]+)"', page.text)) is not None:
                fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
                if 'name="login"' in page.text:
                    fields |= {"login": "ada", "password": "any"}
                page = browser.post(urljoin(str(page.url), form[1]), data=fields)
            self.last = page.text


@pytest.fixture
def provider():
    try:
        with node_server("oidc.mjs") as url:
            yield url
    except ServerUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_access_is_given_renewed_by_turns_and_taken_back(provider, tmp_path, monkeypatch):
    master, state = KeyPlace(given=new_key().text), str(tmp_path / "state.db")
    grant = grant_of(
        "crm",
        {
            **{
                f"{name}_url": f"{provider}/{path}"
                for name, path in (("authorize", "auth"), ("token", "token"), ("revoke", "token/revocation"))
            },
            "client_id": "trueup",
            "client_secret": "MARK-client-secret-0a",
            "redirect_path": "/back",
            "scopes": ["openid", "read"],
            "optional_scopes": ["offline_access"],
            "params": {"prompt": "consent"},
        },
    )
    person, endpoint = Visitor(), Endpoint(grant)
    token = walk(grant, endpoint, person, limit_s=60)
    assert (token.lifetime_s, token.scopes) == (5.0, ("openid", "read", "offline_access"))
    shelves = [StateShelf(state, master, grant) for _ in range(5)]
    shelves[0].keep(token, datetime.now(UTC))
    keepers = [Keeper(grant, shelf, Endpoint(grant)) for shelf in shelves]
    seen: set[str] = set()
    begun = time.monotonic()

    def work(number: int) -> None:
        with httpx2.Client(timeout=60) as client:
            while time.monotonic() < begun + WORKS_S or len(seen) < 3:
                assert time.monotonic() < begun + 60, f"only {len(seen)} tokens in a minute"
                access = keepers[number % 5].token().access
                seen.add(access)
                answer = client.get(f"{provider}/me", headers={"Authorization": f"Bearer {access}"})
                if answer.status_code == 401:  # it ended on the way: this machine was slow
                    assert keepers[number % 5].refused(access)
                time.sleep(0.02)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert len(seen) <= (time.monotonic() - begun) / 4 + 2
    kept = shelves[0].load()
    assert kept is not None
    assert kept.trouble is None
    assert endpoint.revoke(kept.token)
    monkeypatch.setattr(keeping, "FRESH_S", 0.0)
    with pytest.raises(GrantExpiredError, match=r"invalid_grant.*trueup connect crm"):
        keepers[1].refused(kept.token.access)
    for shelf in shelves:
        shelf.close()


@pytest.mark.slow
def test_a_machine_is_given_tokens_without_a_person(provider, tmp_path):
    said = {"token_url": f"{provider}/token", "client_id": "machine", "client_secret": "MARK-machine-secret", "grant": "client_credentials"}
    grant = grant_of("crm", {**said, "scopes": ["read"]})
    shelf = StateShelf(str(tmp_path / "state.db"), KeyPlace(given=new_key().text), grant)
    assert Keeper(grant, shelf, Endpoint(grant)).token().lifetime_s == 5.0
    shelf.close()
