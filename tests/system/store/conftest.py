"""Both back ends for every test of the state: a fresh SQLite file, and a fresh database on a private PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trueup.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a state that does not exist yet."""
    if request.param == "sqlite":
        return str(tmp_path / "folder" / "state.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(target: str) -> Iterator[Store]:
    """A new state, opened."""
    with Store.open(target) as opened:
        yield opened
