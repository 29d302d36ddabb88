"""What is proposed for pairs of schemas whose answers are known, and for those that hold nothing in common."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.setup.schemas import ALL, Schemas, crm_and_accounting, people, sample
from trueup.decide.answers import Answers
from trueup.setup.pairing import SURE, grouped, match_objects
from trueup.setup.proposal import ProposedEntity, propose
from trueup.setup.samples import Sample
from trueup.setup.words import meaning
from trueup.setup.written import as_yaml


def proposed(schemas: Schemas, answers: dict[str, Answers] | None = None) -> ProposedEntity:
    """The one entity."""
    (entity,) = propose({schemas.left.system: [schemas.left], schemas.right.system: [schemas.right]}, answers)
    return entity


def pairs_of(entity: ProposedEntity, schemas: Schemas) -> dict[tuple[str, str], float]:
    """The proposed pairs of columns, and how sure each is."""
    return {
        (item.shown[schemas.left.system].column, item.shown[schemas.right.system].column): item.confidence
        for item in entity.fields.values()
    }


@pytest.mark.parametrize("make", ALL, ids=lambda make: str(make.__name__))
def test_nine_in_ten_are_right_and_none_is_wrong_without_a_mark(make: Any) -> None:
    schemas = make()
    found = pairs_of(proposed(schemas), schemas)
    right = found.keys() & schemas.answers
    assert len(right) >= 0.9 * len(schemas.answers), schemas.answers - right
    assert {pair for pair in found.keys() - schemas.answers if found[pair] >= SURE} == set()


@pytest.mark.parametrize("make", ALL, ids=lambda make: str(make.__name__))
def test_without_a_common_row_only_names_speak_and_nothing_wrong_is_sure(make: Any) -> None:
    """The right system's rows are others: a pair may be missed, or doubted, but not be wrong and sure."""
    schemas = make()
    strange = {
        name: [None if value is None else f"{value}x" if column.kind in {"text", "code", "email"} else value for value in column.values]
        for name, column in schemas.right.columns.items()
    }
    rows = [dict(zip(strange, values, strict=True)) for values in zip(*strange.values(), strict=True)]
    right = sample("other", schemas.right.name, schemas.right.key[0], dict.fromkeys(strange, "text"), rows)
    tie = match_objects(schemas.left, right)
    assert {(pair.left, pair.right) for pair in tie.pairs if pair.confidence >= SURE} <= schemas.answers


def test_what_is_matched_by_and_what_settles_edits() -> None:
    entity = proposed(crm_and_accounting())
    assert entity.name == "contact"
    assert [name for name, _why in entity.match] == ["email"]
    rules = {name: (item.type, item.rule, item.clean) for name, item in entity.fields.items()}
    assert rules["email"] == ("text", "last_write_wins", ("trim", "lower"))
    assert rules["credit"] == ("decimal", None, ())
    assert rules["active"] == ("boolean", None, ())
    assert rules["phone"] == ("text", "last_write_wins", ("{phone: GB}",))
    assert "phone numbers" in entity.fields["phone"].why_clean
    assert entity.fields["customer_since"].type == "date"
    assert "accounting.VAT ID" in entity.left_out


def test_stock_adds_up() -> None:
    entity = proposed(ALL[1]())
    assert entity.fields["quantity"].rule == "add"
    assert entity.fields["barcode"].type == "text"


def test_where_the_owner_is_clear_the_tidier_system_is_proposed() -> None:
    answers = Answers(
        frequency="nightly", delay="hours", error_cost="medium", people=2, systems=2, ownership="clear", quality="clean", maintenance=True
    )
    entity = proposed(crm_and_accounting(), {"anything": answers})
    assert {item.owner for item in entity.fields.values()} == {"crm"}


def test_objects_that_hold_other_things_are_not_put_together() -> None:
    customers = crm_and_accounting().left
    weather = [
        {"id": number, "name": f"Station {number}", "temperature": number % 30, "status": "ok" if number % 3 else "broken"}
        for number in range(90)
    ]
    other = sample("weather", "stations", "id", {"id": "integer", "name": "text", "temperature": "integer", "status": "text"}, weather)
    assert propose({"crm": [customers], "weather": [other]}) == []


def test_the_same_numbers_in_two_systems_are_no_sign_of_the_same_rows() -> None:
    """Both number their rows from one; nobody is in both."""
    chance = random.Random(5)
    ours = [{"id": number, "name": it["last"], "email": it["email"]} for number, it in enumerate(people(chance))]
    theirs = [{"id": number, "name": it["first"], "email": "x" + it["email"]} for number, it in enumerate(people(chance))]
    kinds = {"id": "integer", "name": "text", "email": "text"}
    tie = match_objects(sample("a", "customers", "id", kinds, ours), sample("b", "clients", "id", kinds, theirs))
    assert tie.aligned is None
    assert all("id" not in (pair.left, pair.right) for pair in tie.pairs)


def test_three_systems_become_one_entity() -> None:
    schemas = crm_and_accounting()
    third = sample(
        "letters",
        "subscribers",
        "E-mail address",
        dict.fromkeys(("E-mail address", "Forename", "Opt in"), "text"),
        [
            {"E-mail address": mail, "Forename": name, "Opt in": "yes"}
            for mail, name in zip(schemas.left.columns["EmailAddress"].values, schemas.left.columns["FirstName"].values, strict=True)
        ],
    )
    (entity,) = propose({"crm": [schemas.left], "accounting": [schemas.right], "letters": [third]})
    assert set(entity.samples) == {"crm", "accounting", "letters"}
    assert set(entity.fields["email"].shown) == {"crm", "accounting", "letters"}
    assert set(entity.fields["first_name"].shown) == {"crm", "accounting", "letters"}


def named(system: str, columns: dict[str, str], rows: list[dict[str, Any]]) -> Sample:
    """A table of people with these columns; `columns` says which of `people`'s each shows, `whole` being the name in one piece."""
    shown = [{**it, "whole": f"{it['first']} {it['last']}", "id": number} for number, it in enumerate(rows)]
    kinds = {"id": "integer", **dict.fromkeys(columns, "text")}
    return sample(system, "customers", "id", kinds, [{"id": it["id"], **{name: it[of] for name, of in columns.items()}} for it in shown])


def test_first_and_last_name_are_one_field_with_a_whole_name_elsewhere() -> None:
    rows = people(random.Random(3))
    parts = named("crm", {"Given name": "first", "Surname": "last", "mail": "email"}, rows)
    whole = named("shop", {"name": "whole", "e-mail": "email"}, rows[20:])
    third = named("post", {"Name": "whole", "E-Mail": "email"}, rows[:90])
    (entity,) = propose({"crm": [parts], "shop": [whole], "post": [third]})
    assert {system: it.column for system, it in entity.fields["name"].shown.items()} == {
        "crm": "Given name + Surname", "shop": "name", "post": "Name",
    }  # fmt: skip
    assert entity.fields["name"].sure
    assert entity.left_out == []
    written = as_yaml([], [entity])
    assert 'read: "concat_ws(\' \', \\"Given name\\", Surname)"' in written
    assert "Given name: \"split_part(name, ' ', 1)\"" in written


def test_where_two_systems_hold_a_name_in_two_columns_it_is_two_fields() -> None:
    """Put together for the sake of the third, `Anna Maria` + `Ash` would come back as `Anna` + `Maria Ash`."""
    rows = people(random.Random(3))
    parts = {"first_name": "first", "last_name": "last", "mail": "email"}
    samples = [named("crm", parts, rows), named("till", parts, rows[10:]), named("shop", {"name": "whole", "mail": "email"}, rows[5:100])]
    (entity,) = propose({one.system: [one] for one in samples})
    assert {name: set(item.shown) for name, item in entity.fields.items()} == {
        "first_name": {"crm", "till"}, "last_name": {"crm", "till"}, "email": {"crm", "till", "shop"},
    }  # fmt: skip
    assert entity.left_out == ["shop.name"]


def test_a_name_of_other_people_is_no_join() -> None:
    rows = people(random.Random(3))
    parts = named("crm", {"first_name": "first", "last_name": "last", "mail": "email"}, rows)
    others = [{**it, "first": rows[-1 - number]["first"], "last": "Otherwise"} for number, it in enumerate(rows)]
    (entity,) = propose({"crm": [parts], "shop": [named("shop", {"name": "whole", "mail": "email"}, others)]})
    assert not any(shown.column == "first_name + last_name" for item in entity.fields.values() for shown in item.shown.values())


def test_what_only_two_of_three_systems_hold_is_a_field_whichever_two_they_are() -> None:
    rows = people(random.Random(3))
    samples = [
        named("crm", {"mail": "email"}, rows),
        named("shop", {"mail": "email", "phone": "phone"}, rows),
        named("post", {"mail": "email", "Telephone": "phone"}, rows),
    ]
    (entity,) = propose({one.system: [one] for one in samples})
    assert set(entity.fields["phone"].shown) == {"shop", "post"}


@pytest.mark.parametrize(("hour", "mapped"), [(8, True), (9, False)])
def test_each_system_s_own_clock_is_mapped_only_where_it_is_the_same_moment(hour: int, mapped: bool) -> None:
    rows = [{**it, "ours": f"2026-03-{n % 28 + 1:02}T08:15:00Z", "theirs": f"2026-03-{n % 28 + 1:02} {hour:02}:15:00"} for n, it in
            enumerate(people(random.Random(3)))]  # fmt: skip
    ours = named("crm", {"mail": "email", "updated_at": "ours"}, rows)
    theirs = named("shop", {"mail": "email", "last_modified": "theirs"}, rows)
    (entity,) = propose({"crm": [ours], "shop": [theirs]})
    assert ("modified" in entity.fields) is mapped


def test_two_systems_that_number_their_rows_have_no_number_in_common_although_it_is_the_same_so_far() -> None:
    """The next row that each of them makes would have the number of another one."""
    rows = people(random.Random(3))
    (entity,) = propose({"crm": [named("crm", {"mail": "email"}, rows)], "shop": [named("shop", {"mail": "email"}, rows)]})
    assert not entity.fields["id"].sure
    written = as_yaml([], [entity])
    assert "# id:" in written
    assert "each system numbers its new rows itself" in written
    assert "assign" not in written


def test_why_objects_that_look_alike_are_not_put_together_is_told() -> None:
    rows = people(random.Random(3))
    crm = named("crm", {"mail": "email", "town": "town", "phone": "phone"}, rows)
    twice = named("shop", {"mail": "email", "town": "town", "phone": "phone"}, [*rows[:40], *rows[:40]])
    aside: list[str] = []
    assert propose({"crm": [crm], "shop": [twice]}, aside=aside) == []
    (why,) = aside
    assert why.startswith("crm: customers and shop: customers look alike, but no column tells rows apart in each of them")
    aside.clear()
    assert propose({"crm": [crm], "shop": [named("shop", {"mail": "email", "town": "town", "phone": "phone"}, [])]}, aside=aside) == []
    assert aside == ["crm: customers and shop: customers look alike, but shop has no rows that would tell"]


def orders(system: str, column: str, pointing: list[int]) -> Sample:
    """Orders that refer to customers by each system's own numbers."""
    rows = [{"id": number, "number": f"A-{number:03}", column: key} for number, key in enumerate(pointing)]
    return sample(system, "orders", "id", {"id": "integer", "number": "text", column: "integer"}, rows)


@pytest.mark.parametrize(("column", "shift", "refers"), [("customer", 30, True), ("customer", 31, False), ("pieces", 30, False)])
def test_a_column_refers_where_its_name_and_the_rows_behind_it_say_so(column: str, shift: int, refers: bool) -> None:
    """The second system has its customers 30 rows further down; there is no telling from the numbers alone."""
    rows = people(random.Random(3))
    crm = [named("crm", {"mail": "email"}, rows), orders("crm", column, [30 + n % 40 for n in range(60)])]
    shop = [
        named("shop", {"mail": "email"}, rows[30:]),
        orders("shop", column, [30 + n % 40 - shift + (shift > 30) * 2 for n in range(60)]),
    ]
    found = {entity.name: entity for entity in propose({"crm": crm, "shop": shop})}
    field = found["order"].fields.get("customer")
    assert (field is not None and field.refers is found["customer"]) is refers
    if refers:
        assert "customer: {type: reference, entity: customer}" in as_yaml([], list(found.values())).replace("  ", " ")
        alone = as_yaml([], [found["order"]])
        assert "# customer:" in alone, "the person did not want the customers"


def test_a_thousand_columns_are_compared() -> None:
    names = [f"column {number:03}" for number in range(1000)]
    rows = [{"id": row, **{name: f"{name} {row}" for name in names}} for row in range(12)]
    kinds = {"id": "integer", **dict.fromkeys(names, "text")}
    others = [{**row, "id": 500 - number} for number, row in enumerate(rows)]
    tie = match_objects(sample("a", "wide", "id", kinds, rows), sample("b", "wide", "id", kinds, others))
    assert {(pair.left, pair.right) for pair in tie.pairs} == {(name, name) for name in names}


def test_empty_tables_are_paired_by_their_names_and_nothing_is_matched_by() -> None:
    kinds = {"id": "integer", "email": "text", "name": "text"}
    ours, theirs = sample("a", "customers", "id", kinds, []), sample("b", "clients", "id", kinds, [])
    assert all(pair.evidence.endswith("no rows to compare") for pair in match_objects(ours, theirs).pairs)
    assert propose({"a": [ours], "b": [theirs]}) == []
    assert grouped({"a": [ours], "b": []}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("E-Mail", "email_address"),
        ("Tel.", "PhoneNumber"),
        ("PLZ", "zip_code"),
        ("custEmail", "E-mail"),
        ("Given name", "FIRST_NAME"),
        ("Qty", "stock_level"),
        ("dob", "Date of Birth"),
        ("Item no", "sku"),
    ],
)
def test_names_that_mean_the_same(one: str, other: str) -> None:
    assert meaning(one, ("customer",)) == meaning(other, ("customer",))


@pytest.mark.parametrize(("one", "other"), [("phone", "mobile"), ("price", "cost"), ("first name", "last name"), ("created", "modified")])
def test_names_that_do_not(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)
