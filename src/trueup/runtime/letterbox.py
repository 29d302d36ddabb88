"""The messages of systems that only push, from the inbox beside the state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from trueup.errors import StateError, StateMissingError, SystemUnreachableError
from trueup.store.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from trueup.store.inbox import Message


class StateLetterbox:
    """Opens the inbox when it is first asked; as long as there is none, nothing was pushed."""

    def __init__(self, state_target: str) -> None:
        """Open nothing yet."""
        self._target = state_target
        self._inbox: Inbox | None = None

    def pushed(self, system: str) -> list[int]:
        """See the contract of connectors."""
        with _told():
            inbox = self._opened()
            return inbox.pushed(system) if inbox is not None else []

    def messages(self, ids: Collection[int]) -> list[Message]:
        """See the contract of connectors."""
        with _told():
            inbox = self._opened()
            return list(inbox.messages(ids)) if inbox is not None else []

    def close(self) -> None:
        """Close the inbox; it is opened again when asked."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            inbox.close()

    def _opened(self) -> Inbox | None:
        if self._inbox is None:
            try:
                self._inbox = Inbox.open(self._target, create=False)
            except StateMissingError:
                return None
        return self._inbox


@contextmanager
def _told() -> Iterator[None]:
    """A trouble of the inbox is one of the system whose messages are in it: others go on."""
    try:
        yield
    except StateError as error:
        raise SystemUnreachableError(error.message, hint=error.hint) from error
