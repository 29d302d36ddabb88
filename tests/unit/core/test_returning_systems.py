"""A system that is taken out of the configuration for a while: it hears nothing, and knows nothing better when it comes back."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.tools import agreed, entity, holds, owed, shows, stands, updates, value
from trueup.core.reconcile import reconcile

WHOLE = entity(systems=("crm", "shop", "till"))
WITHOUT = entity(systems=("crm", "shop"))


def test_what_it_was_not_told_is_due_when_it_comes_back() -> None:
    away = replace(agreed(WHOLE), entity=WITHOUT)
    decision = reconcile(shows(away, crm={1: {"name": "Ann"}}))
    assert holds(decision, "till") == stands(decision, "till") == {"name": "Ada"}
    back = replace(away, entity=WHOLE, golden=decision.golden.drop("version").with_columns(version=1), shadows=decision.after)
    returned = reconcile(shows(back, till={1: {"name": "Ada"}}))
    assert value(returned) == "Ann"
    assert updates(owed(back, returned, "till")) == {1: {"name": "Ann"}}
