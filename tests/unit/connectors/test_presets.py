"""The connector files that come with trueup: each can be read, is what the JSON Schema allows, and says where it is from."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from trueup.config.editor import connector_schema
from trueup.config.load import load_config
from trueup.connectors import registry
from trueup.connectors.presets import DRAFTS, PRESETS, draft_names, preset_names
from trueup.connectors.rest.file import names_of, parse_text
from trueup.connectors.rest.preset import preset_class, preset_file
from trueup.errors import ConfigError, UsageError
from trueup.reports.preset import row_of, starter, told
from trueup.runtime.credentials import grant_for
from trueup.yamlfile import plain, read_yaml

ALL = [*sorted(PRESETS.glob("*.yaml")), *sorted(DRAFTS.glob("*.yaml"))]


def test_those_that_were_confirmed_are_connectors():
    assert set(preset_names()) <= set(registry.names())
    assert preset_names() == ("directus", "google-sheets", "hubspot", "shopify", "strapi", "xero")
    assert registry.connector_class("hubspot") is preset_class("hubspot")
    assert preset_class("hubspot").caps.kind == "api"


def test_drafts_are_no_connectors_and_say_how_to_try_them():
    assert not set(draft_names()) & set(registry.names())
    for name in draft_names():
        with pytest.raises(UsageError, match=f"there is no connector '{name}'") as caught:
            registry.connector_class(name)
        assert "trueup connector show" in (caught.value.hint or "")


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_each_can_be_read_and_says_where_it_is_from(path: Path):
    where, file = preset_file(path.stem)
    assert where == path
    assert file.connector == path.stem
    assert file.title
    assert file.api_version
    assert file.sources
    assert file.not_covered
    assert (file.draft is not None) == (path.parent == DRAFTS)
    assert file.draft is not None or (file.confirmed and date.fromisoformat(file.verified_on or "") <= date(2026, 11, 22))
    assert "to begin with, in trueup.yaml:" in list(told(file))
    assert len(row_of(file)) == 7


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_each_is_what_the_schema_for_editors_allows(path: Path):
    problems = Draft202012Validator(connector_schema()).iter_errors(plain(read_yaml(path).data))
    assert [f"{error.json_path}: {error.message[:200]}" for error in problems] == []


def test_the_schema_for_editors_refuses_what_is_wrong():
    file = plain(read_yaml(PRESETS / "hubspot.yaml").data)
    file["objects"]["contacts"]["read"]["full"]["pgae"] = {}
    file["objects"]["contacts"]["read"]["one"]["post"] = "/twice"
    file["http"]["limits"] = [{"requests": "many"}]
    places = {error.json_path for error in Draft202012Validator(connector_schema()).iter_errors(file)}
    assert any("full" in place for place in places)
    assert any("one" in place for place in places)
    assert "$.http.limits[0].requests" in places or "$.http.limits[0]" in places


@pytest.mark.parametrize("name", preset_names())
def test_what_it_says_to_begin_with_is_a_configuration(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = preset_file(name)[1]
    text = starter(file)
    for word in {part.partition("}")[0] for part in text.split("${")[1:]}:
        monkeypatch.setenv(word.removeprefix("secret:"), "x")
    text = text.replace("${secret:", "${").replace("entities:", "  other: {connector: sqlite, path: other.db}\nentities:")
    (tmp_path / "trueup.yaml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "trueup.yaml")
    assert {system.connector for system in config.systems.values()} == {name, "sqlite"}
    assert set(config.entities) == set(file.mappings)


def test_a_setting_that_a_preset_does_not_know_is_refused():
    with pytest.raises(ConfigError, match="file"):
        preset_class("hubspot").open("crm", {"file": "x.yaml", "secrets": {"token": "t"}})
    with pytest.raises(ConfigError, match=r"Input should be") as caught:
        preset_class("hubspot").open("crm", {"secrets": {"token": "t"}, "columns": {"contacts": {"age": "number"}}})
    assert "systems.crm.columns.contacts.age" in caught.value.problems[0].path


@pytest.mark.parametrize("name", preset_names())
def test_every_secret_and_value_of_a_preset_is_a_setting_that_says_what_it_is(name: str):
    file, schema = preset_file(name)[1], preset_class(name).settings_schema()
    for kind in ("secrets", "values"):
        settings = schema["properties"].get(kind, {"properties": {}})["properties"]
        assert list(settings) == names_of(file, kind)
        assert set(settings) <= set(file.settings)


def test_where_nothing_says_who_asks_both_ways_are_named(tmp_path: Path):
    text = "systems: {crm: {connector: hubspot}, b: {connector: sqlite, path: b.db}}\nentities: {}\n"
    (tmp_path / "trueup.yaml").write_text(text)
    hubspot = preset_class("hubspot").open("crm", {})
    with pytest.raises(UsageError, match="`token` is not among its secrets, and it has no `oauth2`"):
        grant_for(load_config(tmp_path / "trueup.yaml").systems["crm"], hubspot)


def test_a_draft_in_a_configuration_is_told_as_such(tmp_path: Path):
    (tmp_path / "trueup.yaml").write_text("systems: {a: {connector: salesforce}, b: {connector: sqlite, path: b.db}}\nentities: {}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "trueup.yaml")
    assert any("trueup connector show salesforce --file" in (problem.hint or "") for problem in caught.value.problems)


def test_a_value_that_requests_need_is_asked_for():
    with pytest.raises(ConfigError, match="tenant"):
        preset_class("xero").open("books", {})


BEGINNING = """
connector: x
http: {base_url: "https://x.example"}
objects:
  "*": {key: /id, read: {full: {get: "/${object}"}}}
"""


def test_what_stands_for_any_object_is_checked_like_others():
    assert parse_text(BEGINNING, "x.yaml").objects["*"].read.full.path == "/${object}"
    wrong = BEGINNING.replace('"*"', "a").replace("key: /id,", "key: /id, named: {get: /all, name: /n},").replace("${object}", "${objekt}")
    with pytest.raises(ConfigError) as caught:
        parse_text(wrong, "x.yaml")
    told_ = [problem.message for problem in caught.value.problems]
    assert len(told_) == 2
    assert any("did you mean `${object}`" in message for message in told_)
