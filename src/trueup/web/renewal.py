"""Secrets of webhooks and notices that change while a server runs: noticed, and handed on, so that nothing is refused until a restart."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from trueup.config.load import load_config
from trueup.errors import TrueupError
from trueup.store import secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import Config
    from trueup.store import Store

LOOK_S = 2.0


class Renewal(Thread):
    """Looks at the files of a configuration, and at the secrets in the state, now and then.

    Only the `webhook:` of known systems, and the `notices` for known subscribers, count.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        change: Callable[[Config], None],
        told: Callable[[str, str], None],
        *,
        load: Callable[[str], Config] = load_config,
    ) -> None:
        """`change` is called with the configuration in which only webhooks and notices are others; `told(event, words)` hears of it."""
        super().__init__(name="secrets", daemon=True)
        self._config = config
        self._store = store
        self._change = change
        self._told = told
        self._load = load
        self._ending = Event()
        self._seen = self._signs()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._ending.wait(LOOK_S):
            self.look()

    def stop(self) -> None:
        """Make the thread end soon."""
        self._ending.set()

    def look(self) -> None:
        """Hand on what changed since the last time. A configuration that cannot be read leaves everything as it is."""
        try:
            signs = self._signs()
            if signs == self._seen:
                return
            self._seen = signs
            fresh = self._load(self._config.file)
        except TrueupError as error:
            self._told("configuration", f"the secrets of webhooks and notices stay as they are: {error}")
            return
        new = {name: system.webhook for name, system in fresh.systems.items() if system.webhook is not None}
        now = {name: system.webhook for name, system in self._config.systems.items() if system.webhook is not None}
        others = [name for name, webhook in now.items() if new.get(name, webhook) != webhook]
        told = {name: fresh.notices.get(name, known) for name, known in self._config.notices.items()}
        differing = [name for name, known in self._config.notices.items() if told[name] != known]
        if not others and not differing:
            return
        systems = {name: replace(system, webhook=new[name]) if name in others else system for name, system in self._config.systems.items()}
        self._config = replace(self._config, systems=systems, notices=told)
        self._change(self._config)
        for what, names in (("webhook of", others), ("notices for", differing)):
            if names:
                self._told("secrets", f"taken up from now on: the {what} {', '.join(names)}")

    def _signs(self) -> tuple[object, ...]:
        """What is another thing once a secret may have changed."""
        signs: list[object] = []
        for path in (Path(self._config.file), Path(self._config.directory, ".env")):
            with suppress(OSError):
                found = path.stat()
                signs.append((path.name, found.st_ino, found.st_size, found.st_mtime_ns))
        with self._store.read() as db:
            signs.append({name: found.version for name, found in secret.rows(db).items()})
        return tuple(signs)
