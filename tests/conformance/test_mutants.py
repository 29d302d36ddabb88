"""Every rule is seen to fail: each lie is noticed by the rule it names, and each rule is named by a lie."""

from __future__ import annotations

import pytest

from trueup.connectors.memory import FULL_CAPS
from trueup.testing.conformance_memory import MemoryTrialWorld
from trueup.testing.conformance_rules import RULES, caps_table, notices
from trueup.testing.mutants import MUTANTS, Mutant

RULES_BY_NAME = {rule.check.__name__: rule for rule in RULES}


@pytest.fixture
def world():
    world = MemoryTrialWorld(FULL_CAPS)
    yield world
    world.close()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.lie.__name__}-breaks-{mutant.breaks}")
def test_the_rule_that_a_lie_names_notices_it(world: MemoryTrialWorld, mutant: Mutant):
    rule = RULES_BY_NAME[mutant.breaks]
    assert rule.missing(world) == (), "the reference world has to have every ability, so that every rule is tried"
    assert mutant.applies(world)
    rule.check(world)
    with mutant.at_work(world):
        assert notices(rule, world), f"{rule.name}: passes a connector that lies: {mutant.lie.__doc__}"
    rule.check(world)


def test_every_rule_notices_a_lie():
    assert sorted({mutant.breaks for mutant in MUTANTS}) == sorted(RULES_BY_NAME)


def test_rules_have_names_of_their_own():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(names)


def test_a_rule_cannot_pass_a_connector_that_says_nothing(world: MemoryTrialWorld):
    world.memory.down = "down for maintenance"
    exempt = {"required_settings_are_required"}  # opens and closes alone
    assert [rule.name for rule in RULES if rule.check.__name__ not in exempt and not notices(rule, world)] == []


def test_the_table_shows_abilities_traits_and_rules(world: MemoryTrialWorld):
    rows = {(row.kind, row.name): row.cells for row in caps_table({"memory": world})}
    assert rows["ability", "precondition"] == {"memory": "native"}
    assert rows["ability", "fingerprint"] == {"memory": "-"}
    assert "decimal" in rows["trait", "types"]["memory"]
    assert rows["rule", "A delete of a row that is not there says gone"] == {"memory": "yes"}
    assert sum(kind == "rule" for kind, _ in rows) == len(RULES)
