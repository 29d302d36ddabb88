"""The index of match values: by what a row of a system finds its golden record."""

from __future__ import annotations

from tests.unit.core.tools import ADA, NOW, agreed, entity, golden, known, shadow, shows
from trueup.core.cells import GID
from trueup.core.fingerprint import match_hash
from trueup.core.reconcile import reconcile

SHAPE = entity(match=(("email",),))


def test_a_record_that_lives_again_is_found_again():
    dead = known(SHAPE, [golden(SHAPE, 1, ADA, deleted_at=NOW)], [shadow(1, "shop")])
    decision = reconcile(shows(dead, shop={1: {"name": "Ann"}}))
    found = decision.index.filter(decision.index["rule"] == 0)
    assert found[GID].to_list() == [1]
    assert found["hash"].to_list() == match_hash(decision.records, ("email",), 0).to_list()


def test_an_edit_of_another_field_leaves_the_index_alone():
    assert reconcile(shows(agreed(SHAPE), shop={1: {"name": "Ann"}})).indexed.is_empty()
