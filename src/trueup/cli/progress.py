"""Progress of a run on a terminal: rows read, per entity and system. Elsewhere nothing is shown and nothing is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from trueup.runtime.workspace import Workspace


def progress(workspace: Workspace) -> AbstractContextManager[Callable[[str, str, int], None] | None]:
    """A function (entity, system, rows) that moves the bars on stderr; None where stderr is no terminal."""
    return bars_for(lambda: _expected(workspace))


@contextmanager
def bars_for(rows: Callable[[], dict[tuple[str, str], int]]) -> Iterator[Callable[[str, str, int], None] | None]:
    """As `progress`; `rows` tells how many are expected, where that is known."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[rows]:>14,} rows read"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    expected = rows()
    tasks: dict[tuple[str, str], TaskID] = {}
    seen: dict[tuple[str, str], int] = {}
    with Progress(*columns, console=console, transient=True) as bars:

        def tick(entity: str, system: str, rows: int) -> None:
            lane = (entity, system)
            if lane not in tasks:
                tasks[lane] = bars.add_task(f"{entity} · {system}", total=expected.get(lane), rows=0)
            seen[lane] = seen.get(lane, 0) + rows
            bars.update(tasks[lane], advance=rows, rows=seen[lane])

        yield tick


def _expected(workspace: Workspace) -> dict[tuple[str, str], int]:
    """How many rows each system held at its last complete pass; empty before the first."""
    from trueup.errors import StateMissingError
    from trueup.store import Store, cursor

    try:
        store = Store.open(workspace.state_target, read_only=True)
    except StateMissingError:
        return {}
    with store, store.read() as db:
        lanes = [(entity.name, system) for entity in workspace.config.entities.values() for system in entity.mappings]
        rows = {lane: cursor.get(db, *lane).full_rows for lane in lanes}
    return {lane: number for lane, number in rows.items() if number}
