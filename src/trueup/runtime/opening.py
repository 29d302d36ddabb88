"""Connectors opened with what only the state can give them: tokens that are renewed, messages that came."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, cast

from trueup.connectors.registry import connector_class
from trueup.runtime.credentials import Credentials
from trueup.runtime.letterbox import StateLetterbox

if TYPE_CHECKING:
    from trueup.connectors.base import Connector, Receiving
    from trueup.connectors.rest.limits import Budgeted
    from trueup.model import Caps, Config, System
    from trueup.store.allowance import FileLedger, ServerLedger


class Opening:
    """Opens the connectors of one configuration. Usable from several threads, as the credentials are."""

    def __init__(self, config: Config) -> None:
        """Open nothing yet."""
        self._config = config
        self._letterbox = StateLetterbox(config.state)
        self._credentials = Credentials(config)
        self._books: dict[str, FileLedger | ServerLedger] = {}
        self._turn = Lock()

    def open(self, name: str) -> Connector:
        """A connector to a system; whoever asks closes it. Raises ConfigError, UsageError."""
        system = self._config.systems[name]
        opened = connector_class(system.connector).open(name, system.settings, directory=self._config.directory)
        if opened.caps.kind == "push":
            cast("Receiving", opened).receive_from(self._letterbox)
        self._credentials.authorize(system, opened)
        if hasattr(opened, "share_limits"):
            cast("Budgeted", opened).share_limits(self._book(name))
        return opened

    def _book(self, name: str) -> FileLedger | ServerLedger:
        """Where is kept what was asked of a system, by whatever process on this state."""
        from trueup.store.allowance import ledger

        with self._turn:
            if name not in self._books:
                self._books[name] = ledger(self._config.state, name)
            return self._books[name]

    def close(self) -> None:
        """Close what stood behind them."""
        self._letterbox.close()
        self._credentials.close()
        for book in self._books.values():
            book.close()


def caps_of(system: System, directory: str) -> Caps:
    """The abilities of a system without opening it: those of its kind, or of what its connector file says."""
    kind = connector_class(system.connector)
    own = getattr(kind, "caps_for", None)
    return cast("Caps", kind.caps if own is None else own(system.settings, directory=directory))
