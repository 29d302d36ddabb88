"""The applications that are known, as a person asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.cli.tool import Project
from trueup.testing.rest_service import TOKEN, RestService


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


def test_a_system_of_the_configuration_is_tried_with_its_own_settings(project: Project) -> None:
    with RestService() as service:
        service.traps.token = TOKEN
        service.make("contacts")
        service.put("contacts", {"id": 7, "name": "Zoë O'Neil"})
        file = {
            "connector": "directory",
            "auth": {"kind": "bearer", "token": "${secrets.token}"},
            "http": {"base_url": service.url},
            "objects": {"contacts": {"key": "/id", "envelope": "/attributes", "read": {"full": {"get": "/contacts", "items": "/data"}}}},
        }
        project.write("directory.yaml", json.dumps(file))
        fields = "fields: {name: name}"
        project.write(
            "trueup.yaml",
            f"systems:\n  hubspot: {{connector: rest, file: directory.yaml, secrets: {{token: {TOKEN}}}}}\n"
            "  office: {connector: csv, path: office.csv}\n"
            "entities: {customer: {match: [[name]], fields: {name: text}, "
            f"mappings: {{hubspot: {{object: contacts, key: id, {fields}}}, office: {{key: no, {fields}}}}}}}}}\n",
        )
        project.write("office.csv", "no,name\n")
        told = project.trueup("connector", "try", "hubspot", "contacts", "--json").expect(0).json
        assert told["rows"] == [{"id": 7, "name": "Zoë O'Neil"}]
        assert "is no web application" in project.trueup("connector", "try", "office", "contacts").expect(2).err
        wrong = {"full": {"get": "/contacts", "items": "/rows"}}
        file["objects"]["contacts"]["read"] = wrong  # type: ignore[index]
        project.write("directory.yaml", json.dumps(file))
        told_wrong = project.trueup("connector", "try", "hubspot", "contacts").expect(1).err
        assert "contacts (GET /contacts): there is no list at `/rows`" in told_wrong
        assert "there is one at /data" in told_wrong
    assert "did you mean xero?" in project.trueup("connector", "try", "xerox", "contacts").expect(2).err
