"""Tokens are renewed ahead of their end and when they are refused, one at a time, and kept before they are used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.oauth_server import OAuthServer, answers, loses_answer
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.grant import grant_of
from trueup.credentials.keeper import Keeper
from trueup.credentials.token import Token
from trueup.errors import AccessRefusedError, GrantExpiredError, StateError, SystemUnreachableError
from trueup.model import KeyPlace
from trueup.runtime.credentials import StateShelf, known_credentials
from trueup.sealing import new_key

MASTER = KeyPlace(kind="env", where="TRUEUP_MASTER_KEY", given=new_key().text)


@pytest.fixture
def server():
    with OAuthServer() as found:
        yield found


@pytest.fixture
def state(tmp_path):
    return str(tmp_path / "state.db")


def made(server: Any, state: str, **more: Any) -> tuple[Any, Any]:
    """A keeper and its shelf, as each process has its own."""
    grant = grant_of("crm", {**server.settings, **more})
    shelf = StateShelf(state, MASTER, grant)
    return Keeper(grant, shelf, Endpoint(grant), wait=lambda _s: None), shelf


def connected(server: OAuthServer, state: str, *, lifetime_s: float | None = None) -> tuple[Any, Any]:
    """A keeper of a system that a person has connected."""
    said = server.give()
    keeper, shelf = made(server, state)
    at = datetime.now(UTC)
    lives_s = lifetime_s if lifetime_s is not None else said.get("expires_in")
    shelf.keep(Token(said["access_token"], said["refresh_token"], at, lives_s, ("read", "write")), at)
    return keeper, shelf


def test_a_token_that_serves_is_used_as_it_is(server, state):
    keeper, shelf = connected(server, state)
    with closing(shelf):
        assert keeper.token().access == keeper.token().access
        assert server.asked == []


def test_a_token_is_renewed_ahead_of_its_end_and_kept_before_it_is_used(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        first = keeper.token()
        assert len(server.refreshes) == 1
        assert shelf.load().token.access == first.access
        assert shelf.load().token.refresh == server.families[0].now
        assert shelf.load().asked_at is None
        assert keeper.token().access == first.access
        assert len(server.refreshes) == 1


def test_what_a_system_refuses_is_renewed_once_for_all_who_were_refused(server, state):
    keeper, shelf = connected(server, state)
    with closing(shelf):
        old = keeper.token().access
        shelf._store.close()  # as another process would: everything is read anew
        shelf._store = None
        aged(shelf)
        with ThreadPoolExecutor(20) as pool:
            told = list(pool.map(lambda _n: keeper.refused(old), range(20)))
        assert told == [True] * 20
        assert len(server.refreshes) == 1
        assert keeper.token().access != old


def aged(shelf: Any) -> None:
    """Make the kept token older than a moment."""
    kept = shelf.load()
    token = Token(
        kept.token.access, kept.token.refresh, kept.token.obtained_at - timedelta(minutes=1), kept.token.lifetime_s, kept.token.scopes
    )
    shelf.keep(token)


def test_a_token_that_was_refused_as_soon_as_it_was_made_is_not_renewed_again_and_again(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        fresh = keeper.token().access
        assert [keeper.refused(fresh) for _ in range(5)] == [False] * 5
        assert len(server.refreshes) == 1


def test_twenty_threads_of_keepers_of_their_own_renew_once(server, state):
    _, first = connected(server, state, lifetime_s=0.001)
    first.close()
    server.slow_s = 0.1
    many = [made(server, state) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        seen = set(pool.map(lambda pair: pair[0].token().access, many))
    for _, shelf in many:
        shelf.close()
    assert len(seen) == 1
    assert len(server.refreshes) == 1
    assert server.reused == 0


WORKER = """
import sys, time
sys.path.insert(0, {root!r})
from concurrent.futures import ThreadPoolExecutor
from tests.unit.credentials.test_keeper import MASTER, made, Bare
state, url, seconds, given, threads = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.stdin.readline().strip(), int(sys.argv[4])
object.__setattr__(MASTER, "given", given)
keeper, shelf = made(Bare(url), state)
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + seconds
def work(_number):
    done = 0
    while time.monotonic() < until:
        access = keeper.token().access
        answer = asked(access)
        while answer == 401 and time.monotonic() < until + 60:  # it ended on the way, perhaps again: this machine is slow
            keeper.refused(access)
            access = keeper.token().access
            answer = asked(access)
        assert answer == 200, answer
        done += 1
        time.sleep(0.01)
    return done
def asked(access):
    import httpx2
    return client.get(url + "/api", headers={{"Authorization": "Bearer " + access}}).status_code
import httpx2
with httpx2.Client(timeout=30) as client, ThreadPoolExecutor(threads) as pool:
    print(sum(pool.map(work, range(threads))), flush=True)
shelf.close()
"""


class Bare:
    """A server that runs in another process."""

    def __init__(self, url: str) -> None:
        self.settings = {
            **{name: f"{url}/{name.removesuffix('_url')}" for name in ("authorize_url", "token_url", "revoke_url")},
            "client_id": "trueup-client",
            "client_secret": "MARK-client-secret-0a/1b+2c",
            "scopes": ["read", "write"],
        }


def processes(server: OAuthServer, state: str, *, number: int, threads: int, seconds: float) -> list[int]:
    """Workers in processes of their own that use one credential; how many calls each made."""
    root = str(Path(__file__).parents[3])
    begun: list[Any] = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER.format(root=root), state, server.url, str(seconds), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        for _ in range(number)
    ]
    try:
        for one in begun:
            one.stdin.write(f"{MASTER.given}\n")
            one.stdin.flush()
        for one in begun:
            assert one.stdout.readline() == "ready\n"
        for one in begun:
            one.stdin.write("go\n")
            one.stdin.flush()
        return [int(one.communicate(timeout=seconds + 120)[0]) for one in begun]
    finally:
        for one in begun:
            one.kill()
            one.wait()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "server"])
def test_twenty_threads_and_three_processes_renew_once_per_end(server, tmp_path, request, kind):
    state = str(tmp_path / "state.db") if kind == "file" else request.getfixturevalue("postgres_url")
    server.lifetime_s, server.slow_s = 5.0, 0.05
    _, shelf = connected(server, state)
    shelf.close()
    begun = time.monotonic()
    done = processes(server, state, number=3, threads=20, seconds=22)
    took_s = time.monotonic() - begun
    assert all(done)
    assert server.reused == 0
    assert len(server.refreshes) == len(set(server.refreshes))
    # A token of five seconds is renewed after four: never more often, and less often only where the machine is slow.
    assert 1 <= len(server.refreshes) <= took_s / 4 + 1


def test_a_server_in_trouble_is_asked_again_and_the_old_token_serves_meanwhile(server, state):
    keeper, shelf = connected(server, state, lifetime_s=30.0)
    with closing(shelf):
        old = keeper.token().access
        keeper._held.renew_at = 0.0
        server.faults += [answers(503)] * 3
        assert keeper.token().access == old
        assert len(server.asked) == 3
        assert keeper.token().access == old
        assert len(server.asked) == 3  # not at every call
        keeper._again_at = 0.0
        assert keeper.token().access != old


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answers(503, "<html>busy</html>"), "HTTP 503"),
        (answers(200, "<html>log in</html>"), "no JSON"),
        (answers(200, "{}"), "no JSON|holds no token"),
        (answers(429, "{}", retry_after="3600"), "HTTP 429"),
        (answers(500, '{"error": "temporarily_unavailable"}'), "temporarily_unavailable"),
    ],
)
def test_an_answer_that_says_nothing_ends_no_grant(server, state, fault, words):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server.faults += [fault] * 3
        with pytest.raises(SystemUnreachableError, match=words) as told:
            keeper.token()
        assert told.value.system == "crm"
        assert shelf.load().trouble is None
        server.faults.clear()
        keeper._refusal = None  # as after the time that the server asked for
        assert keeper.token().access
        assert server.reused == 0


def test_a_server_that_wants_to_be_left_alone_is(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server.faults.append(answers(429, "{}", retry_after="3600"))
        for _ in range(3):
            with pytest.raises(SystemUnreachableError, match="HTTP 429"):
                keeper.token()
        assert len(server.asked) == 1


def test_a_server_that_is_not_there_ends_no_grant(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server._server.shutdown()
        server._server.server_close()
        with pytest.raises(SystemUnreachableError, match="cannot be connected to"):
            keeper.token()
        assert shelf.load().trouble is None


def test_a_lost_answer_is_made_good_while_the_server_still_takes_the_old_refresh_token(server, state):
    server.grace_s = 60.0
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server.faults.append(loses_answer(server))
        assert keeper.token().refresh == server.families[0].now
        assert len(server.asked) == 2


def test_a_lost_answer_that_cannot_be_made_good_is_told_as_such(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server.faults.append(loses_answer(server))
        with pytest.raises(GrantExpiredError, match=r"an answer to an earlier renewal never arrived.*trueup connect crm"):
            keeper.token()


def test_access_that_was_taken_back_is_told_once_and_the_server_is_left_alone(server, state):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        server.revoke_all()
        for _ in range(3):
            with pytest.raises(GrantExpiredError, match=r"Token has been revoked.*run `trueup connect crm`; until then its work waits"):
                keeper.token()
        assert len(server.asked) == 1
        assert known_credentials(state)["crm"].trouble_at is not None
        other, theirs = made(server, state)  # another process need not ask to know
        with closing(theirs), pytest.raises(GrantExpiredError):
            other.token()
        assert len(server.asked) == 1
        said = server.give()
        shelf.keep(Token(said["access_token"], said["refresh_token"], datetime.now(UTC), 3600.0), datetime.now(UTC))
        assert keeper.token().access == said["access_token"]


def test_a_client_that_is_refused_is_no_end_of_a_grant(server, state):
    _, shelf = connected(server, state, lifetime_s=0.001)
    shelf.close()
    keeper, shelf = made(server, state, client_secret="another-secret-5e")
    with closing(shelf):
        for _ in range(3):
            with pytest.raises(AccessRefusedError, match=r"invalid_client.*client_secret") as told:
                keeper.token()
            assert not isinstance(told.value, GrantExpiredError)
        assert len(server.asked) == 1
        assert shelf.load().trouble is None


def test_what_was_never_connected_says_so(server, state):
    keeper, shelf = made(server, state)
    with closing(shelf), pytest.raises(GrantExpiredError, match=r"never connected.*trueup connect crm"):
        keeper.token()


def test_nobody_uses_a_token_that_could_not_be_kept_and_it_is_kept_later(server, state, monkeypatch):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        good = shelf.keep
        monkeypatch.setattr(shelf, "keep", lambda _token: (_ for _ in ()).throw(StateError("the disk is full")))
        with pytest.raises(StateError, match="the disk is full"):
            keeper.token()
        assert len(server.refreshes) == 1
        monkeypatch.setattr(shelf, "keep", good)
        assert keeper.token().refresh == server.families[0].now
        assert len(server.refreshes) == 1
        assert server.reused == 0


def test_nothing_is_asked_where_the_answer_could_not_be_kept(server, state, monkeypatch):
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        monkeypatch.setattr(shelf, "begin", lambda _at: (_ for _ in ()).throw(StateError("read-only")))
        with pytest.raises(StateError):
            keeper.token()
        assert server.asked == []


def test_a_client_of_its_own_needs_no_person_and_no_refresh_token(server, state):
    keeper, shelf = made(server, state, grant="client_credentials")
    with closing(shelf):
        first = keeper.token().access
        keeper._held.renew_at = 0.0
        assert keeper.token().access != first
        assert [form["grant_type"] for form in server.asked] == ["client_credentials"] * 2


def test_a_server_that_keeps_its_refresh_token_is_asked_with_it_again(server, state):
    server.rotates = False
    keeper, shelf = connected(server, state, lifetime_s=0.001)
    with closing(shelf):
        keeper.token()
        keeper._held.renew_at = 0.0
        keeper.token()
        assert len(set(server.refreshes)) == 1
        assert len(server.refreshes) == 2


@pytest.mark.parametrize("apart", [timedelta(hours=-3), timedelta(hours=3)])
def test_clocks_that_are_apart_cost_one_renewal_at_most(server, state, apart):
    _, shelf = connected(server, state)
    shelf.close()
    grant = grant_of("crm", server.settings)
    shelf = StateShelf(state, MASTER, grant)
    clock = lambda: datetime.now(UTC) + apart  # noqa: E731
    keeper: Any = Keeper(grant, shelf, Endpoint(grant, clock=clock), clock=clock)
    with closing(shelf):
        assert len({keeper.token().access for _ in range(5)}) == 1
        assert len(server.refreshes) <= 1


KILLED = """
import sys, os, signal
sys.path.insert(0, {root!r})
from tests.unit.credentials.test_keeper import MASTER, made, Bare
object.__setattr__(MASTER, "given", sys.stdin.readline().strip())
keeper, shelf = made(Bare(sys.argv[2]), sys.argv[1])
shelf.keep = lambda token: os.kill(os.getpid(), signal.SIGKILL)
keeper.token()
"""


def killed_between_answer_and_store(server: OAuthServer, state: str) -> None:
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(root=root), state, server.url],
        input=f"{MASTER.given}\n",
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_between_answer_and_store_the_next_process_goes_on_at_once_while_the_server_allows_it(server, state):
    server.grace_s = 60.0
    _, shelf = connected(server, state, lifetime_s=0.001)
    shelf.close()
    killed_between_answer_and_store(server, state)
    keeper, shelf = made(server, state)
    with closing(shelf):
        assert shelf.load().asked_at is not None
        assert keeper.token().access
        assert shelf.load().asked_at is None


@pytest.mark.slow
def test_killed_between_answer_and_store_it_says_so_where_the_server_does_not_allow_it(server, state):
    _, shelf = connected(server, state, lifetime_s=0.001)
    shelf.close()
    killed_between_answer_and_store(server, state)
    keeper, shelf = made(server, state)
    with closing(shelf), pytest.raises(GrantExpiredError, match="never arrived"):
        keeper.token()
