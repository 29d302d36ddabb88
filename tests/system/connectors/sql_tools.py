"""Short ways to read and write through a connector, for the tests of the SQL connectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Connector, Page, Reject, WriteBatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.model import ObjectSpec, OperationKind


def pages(connector: Connector, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> list[Page]:
    """All pages of a read, which must end with exactly one complete page."""
    found = list(connector.read(obj, columns, **how))
    assert [page.complete for page in found] == [False] * (len(found) - 1) + [True]
    assert all(page.rows.columns == ["__key", *columns] for page in found)
    return found


def rows(connector: Connector, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> dict[str, tuple[Any, ...]]:
    """Values by key; every key once."""
    listed = [row for page in pages(connector, obj, columns, **how) for row in page.rows.iter_rows()]
    found = {row[0]: row[1:] for row in listed}
    assert len(found) == len(listed)
    return found


def rejects(connector: Connector, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> list[Reject]:
    """All rejects of a read."""
    return [reject for page in pages(connector, obj, columns, **how) for reject in page.rejected]


def batch(
    kind: OperationKind,
    keys: Sequence[str | None],
    values: Mapping[str, Sequence[Any] | pl.Series] | None = None,
    *,
    expected: Mapping[str, Sequence[Any] | pl.Series] | None = None,
    writes: Sequence[Sequence[str]] | None = None,
    returning: Sequence[str] = (),
) -> WriteBatch:
    """A batch whose operations are numbered from 1."""
    ops = pl.Series("__op", range(1, len(keys) + 1), dtype=pl.Int64())
    frame = pl.DataFrame([ops, pl.Series("__key", list(keys), dtype=pl.String())])
    written = frame.with_columns(**{name: pl.Series(given, strict=False) for name, given in (values or {}).items()})
    if writes is not None:
        written = written.with_columns(pl.Series("__write", [list(names) for names in writes], dtype=pl.List(pl.String())))
    seen = None
    if expected is not None:
        seen = pl.DataFrame([ops, pl.Series("__version", [None] * len(keys), dtype=pl.String())]).with_columns(
            **{name: pl.Series(given, strict=False) for name, given in expected.items()}
        )
    return WriteBatch(kind=kind, rows=written, expected=seen, returning=tuple(returning))


def outcomes(connector: Connector, obj: ObjectSpec, what: WriteBatch) -> list[dict[str, Any]]:
    """Outcomes in the order of operations, one for each."""
    frame = connector.write(obj, what).sort("__op")
    assert frame.get_column("__op").to_list() == what.rows.get_column("__op").sort().to_list()
    return frame.to_dicts()


def statuses(connector: Connector, obj: ObjectSpec, what: WriteBatch) -> list[str]:
    """Statuses in the order of operations."""
    return [outcome["__status"] for outcome in outcomes(connector, obj, what)]
