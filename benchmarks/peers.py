"""Peers on the same tables. Run as a program: `peers.py dlt SOURCE_URL TARGET_URL append|merge`, so that memory is the peer's own."""

from __future__ import annotations

import sys


def dlt_copy(source: str, target: str, disposition: str) -> None:
    """Dlt's own way from a SQL table to PostgreSQL, in Arrow frames; `merge` needs the primary key and can be repeated."""
    import dlt
    from dlt.sources.sql_database import sql_table

    table = sql_table(source, table="contact", backend="pyarrow", reflection_level="full_with_precision")
    table.apply_hints(primary_key="id", write_disposition=disposition)
    pipeline = dlt.pipeline("peer", destination=dlt.destinations.postgres(target), dataset_name=f"dlt_{disposition}", dev_mode=False)
    pipeline.run(table)


if __name__ == "__main__":
    dlt_copy(sys.argv[2], sys.argv[3], sys.argv[4])
