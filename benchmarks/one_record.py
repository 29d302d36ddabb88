"""One changed record: how long the engine takes from the wake-up to the recorded outcome, without the systems' own time."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import psycopg

from trueup.runtime.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REPEATS = 100
WARM_UP = 5


class _Clocked:
    """A connector that counts the seconds spent inside it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name in {"close", "settings_schema"}:
            return value
        return self._timed(value, whole=name == "read")

    def _timed(self, function: Callable[..., Any], *, whole: bool) -> Callable[..., Any]:
        def run(*words: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            answer = function(*words, **named)
            answer = iter(list(answer)) if whole else answer
            self.seconds += time.perf_counter() - begun
            return answer

        return run


def one_record_ms(project: Path, source: str) -> tuple[float, float]:
    """p50 and p99 in milliseconds over runs that each carry one changed row across."""
    taken: list[float] = []
    with open_workspace(project / "trueup.yaml") as workspace, psycopg.connect(source, autocommit=True) as db:
        clocked = {name: _Clocked(workspace.systems.connector(name)) for name in ("source", "target")}
        workspace.systems.replace(clocked)
        for number in range(REPEATS + WARM_UP):
            key = number + 1
            db.execute("UPDATE contact SET city = %s WHERE id = %s", (f"Town {number} {time.monotonic_ns()}", key))
            before = sum(item.seconds for item in clocked.values())
            begun = time.perf_counter()
            result = workspace.sync(record=("contact", f"source:{key}"))
            spent = time.perf_counter() - begun - (sum(item.seconds for item in clocked.values()) - before)
            if result.entities["contact"].systems["target"].delivered.updated != 1:
                message = f"record {key} did not cross"
                raise RuntimeError(message)
            taken.append(spent * 1000)
    measured = taken[WARM_UP:]
    return statistics.median(measured), statistics.quantiles(measured, n=100)[98]
