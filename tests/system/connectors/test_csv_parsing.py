"""What a CSV file holds, however it is written: an own naive parser is the judge."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.system.connectors.csv_tools import NotWellFormed, as_cell, connector, naive, read_all, well_formed
from trueup.connectors import csv_rows


@given(file=well_formed(), exact=st.booleans())
@settings(max_examples=300)
def test_any_well_formed_file_reads_as_the_naive_parser_reads_it(tmp_path_factory, file, exact):
    text, rows = file
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(text.encode())
    sheet = connector(path, delimiter=",", encoding="utf-8")
    columns = [f"c{n}" for n in range(len(rows[0]) if rows else 2)]
    with pytest.MonkeyPatch.context() as patch:
        if exact:
            patch.setattr(csv_rows.CsvReading, "_fast_chunk", lambda *_, **__: (None, pl.Series("__key", [], dtype=pl.String)))
        found, last, rejected = read_all(sheet, columns)
    assert [[row[name] or "" for name in columns] for row in found] == rows
    assert naive(text)[1:] == [[str(n), *row] for n, row in enumerate(rows)]
    assert last.complete
    assert not rejected


@given(body=st.text(alphabet='a",\n\r', max_size=24))
@settings(max_examples=500)
def test_the_fast_reader_is_only_used_where_it_is_right(tmp_path_factory, body):
    """Whatever the bytes: with the fast reader and without, the same rows and rejects; and no byte is lost on the way back."""
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    content = ("id,v\n" + body).encode()
    path.write_bytes(content)

    def outcome() -> Any:
        rows, last, rejected = read_all(connector(path, delimiter=",", encoding="utf-8"), ["v"])
        return [(row["__key"], row["v"] or "") for row in rows], last.complete, sorted(str(item) for item in rejected)

    fast = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows.CsvReading, "_fast_chunk", lambda *_, **__: (None, pl.Series("__key", [], dtype=pl.String)))
        assert outcome() == fast
    try:
        rows = [row for row in naive("id,v\n" + body)[1:] if row != [""]]
    except NotWellFormed:
        assert fast[2], "what is not well-formed is told"
        return
    only_quotes = '""' in body  # which makes a record of one field, unlike an empty line
    if not only_quotes and all(len(row) == 2 for row in rows) and len({row[0] for row in rows} - {""}) == len(rows):
        assert fast == ([tuple(row) for row in rows], True, [])


def test_blocks_end_anywhere(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    rows = [(str(n), ("x" * (n % 7)) + ('"\n,' if n % 5 == 0 else "") + "é") for n in range(400)]
    path.write_bytes(b"id,v\n" + "".join(f"{key},{as_cell(value, False)}\r\n" for key, value in rows).encode())
    for size in (16, 17, 64, 301):
        monkeypatch.setattr(csv_rows, "BLOCK_BYTES", size)
        found, last, rejected = read_all(connector(path), ["v"])
        assert [(row["__key"], row["v"] or "") for row in found] == rows
        assert (last.complete, rejected) == (True, [])
