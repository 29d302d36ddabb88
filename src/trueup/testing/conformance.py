"""The connector exam: one suite that every connector passes, shipped so that authors elsewhere can sit it too.

An author writes a `World` (how to make, edit and read back an object without the connector) and a test class:

    class TestMine(ConnectorSuite):
        @pytest.fixture
        def world(self, tmp_path):
            world = MyWorld(tmp_path)
            yield world
            world.close()

The class runs every rule, and shows that the rules would notice: each mutant (`mutants.py`), a connector that lies in one way, put around
the connector under test, must break the rule it is made for. A rule that needs an ability which is not declared is skipped with a reason
that begins with `UNDECLARED`; a declared ability that fails its rule is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trueup.testing.conformance_rules import RULES, UNDECLARED, caps_table, notices
from trueup.testing.conformance_tools import Rule, RuleBrokenError, abilities
from trueup.testing.conformance_world import Column, RowsWorld, Traits, Trial, World
from trueup.testing.mutants import MUTANTS, Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "MUTANTS",
    "RULES",
    "UNDECLARED",
    "Column",
    "ConnectorSuite",
    "Mutant",
    "RowsWorld",
    "Rule",
    "RuleBrokenError",
    "Traits",
    "Trial",
    "World",
    "abilities",
    "caps_table",
    "notices",
]


def _skip_undeclared(rule: Rule, world: World) -> None:
    missing = rule.missing(world)
    if missing:
        pytest.skip(f"{UNDECLARED} {', '.join(missing)}")


class ConnectorSuite:
    """Subclass it as `Test…` and override the fixture `world`, which the tests of a class may share: objects have names of their own."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        """The system under test."""
        pytest.fail(f"{type(self).__name__} has to override the fixture `world`")

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.check.__name__)
    def test_rule(self, world: World, rule: Rule) -> None:
        """The connector keeps the rule."""
        _skip_undeclared(rule, world)
        rule.check(world)

    @pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.lie.__name__}-breaks-{mutant.breaks}")
    def test_mutant(self, world: World, mutant: Mutant) -> None:
        """The rule notices when this connector lies."""
        rule = next(rule for rule in RULES if rule.check.__name__ == mutant.breaks)
        _skip_undeclared(rule, world)
        if not mutant.applies(world):
            pytest.skip(f"{UNDECLARED} nothing for the mutant to lie about")
        with mutant.at_work(world):
            assert notices(rule, world), f"the rule passes a connector that lies: {mutant.lie.__doc__}"
