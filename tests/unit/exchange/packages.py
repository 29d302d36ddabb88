"""Packages for tests: written as trueup writes them, and spoilt in every way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from trueup.core.cells import NULL
from trueup.exchange.checking import check_package, checked_rows
from trueup.exchange.naming import PackageName
from trueup.exchange.statement import FILE, GONE_COLUMNS, ID, Column, Form, Head, Statement
from trueup.exchange.writing import write_package

NAME = PackageName("invoice", 7)
COLUMNS = (Column(ID, "integer"), Column("number", "text"), Column("net", "decimal"))
ROWS = pl.DataFrame({ID: [1, 4, 9], "number": ["A-1", "O'Neill, „x“ 👩‍💻 שלום", NULL], "net": ["0.1", "0.2", None]})
GONE = pl.DataFrame({ID: ["2", "3"], "at": ["2026-11-20T02:00:00Z", NULL], "into": [NULL, "1"]})
NOBODY = pl.DataFrame(schema=dict.fromkeys((name for name, _kind in GONE_COLUMNS), pl.String))


def written(
    folder: Path,
    form: Form = "csv",
    *,
    rows: pl.DataFrame = ROWS,
    columns: tuple[Column, ...] = COLUMNS,
    gone: pl.DataFrame = GONE,
    signed: bool = False,
) -> Statement:
    """A package in this folder."""
    head = Head(
        entity="invoice",
        sequence=7,
        cutoff=datetime(2026, 11, 20, tzinfo=UTC),
        timezone="Europe/London",
        exported_at=datetime(2026, 11, 20, 1, 0, 0, 123456, tzinfo=UTC),
        form=form,
        columns=columns,
        signed=signed,
    )
    return write_package(folder, head, lambda: [rows], lambda: gone)


def read(folder: Path, name: PackageName = NAME, signers: tuple[str, ...] = ()) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The records and what is gone, after all checks."""
    statement = check_package(folder, name, signers=signers)
    records, gone = (list(checked_rows(folder, statement, one)) for one in statement.resources)
    return pl.concat(records) if records else ROWS.clear(), pl.concat(gone) if gone else NOBODY


def restated(folder: Path, **own: Any) -> None:
    """The statement fits the files again, as if their maker had written them so; `own` changes what it says of itself."""
    body = json.loads((folder / FILE).read_text())
    for one in body["resources"]:
        content = (folder / one["path"]).read_bytes()
        one["hash"], one["bytes"] = f"sha256:{sha256(content).hexdigest()}", len(content)
    body["trueup"] |= own
    (folder / FILE).write_text(json.dumps(body))


def edited(folder: Path, name: str, old: bytes, new: bytes) -> None:
    """Replace bytes in a file, which must be there."""
    content = (folder / name).read_bytes()
    assert old in content
    (folder / name).write_bytes(content.replace(old, new, 1))
