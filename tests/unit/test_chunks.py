"""Where the records of a pass are cut into chunks."""

from __future__ import annotations

import random

import polars as pl
import pytest

from trueup.core.cells import GID
from trueup.runtime import chunks


@pytest.mark.parametrize("seed", range(12))
def test_chunks_hold_equally_many_records_whatever_the_ids(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", chance.choice((1, 7, 50)))
    monkeypatch.setattr(chunks, "SORTED_ROWS", chance.choice((1, 30, 400)))
    monkeypatch.setattr(chunks, "SAMPLED_ROWS", chance.choice((1, 20, 1_000)))
    known = [chance.randrange(1, 300) for _ in range(chance.choice((0, 1, 200)))]
    born = [(1 << 40) + number for number in range(chance.choice((0, 90, 500)))]
    chance.shuffle(born)
    parts = [pl.Series(GID, ids, dtype=pl.Int64) for ids in (born, known, known[:5], [])]
    records = sorted({*known, *born})
    wanted = records[chunks.CHUNK_ROWS :: chunks.CHUNK_ROWS] if len(known) + len(known[:5]) + len(born) > chunks.CHUNK_ROWS else []
    assert chunks.bounds_of(parts).to_list() == wanted
