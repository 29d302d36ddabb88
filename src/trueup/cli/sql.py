"""`trueup sql`: read-only SQL over golden records, links and history."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, complain, looked, say, say_json, style, workspace_of

SHOWN_ROWS = 1000
MOST_ROWS = 1_000_000_000
"""More do not come in one answer: drivers count rows in 32 bits."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sql", short_help="Read-only SQL over the golden records.")(sql)


def sql(
    ctx: typer.Context,
    statement: Annotated[str, typer.Argument(metavar="'SELECT …'", help="One reading statement.", show_default=False)],
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most N rows.")] = SHOWN_ROWS,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Ask the state in SQL: one view per entity, named as it is, with a column per field; `links`, and `changes` (the history).

    Nothing can be changed by it.
    """
    from trueup.reports.table import table
    from trueup.store import Store

    limit = min(limit, MOST_ROWS)
    with workspace_of(ctx, config, connects=False) as workspace, Store.open(workspace.state_target, read_only=True) as store:
        looked(workspace)
        columns, rows = store.query(statement, limit + 1)
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        say_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        say(table(columns, rows, style()) or f"{'  '.join(columns)}\n(no rows)")
    if more:
        complain(f"only the first {limit:,} rows are shown; --limit N shows more")
