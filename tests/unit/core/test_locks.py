"""What is locked where, from the configuration alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trueup.core.locks import ChangedWhere, changed_where, places
from trueup.model import Config, Deletes, Entity, Field, FieldMapping, Lock, Mapping, ObjectSpec, System


def plain(*names: str) -> dict[str, FieldMapping]:
    return {name: FieldMapping(field=name, column=f"c_{name}") for name in names}


def person(owners: dict[str, str | None], mappings: dict[str, Mapping], **more: Any) -> Entity:
    fields = {name: Field(name=name, source_of_truth=owner) for name, owner in owners.items()}
    named = {system: replace(mapping, system=system) for system, mapping in mappings.items()}
    return Entity(name="person", fields=fields, mappings=named, precedence=tuple(named), **more)


def mapping(fields: dict[str, FieldMapping], **more: Any) -> Mapping:
    return Mapping(entity="person", system="", object=ObjectSpec(name="people", key=("id",)), fields=fields, **more)


def config(*entities: Entity, **systems: str | None) -> Config:
    known = {name: System(name=name, connector="sqlite", owner=owner) for name, owner in systems.items()}
    return Config(file="", directory="", state="", systems=known, entities={entity.name: entity for entity in entities})


def locks(found: Config, *, entities: tuple[str, ...] = ()) -> dict[str, Lock]:
    return {place.system: place.lock for place in places(found, tuple(found.systems), entities or tuple(found.entities))}


def test_columns_of_fields_that_are_changed_elsewhere():
    shape = person({"name": "hr", "phone": "desk"}, {one: mapping(plain("name", "phone")) for one in ("hr", "desk")})
    assert locks(config(shape, hr=None, desk=None)) == {"hr": Lock({"c_phone": "desk"}), "desk": Lock({"c_name": "hr"})}


def test_rows_where_everything_is_changed_elsewhere_with_the_key():
    shape = person({"name": "hr"}, {one: mapping(plain("name")) for one in ("hr", "pay")}, match=(("name",),))
    assert locks(config(shape, hr=None, pay=None)) == {"pay": Lock({"c_name": "hr", "id": "hr"}, ("hr",))}


def test_no_rows_where_deletes_of_this_system_count():
    shape = person({"name": "hr"}, {one: mapping(plain("name")) for one in ("hr", "pay")}, deletes=Deletes(("pay",), "propagate"))
    assert locks(config(shape, hr=None, pay=None)) == {"pay": Lock({"c_name": "hr"})}


def test_rows_are_added_where_records_are_recognised():
    shape = person({"no": "hr", "phone": "desk"}, {one: mapping(plain("no", "phone")) for one in ("hr", "desk", "pay")}, match=(("no",),))
    assert locks(config(shape, hr=None, desk=None, pay=None))["pay"].rows == ("hr",)


def test_a_column_that_also_shows_what_is_changed_here_stays_open():
    shown = plain("note") | {
        "name": FieldMapping(field="name", read="concat_ws(' ', first, c_note)", write={"first": "name"}),
    }
    shape = person({"name": "hr", "note": None}, {"hr": mapping(plain("name", "note")), "pay": mapping(shown)})
    assert locks(config(shape, hr=None, pay=None)) == {"pay": Lock({"first": "hr"})}


def test_one_table_of_two_entities_is_judged_by_both():
    one = person({"name": "hr"}, {"hr": mapping(plain("name")), "pay": mapping(plain("name"))})
    mine = {name: replace(each, entity="job") for name, each in one.mappings.items()}
    other = Entity(name="job", fields={"name": Field(name="name")}, mappings=mine, precedence=("hr", "pay"))
    assert locks(config(one, other, hr=None, pay=None)) == {}
    titles = {name: replace(each, fields=plain("title")) for name, each in mine.items()}
    other = Entity(name="job", fields={"title": Field(name="title")}, mappings=titles, precedence=("hr", "pay"))
    found = places(config(one, other, hr=None, pay=None), ("pay",), ("job",))
    assert [(place.entities, place.lock) for place in found] == [(("person", "job"), Lock({"c_name": "hr"}))]


def test_nothing_where_nothing_is_written_or_owned():
    read = person({"name": "hr"}, {"hr": mapping(plain("name")), "pay": mapping(plain("name"), direction="read")})
    free = person({"name": None}, {one: mapping(plain("name")) for one in ("hr", "pay")})
    assert locks(config(read, hr=None, pay=None)) == locks(config(free, hr=None, pay=None)) == {}


def test_where_a_field_is_changed_and_by_whom_the_nearest_owner_says():
    fields = plain("name", "phone", "grade") | {"email": FieldMapping(field="email", column="mail", owner="Post room")}
    owners = {"name": "hr", "phone": "desk", "grade": None, "email": "hr"}
    shape = person(owners, {"hr": mapping(fields), "desk": mapping(plain("phone"))}, owner="Personnel")
    assert changed_where(config(shape, hr=None, desk="Front desk"), ["person"]) == [
        ChangedWhere("person", "name", "hr", "Personnel"),
        ChangedWhere("person", "phone", "desk", "Front desk"),
        ChangedWhere("person", "grade", None, "Personnel"),
        ChangedWhere("person", "email", "hr", "Post room"),
    ]
