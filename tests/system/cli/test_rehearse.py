"""`trueup rehearse`: what would have happened, on masked copies, and nothing real is touched."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.system.cli.tool import CONFIG, Project, company, two_offices

MARK = "Zqxmarker"
PEOPLE = [
    (number, f"Ada{MARK} Name{number}", f"p{number}.{MARK.lower()}@{MARK.lower()}.example.com", str(number)) for number in range(1, 41)
]
SHEET = "No,Name,E-mail,Credit\n" + "".join(
    f"{MARK}-{number},Ada{MARK} Name{number},P{number}.{MARK}@{MARK}.example.com,{number}\n" for number in range(21, 61)
)
LOUD = (
    "alerts: {to: {default: 'json://localhost:9/'}}\n"
    "notices: {team: {url: 'https://localhost:9/', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLwSw, entities: [customer]}}\n"
    "report: {at: '06:00', to: [default]}\n"
    "packages: {out: {export: customer, to: outbox, when: [{at: '02:00'}]}}\n"
)


def everything(folder: Path) -> dict[str, tuple[str, float]]:
    """Every file with the digest of its bytes and the time of its last change."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edits(outcomes: list[dict[str, Any]]) -> dict[str, int]:
    return {one["outcome"]: one["edits"] for one in outcomes}


def full_company(folder: Path, config: str = CONFIG) -> Project:
    return company(folder, config, SHEET, PEOPLE)


@pytest.fixture
def temporary(tmp_path_factory, monkeypatch):
    """The folder in which this command makes its temporary files."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize("weather", [pytest.param("calm", marks=pytest.mark.slow), "storm"])
def test_nothing_real_is_written_and_no_real_value_is_shown(tmp_path, temporary, weather):
    project = full_company(tmp_path, LOUD + CONFIG)
    project.trueup("sync").expect(0)
    (tmp_path / "outside").mkdir()
    before = everything(tmp_path)
    ended = project.trueup("rehearse", "--weather", weather, "--html", "outside/page.html", "--keep", "outside/kept", "--json")
    assert ended.status in {0, 3}, ended.err
    assert {name: kept for name, kept in everything(tmp_path).items() if not name.startswith("outside")} == before
    kept = [path for path in (tmp_path / "outside").rglob("*") if path.is_file()]
    assert {path.name for path in kept} == {"page.html", "crm.db", "sheet.db", "state.db"}
    for path in kept:
        assert MARK.lower().encode() not in path.read_bytes().lower(), path.name
        assert path.name == "page.html" or path.stat().st_mode & 0o077 == 0
    assert MARK.lower() not in (ended.out + ended.err).lower()
    assert list(temporary.iterdir()) == []
    found = ended.json
    assert (found["lost"], found["duplicates"]) == (0, 0)
    assert found["agree"]
    assert [one["rows"] for one in found["copies"]] == [60, 60]


def test_the_first_run_is_what_the_real_one_would_be(tmp_path):
    project = full_company(tmp_path)
    found = project.trueup("rehearse", "--rounds", "0", "--json").expect(0).json
    assert found["script"] == []
    real = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]["systems"]
    assert {one["system"]: (one["created"], one["updated"]) for one in found["first_run"]["systems"]} == {
        name: (part["delivered"]["created"], part["delivered"]["updated"]) for name, part in real.items()
    }
    assert found["made"] == 40


def test_every_kind_of_edit_is_told_with_what_became_of_it(tmp_path):
    found = full_company(tmp_path).trueup("rehearse", "--weather", "calm", "--json").expect(0).json
    told = {one["said"]: edits(one["outcomes"]) for one in found["script"]}
    assert told["customer.name edited in crm"] == {"agreed": 3}
    assert told["customer.name edited differently in crm and sheet"] == {"waits": 4}
    assert told["customer.credit edited differently in crm and sheet"] == {"agreed": 2, "gave way": 2}
    assert told["customer.credit: a value that cannot be, in crm"] == {"rejected": 1}
    assert told["customer deleted in crm"] == {"waits": 2}
    emptied = next(one for one in found["script"] if one["said"] == "customer.credit emptied in crm")
    assert edits(emptied["outcomes"]) == {"held": emptied["rows"]}
    assert emptied["rows"] > 50
    assert {(one["system"], one["kind"]) for one in found["held"]} == {("crm", "updates"), ("sheet", "deletes")}
    assert found["kills"] != []
    assert any("nobody is named" in line for line in found["advice"])


def test_a_script_of_ones_own(tmp_path):
    project = full_company(tmp_path)
    project.write(
        "script.yaml",
        "rounds:\n"
        "  - name: Monday\n"
        "    weather: calm\n"
        "    moves:\n"
        "      - {do: edit, entity: customer, systems: [crm], field: name, to: Bo, records: 2}\n"
        "      - {do: edit, entity: customer, systems: sheet, field: name, to: Cy, same: true}\n"
        "      - {do: delete, entity: customer, systems: [crm], records: 10%}\n",
    )
    found = project.trueup("rehearse", "--script", "script.yaml", "--keep", "kept", "--json").expect(0).json
    assert [(one["round"], one["said"], one["rows"]) for one in found["script"]] == [
        ("Monday", "customer.name typed in crm", 2),
        ("Monday", "customer.name typed in sheet", 2),
        ("Monday", "customer deleted in crm", 6),
    ]
    with closing(sqlite3.connect(tmp_path / "kept" / "crm.db")) as copy:
        assert copy.execute("SELECT count(*) FROM contacts WHERE name = 'Bo'").fetchone() == (2,)
        assert copy.execute("SELECT count(*) FROM contacts").fetchone() == (54,)


def test_references_go_along_and_matches_stay_matches(tmp_path):
    project = two_offices(tmp_path)
    for database, first in (("left.db", 1), ("right.db", 51)):
        for number in range(1, 51):
            project.sql("INSERT INTO customers VALUES (?, ?, NULL)", (first + number, f"p{number}@example.com"), database=database)
            project.sql("INSERT INTO orders VALUES (?, ?, ?)", (first + number, f"R-{number}", first + number), database=database)
    found = project.trueup("rehearse", "--rows", "12", "--rounds", "0", "--json").expect(0).json
    assert {(one["system"], one["object"], one["rows"], one["copied"]) for one in found["copies"]} == {
        (system, table, 50, 12) for system in ("left", "right") for table in ("customers", "orders")
    }
    assert found["made"] == 0
    assert all(one["waiting"] == 0 for entity in found["entities"].values() for one in entity.values())
    assert sum("chosen at random" in note for note in found["notes"]) == 2


def test_records_are_made_more(tmp_path):
    found = full_company(tmp_path).trueup("rehearse", "--times", "5", "--rounds", "0", "--json").expect(0).json
    assert [(one["rows"], one["copied"]) for one in found["copies"]] == [(40, 200), (40, 200)]
    assert found["made"] == 200


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("--weather", "hail"), 2, "hail"),
        (("--rows", "0"), 2, "--rows"),
        (("--script", "nowhere.yaml"), 1, "there is no such file"),
        (("--script", "bad.yaml"), 1, "did you mean"),
        (("--html", "no/folder/page.html"), 2, "folder that exists"),
        (("--keep", "crm.db"), 2, ""),
        (("--keep", "no/folder/kept"), 2, "cannot be made"),
    ],
)
def test_bad_input(tmp_path, args, status, said):
    project = full_company(tmp_path)
    project.write("bad.yaml", "rounds:\n  - moves:\n      - {do: edit, entity: custmer, field: name}\n      - {do: edti}\n")
    before = everything(tmp_path)
    assert said in project.trueup("rehearse", *args).expect(status).err
    assert everything(tmp_path) == before


def test_a_system_that_is_away_is_named_and_too_few_are_refused(tmp_path):
    config = CONFIG.replace("entities:", "  shop: {connector: sqlite, path: shop.db}\nentities:").replace(
        "      sheet:\n", "      shop: {object: people, key: id, fields: {name: name, email: email}}\n      sheet:\n"
    )
    project = full_company(tmp_path, config)
    found = project.trueup("rehearse", "--rounds", "0", "--json").expect(3).json
    assert "shop" in found["left_out"]
    (tmp_path / "customers.csv").unlink()
    ended = project.trueup("rehearse").expect(1)
    assert "there is nothing to rehearse" in ended.err
    assert "customers.csv" in ended.err


def test_empty_systems_are_rehearsed(tmp_path):
    project = company(tmp_path, sheet="No,Name,E-mail,Credit\n", people=[])
    assert project.trueup("rehearse", "--json").expect(0).json["edits"] == []


def test_names_of_any_kind(tmp_path):
    names = ["O'Brien", "👩‍💻 Cy", "שלום", 'a"b', "", "Łódź"]
    people = [(number, name, f"n{number}@example.com", None) for number, name in enumerate(names, 1)]
    project = company(tmp_path, people=people, sheet="No,Name,E-mail,Credit\n")
    ended = project.trueup("rehearse", "--weather", "storm")
    assert ended.status in {0, 3}, ended.err
    assert "Rehearsed" in ended.out
    assert "Traceback" not in ended.err
    assert all(name not in ended.out for name in names if len(name) > 3)
