"""The state as the pages see it: looks that are shared while nothing changes, and decisions in a person's name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar

from trueup.config.begin import load_or_begin
from trueup.runtime.workspace import Workspace
from trueup.store import audit, golden, run
from trueup.web.access import acting

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from trueup.model import Config
    from trueup.store import Db, Store
    from trueup.web.access import User
    from trueup.web.desk.place import Place

T = TypeVar("T")
Stamp = tuple[Any, ...]


class Site:
    """One configuration and its state. Its methods block, and may be called from any thread."""

    def __init__(self, place: Place) -> None:
        """Nothing is known yet."""
        self.place = place
        self._guard = threading.Lock()
        self._known: dict[Hashable, tuple[Stamp, Any]] = {}
        self._asking: dict[Hashable, threading.Lock] = {}

    @property
    def config(self) -> Config:
        """The configuration as it is now."""
        return self.place.config

    def look(self, at: Callable[[Db], T]) -> T:
        """What a function makes of the state. Raises StateError."""
        with self.place.store.read() as db:
            return at(db)

    def stamp(self) -> Stamp:
        """Something that is the same as long as nothing happened; cheap. Raises StateError."""

        def now(db: Db) -> Stamp:
            newest = run.list_(db, 1)
            last = (newest[0].id, newest[0].status) if newest else ()
            return (self.place.turn, audit.head(db).number, golden.current_version(db), *last)

        return self.look(now)

    def shared(self, name: Hashable, at: Callable[[Db], T], stamp: Stamp) -> T:
        """As `look`, but made once for all who ask for this name while the stamp is the same."""
        with self._guard:
            turn = self._asking.setdefault(name, threading.Lock())
        with turn:
            known = self._known.get(name)
            if known is None or known[0] != stamp:
                known = self._known[name] = (stamp, self.look(at))
            found: T = known[1]
            return found

    def decide(self, user: User, what: str, arguments: Mapping[str, Any], act: Callable[[Store], T], *, locked: bool) -> T:
        """Let a function change the state in a person's name; `what` is named as the command that does the same.

        `locked`: no run is at work meanwhile; StateLockedError where one holds the state for longer than a person waits. Raises UsageError
        and StateError as the function does.
        """
        with acting(user, what, arguments, config=self.config):
            if not locked:
                return act(self.place.store)
            with self.place.deciding(what) as store:
                return act(store)

    def run(self, user: User, what: str, arguments: Mapping[str, Any], act: Callable[[Workspace], T]) -> T:
        """Let a function work on the systems in a person's name, as a command would. Raises TrueupError as the function does."""
        config = load_or_begin(self.config.file)  # with the passwords of systems, which looking does without
        with acting(user, what, arguments, config=config), Workspace(config, clock=self.place.clock) as workspace:
            return act(workspace)
