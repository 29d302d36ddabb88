"""The API on a state with a little company in it, asked within this process: every route, who may, and what is decided once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.routing import APIRoute

from tests.desk_client import Browser, Desk
from trueup.config.load import load_config
from trueup.runtime.workspace import Workspace
from trueup.store import Store, audit
from trueup.store.person import ROLES, Role
from trueup.web.access import passwords
from trueup.web.access.guard import PUBLIC
from trueup.web.access.roles import SCOPES, at_least, scope_of
from trueup.web.api.docs import described, role_of

CONFIG = """\
systems:
  crm: {connector: csv, path: crm.csv}
  shop: {connector: csv, path: shop.csv}   # a comment that stays
entities:
  customer:
    match: [[email]]
    fields:
      name: {type: text}
      email: {type: text}
    mappings:
      crm: {object: crm, key: id, fields: {name: name, email: email}}
      shop: {object: shop, key: id, fields: {name: name, email: email}}
"""
CRM = "id,name,email\n1,Ada,ada@example.com\n2,Bo O'Hara 👩‍💻,bo@example.com\n3,<script>alert(1)</script>,eve@example.com\n"
CRM += "4,Dee,dee@example.com\n"
SHOP = "id,name,email\n7,Ada L,ada@example.com\n8,שלום,bo@example.com\n9,Eve,eve@example.com\n"

NEEDED: dict[str, Role | None] = {
    "GET /api/v1/me": "viewer",
    "GET /api/v1/status": "viewer",
    "GET /api/v1/runs": "viewer",
    "GET /api/v1/runs/{number}": "viewer",
    "GET /api/v1/runs/{number}/changes": "viewer",
    "POST /api/v1/runs/{number}/undo-plan": "reviewer",
    "POST /api/v1/runs/{number}/undo": "operator",
    "GET /api/v1/records/{entity}": "viewer",
    "GET /api/v1/records/{entity}/{key}": "viewer",
    "GET /api/v1/records/{entity}/{key}/explain": "viewer",
    "GET /api/v1/reports": "viewer",
    "GET /api/v1/alerts": "viewer",
    "GET /api/v1/schedules": "viewer",
    "GET /api/v1/entities": "viewer",
    "GET /api/v1/conflicts": "viewer",
    "GET /api/v1/conflicts/{number}": "viewer",
    "POST /api/v1/conflicts/{number}/resolve": "reviewer",
    "GET /api/v1/failures": "viewer",
    "POST /api/v1/failures/retry": "reviewer",
    "POST /api/v1/failures/drop": "reviewer",
    "POST /api/v1/failures/{number}/mend": "reviewer",
    "GET /api/v1/holds": "viewer",
    "POST /api/v1/holds/{number}": "operator",
    "GET /api/v1/matches": "viewer",
    "POST /api/v1/matches/unlink": "reviewer",
    "POST /api/v1/matches/{number}/link": "reviewer",
    "POST /api/v1/pause": "operator",
    "POST /api/v1/resume": "operator",
    "GET /api/v1/jobs": "viewer",
    "GET /api/v1/jobs/{job}": "viewer",
    "DELETE /api/v1/jobs/{job}": "operator",
    "POST /api/v1/jobs/sync": "operator",
    "POST /api/v1/jobs/plan": "reviewer",
    "POST /api/v1/jobs/verify": "operator",
    "POST /api/v1/jobs/report": "operator",
    "GET /api/v1/config": "admin",
    "POST /api/v1/config/propose": "admin",
    "PUT /api/v1/config": "admin",
    "POST /api/v1/config/plan": "admin",
    "POST /api/v1/decide": "viewer",
    "GET /api/v1/setup": "admin",
    "POST /api/v1/setup/systems": "admin",
    "DELETE /api/v1/setup/systems/{name}": "admin",
    "GET /api/printed/checklist": "viewer",
    "GET /api/printed/drift": "admin",
    "GET /api/v1/people": "admin",
    "POST /api/v1/people": "admin",
    "POST /api/v1/people/{name}/invite": "admin",
    "PUT /api/v1/people/{name}/role": "admin",
    "POST /api/v1/people/{name}/disable": "admin",
    "POST /api/v1/people/{name}/enable": "admin",
    "GET /api/v1/keys": "viewer",
    "POST /api/v1/keys": "viewer",
    "POST /api/v1/keys/{number}/rotate": "viewer",
    "DELETE /api/v1/keys/{number}": "viewer",
    "GET /api/v1/openapi.json": "viewer",
    "GET /api/docs": "viewer",
    "GET /login": None,
    "POST /login": None,
    "POST /logout": None,
    "GET /setup": None,
    "POST /setup": None,
}
"""Every route there is, and from which role on it is allowed. None: without a role, see `PUBLIC`."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash that makes passwords expensive is no subject of these tests."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, two files, and a state after the first run: three conflicts."""
    folder = tmp_path_factory.mktemp("company")
    (folder / "trueup.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "crm.csv").write_text(CRM, encoding="utf-8")
    (folder / "shop.csv").write_text(SHOP, encoding="utf-8")
    with Workspace(load_config(str(folder / "trueup.yaml"))) as workspace:
        workspace.sync()
    return folder


@pytest.fixture
def desk(synced: Path, tmp_path: Path) -> Iterator[Desk]:
    """A desk on a copy of it, with one person of each role, named like it."""
    for file in (*synced.glob("*.csv"), synced / "trueup.yaml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / ".trueup").mkdir()
    with Store.open(str(synced / ".trueup" / "state.db"), read_only=True) as store:
        store.copy_to(tmp_path / ".trueup" / "state.db")
    config = load_config(str(tmp_path / "trueup.yaml"), connects=False)
    with Store.open(config.state) as store:
        made = Desk(config, store)
        for role in ROLES:
            made.person(role, role)
        yield made


def trail(desk: Desk, kind: str) -> list[dict[str, Any]]:
    """The lines of a kind."""
    with desk.store.read() as db:
        return [line.told for line in audit.lines(db) if line.told["kind"] == kind]


# ---------------------------------------------------------------- who may


def routes(desk: Desk) -> dict[str, APIRoute]:
    """Every route, by method and path."""
    found: dict[str, APIRoute] = {}
    for route in desk.app.routes:
        assert isinstance(route, APIRoute), f"{route} is served without anybody having said to whom: say it in NEEDED"
        found |= {f"{method} {route.path}": route for method in route.methods or ()}
    return found


def test_every_route_says_who_may(desk: Desk) -> None:
    """A new route fails here until somebody has said in the table for whom it is."""
    assert {name: role_of(route) for name, route in routes(desk).items()} == NEEDED
    assert {name.split()[1] for name, role in NEEDED.items() if role is None} == PUBLIC | {"/logout"}


def test_every_role_and_every_scope_at_every_route(desk: Desk) -> None:
    browsers = {role: desk.logged_in(role) for role in ROLES}
    keys = {scope: desk.key("admin", scope) for scope in SCOPES}
    for name, needed in NEEDED.items():
        if needed is None:
            continue
        method, path = name.split()
        asked = path.format(number=999, entity="none", key="999", job="none", name="nobody")
        for role, browser in browsers.items():
            status = browser.call(method, asked, None if method in {"GET", "DELETE"} else []).status
            allowed = at_least(role, needed)
            assert (status == 403) is not allowed, (name, role, status)
            assert status < 500, (name, role)
        for scope, key in keys.items():
            body = b"" if method in {"GET", "DELETE"} else b"[]"
            shown = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            status = desk.ask(method, asked, shown, body).status
            allowed = scope == scope_of(needed)
            if not (allowed and path.startswith("/api/v1/keys/{number}")):  # whoever shows a key looks after no other
                assert (status == 403) is not allowed, (name, scope, status)
        assert desk.ask(method, asked).status == 401, name


# ---------------------------------------------------------------- looking


def test_what_the_commands_show_is_shown_a_page_at_a_time(desk: Desk) -> None:
    browser = desk.logged_in("viewer")
    assert browser.call("GET", "/api/v1/status").json["entities"]["customer"]["golden"]["total"] == 4
    runs = browser.call("GET", "/api/v1/runs").json
    assert ([one["run"] for one in runs["items"]], runs["next"]) == ([1], None)
    assert browser.call("GET", "/api/v1/runs/1").json["entities"]["customer"]["systems"]["shop"]["delivered"]["created"] == 1
    seen: list[int] = []
    after = 0
    while True:
        page = browser.call("GET", f"/api/v1/records/customer?limit=3&after={after}").json
        seen += [one["id"] for one in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(seen) == len(set(seen)) == 4
    found = browser.call("GET", "/api/v1/records/customer?q=DEE@").json["items"]
    assert [one["golden"]["name"] for one in found] == ["Dee"]
    record = browser.call("GET", "/api/v1/records/customer/crm:4").json
    assert (record["golden"]["email"], record["systems"]["shop"]["state"]) == ("dee@example.com", "present")
    assert browser.call("GET", "/api/v1/records/customer/crm:4/explain?field=name").json["fields"]["name"]
    assert browser.call("GET", "/api/v1/records/customer/crm:99").status == 404
    pages = [browser.call("GET", f"/api/v1/conflicts?limit=2&after={at}").json for at in (0, 2)]
    assert [[one["field"] for one in page["items"]] for page in pages] == [["name", "name"], ["name"]]
    assert [page["next"] for page in pages] == [2, None]
    for path in ("failures", "holds", "matches", "jobs", "reports"):
        assert browser.call("GET", f"/api/v1/{path}").json == {"items": [], "next": None}
    assert browser.call("GET", "/api/v1/schedules").json["entities"] == {"customer": []}
    assert browser.call("GET", "/api/v1/alerts").json["firing"] == []
    assert browser.call("GET", "/api/v1/entities").json["customer"]["records"] == 4
    changes = browser.call("GET", "/api/v1/runs/1/changes?limit=2").json
    assert len(changes["items"]) == 2
    assert "who" in trail(desk, "command")[-1]
    assert {line["what"]["command"] for line in trail(desk, "command") if line["who"].get("person") == "viewer"} >= {
        "record",
        "explain",
        "conflicts",
    }


# ---------------------------------------------------------------- deciding


def test_a_conflict_is_settled_once_and_the_second_person_is_told(desk: Desk) -> None:
    first, second = desk.logged_in("reviewer"), desk.logged_in("admin")
    one = first.call("GET", "/api/v1/conflicts").json["items"][0]
    path = f"/api/v1/conflicts/{one['id']}/resolve?why=she+called"
    assert first.call("POST", path, {"take": "shop"}, **{"if-match": '"another"'}).status == 412
    done = first.call("POST", path, {"take": "shop"}, **{"if-match": f'"{one["etag"]}"'})
    assert (done.status, done.json["value"]) == (200, "Ada L")
    again = second.call("POST", path, {"take": "crm"}, **{"if-match": f'"{one["etag"]}"'})
    assert (again.status, again.json["type"], again.headers["content-type"]) == (409, "urn:trueup:settled", "application/problem+json")
    told = [line for line in trail(desk, "command") if line["what"]["command"] == "conflicts resolve"]
    assert [(line["who"]["person"], line["what"]["why"], line["what"]["arguments"]["take"]) for line in told] == [
        ("reviewer", "she called", "shop")
    ]
    history = first.call("GET", f"/api/v1/records/customer/{one['record']}").json["history"]
    assert "reviewer (dashboard)" in {event["who"] for event in history}


@pytest.mark.parametrize(
    "body", [{}, {"take": "crm", "empty": True}, {"take": 7}, {"take": "crm", "odd": 1}, [], None, "x", {"take": "nowhere"}]
)
def test_a_decision_that_says_nothing_is_refused_and_changes_nothing(desk: Desk, body: Any) -> None:
    browser = desk.logged_in("reviewer")
    answer = browser.call("POST", "/api/v1/conflicts/1/resolve", body)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert browser.call("GET", "/api/v1/conflicts/1").json["closed_at"] is None


def test_a_request_that_comes_twice_is_done_once(desk: Desk) -> None:
    browser = desk.logged_in("reviewer")
    key = {"idempotency-key": "b7"}
    first = browser.call("POST", "/api/v1/conflicts/1/resolve", {"take": "crm"}, **key)
    again = browser.call("POST", "/api/v1/conflicts/1/resolve", {"take": "crm"}, **key)
    assert (first.status, first.text) == (again.status, again.text) == (200, again.text)
    assert again.headers["idempotency-replayed"] == "true"
    other = browser.call("POST", "/api/v1/conflicts/2/resolve", {"take": "crm"}, **key)
    assert (other.status, other.json["type"]) == (422, "urn:trueup:key-reused")
    assert desk.logged_in("admin").call("POST", "/api/v1/conflicts/2/resolve", {"take": "crm"}, **key).status == 200, (
        "keys are each person's own"
    )
    assert browser.call("POST", "/api/v1/conflicts/3/resolve", {}, **{"idempotency-key": "c"}).status == 422
    assert browser.call("POST", "/api/v1/conflicts/3/resolve", {"take": "crm"}, **{"idempotency-key": "c"}).status == 200, (
        "what failed may be mended"
    )


def test_pausing_is_for_operators_and_names_what_is_known(desk: Desk) -> None:
    browser = desk.logged_in("operator")
    assert browser.call("POST", "/api/v1/pause", {"names": ["shop"]}).json == {"paused": [{"kind": "system", "name": "shop"}]}
    assert browser.call("POST", "/api/v1/pause", {"names": ["nowhere"]}).status == 404
    assert browser.call("POST", "/api/v1/pause", {}).status == 422
    assert browser.call("GET", "/api/v1/schedules").json["paused"] == [{"kind": "system", "name": "shop"}]
    assert browser.call("POST", "/api/v1/resume", {"all": True}).json == {"paused": []}


def test_a_row_is_unlinked_and_placed_again_once(desk: Desk) -> None:
    browser = desk.logged_in("reviewer")
    parked = browser.call("POST", "/api/v1/matches/unlink", {"row": "shop:7"}).json
    assert [one["key"] for one in browser.call("GET", "/api/v1/matches").json["items"]] == ["7"]
    path = f"/api/v1/matches/{parked['id']}/link"
    assert browser.call("POST", path, {"to": "crm:1", "new": True}).status == 422
    assert browser.call("POST", path, {"to": "crm:1"}).status == 200
    assert desk.logged_in("admin").call("POST", path, {"new": True}).status == 409
    assert browser.call("POST", "/api/v1/matches/unlink", {"row": "shop:99"}).status in {404, 422}


def test_numbers_that_name_nothing_are_not_found(desk: Desk) -> None:
    browser = desk.logged_in("admin")
    for path in ("holds/9", "conflicts/9/resolve", "matches/9/link"):
        body = {"holds/9": {"decision": "approved"}, "conflicts/9/resolve": {"take": "crm"}, "matches/9/link": {"new": True}}[path]
        assert browser.call("POST", f"/api/v1/{path}", body).status == 404, path
    assert browser.call("GET", "/api/v1/runs/9").status == 404
    assert browser.call("POST", "/api/v1/failures/drop", {"ids": [9]}).status == 404
    assert browser.call("POST", "/api/v1/failures/drop", {"ids": [2**63]}).status == 422
    assert browser.call("POST", "/api/v1/failures/9/mend", {"value": "x"}).status == 404
    assert browser.call("POST", "/api/v1/failures/9/mend", {"value": "x", "empty": True}).status == 422
    assert browser.call("POST", "/api/v1/failures/9/mend", {}).status == 422
    assert browser.call("GET", "/api/v1/nothing").status == 404
    assert browser.call("PATCH", "/api/v1/status").status == 405


# ---------------------------------------------------------------- people, keys, configuration


def test_admins_let_people_in_and_what_is_shown_once_is_not_kept(desk: Desk) -> None:
    admin = desk.logged_in("admin")
    made = admin.call("POST", "/api/v1/people", {"name": "Zoë", "role": "reviewer"}, **{"idempotency-key": "z"})
    assert (made.status, made.json["state"]) == (201, "invited")
    token = made.json["link"].partition("token=")[2]
    again = admin.call("POST", "/api/v1/people", {"name": "Zoë", "role": "reviewer"}, **{"idempotency-key": "z"})
    assert (again.status, token in again.text) == (409, False)
    browser = Browser(desk)
    assert browser.post("/setup", {"token": token, "password": "another lamp 11", "again": "another lamp 11"}).status == 303
    assert browser.call("GET", "/api/v1/me").json["role"] == "reviewer"
    assert admin.call("PUT", "/api/v1/people/Zoë/role", {"role": "viewer"}).status == 200
    assert browser.call("POST", "/api/v1/conflicts/1/resolve", {"take": "crm"}).status == 403
    assert admin.call("POST", "/api/v1/people/admin/disable").status == 422, "the only admin stays"
    assert admin.call("POST", "/api/v1/people/zoë/disable").json["state"] == "disabled"
    assert browser.call("GET", "/api/v1/me").status == 401


def test_everybody_looks_after_their_own_keys_and_no_key_makes_a_stronger_one(desk: Desk) -> None:
    viewer = desk.logged_in("viewer")
    made = viewer.call("POST", "/api/v1/keys", {"name": "a sheet", "scopes": ["read"]}).json
    assert viewer.call("POST", "/api/v1/keys", {"name": "x", "scopes": ["decide"]}).status == 422
    assert viewer.call("POST", "/api/v1/keys", {"name": "x", "scopes": ["read"], "person": "admin"}).status == 403
    shown = {"authorization": f"Bearer {made['key']}", "content-type": "application/json"}
    assert desk.ask("GET", "/api/v1/me", shown).json["key"] == made["id"]
    other = desk.key("reviewer", "read")
    assert viewer.call("DELETE", f"/api/v1/keys/{other.split('_')[1]}").status == 404
    assert [one["id"] for one in viewer.call("GET", "/api/v1/keys").json["items"]] == [made["id"]]
    assert desk.ask("POST", "/api/v1/keys", shown, b'{"name": "y", "scopes": ["read", "decide"]}').status == 403
    fresh = desk.ask("POST", f"/api/v1/keys/{made['id']}/rotate", shown, b'{"at_once": true}').json["key"]
    assert desk.ask("GET", "/api/v1/me", shown).status == 401
    assert desk.ask("DELETE", f"/api/v1/keys/{made['id']}", {"authorization": f"Bearer {fresh}"}).status == 200
    assert desk.ask("GET", "/api/v1/me", {"authorization": f"Bearer {fresh}"}).status == 401


def test_the_configuration_is_changed_as_it_was_written_and_by_one_person_at_a_time(desk: Desk, tmp_path: Path) -> None:
    admin = desk.logged_in("admin")
    read = admin.call("GET", "/api/v1/config")
    text, tag = read.json["text"], read.headers["etag"]
    wanted = text.replace("name: {type: text}", "name: {type: text, source_of_truth: crm}")
    proposed = admin.call("POST", "/api/v1/config/propose", {"text": wanted}).json["diff"]
    assert [line for line in proposed.splitlines() if line[:1] in "+-" and line[:3] not in {"+++", "---"}] == [
        "-      name: {type: text}", "+      name: {type: text, source_of_truth: crm}"
    ]  # fmt: skip
    wrong = admin.call("POST", "/api/v1/config/propose", {"text": text.replace("type: text", "type: txt")})
    assert (wrong.status, wrong.json["problems"][0]["file"].endswith("trueup.yaml")) == (422, True)
    assert admin.call("PUT", "/api/v1/config", {"text": wanted}).status == 428
    assert admin.call("PUT", "/api/v1/config", {"text": wanted}, **{"if-match": tag}).status == 200
    assert (tmp_path / "trueup.yaml").read_text(encoding="utf-8") == wanted
    assert admin.call("PUT", "/api/v1/config", {"text": text}, **{"if-match": tag}).status == 412
    assert admin.call("PUT", "/api/v1/config", {"text": text + "state: other.db\n"}, **{"if-match": "*"}).status == 422
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trueup", "crm.csv", "shop.csv", "trueup.yaml"]
    changed = [line for line in trail(desk, "configuration") if "changed" in line["what"]]
    assert changed[-1]["who"]["person"] == "admin"


def test_the_description_names_every_operation_with_its_scope(desk: Desk) -> None:
    found = described(desk.app)
    told = {f"{method.upper()} {path}" for path, operations in found["paths"].items() for method in operations}
    assert told == {name for name in NEEDED if " /api/v1/" in name and "openapi" not in name}
    assert found["paths"]["/api/v1/jobs/sync"]["post"]["security"] == [{"key": ["operate"]}]
    page = desk.logged_in("viewer").get("/api/docs")
    assert (page.status, "POST /api/v1/jobs/sync" in page.text, "<script" in page.text) == (200, True, False)
