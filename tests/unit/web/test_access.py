"""Who gets in, who does not, and what is told of it. A state in a file, and no server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.desk_client import BEGAN, PASSWORD, Browser, Desk
from trueup.errors import UsageError
from trueup.model import Config
from trueup.store import Store, audit, person, session
from trueup.web.access import keys, passwords, people, sessions


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash that makes passwords expensive is no subject of these tests."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    monkeypatch.setattr(passwords, "_nobody", [])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk on an empty state, with one admin."""
    target = str(tmp_path / "state.db")
    with Store.open(target) as store:
        made = Desk(Config(file="trueup.yaml", directory=str(tmp_path), state=target, systems={}, entities={}), store)
        made.person("ada", "admin")
        yield made


def told(desk: Desk) -> list[dict[str, Any]]:
    """What the audit trail tells of access."""
    with desk.store.read() as db:
        return [line.told for line in audit.lines(db) if line.told["kind"] == "access"]


# ---------------------------------------------------------------- logging in


def test_who_logs_in_is_in_and_who_logs_out_is_out(desk: Desk) -> None:
    browser = desk.logged_in("Ada ")  # as people type it
    assert browser.get("/login").headers["location"] == "/"
    shown = dict(browser.cookies)
    assert browser.post("/logout").status == 303
    browser.cookies = shown
    assert browser.get("/").headers["location"] == "/login"
    assert [line["what"]["event"] for line in told(desk)][-2:] == ["logged in", "logged out"]
    assert told(desk)[-1]["who"]["person"] == "ada"


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong one entirely"), ("nobody", PASSWORD), ("ada", ""), ("", ""), ("ada\x00", PASSWORD)]
)
def test_whoever_does_not_know_the_password_stays_out_and_learns_nothing(desk: Desk, name: str, password: str) -> None:
    answer = Browser(desk).post("/login", {"name": name, "password": password})
    assert (answer.status, answer.cookies) == (401, [])
    assert "Name or password is not right" in answer.text
    assert told(desk)[-1]["what"]["event"] == "login refused"


def test_of_a_name_that_is_nobodys_nothing_is_kept_for_it_may_be_a_password(desk: Desk, tmp_path: Path) -> None:
    Browser(desk).post("/login", {"name": "my secret phrase", "password": "ada"})
    assert "my secret phrase" not in str(told(desk))
    desk.store.close()
    assert b"my secret phrase" not in b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))


def test_after_some_failures_even_the_right_password_waits_and_then_it_does_not(desk: Desk) -> None:
    browser = Browser(desk)
    for _ in range(sessions.PER_NAME_AND_ADDRESS):
        assert browser.post("/login", {"name": "ada", "password": "wrong one entirely"}).status == 401
    answer = browser.post("/login", {"name": "ada", "password": PASSWORD})
    assert (answer.status, answer.headers["retry-after"]) == (429, "900")
    elsewhere = desk.ask("POST", "/login", {"origin": "http://desk.test:8080", "content-type": "application/x-www-form-urlencoded"},
                         b"name=ada&password=eleven+quiet+lamps", address="192.0.2.99")  # fmt: skip
    assert elsewhere.status == 303, "somebody else's failures do not keep her out"
    desk.pass_(minutes=16)
    assert browser.post("/login", {"name": "ada", "password": PASSWORD}).status == 303


def test_who_tries_many_names_from_one_address_waits_as_well(desk: Desk) -> None:
    for number in range(sessions.PER_ADDRESS):
        assert Browser(desk).post("/login", {"name": f"name {number}", "password": "x"}).status == 401
    before = len(told(desk))
    assert Browser(desk).post("/login", {"name": "another", "password": "x"}).status == 429
    assert len(told(desk)) == before, "whoever is turned away at once fills no trail"


@pytest.mark.parametrize("hours", [12.1, 24 * 7.1])
def test_a_session_ends_by_itself(desk: Desk, hours: float) -> None:
    browser = desk.logged_in("ada")
    while hours > 11 and hours != 12.1:  # used again and again, it ends all the same
        assert browser.get("/login").headers["location"] == "/"
        desk.pass_(hours=11)
        hours -= 11
    desk.pass_(hours=hours)
    assert browser.get("/").headers["location"] == "/login"


def test_who_is_disabled_is_out_at_once_with_browser_and_key(desk: Desk) -> None:
    desk.person("bo", "operator")
    browser, key = desk.logged_in("bo"), desk.key("bo", "read")
    assert desk.ask("GET", "/api/none", {"authorization": f"Bearer {key}"}).status == 404
    people.disable(desk.store, "bo", desk.now)
    assert browser.get("/").headers["location"] == "/login"
    assert desk.ask("GET", "/api/none", {"authorization": f"Bearer {key}"}).status == 401
    assert Browser(desk).post("/login", {"name": "bo", "password": PASSWORD}).status == 401


def test_another_role_counts_at_once(desk: Desk) -> None:
    desk.person("bo", "operator")
    token = desk.logged_in("bo").cookies["trueup"]
    people.set_role(desk.store, "bo", "viewer", desk.now)
    found = sessions.of_session(desk.store, token, desk.now)
    assert found is not None
    assert (found.may("viewer"), found.may("reviewer")) == (True, False)


def test_another_password_ends_all_sessions(desk: Desk) -> None:
    browser = desk.logged_in("ada")
    people.set_password(desk.store, "ada", "twelve other lamps", desk.now)
    assert browser.get("/").headers["location"] == "/login"


def test_the_state_holds_neither_passwords_nor_tokens_nor_keys(desk: Desk, tmp_path: Path) -> None:
    browser, key = desk.logged_in("ada"), desk.key("ada", "read")
    _one, link = people.add(desk.store, "bo", "viewer", desk.now)
    desk.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    for secret in (PASSWORD, browser.cookies["trueup"], key.rpartition("_")[2], link):
        assert secret.encode() not in kept
    assert b"$argon2id$" in kept


# ---------------------------------------------------------------- links and passwords


def test_the_first_link_makes_an_admin_once(tmp_path: Path) -> None:
    target = str(tmp_path / "state.db")
    with Store.open(target) as store:
        desk = Desk(Config(file="x", directory=".", state=target, systems={}, entities={}), store)
        link = people.first_link(store, BEGAN)
        assert link is not None
        assert people.first_link(store, BEGAN) != link
        assert desk.ask("GET", f"/setup?token={link}").status == 410, "a newer link takes the place of the one before"
        link = people.first_link(store, BEGAN)
        form = {"token": str(link), "name": "Ada", "password": PASSWORD, "again": PASSWORD}
        browser = Browser(desk)
        assert "different" not in browser.get(f"/setup?token={link}").text
        assert browser.post("/setup", form | {"again": "other"}).status == 422
        assert browser.post("/setup", form | {"password": "short", "again": "short"}).status == 422
        assert browser.post("/setup", form).headers["location"] == "/"
        assert browser.get("/login").headers["location"] == "/"
        assert browser.post("/setup", form).status == 410
        assert people.first_link(store, BEGAN) is None
        with store.read() as db:
            assert [(one.name, one.role) for one in person.list_(db)] == [("ada", "admin")]


def test_a_link_runs_out(desk: Desk) -> None:
    _one, link = people.add(desk.store, "bo", "viewer", desk.now)
    desk.pass_(hours=73)
    with pytest.raises(UsageError, match="has run out"):
        people.accept(desk.store, link, None, PASSWORD, desk.now)


@pytest.mark.parametrize("password", ["", "elevenchars", "aaaaaaaaaaaaaaaa", "benedicta-1234"[:14], "x" * 257])
def test_passwords_that_would_be_guessed_are_refused(password: str) -> None:
    with pytest.raises(UsageError):
        passwords.checked(password, "benedicta")


def test_a_password_is_the_same_however_its_letters_are_composed() -> None:
    kept = passwords.hashed(passwords.checked("café au lait noir", "ada"))
    assert passwords.matches(kept, "cafe\u0301 au lait noir")
    assert not passwords.matches(kept, "cafe au lait noir")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "<b>", "-x", "x" * 101, "a/b", "\u202eada"])
def test_names_that_nobody_could_read_are_refused(desk: Desk, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name"):
        people.add(desk.store, name, "viewer", desk.now)


@pytest.mark.parametrize("name", ["o'brien", "ada@example.com", "שלום", "ﬁona", "Åsa L"])
def test_names_of_people_are_taken(desk: Desk, name: str) -> None:
    desk.person(name, "viewer")
    assert Browser(desk).post("/login", {"name": name, "password": PASSWORD}).status == 303


@pytest.mark.parametrize("take_away", ["disable", "role"])
def test_the_last_admin_stays(desk: Desk, take_away: str) -> None:
    def attempt() -> None:
        people.disable(desk.store, "ada", desk.now) if take_away == "disable" else people.set_role(desk.store, "ada", "viewer", desk.now)

    people.add(desk.store, "bo", "admin", desk.now)  # who has not come yet does not count
    with pytest.raises(UsageError, match="only admin"):
        attempt()
    with desk.store.read() as db:
        ada = person.named(db, "ada")
    assert ada is not None
    assert (ada.role, ada.disabled_at) == ("admin", None)
    people.set_password(desk.store, "bo", PASSWORD, desk.now)
    attempt()


# ---------------------------------------------------------------- keys


def test_a_key_opens_the_api_alone_until_it_is_revoked_or_runs_out(desk: Desk) -> None:
    key = desk.key("ada", "read")
    shown = {"authorization": f"Bearer {key}"}
    assert desk.ask("GET", "/api/none", shown).status == 404
    assert desk.ask("GET", "/", shown | {"accept": "text/html"}).status == 403
    number = key.split("_")[1]
    desk.pass_(days=89)
    assert desk.ask("GET", "/api/none", shown).status == 404
    desk.pass_(days=1.1)
    assert desk.ask("GET", "/api/none", shown).status == 401
    _one, fresh = keys.rotate(desk.store, number, 90, desk.now)
    assert desk.ask("GET", "/api/none", shown).status == 404, "after a rotation the one before is good for a day"
    desk.pass_(hours=25)
    assert desk.ask("GET", "/api/none", shown).status == 401
    assert desk.ask("GET", "/api/none", {"authorization": f"bearer {fresh}"}).status == 404
    keys.revoke(desk.store, number, desk.now)
    assert desk.ask("GET", "/api/none", {"authorization": f"Bearer {fresh}"}).status == 401


def test_a_key_can_do_no_more_than_its_person(desk: Desk) -> None:
    desk.person("bo", "operator")
    with pytest.raises(UsageError, match="needs the role admin"):
        desk.key("bo", "administer")
    key = desk.key("bo", "read", "operate")
    people.set_role(desk.store, "bo", "viewer", desk.now)
    found = sessions.of_key(desk.store, key, "::1", desk.now)
    assert found is not None
    assert (found.may("viewer"), found.may("operator"), found.may("reviewer")) == (True, False, False)


@pytest.mark.parametrize(
    "shown", ["Bearer", "Bearer x", "Bearer trueup_", "Bearer trueup_a_b", "Bearer " + "x" * 9000, "Basic YTpi", "Bearer trueup_é_é"]
)
def test_what_is_no_key_opens_nothing(desk: Desk, shown: str) -> None:
    assert desk.ask("GET", "/api/none", {"authorization": shown}).status == 401


def test_a_key_that_is_not_good_is_not_mended_by_a_cookie(desk: Desk) -> None:
    browser = desk.logged_in("ada")
    assert browser.get("/api/none", authorization="Bearer trueup_a_b").status == 401


# ---------------------------------------------------------------- the guard


def test_nothing_is_reached_without_a_login(desk: Desk) -> None:
    paths = ("/", "/any", "/api/v1/status", "/api", "/_nicegui/x.js", "/login/", "//login", "/setup/x", "/logout", "/LOGIN")
    for path in paths:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            assert desk.ask(method, path).status == 401, (method, path)


FOREIGN = (
    *({"origin": origin} for origin in ("http://evil.example", "null", "http://desk.test", "http://desk.test:8081", "x:", "http://[x")),
    {"origin": "http://desk.test:8080.evil.example"},
    {},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
)


def test_what_pages_of_others_send_in_somebodys_name_is_refused(desk: Desk) -> None:
    cookie = {"cookie": f"trueup={desk.logged_in('ada').cookies['trueup']}"}
    for headers in FOREIGN:
        assert desk.ask("POST", "/logout", cookie | headers).status == 403, headers
        assert desk.ask("POST", "/login", headers).status == 403, headers
        assert desk.websocket("/socket", cookie | headers) == "websocket.close 4403", headers
    assert desk.websocket("/socket", {"origin": "http://desk.test:8080"}) == "websocket.close 4401"


def test_behind_tls_the_cookie_is_for_tls_alone(desk: Desk) -> None:
    tls = {"x-forwarded-proto": "https", "origin": "https://desk.test:8080", "content-type": "application/x-www-form-urlencoded"}
    answer = desk.ask("POST", "/login", tls, b"name=ada&password=eleven+quiet+lamps")
    assert answer.status == 303
    name, _, rest = answer.cookies[0].partition("=")
    assert name == "__Host-trueup"
    assert all(word in rest for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"))
    assert "strict-transport-security" in answer.headers
    assert desk.ask("POST", "/login", tls | {"origin": "http://desk.test:8080"}, b"name=ada").status == 403


def test_every_answer_protects_the_browser(desk: Desk) -> None:
    for answer in (desk.ask("GET", "/login"), desk.ask("GET", "/"), desk.logged_in("ada").get("/none")):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("onward", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", "/login"])
def test_the_login_leads_nowhere_else(desk: Desk, onward: str) -> None:
    answer = Browser(desk).post("/login", {"name": "ada", "password": PASSWORD, "next": onward})
    assert answer.headers["location"] == "/"


def test_hostile_text_on_the_login_page_is_text(desk: Desk) -> None:
    answer = Browser(desk).post("/login", {"name": '"><script>alert(1)</script>', "password": "x"})
    assert "<script" not in answer.text


def test_the_address_is_what_a_proxy_on_this_machine_says_and_else_the_other_end(desk: Desk) -> None:
    form = {"origin": "http://desk.test:8080", "content-type": "application/x-www-form-urlencoded"}
    for direct, forwarded, known in (("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"), ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
                                     ("::1", "nonsense", "::1")):  # fmt: skip
        desk.ask("POST", "/login", form | {"x-forwarded-for": forwarded}, b"name=ada&password=no", address=direct)
        assert told(desk)[-1]["what"]["address"] == known


def test_sessions_that_ran_out_are_forgotten(desk: Desk) -> None:
    desk.logged_in("ada")
    desk.pass_(days=8)
    desk.logged_in("ada")
    with desk.store.write() as tx:
        assert session.end_all(tx) == 1
