"""`trueup explain --expected VALUE`: where the value went that somebody expected."""

from __future__ import annotations

from pathlib import Path

from tests.stories.project import PEOPLE, NearProject
from tests.stories.test_explained import edit, story, synced


def expected(project: NearProject, value: str, field: str = "name", key: str = "crm:1") -> tuple[list[str], str]:
    """What was found, and the whole of it in words; text and JSON say the same."""
    told = story(project, key, field, "--expected", value)["fields"][field]["expected"]
    out = project.run("explain", "customer", key, field, "--expected", value).out
    for item in told["found"]:
        assert item["why"] in out
    return [item["what"] for item in told["found"]], told["why"]


def test_where_a_value_went(tmp_path: Path) -> None:
    project = synced(tmp_path, name="{type: text, clean: [trim], source_of_truth: crm}", points="{type: integer, conflict: {merge: max}}")
    edit(project, "UPDATE customers SET name = 'Anna', points = 70 WHERE id = 1")
    project.write_csv("sheet", [("ann@example.org", "Annie", "60", "1980-01-31"), *PEOPLE[1:]])
    project.sync()
    found, why = expected(project, "Annie")
    assert found == ["overruled"]
    assert "crm is the source of truth" in why
    found, why = expected(project, "60", "points")
    assert found == ["lost"]
    assert "the largest value wins" in why
    found, why = expected(project, "Ann")
    assert found == ["earlier"]
    assert "crm changed it from “Ann” to “Anna”" in why
    found, why = expected(project, "  Anna ")
    assert found == ["agreed"]
    assert "Cleaned as the configuration says, “  Anna ” is “Anna”" in why
    found, why = expected(project, "Anastasia")
    assert found == []
    assert "No system was seen to say “Anastasia”" in why
    assert "crm: when its row 1 was last read, it showed “Anna”" in why
    assert "trueup sync --record customer 1" in why
    found, why = expected(project, "many", "points")
    assert found == []
    assert "“many” cannot be a value of points" in why
    assert "without a field" in project.run("explain", "customer", "crm:1", "--expected", "x", expect=2).err


def test_where_a_value_went_that_lost_when_systems_met(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet", [("ann@example.org", "Annie", "1", "1980-01-31"), *PEOPLE[1:]])
    project.configure()
    project.sync()
    loser = "Annie" if story(project, "crm:1", "name")["fields"]["name"]["value"] == "Ann" else "Ann"
    found, why = expected(project, loser)
    assert "lost" in found
    assert "when the systems first met" in why


def test_where_a_value_went_that_came_with_the_record(tmp_path: Path) -> None:
    project = NearProject(tmp_path)
    project.add_sqlite("crm", PEOPLE)
    project.add_csv("sheet")
    project.configure()
    project.sync()
    assert expected(project, "Ann")[0] == ["agreed"]
    edit(project, "UPDATE customers SET name = 'Anna' WHERE id = 1")
    project.sync()
    found, why = expected(project, "Ann")
    assert found == ["earlier"]
    assert "came with the record, first seen in crm" in why
    assert "crm changed it from “Ann” to “Anna”" in why


def test_a_word_that_only_one_system_uses_for_a_value(tmp_path: Path) -> None:
    project = synced(tmp_path, name="{type: text, one_of: [Ann, Ben, Cleo, Dot], conflict: last_write_wins}")
    project.mappings["crm"] = project.mappings["crm"].replace(
        "name: name", "name: {column: name, values: {Ann: A, Ben: Ben, Cleo: Cleo, Dot: D}}"
    )
    project.sql("crm", "UPDATE customers SET name = 'A' WHERE id = 1")
    project.configure()
    project.sync()
    found, why = expected(project, "A")
    assert found == ["agreed"]
    assert "crm writes “Ann” as “A”" in why
