"""Which golden record a row is: the rules in order, and who makes a record."""

from __future__ import annotations

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.match import INDEX_SCHEMA, PAIR_SCHEMA, match

ROWS = {SYSTEM: pl.String(), KEY: pl.String(), "page": pl.Int32(), "h0": pl.Int64(), "h1": pl.Int64()}
NOTHING = pl.DataFrame(schema=INDEX_SCHEMA)
NOBODY = pl.DataFrame(schema=PAIR_SCHEMA)


def rows(*given: tuple[str, str, int | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame([(system, key, 0, first, second) for system, key, first, second in given], schema=ROWS, orient="row")


def test_a_write_only_system_links_to_what_is_born_after_it_in_precedence() -> None:
    found = match(rows(("crm", "1", 7, None), ("shop", "5", 7, None)), ["crm", "shop"], 2, NOTHING, NOBODY, 100, ["crm"])
    assert found.links.select(SYSTEM, GID, "born").rows() == [("shop", 100, True), ("crm", 100, False)]


def test_a_write_only_row_that_nobody_else_has_makes_no_record() -> None:
    found = match(rows(("crm", "1", 7, None)), ["crm", "shop"], 2, NOTHING, NOBODY, 100, ["crm"])
    assert found.links.is_empty()
    assert found.parked.is_empty()


def test_the_same_record_twice_in_one_system_links_once() -> None:
    found = match(rows(("crm", "10", 7, None), ("crm", "9", 7, None)), ["crm"], 2, NOTHING, NOBODY, 100, [])
    assert found.links.select(KEY, GID).rows() == [("9", 100)]
    assert found.parked.select(KEY, "candidates").rows() == [("10", [100])]


def test_a_weaker_rule_does_not_link_what_a_stronger_one_tells_apart() -> None:
    known = pl.DataFrame([(0, 1, 50), (1, 3, 50)], schema=INDEX_SCHEMA, orient="row")
    found = match(rows(("crm", "1", 2, 3)), ["crm"], 2, known, NOBODY, 100, [])
    assert found.links.select(GID, "born").rows() == [(100, True)]


def test_null_never_matches() -> None:
    known = pl.DataFrame([(0, 1, 50)], schema=INDEX_SCHEMA, orient="row")
    found = match(rows(("crm", "1", None, None), ("crm", "2", None, None)), ["crm"], 2, known, NOBODY, 100, [])
    assert found.links["born"].to_list() == [True, True]
