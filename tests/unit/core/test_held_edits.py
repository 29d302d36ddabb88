"""What a `hold_if` stops is told in the history from the moment at which it was seen, as every other side of an open question."""

from __future__ import annotations

from tests.unit.core.tools import agreed, entity, shows, told, value, waiting
from trueup.core.reconcile import reconcile
from trueup.model import Field

SHAPE = entity(Field(name="phone", conflict="last_write_wins", hold_if="incoming < base"))


def test_a_held_edit_is_in_the_history() -> None:
    decision = reconcile(shows(agreed(SHAPE, {1: {"phone": "500"}}), shop={1: {"phone": "100"}}))
    assert value(decision, "phone") == "500"
    assert waiting(decision, "phone") == {("shop", "100")}
    assert told(decision, "candidate", "edit") == {("candidate", "shop", "100")}
