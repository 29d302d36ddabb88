"""What is asked of a person, what an answer does, and whose word is proposed where it is not asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.setup.schemas import ALL, Schemas, crm_and_accounting, sample
from trueup.decide.answers import Answers
from trueup.setup.proposal import ProposedEntity, propose
from trueup.setup.questions import Asked, chosen, questions
from trueup.setup.standing import doubt, standings
from trueup.setup.written import as_yaml

CLEAR = Answers(
    frequency="nightly", delay="hours", error_cost="medium", people=2, systems=2, ownership="clear", quality="clean", maintenance=True
)


def proposed(schemas: Schemas, answers: dict[str, Answers] | None = None) -> list[ProposedEntity]:
    return propose({schemas.left.system: [schemas.left], schemas.right.system: [schemas.right]}, answers)


def asked_about(entities: list[ProposedEntity], answers: dict[str, str]) -> list[Asked]:
    """All that is asked; a question that holds one of these words is answered so, others by Enter."""
    found = []
    for asked in questions(entities):
        found.append(asked)
        word = next((typed for part, typed in answers.items() if part in asked.asks), "")
        taken = chosen(asked, word) if asked.choices else word
        assert taken is not None
        asked.settle(taken)
    return found


def held(system: str, rows: int, gaps: int, changed: str = "", counted: int | None = -1) -> Any:
    """A list of people with that many rows, of which so many have no name."""
    made = [{"id": n, "mail": f"p{n}@example.org", "name": None if n < gaps else f"N {n}", "updated_at": changed} for n in range(rows)]
    types = {"id": "integer", "mail": "text", "name": "text"} | ({"updated_at": "datetime"} if changed else {})
    found = sample(system, "people", "id", types, made)
    return replace(found, rows=None if counted is None else rows)


def test_nothing_is_asked_that_the_answers_and_the_systems_say_already() -> None:
    """Where what was measured leaves it open whose word counts, that is asked all the same."""
    schemas = crm_and_accounting()
    for rows, more in ((100, ["whose word"]), (1000, [])):
        entities = proposed(replace(schemas, left=replace(schemas.left, rows=rows)), {"contacts": CLEAR})
        told = [asked.asks for asked in asked_about(entities, {}) if "hold the same" not in asked.asks]
        assert len(told) == len(more) + 1
        assert all(part in asks for part, asks in zip([*more, "decides what needs"], told, strict=True))


def test_enter_takes_what_stands_in_the_file_without_asking() -> None:
    """But for the pace, of which there is no default without a person."""
    for make in ALL:
        entities, untouched = proposed(make()), proposed(make())
        asked_about(entities, {})
        for mine, theirs in zip(entities, untouched, strict=True):
            assert mine.precedence == theirs.precedence
            assert [(item.name, item.owner, item.sure) for item in mine.fields.values()] == [
                (item.name, item.owner, item.sure) for item in theirs.fields.values()
            ]
            assert mine.assigns == {}
            assert mine.when == "[{every: 1h}]"


def test_whose_word_counts() -> None:
    entities = proposed(crm_and_accounting())
    asked_about(entities, {"whose word": "ACCOUNTING", "how long": "1", "decides": "Head of Sales: 'EMEA'"})
    (entity,) = entities
    assert {item.owner for item in entity.fields.values()} == {"accounting"}
    assert entity.precedence == ("accounting", "crm")
    written = as_yaml([], entities)
    assert "precedence: [accounting, crm]    # as you said; " in written
    assert "when: [realtime]    # for `trueup serve`, as you said" in written
    assert """owner: "Head of Sales: 'EMEA'\"""" in written


def test_columns_that_may_be_one_field() -> None:
    found = {}
    for word in ("yes", "no", "later"):
        entities = proposed(ALL[2]())
        (entity,) = entities
        doubtful = {item.name for item in entity.fields.values() if not item.sure}
        assert doubtful, "these schemas have columns that are not certain"
        asked = [one for one in asked_about(entities, {"hold the same": word}) if "hold the same" in one.asks]
        assert len(asked) == len(doubtful)
        assert all(len(one.evidence) >= 3 for one in asked), "the columns with values, and why"
        found[word] = (doubtful & {name for name in entity.fields if entity.fields[name].sure}, doubtful - set(entity.fields))
        lines = as_yaml([], entities).splitlines()
        marked = any("LOW CONFIDENCE" in line and line.strip().startswith("# ") for line in lines)
        assert marked is (word == "later")
        assert any("one field, as you said" in line for line in lines) is (word == "yes")
    assert found["yes"] == (doubtful, set())
    assert found["no"] == (set(), doubtful)
    assert found["later"] == (set(), set())


def test_records_that_nobody_wants_are_left_alone() -> None:
    one, other = crm_and_accounting(), ALL[1]()
    systems = {
        "crm": [one.left, replace(other.left, system="crm")],
        "files": [replace(one.right, system="files"), replace(other.right, system="files")],
    }
    entities = propose(systems)
    names = [entity.name for entity in entities]
    assert len(names) == 2
    asked_about(entities, {f"Keep {names[0]} together": "no"})
    assert [entity.name for entity in entities] == names[1:]


def test_who_gives_new_rows_their_key() -> None:
    schemas = crm_and_accounting()
    schemas = replace(schemas, left=replace(schemas.left, assigns_key=False))
    entities = proposed(schemas)
    asked = [one for one in asked_about(entities, {"new rows": "sequence"}) if "new rows" in one.asks]
    assert [choice.word for choice in asked[0].choices] == ["sequence", "wait"]
    assert "key: {column: id, assign: sequence}" in as_yaml([], entities)
    waiting = proposed(schemas)
    asked_about(waiting, {})
    assert "new rows wait until you say" in as_yaml([], waiting)


@pytest.mark.parametrize("typed", ["fax", "0", "4", "yes!", "²"])
def test_what_is_no_choice(typed: str) -> None:
    entities = proposed(ALL[2]())
    asked = next(one for one in questions(entities) if len(one.choices) == 3)
    assert chosen(asked, typed) is None


def test_a_system_with_twice_the_rows_weighs_more_than_one_that_is_a_little_tidier() -> None:
    small, large = held("small", 100, 0), held("large", 200, 20)
    ranked = standings([small, large])
    assert [(it.system, it.rows, it.tidy) for it in ranked] == [("large", 200, 95), ("small", 100, 100)]
    assert doubt(ranked) == "small is tidier, large holds more"
    thin = sample(
        "thin", "people", "id", {"id": "integer", "name": "text"}, [{"id": n, "name": "N" if n < 20 else None} for n in range(200)]
    )
    assert [(it.system, it.weight) for it in standings([thin, small])] == [("small", 0.5), ("thin", 0.1)]


def test_of_equals_the_fresher_one_comes_first() -> None:
    old, new = held("old", 50, 0, "2025-01-01T00:00:00Z"), held("new", 50, 0, "2026-05-01T00:00:00Z")
    ranked = standings([old, new])
    assert [it.system for it in ranked] == ["new", "old"]
    assert ranked[0].words == "50 rows, 100 % full and tidy, last change 2026-05-01"
    assert doubt(ranked) == "old is as full and tidy"
    assert [it.system for it in standings([held("a", 5, 0), held("b", 5, 0)])] == ["a", "b"], "the first that was named"


def test_evidence_that_settles_it() -> None:
    assert doubt(standings([held("one", 300, 0), held("other", 100, 50)])) is None
    assert doubt(standings([held("one", 300, 0), held("other", 100, 50, counted=None)])) == "how many rows there are is not known of all"
    assert doubt(standings([held("one", 0, 0), held("other", 0, 0)])) == "other is as full and tidy"
    assert doubt(()) is None


def test_each_kind_of_record_takes_its_own_answers() -> None:
    one, other = crm_and_accounting(), ALL[1]()
    systems = {
        "crm": [one.left, replace(other.left, system="crm")],
        "files": [replace(one.right, system="files"), replace(other.right, system="files")],
    }
    slow = replace(CLEAR, delay="days", ownership="duplicated")
    people, goods = sorted(propose(systems, {"Customers": CLEAR, "products": slow, "weather": CLEAR}), key=lambda entity: entity.name)
    assert (people.answers_of, goods.answers_of) == ("Customers", "products")
    assert (people.max_delay, goods.max_delay) == ("1d", "3d")
    assert {item.owner is None for item in goods.fields.values()} == {True}
    assert {item.owner is None for item in people.fields.values()} == {False}
    (nameless, _goods) = propose(systems, {"weather": CLEAR, "rain": slow})
    assert nameless.answers_of is None
    assert nameless.when is None
