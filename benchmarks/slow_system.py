"""A system that takes its time: PostgreSQL behind an interface that needs so many seconds for each row that is written.

python -m benchmarks.slow_system serve|worker …    trueup, with the connector `slow`
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from trueup.__main__ import main
from trueup.connectors import registry
from trueup.connectors.postgres import PostgresConnector

if TYPE_CHECKING:
    import polars as pl

    from trueup.connectors.base import WriteBatch
    from trueup.model import ObjectSpec

ROW_S = "BENCH_ROW_S"
CALL_ROWS = 100


class SlowConnector(PostgresConnector):
    """As an HTTP interface that takes a hundred rows per call."""

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Write, a call after the other."""
        row_s = float(os.environ[ROW_S])
        for start in range(0, batch.rows.height, CALL_ROWS):
            time.sleep(row_s * min(CALL_ROWS, batch.rows.height - start))
        return super().write(obj, batch)


if __name__ == "__main__":
    registry._SHIPPED["slow"] = ("benchmarks.slow_system", "SlowConnector")  # noqa: SLF001  as a package of others brings one
    sys.exit(main())
