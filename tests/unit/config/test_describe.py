"""The description of a mapping: stable, complete, and different exactly where rows would be read or written differently."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trueup.config import load_config, mapping_fingerprint, mapping_spec, restore_mapping
from trueup.model import Config

TEXT = """
systems:
  crm: {connector: sqlite, path: crm.db}
entities:
  customer:
    owner: Sales
    fields:
      name: {required: true, clean: [trim, {phone: GB}], pattern: "^a"}
      credit: {type: decimal, scale: 2, min: 0.10, max: 99.5, conflict: {merge: add}}
      born: {type: date, min: 1900-01-01}
      status: {one_of: [active, closed]}
      spare: text
    mappings:
      crm:
        object: contacts
        key: [branch, id]
        where: "a = 1"
        set: {b: 1, a: x}
        fields:
          name: {read: "lower(n)", write: {n: name}}
          credit: {column: credit, format: "1,234.56"}
          born: born
          status: {column: state, values: {active: A, closed: C}}
"""


def spec_of(load: Callable[[str], Config], text: str = TEXT, *, timezone: str | None = None) -> dict[str, Any]:
    return mapping_spec(load(text).entities["customer"], "crm", timezone=timezone)


def test_it_is_plain_json_and_gives_the_mapping_back(load):
    customer = load(TEXT).entities["customer"]
    spec = json.loads(json.dumps(mapping_spec(customer, "crm")))
    fields, mapping = restore_mapping(spec)
    assert mapping == replace(customer.mappings["crm"], line=0)
    kept = {name: replace(customer.fields[name], conflict="manual") for name in fields}
    assert fields == {name: replace(field, one_of=tuple(sorted(field.one_of))) for name, field in kept.items()}
    assert mapping_spec(replace(customer, fields=fields, mappings={"crm": mapping}), "crm") == spec


def test_the_order_of_keys_changes_nothing(load):
    lines = TEXT.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if "name: {read" in line)
    turned = "".join([*lines[:start], *reversed(lines[start : start + 4])])
    turned = (
        turned.replace("{b: 1, a: x}", "{a: x, b: 1}")
        .replace("{active: A, closed: C}", "{closed: C, active: A}")
        .replace("[active, closed]", "[closed, active]")
    )
    assert turned != TEXT
    assert mapping_fingerprint(spec_of(load, turned)) == mapping_fingerprint(spec_of(load))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{merge: add}", "last_write_wins"),
        ("owner: Sales", "owner: Finance"),
        ("spare: text", "spare: integer"),
        ("\nentities", "\n\nentities"),
        ("0.10", "0.1"),
    ],
)
def test_what_changes_no_row_changes_nothing(load, old, new):
    assert mapping_fingerprint(spec_of(load, TEXT.replace(old, new))) == mapping_fingerprint(spec_of(load))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lower(n)", "upper(n)"),
        ("{n: name}", "{m: name}"),
        ("scale: 2", "scale: 3"),
        ("born: born", "born: birthday"),
        ("closed: C", "closed: D"),
        ("1,234.56", "1.234,56"),
        ("a = 1", "a = 2"),
        ("{b: 1", "{b: 2"),
        ("[branch, id]", "[id, branch]"),
        ("contacts", "people"),
        ("[trim, ", "["),
        ("99.5", "99"),
        ("one_of: [active", "one_of: [new, active"),
        ("type: date, min: 1900-01-01", "type: text"),
        ("key:", "direction: write\n        key:"),
    ],
)
def test_what_changes_a_row_changes_the_fingerprint(load, old, new):
    assert old in TEXT
    assert mapping_fingerprint(spec_of(load, TEXT.replace(old, new))) != mapping_fingerprint(spec_of(load))


def test_the_time_zone_counts(load):
    assert mapping_fingerprint(spec_of(load, timezone="Europe/London")) != mapping_fingerprint(spec_of(load))


def test_a_later_version_is_refused(load):
    with pytest.raises(ValueError, match="version 99"):
        restore_mapping(spec_of(load) | {"version": 99})


def test_every_mapping_of_the_example_gives_itself_back():
    urls = {"CRM_URL": "postgresql://localhost/crm", "BILLING_URL": "mysql://localhost/billing"}
    config = load_config(Path(__file__).parent / "assets" / "full.yaml", urls)
    for entity in config.entities.values():
        for system, mapping in entity.mappings.items():
            fields, restored = restore_mapping(json.loads(json.dumps(mapping_spec(entity, system))))
            assert restored == replace(mapping, line=0, fields={name: replace(part, owner=None) for name, part in mapping.fields.items()})
            assert list(fields) == sorted(mapping.fields)
