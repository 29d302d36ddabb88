"""Every test of the state runs on each kind of it: a fresh SQLite file in the clear and encrypted, and a fresh PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trueup.model import KeyPlace
from trueup.sealing import MasterKeys, master, new_key
from trueup.store import Store, encryption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql", pytest.param("encrypted", marks=pytest.mark.slow)])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a state that does not exist yet."""
    if request.param != "postgresql":
        path = tmp_path / "folder" / "state.db"
        if request.param == "encrypted":
            place = KeyPlace(given=new_key().text)
            monkeypatch.setattr(master, "_known", {})
            monkeypatch.setenv(place.where, str(place.given))
            path.parent.mkdir()
            encryption.fresh_key(path, MasterKeys(place))
        return str(path)
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(target: str) -> Iterator[Store]:
    """A new state, opened."""
    with Store.open(target) as opened:
        yield opened
