"""The JSON Schema for editors: valid itself, true of good configurations, and of use while typing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from trueup.config import json_schema
from trueup.config.schema import ConfigShape
from trueup.config.schema_base import Shape
from trueup.yamlfile import parse_yaml, plain, read_yaml

ASSETS = Path(__file__).parent / "assets"


def errors(data: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(data)]


def test_it_is_valid_draft_2020_12_and_plain_json():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema


@pytest.mark.parametrize("file", ["full.yaml", "documented.yaml"])
def test_the_whole_example_is_valid(file):
    assert errors(plain(read_yaml(ASSETS / file).data)) == []


@pytest.mark.parametrize(
    ("system", "valid"),
    [
        ("{connector: csv, path: x.csv}", True),
        ("{connector: csv, path: '${PLACE}'}", True),
        ("{connector: csv}", False),
        ("{connector: csv, path: [x]}", False),
        ("{connector: cvs, path: x}", False),
        ("{path: x}", False),
    ],
)
def test_settings_of_a_connector_are_known_to_the_editor(system, valid):
    assert (errors(plain(parse_yaml(f"systems: {{s: {system}}}", "f").data)) == []) is valid


@pytest.mark.parametrize(
    "entity",
    [
        "{fields: {a: text, b: {}}, guard: off}",
        "{fields: {a: text}, guard: false}",
        "{fields: {a: text}, mappings: {s: {key: {column: [x, y], assign: [a, a]}, object: {sql: SELECT 1}, fields: {a: A}}}}",
        "{fields: {a: {conflict: {merge: max}}}, when: [{cron: '* * * * *'}], deletes: {from: s, action: ignore}}",
    ],
)
def test_short_forms_are_valid(entity):
    assert errors(plain(parse_yaml(f"{{systems: {{s: {{connector: csv, path: x}}}}, entities: {{e: {entity}}}}}", "f").data)) == []


@pytest.mark.parametrize(
    "entity",
    [
        "{fields: {a: {typ: text}}}",
        "{fields: {a: {type: txt}}}",
        "{fields: {a: text}, gard: off}",
        "{fields: {a: text}, guard: of}",
        "{fields: {a: text}, when: [{every: 1m, at: x}]}",
        "{fields: {a: text}, mappings: {s: {fields: {a: A}}}}",
        "{fields: {a: {conflict: {merge: ad}}}}",
        "{fields: {a: text}, max_delay: 5}",
    ],
)
def test_slips_are_seen_by_the_editor(entity):
    assert errors(plain(parse_yaml(f"{{systems: {{s: {{connector: csv, path: x}}}}, entities: {{e: {entity}}}}}", "f").data))


def shapes(shape: type[Shape] = Shape) -> list[type[Shape]]:
    return [found for child in shape.__subclasses__() for found in (child, *shapes(child))]


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.__name__)
def test_every_setting_has_a_help_text(shape):
    assert shape.__doc__
    helpless = [name for name in shape.settings() if not {info.alias: info for info in shape.model_fields.values()}[name].description]
    assert helpless == []


def test_settings_of_the_top_are_those_documented():
    top = ("state", "master_key", "systems", "entities", "retention", "alerts", "notices", "packages", "metrics")
    assert ConfigShape.settings() == (*top, "report", "manual", "runbooks")
