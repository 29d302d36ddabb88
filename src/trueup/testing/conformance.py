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

from typing import TYPE_CHECKING, Any

import pytest

from trueup.testing.conformance_rules import RULES, UNDECLARED, caps_table, notices
from trueup.testing.conformance_tools import Rule, RuleBrokenError, abilities
from trueup.testing.conformance_watch import watch_rule
from trueup.testing.conformance_world import Column, RowsWorld, Traits, Trial, World
from trueup.testing.mutants import MUTANTS, Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    "WatchSuite",
    "World",
    "abilities",
    "caps_table",
    "notices",
]


def _skip_undeclared(rule: Rule, world: World) -> None:
    missing = rule.missing(world)
    if missing:
        pytest.skip(f"{UNDECLARED} {', '.join(missing)}")


_LASTING = {"a_wait_ends_in_time", "wake_ends_a_wait"}


def _named(mutants: Sequence[Mutant]) -> list[Any]:
    """Mutants as cases of a test; those that are noticed by waiting are among the slow ones."""
    return [
        pytest.param(
            mutant, id=f"{mutant.lie.__name__}-breaks-{mutant.breaks}", marks=[pytest.mark.slow] if mutant.breaks in _LASTING else []
        )
        for mutant in mutants
    ]


_WATCH_RULES = [rule.check.__name__ for rule in watch_rule.all]
_WATCH_MUTANTS = [mutant for mutant in MUTANTS if mutant.breaks in _WATCH_RULES]


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

    @pytest.mark.parametrize("mutant", _named(MUTANTS))
    def test_mutant(self, world: World, mutant: Mutant) -> None:
        """The rule notices when this connector lies."""
        rule = next(rule for rule in RULES if rule.check.__name__ == mutant.breaks)
        _skip_undeclared(rule, world)
        if not mutant.applies(world):
            pytest.skip(f"{UNDECLARED} nothing for the mutant to lie about")
        with mutant.at_work(world):
            assert notices(rule, world), f"the rule passes a connector that lies: {mutant.lie.__doc__}"


class WatchSuite(ConnectorSuite):
    """Only the rules about watching: for a connector that can watch in several ways, once more for each further way."""

    @pytest.mark.parametrize("rule", watch_rule.all, ids=lambda rule: rule.check.__name__)
    def test_rule(self, world: World, rule: Rule) -> None:
        """The connector keeps the rule."""
        super().test_rule(world, rule)

    @pytest.mark.parametrize("mutant", _named(_WATCH_MUTANTS))
    def test_mutant(self, world: World, mutant: Mutant) -> None:
        """The rule notices when this connector lies."""
        super().test_mutant(world, mutant)
