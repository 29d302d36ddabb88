"""Fields and columns may have the names that people give them, whatever trueup itself calls its own things."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.system.cli.tool import Project

NAMES = (
    "after", "at", "attempts", "before", "candidates", "cell", "deleted_at", "entity", "expected", "field", "fingerprint", "gid", "hash",
    "id", "key", "khash", "kind", "name", "observed", "origin", "origins", "print", "reason", "record", "row", "rule", "seen", "sent",
    "stage", "state", "system", "text", "value", "values", "version", "won",
)  # fmt: skip


def write_table(path: Path, rows: list[list[str]], names: tuple[str, ...] = NAMES) -> None:
    """A file with a key, an e-mail address and a column per name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([["No", "email", *names], *rows])


def read_table(path: Path) -> list[list[str]]:
    """Its rows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def two_tables(folder: Path, definition: str, names: tuple[str, ...] = NAMES) -> Project:
    """Two files with the same records, and a field per name."""
    project = Project(folder)
    fields = "".join(f"      {name}: {definition}\n" for name in names)
    columns = "".join(f"          {name}: {name}\n" for name in names)
    mapping = "        key: {column: No, assign: sequence}\n        fields:\n          email: email\n" + columns
    project.write(
        "trueup.yaml",
        "systems:\n  left:  {connector: csv, path: left.csv}\n  right: {connector: csv, path: right.csv}\n"
        "entities:\n  thing:\n    match: [[email]]\n    precedence: [left, right]\n    fields:\n      email: {}\n"
        f"{fields}    mappings:\n      left:\n{mapping}      right:\n{mapping}",
    )
    for name in ("left", "right"):
        rows = [[str(number), f"p{number}@example.org", *(f"{one} {number}" for one in names)] for number in (1, 2, 3)]
        write_table(folder / f"{name}.csv", rows, names)
    return project


def edit(path: Path, number: int, word: str, names: tuple[str, ...] = NAMES) -> None:
    """Somebody edits every second field of a row."""
    rows = read_table(path)
    rows[number - 1] = [f"{cell} {word}" if place > 1 and place % 2 else cell for place, cell in enumerate(rows[number - 1])]
    write_table(path, rows, names)


@pytest.mark.parametrize("definition", ["{conflict: last_write_wins}", "{source_of_truth: left}"])
def test_fields_may_have_any_name(tmp_path: Path, definition: str) -> None:
    project = two_tables(tmp_path, definition)
    project.trueup("sync").expect(0)
    edit(tmp_path / "left.csv", 1, "edited")
    edit(tmp_path / "left.csv", 2, "one")
    edit(tmp_path / "right.csv", 2, "two")
    project.trueup("plan", "--all").expect(0)
    project.trueup("verify").expect(3)
    project.trueup("drift").expect(0)
    project.trueup("sync").expect(0)
    project.trueup("verify").expect(0)
    project.trueup("record", "thing", "1").expect(0)
    project.trueup("explain", "thing", "2", "field").expect(0)
    left, right = read_table(tmp_path / "left.csv"), read_table(tmp_path / "right.csv")
    assert left[0] == right[0]
    assert left[0][3].endswith("edited")


def test_verify_compares_fields_of_any_name_that_a_system_shows_in_its_own_way(tmp_path: Path) -> None:
    project = two_tables(tmp_path, "{}", ("seen", "sent", "gid", "id"))
    project.trueup("sync").expect(0)
    for side, word in (("left", "one"), ("right", "two")):
        edit(tmp_path / f"{side}.csv", 1, word, ("seen", "sent", "gid", "id"))
    project.trueup("sync").expect(0)
    assert project.trueup("verify", "--json").expect(0).json["entities"]["thing"]["systems"]["left"]["waiting"] == 1


@pytest.mark.parametrize("column", ["_key", "__v"])
def test_columns_may_have_any_name(tmp_path: Path, column: str) -> None:
    project = two_tables(tmp_path, "{conflict: last_write_wins}", ("kind",))
    for name in ("left.csv", "trueup.yaml"):
        project.write(name, project.read(name).replace("email,kind", f"email,{column}").replace("kind: kind", f"kind: {column}", 1))
    project.trueup("sync").expect(0)
    project.write("left.csv", project.read("left.csv") + "4,p4@example.org,new\n")
    project.write("right.csv", project.read("right.csv").replace("kind 1", "kind edited"))
    project.trueup("sync").expect(0)
    assert "1,p1@example.org,kind edited" in project.read("left.csv")
    assert "p4@example.org,new" in project.read("right.csv")


@pytest.mark.parametrize("column", ["__key", "__stored"])
def test_a_column_that_cannot_be_told_from_our_own_is_refused(tmp_path: Path, column: str) -> None:
    project = two_tables(tmp_path, "{}", ("kind",))
    for name in ("left.csv", "trueup.yaml"):
        project.write(name, project.read(name).replace("email,kind", f"email,{column}").replace("kind: kind", f"kind: {column}", 1))
    assert "is trueup's own" in project.trueup("sync").expect(1).err
    found = project.trueup("check", "--json").expect(1).json["problems"]
    assert [problem["line"] for problem in found if "is trueup's own" in problem["message"]] == [16]
