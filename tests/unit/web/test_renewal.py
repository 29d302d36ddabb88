"""A secret of a webhook that changes while messages are received is taken up, wherever it stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from trueup.errors import ConfigError, Problem
from trueup.model import Config, System
from trueup.store import Store, secret
from trueup.store.secret import Sealed
from trueup.web.renewal import Renewal


def hooked(word: str) -> System:
    """A system with a webhook."""
    return System(name="crm", connector="sqlite", webhook={"verify": {"kind": "token", "secret": word}})


def test_a_secret_in_the_state(tmp_path: Path) -> None:
    file = tmp_path / "trueup.yaml"
    file.write_text("systems: {}")
    config = Config(file=str(file), directory=str(tmp_path), state=str(tmp_path / "s.db"), systems={"crm": hooked("old")}, entities={})
    now: list[Config | ConfigError] = [config]
    taken: list[Config] = []
    told: list[str] = []

    def load(_file: str) -> Config:
        if isinstance(now[0], ConfigError):
            raise now[0]
        return now[0]

    with Store.open(config.state) as store:
        renewal = Renewal(config, store, taken.append, lambda event, _words: told.append(event), load=load)

        def change(number: int, to: Config | ConfigError) -> None:
            now[0] = to
            with store.write() as tx:
                secret.put(tx, Sealed("hook", number, "key", b"sealed", datetime.now(UTC)))
            renewal.look()

        renewal.look()
        assert not taken
        other = {"crm": replace(hooked("new"), settings={"path": "elsewhere"}), "shop": hooked("more")}
        change(1, replace(config, systems=other))
        assert taken[0].systems == {"crm": hooked("new")}  # nothing else of a changed configuration counts before the next start
        change(2, ConfigError([Problem("trueup.yaml", 1, "", "wrong", "")]))
        change(3, replace(config, systems={}))
        assert (len(taken), told) == (1, ["secrets", "configuration"])
        change(4, replace(config, systems={"crm": hooked("old")}))
        assert taken[1].systems == {"crm": hooked("old")}
