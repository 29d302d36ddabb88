"""Which golden record a row is: the rules in order, and who makes a record."""

from __future__ import annotations

import polars as pl
import pytest

from trueup.core.cells import GID, KEY
from trueup.core.match import INDEX_SCHEMA, PAIR_SCHEMA, Matching, match

ROWS = {KEY: pl.String(), "page": pl.Int32(), "place": pl.Int32(), "h0": pl.Int64(), "h1": pl.Int64()}
NOTHING = pl.DataFrame(schema=INDEX_SCHEMA)
NOBODY = pl.DataFrame(schema=PAIR_SCHEMA)


def rows(*given: tuple[str, str, int | None, int | None]) -> dict[str, pl.DataFrame]:
    """Rows (system, key, hash by the first rule, hash by the second) as they were read."""
    systems = dict.fromkeys(system for system, *_rest in given)
    shown = {name: [row for row in given if row[0] == name] for name in systems}
    return {
        name: pl.DataFrame([(key, 0, place, *hashes) for place, (_system, key, *hashes) in enumerate(mine)], schema=ROWS, orient="row")
        for name, mine in shown.items()
    }


def linked(found: Matching) -> list[tuple[str, str, int, bool]]:
    """(system, key, golden id, born), by golden id."""
    links = [(name, *row) for name, frame in found.links.items() for row in frame.select(KEY, GID, "born").rows()]
    return sorted(links, key=lambda link: link[2])


def test_a_write_only_system_links_to_what_is_born_after_it_in_precedence() -> None:
    found = match(rows(("crm", "1", 7, None), ("shop", "5", 7, None)), ["crm", "shop"], 2, NOTHING, NOBODY, 100, ["crm"])
    assert linked(found) == [("shop", "5", 100, True), ("crm", "1", 100, False)]


def test_a_write_only_row_that_nobody_else_has_makes_no_record() -> None:
    found = match(rows(("crm", "1", 7, None)), ["crm", "shop"], 2, NOTHING, NOBODY, 100, ["crm"])
    assert linked(found) == []
    assert found.parked.is_empty()


def test_the_same_record_twice_in_one_system_links_once() -> None:
    found = match(rows(("crm", "10", 7, None), ("crm", "9", 7, None)), ["crm"], 2, NOTHING, NOBODY, 100, [])
    assert linked(found) == [("crm", "9", 100, True)]
    assert found.parked.select(KEY, "candidates").rows() == [("10", [100])]


def test_a_weaker_rule_does_not_link_what_a_stronger_one_tells_apart() -> None:
    known = pl.DataFrame([(0, 1, 50), (1, 3, 50)], schema=INDEX_SCHEMA, orient="row")
    found = match(rows(("crm", "1", 2, 3)), ["crm"], 2, known, NOBODY, 100, [])
    assert linked(found) == [("crm", "1", 100, True)]


def test_null_never_matches() -> None:
    known = pl.DataFrame([(0, 1, 50)], schema=INDEX_SCHEMA, orient="row")
    found = match(rows(("crm", "1", None, None), ("crm", "2", None, None)), ["crm"], 2, known, NOBODY, 100, [])
    assert [born for *_link, born in linked(found)] == [True, True]


@pytest.mark.parametrize("keys", [["1", "2", "10"], ["10", "2", "1"], ["b", "10", "a", "9"], ["7", "07", "3"], []])
@pytest.mark.parametrize("sorted_rows", [2, 500_000])
def test_records_are_numbered_by_key_wherever_the_rows_stand(keys: list[str], sorted_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.core.match.SORTED_ROWS", sorted_rows)
    found = match(rows(*(("crm", key, number, None) for number, key in enumerate(keys))), ["crm"], 2, NOTHING, NOBODY, 100, [])
    wanted = sorted(keys, key=lambda key: (not key.isdecimal(), int(key) if key.isdecimal() else 0, key))
    assert [(key, gid) for _system, key, gid, _born in linked(found)] == [(key, 100 + number) for number, key in enumerate(wanted)]
    for frame in found.links.values():
        assert frame["place"].to_list() == [keys.index(key) for key in frame[KEY]]


@pytest.mark.parametrize("hashes", [[5, -5, 5], [2**63 - 1, 0, 2**63 - 1], [-(2**63), 1, -(2**63)]])
def test_alike_rows_are_found_among_any_number_of_rows(hashes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.core.match.SORTED_ROWS", 1)
    found = match(rows(*(("crm", str(key), None, value) for key, value in enumerate(hashes))), ["crm"], 2, NOTHING, NOBODY, 100, [])
    assert found.parked.select(KEY, "candidates").rows() == [("2", [100])]
    assert linked(found) == [("crm", "0", 100, True), ("crm", "1", 101, True)]
