"""Tokens from another server that nobody here wrote: of five seconds, renewed by turns, while every other renewal is answered by 503."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import httpx2
import pytest

from tests.node_servers import node_server
from tests.server_programs import ServerUnavailableError
from tests.system.test_oidc_provider import WORKS_S, Visitor
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.grant import grant_of
from trueup.credentials.keeper import Keeper
from trueup.credentials.walk import walk
from trueup.errors import GrantExpiredError, SystemUnreachableError
from trueup.model import KeyPlace
from trueup.runtime.credentials import StateShelf
from trueup.sealing import new_key


@pytest.fixture
def provider():
    try:
        with node_server("oauth2mock.mjs") as url:
            yield url
    except ServerUnavailableError as error:
        pytest.skip(str(error))


def settings(provider: str, **more: Any) -> dict[str, Any]:
    addresses = {f"{name}_url": f"{provider}/{name}" for name in ("authorize", "token", "revoke")}
    return {**addresses, "client_id": "trueup", "client_secret": "MARK-client-secret-0a", "scopes": ["read"], **more}


@pytest.mark.slow
def test_access_is_renewed_by_turns_though_the_server_is_away_every_other_time(provider, tmp_path):
    master, state = KeyPlace(given=new_key().text), str(tmp_path / "state.db")
    grant = grant_of("crm", settings(provider))
    token = walk(grant, Endpoint(grant), Visitor(), limit_s=60)
    assert token.lifetime_s == 5.0
    shelves = [StateShelf(state, master, grant) for _ in range(5)]
    shelves[0].keep(token, datetime.now(UTC))
    keepers = [Keeper(grant, shelf, Endpoint(grant)) for shelf in shelves]
    seen: set[str] = set()
    away: list[str] = []
    turn = Lock()
    begun = time.monotonic()

    def work(number: int) -> None:
        with httpx2.Client(timeout=60) as client:
            while time.monotonic() < begun + WORKS_S or len(seen) < 3:
                try:
                    access = keepers[number % 5].token().access
                    with turn:
                        seen.add(access)
                    answer = client.get(f"{provider}/userinfo", headers={"Authorization": f"Bearer {access}"})
                    if answer.status_code == 401:  # it ended on the way: this machine was slow
                        keepers[number % 5].refused(access)
                except SystemUnreachableError as error:  # 503, and the old token has ended
                    away.append(str(error))
                if time.monotonic() > begun + 60:
                    raise AssertionError(f"only {len(seen)} tokens in a minute: {away[-1:]}")
                time.sleep(0.02)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))  # a refresh token that is used twice would end access: GrantExpiredError
    kept = shelves[0].load()
    assert kept is not None
    assert kept.trouble is None
    assert "MARK-client-secret" not in "".join(away)
    for shelf in shelves:
        shelf.close()


@pytest.mark.slow
def test_a_refresh_token_that_was_used_ends_access(provider):
    grant = grant_of("crm", settings(provider))
    endpoint = Endpoint(grant)
    first = walk(grant, endpoint, Visitor(), limit_s=60)
    assert first.refresh is not None
    assert endpoint.refresh(first.refresh).refresh != first.refresh
    with pytest.raises(SystemUnreachableError, match="cannot give a token now"):
        endpoint.refresh(first.refresh)
    with pytest.raises(GrantExpiredError, match="it was used before"):
        endpoint.refresh(first.refresh)


@pytest.mark.slow
def test_a_machine_is_given_tokens_without_a_person(provider, tmp_path):
    grant = grant_of("crm", settings(provider, grant="client_credentials"))
    shelf = StateShelf(str(tmp_path / "state.db"), KeyPlace(given=new_key().text), grant)
    token = Keeper(grant, shelf, Endpoint(grant)).token()
    assert (token.lifetime_s, token.scopes) == (5.0, ("read",))
    shelf.close()
