"""What pages and the API work on: the configuration, the state, and the clock."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from trueup.config.begin import load_or_begin
from trueup.runtime.workspace import Workspace
from trueup.web.desk.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.model import Config
    from trueup.store import Store

WAIT_S = 20.0
"""A decision waits so long for whoever works on the state."""


class Place:
    """One configuration and its state, opened once for the whole process; used by many threads at once."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Callable[[], datetime] | None = None,
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """The state stays open as long as its owner keeps it so; `changed` is called once the configuration was changed from here."""
        self.config = config
        self.turn = 0  # how often the configuration became another one
        self.changing = Lock()  # held by whoever changes the configuration
        self.changed = changed
        self.draft = Draft(self)
        self.store = store
        self.clock = clock or (lambda: datetime.now(UTC))

    def reload(self) -> None:
        """Read the configuration anew. Raises ConfigError; it stays as it was then."""
        self.config = load_or_begin(self.config.file, connects=False)
        self.turn += 1

    @property
    def workspace(self) -> Workspace:
        """A workspace for looking and deciding; it connects to no system by itself, and is not to be closed."""
        return Workspace(self.config, clock=self.clock, store=self.store)

    @contextmanager
    def deciding(self, purpose: str) -> Iterator[Store]:
        """The state for a decision that must not meet a run. Raises StateLockedError."""
        with self.store.lock(purpose, WAIT_S, now=self.clock()):
            yield self.store


def place_of(connection: HTTPConnection) -> Place:
    """The place of the application that answers this request."""
    found: Place = connection.app.state.place
    return found
