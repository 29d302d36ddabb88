"""What a good configuration becomes: types, defaults, short forms."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from trueup.config import load_config
from trueup.model import CleanStep, Deletes, Guard, ObjectSpec, When

ASSETS = Path(__file__).parent / "assets"
URLS = {"CRM_URL": "postgresql://reader:pw@localhost/crm", "BILLING_URL": "mysql://reader:pw@localhost/billing"}

SMALL = """
systems:
  crm: {connector: sqlite, path: crm.db}
  sheet: {connector: csv, path: customers.csv}
entities:
  customer:
    match: [[email]]
    fields: {name: text, email: text, %s}
    mappings:
      crm: {object: contacts, key: id, fields: {name: name, email: email}}
      sheet: {key: No, fields: {name: Name, email: E-mail}}
    %s
"""


def small(fields: str = "", more: str = "") -> str:
    return SMALL % (fields, more)


def test_the_whole_example_loads_without_a_note():
    config = load_config(ASSETS / "full.yaml", URLS)
    assert config.notes == ()
    assert list(config.systems) == ["crm", "billing", "till", "sheet", "stock", "feed"]
    assert list(config.entities) == ["customer", "order", "product"]
    assert config.systems["crm"].settings == {"url": URLS["CRM_URL"]}
    assert config.systems["billing"].timezone == "Europe/London"
    assert config.systems["feed"].limits == {"rows_per_s": 500, "connections": 2, "not_between": (("09:00", "17:00"),)}
    assert config.systems["feed"].paused


def test_the_documented_example_loads_as_it_stands():
    config = load_config(ASSETS / "documented.yaml", URLS)
    assert list(config.entities["customer"].mappings) == ["crm", "sheet"]
    assert config.entities["customer"].precedence == ("crm", "sheet")
    assert any("billing is the source of truth, but has no mapping" in note.message for note in config.notes)


def test_the_customer_of_the_example_is_typed_as_written():
    customer = load_config(ASSETS / "full.yaml", URLS).entities["customer"]
    assert customer.match == (("email",), ("phone", "name"))
    assert customer.precedence == ("crm", "billing", "sheet")
    assert customer.explicit_precedence
    assert customer.fields["name"].source_of_truth == "crm"
    assert customer.fields["name"].required
    assert customer.fields["email"].clean == (CleanStep("trim"), CleanStep("lower"))
    assert customer.fields["phone"].clean == (CleanStep("phone", "GB"),)
    assert {name: field.conflict for name, field in customer.fields.items()} == {
        "name": "manual",
        "email": "manual",
        "phone": "last_write_wins",
        "credit": "manual",
        "points": "add",
        "tags": "union",
        "notes": "text",
        "price": "rule",
        "status": "manual",
    }
    assert customer.fields["price"].rule == "greatest(incoming, golden)"
    assert customer.fields["price"].hold_if == "incoming < base * 0.5"
    assert customer.fields["price"].scale == 2
    assert customer.fields["status"].one_of == ("active", "closed")
    assert customer.deletes == Deletes(sources=("crm",), action="propagate")
    assert customer.guard == Guard(deletes=0.05, updates=0.30, at_least=20)
    assert (customer.full_every_s, customer.max_delay_s, customer.owner) == (86_400, 120, "Head of Sales")
    assert customer.triggers == {"events": ("created", "updated"), "fields": ("email", "phone")}
    assert customer.when == (
        When(kind="realtime"),
        When(kind="every", every_s=900),
        When(kind="at", at="02:00", days=(0, 1, 2, 3, 4), timezone="Europe/London"),
        When(kind="cron", cron="*/10 8-18 * * 1-5", timezone="UTC"),
    )


def test_the_mappings_of_the_example_are_typed_as_written():
    entities = load_config(ASSETS / "full.yaml", URLS).entities
    crm = entities["customer"].mappings["crm"]
    assert crm.object == ObjectSpec(name="contacts", key=("id",), modified="updated_at")
    assert crm.fields["name"].read == "concat_ws(' ', first_name, last_name)"
    assert list(crm.fields["name"].write) == ["first_name", "last_name"]
    assert crm.fields["email"].column == "email_address"
    assert crm.fields["status"].values == {"active": "A", "closed": "C"}
    assert crm.fields["tags"].separator == ","
    sheet = entities["customer"].mappings["sheet"]
    assert (sheet.object.name, sheet.object.key, sheet.object.assign) == (None, ("Customer No",), "sequence")
    assert (sheet.where, dict(sheet.set), sheet.direction) == ("country = 'GB'", {"country": "GB"}, "both")
    assert sheet.fields["credit"].format == "1,234.56"
    assert entities["customer"].mappings["billing"].object.key == ("branch", "account_no")
    assert entities["order"].fields["customer"].entity == "customer"
    query = entities["order"].mappings["billing"]
    assert query.object.name is None
    assert query.object.sql is not None
    assert query.object.sql.startswith("SELECT id")
    assert not query.writes
    assert entities["product"].mappings["stock"].object.header_row == 2
    assert entities["product"].mappings["stock"].object.assign == "field:sku"


def test_lines_of_systems_and_mappings_are_kept():
    config = load_config(ASSETS / "full.yaml", URLS)
    text = (ASSETS / "full.yaml").read_text(encoding="utf-8").splitlines()
    assert text[config.systems["till"].line - 1].strip().startswith("till:")
    assert text[config.entities["customer"].mappings["sheet"].line - 1].strip() == "sheet:"


def test_defaults(load, tmp_path: Path):
    config = load(small())
    customer = config.entities["customer"]
    assert config.state == str(tmp_path / ".trueup" / "state.db")
    assert config.directory == str(tmp_path)
    assert customer.guard == Guard()
    assert (customer.deletes, customer.max_delay_s, customer.when, customer.triggers) == (None, None, (), {})
    assert customer.full_every_s == 86_400
    assert customer.precedence == ("crm", "sheet")
    assert not customer.explicit_precedence
    assert customer.mappings["crm"].object.assign == "system"
    assert customer.mappings["sheet"].object.assign == "auto"
    assert (customer.fields["name"].type, customer.fields["name"].conflict) == ("text", "manual")
    assert config.systems["crm"].timezone is None


def test_a_path_relative_to_the_process_is_made_absolute(tmp_path: Path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "trueup.yaml").write_text(small(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    config = load_config("sub/trueup.yaml", {})
    assert config.file == "sub/trueup.yaml"
    assert config.directory == str(tmp_path / "sub")
    assert os.path.isabs(config.state)  # noqa: PTH117  the state may be an address, so it is text


@pytest.mark.parametrize(
    ("state", "meant"),
    [("postgresql://u:p@host/db", "postgresql://u:p@host/db"), ("/var/lib/state.db", "/var/lib/state.db"), ("../x.db", None)],
)
def test_state_is_an_address_or_a_path_beside_the_file(load, tmp_path: Path, state, meant):
    assert load(f"state: {state}\n{small()}").state == (meant or str(tmp_path.parent / "x.db"))


def test_precedence_is_completed_in_the_order_of_the_mappings(load):
    customer = load(small(more="precedence: [sheet]")).entities["customer"]
    assert (customer.precedence, customer.explicit_precedence) == (("sheet", "crm"), True)


@pytest.mark.parametrize(
    ("written", "guard"),
    [
        ("off", None),
        ("false", None),
        ("'off'", None),
        ("on", Guard()),
        ("true", Guard()),
        ("{deletes: off}", Guard(deletes=None)),
        ("{deletes: 0.5, updates: '12.5%', at_least: 0}", Guard(deletes=0.5, updates=0.125, at_least=0)),
    ],
)
def test_guards(load, written, guard):
    assert load(small(more=f"guard: {written}")).entities["customer"].guard == guard


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90), ("2m", 120), ("1h30m", 5400), ("1d", 86_400), ("1w", 604_800), ("1.5h", 5400), ("500ms", 0.5)]
)
def test_durations(load, written, seconds):
    assert load(small(more=f"max_delay: {written}")).entities["customer"].max_delay_s == seconds


@pytest.mark.parametrize(
    ("written", "days"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat,sun", (5, 6)),
        ("[mon, wednesday]", (0, 2)),
        ("fri-mon", (0, 4, 5, 6)),
        ("daily", tuple(range(7))),
        ("sunday", (6,)),
        ("Mon-Wed, fri", (0, 1, 2, 4)),
    ],
)
def test_days_of_a_schedule(load, written, days):
    [when] = load(small(more=f"when: [{{at: 2:00, days: {written if '[' in written else repr(written)}}}]")).entities["customer"].when
    assert when == When(kind="at", at="02:00", days=days, timezone="UTC")


def test_limits_are_in_the_type_of_the_field(load):
    fields = (
        load(
            small(
                "a: {type: decimal, min: 0.10, max: 12345678901234567890.05}, b: {type: date, min: 2000-01-01}, "
                "c: {type: integer, max: '7'}, "
                "d: {type: datetime, max: '2026-11-20T02:00:00+02:00'}"
            )
        )
        .entities["customer"]
        .fields
    )
    assert (fields["a"].minimum, fields["a"].maximum) == (Decimal("0.1"), Decimal("12345678901234567890.05"))
    assert fields["b"].minimum == date(2000, 1, 1)
    assert fields["c"].maximum == 7
    assert fields["d"].maximum == datetime(2026, 11, 20, tzinfo=UTC)


def test_allowed_values_are_canonical_texts(load):
    fields = (
        load(
            small(
                "a: {type: decimal, one_of: [1.50, '2']}, b: {type: integer, one_of: [1, 2]}, "
                "c: {one_of: [NO, 007, 1.10]}, d: {type: list, one_of: [x, 5]}"
            )
        )
        .entities["customer"]
        .fields
    )
    assert fields["a"].one_of == ("1.5", "2")
    assert fields["b"].one_of == ("1", "2")
    assert fields["c"].one_of == ("NO", "007", "1.10")
    assert fields["d"].one_of == ("x", "5")


def test_value_maps_keep_native_types_and_canonical_keys(load):
    config = load(
        """
        systems: {crm: {connector: sqlite, path: x}}
        entities:
          c:
            fields: {s: {one_of: [active, closed]}, b: boolean, country: text, n: integer}
            mappings:
              crm:
                object: t
                key: id
                fields:
                  s: {column: s, values: {active: 1, closed: 2}}
                  b: {column: b, values: {True: Y, no: N}}
                  country: {column: c, values: {NO: NOR, GB: true}}
                  n: {column: n, values: {1: one, 2: 02}}
        """
    )
    fields = config.entities["c"].mappings["crm"].fields
    assert fields["s"].values == {"active": 1, "closed": 2}
    assert all(type(value) is int for value in fields["s"].values.values())
    assert fields["b"].values == {"true": "Y", "false": "N"}
    assert fields["country"].values == {"NO": "NOR", "GB": True}
    assert fields["n"].values == {"1": "one", "2": "02"}


def test_names_of_columns_may_look_like_numbers(load):
    customer = load(small().replace("key: No", "key: 0012").replace("name: Name", "name: 2024")).entities["customer"]
    assert customer.mappings["sheet"].object.key == ("0012",)
    assert customer.mappings["sheet"].fields["name"].column == "2024"


@pytest.mark.parametrize(
    ("key", "columns", "assign"),
    [
        ("No", ("No",), "auto"),
        ("E-mail", ("E-mail",), "field:email"),
        ("[E-mail, Name]", ("E-mail", "Name"), "field:email,name"),
        ("[E-mail, Other]", ("E-mail", "Other"), "auto"),
        ("{column: No, assign: uuid}", ("No",), "uuid"),
        ("{column: No, assign: email}", ("No",), "field:email"),
        ("{column: [a, b], assign: [name, email]}", ("a", "b"), "field:name,email"),
    ],
)
def test_keys_and_who_gives_them(load, key, columns, assign):
    native = load(small().replace("key: No", f"key: {key}")).entities["customer"].mappings["sheet"].object
    assert (native.key, native.assign) == (columns, assign)


def test_the_entitys_source_of_truth_owns_what_it_shows_and_nobody_else_does(load):
    fields = load(small("phone: {conflict: last_write_wins}, other: text", "source_of_truth: crm")).entities["customer"].fields
    owners = {name: field.source_of_truth for name, field in fields.items()}
    assert owners == {"name": "crm", "email": "crm", "phone": None, "other": None}


def test_an_empty_setting_is_as_if_not_said(load):
    assert load(small(more="owner:\n    guard:\n    deletes:")).entities["customer"].guard == Guard()


def test_archive_values_are_in_the_type_of_their_field(load):
    deletes = (
        load(small("gone: date, open: boolean", "deletes: {from: crm, action: archive, set: {gone: 2026-01-31, open: no}}"))
        .entities["customer"]
        .deletes
    )
    assert deletes == Deletes(sources=("crm",), action="archive", set={"gone": date(2026, 1, 31), "open": False})


def test_options_of_a_mapping(load):
    text = small().replace(
        "key: No,",
        "key: No, empty: text, create: true, header_row: 3, separator: '|', options: {a: 1.5}, "
        "modified: Changed, direction: write, owner: Sales,",
    )
    sheet = load(text).entities["customer"].mappings["sheet"]
    assert (sheet.object.empty_is_text, sheet.object.create, sheet.object.header_row) == (True, True, 3)
    assert (sheet.object.options, sheet.object.modified) == ({"a": 1.5}, "Changed")
    assert (sheet.direction, sheet.owner, sheet.fields["name"].separator) == ("write", "Sales", "|")


def test_renamed_systems_and_fields(load):
    config = load(small("phone: {was: tel}").replace("{connector: csv,", "{connector: csv, was: list, settle: 5s, owner: Office,"))
    assert config.systems["sheet"].was == "list"
    assert (config.systems["sheet"].settle_s, config.systems["sheet"].owner) == (5, "Office")
    assert config.entities["customer"].fields["phone"].was == "tel"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("systems: {crm: {connector: sqlite, path: x}}", "no entities"),
        (small("phone: text"), "phone is in no mapping"),
        (small().replace("match: [[email]]", ""), "no match rules"),
        (
            small()
            .replace("match: [[email]]", "match: [[email], [phone]]")
            .replace("email: email}", "email: email, phone: p}")
            .replace("text, }", "text, phone: text}"),
            "fewer than two systems",
        ),
        (small().replace("entities:", "  till: {connector: sqlite, path: y}\nentities:"), "no entity has a mapping for till"),
        (
            small(more="precedence: [till]").replace("entities:", "  till: {connector: sqlite, path: y}\nentities:"),
            "its precedence has no effect",
        ),
        (small().replace("key: id", "key: id, direction: read").replace("key: No", "key: No, direction: read"), "only read everywhere"),
        (small().split("      sheet: {key")[0], "has 1 mapping"),
    ],
)
def test_what_is_odd_is_noted_and_loads(load, text, words):
    assert any(words in note.message for note in load(text).notes)
