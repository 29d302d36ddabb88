"""Setting up without a file: what is connected, proposed, shown and saved, asked within this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.desk_client import Desk
from trueup.config.begin import is_unwritten, load_or_begin
from trueup.config.load import load_config
from trueup.config.proposal import with_direction, with_rule
from trueup.store import Store, audit
from trueup.web.access import passwords
from trueup.web.desk.draft import Draft
from trueup.web.desk.place import Place

SHOP = "No,Name,E-mail\n" + "".join(f"{n},Person {n},p{n}@example.org\n" for n in range(1, 13))
SHEET = "Id,Full name,Email\n" + "".join(f"{n + 100},Person {n},p{n}@example.org\n" for n in range(2, 14))
ANSWERS: dict[str, Any] = {
    "frequency": "real-time", "delay": "seconds", "error_cost": "high", "people": 12, "systems": 2, "ownership": "clear",
    "quality": "clean", "maintenance": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk in a folder without a configuration, in which two files lie."""
    (tmp_path / "shop.csv").write_text(SHOP, encoding="utf-8")
    (tmp_path / "sheet.csv").write_text(SHEET, encoding="utf-8")
    config = load_or_begin(tmp_path / "trueup.yaml")
    with Store.open(config.state) as store:
        yield Desk(config, store)


@pytest.fixture
def ada(desk: Desk) -> Any:
    desk.person("ada", "admin")
    return desk.logged_in("ada")


def place_of(desk: Desk) -> Place:
    found: Place = desk.app.state.place
    return found


@pytest.mark.parametrize("text", [None, "", "# later\n\n   # much later\n"])
def test_a_configuration_that_nobody_wrote_names_no_system(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "trueup.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    found = load_or_begin(file)
    assert (found.systems, found.entities, found.state) == ({}, {}, str(tmp_path / ".trueup" / "state.db"))


def test_a_file_that_says_something_is_no_beginning(tmp_path: Path) -> None:
    file = tmp_path / "trueup.yaml"
    file.write_text("systems: {}\n", encoding="utf-8")
    assert not is_unwritten(file)
    assert not is_unwritten(tmp_path)  # a folder in its place is an error, and is told as one


def test_from_two_systems_to_a_saved_configuration(desk: Desk, ada: Any) -> None:
    told: list[str] = []
    place_of(desk).changed = lambda: told.append("changed")
    assert ada.call("POST", "/api/v1/setup/systems", {"name": "shop", "address": "shop.csv"}).status == 201
    answer = ada.call("POST", "/api/v1/setup/systems", {"name": "sheet", "address": "sheet.csv"})
    assert [one["name"] for one in answer.json["systems"]] == ["shop", "sheet"]
    [entity] = answer.json["entities"]
    assert set(entity["fields"]) == {"name", "email"}
    assert not Path(place_of(desk).config.file).exists()

    planned = ada.call("POST", "/api/v1/config/plan", {"text": answer.json["text"]}).json
    delivered = {name: part["delivered"]["created"] for name, part in planned["plan"]["entities"][entity["entity"]]["systems"].items()}
    assert delivered == {"shop": 1, "sheet": 1}
    assert planned["check"]["ok"]
    assert {path.name for path in Path(place_of(desk).config.directory).iterdir()} == {"shop.csv", "sheet.csv", ".trueup"}
    assert (Path(place_of(desk).config.directory) / "shop.csv").read_text(encoding="utf-8") == SHOP

    saved = ada.call("PUT", "/api/v1/config", {"text": answer.json["text"]}, **{"if-match": f'"{planned["etag"]}"'})
    assert saved.status == 200, saved.text
    assert told == ["changed"]
    assert set(load_config(place_of(desk).config.file).systems) == {"shop", "sheet"}
    assert set(place_of(desk).config.systems) == {"shop", "sheet"}
    again = ada.call("POST", "/api/v1/setup/systems", {"name": "third", "address": "shop.csv"})
    assert again.status == 409


def test_two_who_begin_at_once(desk: Desk, ada: Any) -> None:
    etag = ada.call("GET", "/api/v1/config").json["etag"]
    Path(place_of(desk).config.file).write_text("systems: {}  # somebody else's\n", encoding="utf-8")
    for name in ("shop", "sheet"):
        ada.call("POST", "/api/v1/setup/systems", {"name": name, "address": f"{name}.csv"})
    text = ada.call("GET", "/api/v1/setup").json["text"]
    assert ada.call("PUT", "/api/v1/config", {"text": text}, **{"if-match": f'"{etag}"'}).status == 412
    assert "somebody else's" in Path(place_of(desk).config.file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "address", "says"),
    [
        ("shop", "nothing.csv", "nothing.csv"),
        ("", "shop.csv", "cannot name"),
        ("O'Neill 😀", "shop.csv", "cannot name"),
        ("shop", "ftp://me:hidden-word@example.org/x", "nothing connects"),
        ("shop", "postgresql://me:hidden-word@127.0.0.1:1/x", ""),
        ("shop", "", "names no system"),
    ],
)
def test_what_cannot_be_connected_is_told_without_the_address(ada: Any, name: str, address: str, says: str) -> None:
    answer = ada.call("POST", "/api/v1/setup/systems", {"name": name, "address": address})
    assert 400 <= answer.status < 500 or answer.status == 503, answer.text
    assert says in answer.text
    assert "hidden-word" not in answer.text
    assert ada.call("GET", "/api/v1/setup").json["systems"] == []


def test_an_address_of_a_database_is_sealed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRUEUP_MASTER_KEY", raising=False)
    from trueup.sealing import MasterKeys
    from trueup.setup.addresses import read_address
    from trueup.store.vault import Vault

    draft = Draft(place_of(desk))
    item = read_address("crm=postgresql://me:hidden-word@db.example.org/crm")
    draft.seal(desk.store, item, desk.now)
    assert Vault(desk.store, MasterKeys(draft.key_place())).values(["CRM_URL"]) == {"CRM_URL": item.url}
    key = Path(place_of(desk).config.directory, "keys", "master.key")
    assert key.stat().st_mode & 0o077 == 0
    state = Path(place_of(desk).config.state)
    assert not any(b"hidden-word" in path.read_bytes() for path in state.parent.iterdir())


def test_the_checklist_by_the_api_and_on_paper(desk: Desk, ada: Any) -> None:
    found = ada.call("POST", "/api/v1/decide", {"records": {"leads": ANSWERS}}).json["records"]["leads"]
    assert found["approach"] == "immediate-sync"
    wrong = ada.call("POST", "/api/v1/decide", {"records": {"leads": ANSWERS | {"delay": "days"}}})
    assert (wrong.status, "do not go together" in wrong.text) == (422, True)
    words = "&".join(f"{name}={'yes' if value is True else value}" for name, value in ANSWERS.items())
    page = ada.get(f"/api/printed/checklist?records=%3Cscript%3Eleads&{words}")
    assert page.status == 200
    assert "Immediate sync" in page.text
    assert "<script>leads" not in page.text
    assert ada.get("/api/printed/checklist?people=many").status == 422
    del desk


def test_how_far_they_disagree_before_anything_is_saved(desk: Desk, ada: Any) -> None:
    for name in ("shop", "sheet"):
        ada.call("POST", "/api/v1/setup/systems", {"name": name, "address": f"{name}.csv"})
    page = ada.get("/api/printed/drift")
    assert (page.status, "sheet" in page.text) == (200, True)
    with desk.store.read() as db:
        assert any("drift" in str(line) for line in audit.lines(db))


TEXT = """\
entities:
  customer:   # ours
    fields:
      name: text
      email: {type: text, conflict: last_write_wins}   # theirs
      credit:
        type: decimal   # exact
        source_of_truth: crm
    mappings:
      crm: {key: id, fields: {name: name}}
      shop:
        key: id   # theirs, too
        direction: read
"""


def test_rules_and_directions_are_changed_where_they_stand() -> None:
    text = with_rule(TEXT, "customer", "name", "manual")
    text = with_rule(text, "customer", "email", "{merge: add}")
    text = with_rule(text, "customer", "credit", "last_write_wins")
    text = with_direction(text, "customer", "crm", "write")
    text = with_direction(text, "customer", "shop", "both")
    assert (
        text
        == """\
entities:
  customer:   # ours
    fields:
      name: {type: text, conflict: manual}
      email: {type: text, conflict: {merge: add}}   # theirs
      credit:
        conflict: last_write_wins
        type: decimal   # exact
    mappings:
      crm: {key: id, fields: {name: name}, direction: write}
      shop:
        direction: both
        key: id   # theirs, too
"""
    )
