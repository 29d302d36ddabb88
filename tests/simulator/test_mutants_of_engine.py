"""Each promise is seen to fail: small lies in the engine, every one of them caught by the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from trueup.core import combine, merge
from trueup.core.facts import Facts
from trueup.core.observe import golden_cells
from trueup.core.rebase import Rebased, _plain
from trueup.core.rereading import Rereading
from trueup.runtime import run_pass
from trueup.runtime.lane import MOVED, Lane
from trueup.runtime.workspace import Workspace
from trueup.store import sending
from trueup.testing.simulator import draw_moves, play_game
from trueup.testing.simulator_moves import HARSH

pytestmark = pytest.mark.slow

GAMES = range(1, 41)
Patch = pytest.MonkeyPatch


def no_precondition(patch: Patch) -> None:
    """Writes land on whatever is there."""
    patch.setattr(Lane, "_with_version", lambda _self, _expected: None)


def no_recovery(patch: Patch) -> None:
    """Intents of a dead process are thrown away."""

    def forget(store: Any, entity: Any, seat: Any, _now: Any, *_more: Any) -> int:
        with store.write() as tx:
            sending.remove(tx, *[intent.id for intent in sending.outstanding(tx, entity.name, seat.name)])
        return 0

    patch.setattr(run_pass, "recover", forget)


def creates_unseen(patch: Patch) -> None:
    """Rows are created without looking whether they are there."""
    patch.setattr(Lane, "_not_found", lambda _self, made, _ready: made)


def hides_edits(patch: Patch) -> None:
    """The fingerprint of a written row covers fields that nobody looked at."""
    honest = Lane._as_last_seen

    def blind(self: Lane, rows: pl.DataFrame, *read: pl.DataFrame) -> tuple[pl.DataFrame, list[str], list[str]]:
        both, stale, unread = honest(self, rows, *read)
        return (both.with_columns(pl.lit(value=False).alias(MOVED)) if MOVED in both.columns else both), stale, unread

    patch.setattr(Lane, "_as_last_seen", blind)


def no_owner(patch: Patch) -> None:
    """Everybody may edit what belongs to one system."""
    honest = merge._prepared
    patch.setattr(merge, "_prepared", lambda situation: honest(situation).with_columns(overruled=pl.col("deaf") | pl.col("refused")))


def forgets_losers(patch: Patch) -> None:
    """Losing values are not written into the history."""
    patch.setattr(merge._Ledger, "tell", lambda _self, _rows, _kind, _after, _rule: None)


def double_counting(patch: Patch) -> None:
    """Counters are added up from what is observed instead of what changed."""
    honest = combine.add_deltas
    patch.setattr(merge, "add_deltas", lambda entity, cells: honest(entity, cells.with_columns(seen=pl.lit("0"))))


def decides_alone(patch: Patch) -> None:
    """A conflict for a person is closed by itself, and the loser is forgotten."""
    honest = merge.merge

    def thawed(situation: Any) -> Any:
        merged = honest(situation)
        return replace(merged, frozen=merged.frozen.clear(), history=merged.history.filter(pl.col("kind") == "edit"))

    patch.setattr("trueup.core.reconcile.merge", thawed)


def reads_one_way(patch: Patch) -> None:
    """Rows are read under the mapping of now alone, whatever it was before."""
    patch.setattr(Rereading, "listed", lambda _self, _past, _rows: pl.DataFrame())


def takes_rereadings_for_edits(patch: Patch) -> None:
    """What reads otherwise is an edit, whoever made it read so."""
    patch.setattr("trueup.core.reconcile.rebase", lambda facts: Rebased(replace(facts, observed=plain_rows(facts)), golden_cells(facts)))


def plain_rows(facts: Facts) -> dict[str, pl.DataFrame]:
    return {system: _plain(rows) for system, rows in facts.observed.items()}


def meets_nobody(patch: Patch) -> None:
    """A state that came back from a backup goes on as if no time had passed."""
    patch.setattr("trueup.store.restored.get", lambda _db: None)


def rebuilds_aloud(patch: Patch) -> None:
    """A rebuild delivers what it finds lacking."""
    patch.setattr(Workspace, "meet_all", lambda self, _command, _tick=None: self.sync(full=True))


EDITS = {"add": 10, "edit": 30, "sync": 10}
REREADINGS = {"add": 10, "edit": 10, "reread": 10}
RESTORES = {"add": 10, "edit": 20, "sync": 10, "backup": 6, "restore": 6, "settle": 4}
REBUILDS = {"add": 10, "edit": 10, "sync": 4, "rebuild": 6}
LISTINGS = {"add": 8, "listing": 30, "sync": 4}
MUTANTS: tuple[tuple[Callable[[Patch], None], dict[str, int], int], ...] = (
    (no_precondition, HARSH, 60),
    (no_recovery, HARSH, 60),
    (creates_unseen, LISTINGS, 20),
    (hides_edits, HARSH, 60),
    (no_owner, EDITS, 30),
    (forgets_losers, HARSH, 60),
    (double_counting, HARSH, 60),
    (decides_alone, HARSH, 60),
    (reads_one_way, REREADINGS, 20),
    (takes_rereadings_for_edits, REREADINGS, 20),
    (meets_nobody, RESTORES, 30),
    (rebuilds_aloud, REBUILDS, 15),
)


@pytest.mark.parametrize(("mutant", "weights", "moves"), MUTANTS, ids=lambda item: getattr(item, "__name__", ""))
def test_the_simulator_catches(
    mutant: Callable[[Patch], None], weights: dict[str, int], moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    assert any(play_game(seed, draw_moves(seed, moves, weights)) for seed in GAMES), f"nobody noticed: {mutant.__doc__}"
