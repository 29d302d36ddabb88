"""The applications that are known, as a person asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.cli.tool import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_is_known_and_what_is_a_draft(project: Project) -> None:
    known = project.trueup("connector", "list").expect(0).out
    assert "hubspot" in known
    assert "salesforce" not in known
    drafts = {one["name"]: one["draft"] for one in project.trueup("connector", "list", "--drafts", "--json").expect(0).json["presets"]}
    assert drafts["hubspot"] is None
    assert "documentation" in drafts["salesforce"]


def test_one_is_shown_with_what_to_write_and_as_a_file(project: Project) -> None:
    shown = project.trueup("connector", "show", "xero").expect(0).out
    assert "not there  payments" in shown
    assert "    connector: xero\n" in shown
    assert project.trueup("connector", "show", "xero", "--json").expect(0).json["values"] == ["tenant"]
    project.write("stripe.yaml", project.trueup("connector", "show", "stripe", "--file").expect(0).out)
    assert project.trueup("connector", "check", "stripe.yaml").expect(0).out == project.trueup("connector", "check", "stripe").expect(0).out


def test_a_name_that_is_not_known_gets_a_suggestion(project: Project) -> None:
    assert "did you mean hubspot?" in project.trueup("connector", "show", "hubspto").expect(2).err
    assert "there are directus" in project.trueup("connector", "check", "zzz").expect(2).err


def test_the_schema_of_connector_files(project: Project) -> None:
    assert "objects" in project.trueup("schema", "--connector").expect(0).json["properties"]
    assert "systems" in project.trueup("schema").expect(0).json["properties"]
