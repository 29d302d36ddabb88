"""What pages and the API work on: the configuration, the state, and the clock."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from trueup.runtime.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.model import Config
    from trueup.store import Store

WAIT_S = 20.0
"""A decision waits so long for whoever works on the state."""


class Place:
    """One configuration and its state, opened once for the whole process; used by many threads at once."""

    def __init__(self, config: Config, store: Store, clock: Callable[[], datetime] | None = None) -> None:
        """The state stays open as long as its owner keeps it so."""
        self.config = config
        self.changing = Lock()  # held by whoever changes the configuration
        self.store = store
        self.clock = clock or (lambda: datetime.now(UTC))

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
