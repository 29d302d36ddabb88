"""A system that takes its time: PostgreSQL behind an interface that needs so many seconds for each row, written or listed.

python -m benchmarks.slow_system serve|worker …    trueup, with the connector `slow`
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from trueup.__main__ import main
from trueup.connectors import registry
from trueup.connectors.base import PAGE_ROWS
from trueup.connectors.postgres import PostgresConnector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from trueup.connectors.base import Page, Part, WriteBatch
    from trueup.model import ObjectSpec

ROW_S = "BENCH_ROW_S"
READ_ROW_S = "BENCH_READ_ROW_S"
CALL_ROWS = 100


class SlowConnector(PostgresConnector):
    """As an HTTP interface that takes a hundred rows per call."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Write, a call after the other."""
        row_s = float(os.environ.get(ROW_S, "0"))
        for start in range(0, batch.rows.height, CALL_ROWS):
            time.sleep(row_s * min(CALL_ROWS, batch.rows.height - start))
        return super().write(obj, batch)

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """Read; a listing takes its time."""
        pages = super().read(obj, columns, since=since, keys=keys, page_rows=page_rows)
        return pages if keys is not None else _slowly(pages)

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """Read a part."""
        return _slowly(super().read_part(obj, columns, part, page_rows=page_rows))


def _slowly(pages: Iterator[Page]) -> Iterator[Page]:
    row_s = float(os.environ.get(READ_ROW_S, "0"))
    for page in pages:
        time.sleep(row_s * page.rows.height)
        yield page


if __name__ == "__main__":
    registry._SHIPPED["slow"] = ("benchmarks.slow_system", "SlowConnector")  # noqa: SLF001  as a package of others brings one
    sys.exit(main())
