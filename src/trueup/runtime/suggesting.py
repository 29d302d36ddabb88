"""Thresholds for alerts from the history: what would have been quiet on ordinary days, with some room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING

from trueup.reports.alert_rules import AT_LEAST_ROWS, TIMES, USUAL_RUNS
from trueup.reports.table import duration
from trueup.runtime.serving.knowing import facts_of
from trueup.store import run as runs
from trueup.store import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.model import Config
    from trueup.reports.picture import RunFacts
    from trueup.store import Store

RUNS = 1_000
ENOUGH = 10
"""From so many observations on something is proposed."""
ROOM = 1.5
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A threshold for a rule: the present one (None: off), the one proposed, and why. `proposed` None: leave it."""

    rule: str
    now: float | None
    proposed: float | None
    why: str


def suggested(store: Store, config: Config, now: datetime) -> list[Suggestion]:
    """What the history says. A rule of which it tells nothing is left out. Raises StateError."""
    with store.read() as db:
        found = [facts_of(run) for run in reversed(runs.list_(db, RUNS))]
        settled = waiting.settled_since(db, now.replace(year=now.year - 1, day=min(now.day, 28)))
    known = config.alerts.thresholds
    return [
        *_slow_run(found, known.get("slow_run")),
        *_failure_rate(found, known.get("failure_rate")),
        *_conflicts_age([one.seconds for one in settled], known.get("conflicts_age")),
    ]


def _slow_run(found: Sequence[RunFacts], now: float | None) -> Iterator[Suggestion]:
    by_kind: dict[str, list[float]] = {}
    for run in found:
        if run.seconds is not None and run.status in {"done", "partial"}:
            by_kind.setdefault(run.kind, []).append(run.seconds)
    ratios = [seconds / median(mine) for mine in by_kind.values() if len(mine) >= USUAL_RUNS for seconds in mine if median(mine) > 0]
    if len(ratios) < ENOUGH:
        return
    usual = _most(ratios)
    proposed = float(max(2, math.ceil(usual * ROOM)))
    yield Suggestion("slow_run", now, proposed, f"of {len(ratios):,} runs, 99 in 100 took at most {usual:.1f} times as long as is usual")


def _failure_rate(found: Sequence[RunFacts], now: float | None) -> Iterator[Suggestion]:
    shares = [run.failed[name] / count for run in found for name, count in run.handled.items() if count >= AT_LEAST_ROWS]
    if len(shares) < ENOUGH:
        return
    usual = _most(shares)
    proposed = min(1.0, max(0.01, math.ceil(usual * ROOM * 100) / 100))
    yield Suggestion("failure_rate", now, proposed, f"in 99 of 100 runs with {AT_LEAST_ROWS} rows or more, at most {usual:.1%} failed")


def _conflicts_age(seconds: Sequence[float], now: float | None) -> Iterator[Suggestion]:
    if len(seconds) < ENOUGH:
        return
    usual = quantiles(seconds, n=10)[-1]
    proposed = max(DAY_S, math.ceil(usual * TIMES / DAY_S) * DAY_S)
    yield Suggestion("conflicts_age", now, proposed, f"nine of ten conflicts were settled within {duration(usual)}")


def _most(values: Sequence[float]) -> float:
    """What 99 of 100 do not exceed."""
    return quantiles(values, n=100, method="inclusive")[-1]
