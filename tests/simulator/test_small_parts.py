"""Games in which everything that is done in parts is done in very small ones: a few rows cross the limits that a million rows cross."""

from __future__ import annotations

import pytest

from trueup.core import fingerprint
from trueup.runtime import chunks, observe, run_pass, spill
from trueup.store import db, prepared
from trueup.testing.simulator import draw_moves, play_game


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of two records, one record compared at once, nothing kept in memory, and never the short way for few rows."""
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    monkeypatch.setattr(run_pass, "RECONCILED_ROWS", 1)
    monkeypatch.setattr(observe, "CONFIRM_ROWS", 2)
    monkeypatch.setattr(observe, "KNOWN_BY_KEY", 1)
    monkeypatch.setattr(observe, "FEW_ROWS", 0)
    monkeypatch.setattr(fingerprint, "FEW_ROWS", 0)
    monkeypatch.setattr(db, "FEW", 0)
    monkeypatch.setattr(prepared, "MANY", 0)
    monkeypatch.setattr(spill.Spill.__init__, "__defaults__", (100,))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("seed", range(8_000, 8_012))
def test_game(seed: int) -> None:
    assert play_game(seed, draw_moves(seed, 30)) is None
