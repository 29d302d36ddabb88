"""The columnar merge against the naive one: random situations, every rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trueup.core.cells import AT, GID, NULL, SYSTEM
from trueup.core.merge import FREEZE_SCHEMA, Situation, merge
from trueup.model import Entity, Field, FieldMapping, Mapping, ObjectSpec
from trueup.testing.oracle import Answer, Candidate, Question, Said, agree

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SYSTEMS = ("crm", "shop", "till")
KINDS = {"add": "integer", "union": "list", "text": "text", "rule": "integer"}
VALUES = {
    "integer": [NULL, "1", "2", "3", "10"],
    "text": [NULL, "", "a", "b", "a\nb", "a\nc", "d\nb", "a\nb\nc"],
    "list": [NULL, "[]", '["x"]', '["x","y"]', '["y"]', '["y","z"]'],
}
TIMES = [None, NOW - timedelta(days=2), NOW - timedelta(hours=1), NOW + timedelta(hours=3)]


@st.composite
def questions(draw: st.DrawFn) -> Question:
    rule: Any = draw(st.sampled_from(["manual", "last_write_wins", "first_write_wins", "max", "min", "add", "union", "text", "rule"]))
    kind: Any = KINDS.get(rule) or draw(st.sampled_from(["integer", "text"]))
    values = st.sampled_from(VALUES[kind])
    golden = draw(st.one_of(st.none(), values))
    owner = None if rule != "manual" else draw(st.one_of(st.none(), st.sampled_from(SYSTEMS)))
    said = []
    for system in draw(st.sets(st.sampled_from(SYSTEMS), min_size=1)):
        first = golden is None or draw(st.integers(0, 3)) == 0
        seen = None if first else draw(values)
        sent = None if first else draw(st.one_of(st.just(seen), st.just(golden), values))
        said.append(
            Said(
                system,
                draw(values),
                seen,
                sent,
                draw(st.sampled_from(TIMES)),
                first,
                deaf=system == "till" and draw(st.integers(0, 4)) == 0,
                refused=not first and draw(st.integers(0, 8)) == 0,
            )
        )
    said = [item for item in said if item.first or item.observed != item.seen]
    waiting = rule not in ("add", "union") and golden is not None and draw(st.integers(0, 4)) == 0
    other = draw(values)
    candidates = [Candidate("desk", other, NOW - timedelta(days=1)), Candidate(None, golden, None)] if waiting and other != golden else []
    return Question(
        rule=rule,
        kind=kind,
        precedence=(*SYSTEMS, "desk"),
        golden=golden,
        origin=None if golden is None else draw(st.sampled_from((*SYSTEMS, "desk"))),
        origin_at=None if golden is None else draw(st.sampled_from(TIMES[1:3])),
        said=said,
        now=NOW,
        owner=owner,
        owner_holds=owner is not None and (any(item.system == owner for item in said) or draw(st.booleans())),
        explicit=draw(st.booleans()),
        open=candidates,
        judge=lambda incoming, agreed: agreed if incoming == NULL else str(max(int(incoming), int(agreed))),
    )


def situation(question: Question) -> Situation:
    """The same question as the engine is asked it."""
    mappings = {}
    for name in question.precedence:
        deaf = any(item.system == name and item.deaf for item in question.said)
        spec = ObjectSpec(name="t", key=("id",))
        fields = {"f": FieldMapping(field="f", column="f")}
        mappings[name] = Mapping(entity="e", system=name, object=spec, fields=fields, direction="write" if deaf else "both")
    rule = "greatest(incoming, golden)" if question.rule == "rule" else None
    entity = Entity(
        name="e",
        fields={"f": Field(name="f", type=question.kind, conflict=question.rule, rule=rule, source_of_truth=question.owner)},
        mappings=mappings,
        precedence=tuple(question.precedence),
        explicit_precedence=question.explicit,
    )
    moment = pl.Datetime("us", "UTC")
    texts = dict.fromkeys(("observed", "seen", "sent", "golden"), pl.String())
    schema = (
        {GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String()}
        | texts
        | {
            AT: moment,
            "first": pl.Boolean(),
            "new_row": pl.Boolean(),
            "refused": pl.Boolean(),
            "old_window": pl.Boolean(),
            "origin": pl.String(),
            "origin_at": moment,
        }
    )
    cells = pl.DataFrame(
        [
            (1, item.system, "f", item.observed, item.seen, item.sent, question.golden, item.at, item.first, item.first, item.refused,
             False, question.origin, question.origin_at)
            for item in question.said
        ],
        schema=schema,
        orient="row",
    )  # fmt: skip
    holders = pl.DataFrame(
        [(1, question.owner)] if question.owner_holds else [], schema={GID: pl.Int64(), SYSTEM: pl.String()}, orient="row"
    )
    frozen = pl.DataFrame(
        [(1, "f", item.system, item.value, item.at, True, None, "conflict") for item in question.open], schema=FREEZE_SCHEMA, orient="row"
    )
    records = pl.DataFrame({GID: [1], "f": [question.golden]}, schema={GID: pl.Int64(), "f": pl.String()})
    return Situation(entity=entity, cells=cells, holders=holders, frozen=frozen, records=records, now=NOW)


def answer(question: Question) -> Answer:
    """What the engine says, in the oracle's form."""
    merged = merge(situation(question))
    golden = merged.changes["after"][0] if merged.changes.height else question.golden
    frozen = {(system, value) for system, value in merged.frozen.select(SYSTEM, "value").rows()}
    if merged.frozen.is_empty() and merged.thawed.is_empty():
        frozen = {(item.system, item.value) for item in question.open}
    told = merged.history.filter(pl.col("kind").is_in(["lost", "overruled"])).select("kind", SYSTEM, "after").rows()
    stands = {system: (seen, sent) for system, seen, sent in merged.updates.select(SYSTEM, "seen", "sent").rows()}
    return Answer(golden, stands=stands, open=frozen, told=set(told))


OWNER_AGAIN = Question(
    rule="manual",
    kind="integer",
    precedence=SYSTEMS,
    golden="1",
    origin="crm",
    origin_at=NOW,
    said=[Said("crm", "2", first=True)],
    now=NOW,
    owner="crm",
    owner_holds=True,
)
"""The owner of a value is met for the first time, as after a change of its mapping, and says something else than it said before."""


@settings(max_examples=400)
@given(questions())
@example(OWNER_AGAIN)
def test_columnar_and_naive_merge_agree(question: Question) -> None:
    assert answer(question) == agree(question)


@settings(max_examples=100)
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_systems_does_not_matter(question: Question, random: Any) -> None:
    shuffled = list(question.said)
    random.shuffle(shuffled)
    assert answer(replace(question, said=shuffled)) == answer(question)
