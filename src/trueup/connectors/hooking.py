"""Connectors of systems that can be asked to send webhooks: what subscribes, renews, looks whether a subscription lives, and ends it.

Who does so, when, and in which process is decided elsewhere; a connector keeps nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime


class Hooks(Protocol):
    """The subscriptions of one system. Everything raises the errors of a whole call (`trueup.errors`).

    by_object      one subscription per object; else one for the system
    renew_s        so long after it was made or renewed a subscription has to be renewed; None: never
    look_s         how often it is asked whether it lives; None: nobody can ask
    ends           whether it can be ended
    """

    by_object: bool
    renew_s: float | None
    look_s: float | None
    ends: bool

    def subscribe(self, callback: str, secret: str | None, obj: str | None) -> Subscribed:
        """Ask for messages at an address, about one object or all."""
        ...

    def renew(self, number: str, callback: str, secret: str | None, obj: str | None) -> Subscribed | None:
        """Let a subscription last longer; None: there is none any more."""
        ...

    def alive(self, number: str) -> bool:
        """Whether the system still sends."""
        ...

    def unsubscribe(self, number: str) -> None:
        """End it; one that is not there is ended."""
        ...


class Subscribed(Protocol):
    """What the system said. `ends_at` None: it did not say."""

    @property
    def number(self) -> str:
        """How the system calls it; empty where it does not tell."""
        ...

    @property
    def ends_at(self) -> datetime | None:
        """When it ends unless it is renewed."""
        ...


@runtime_checkable
class Hooked(Protocol):
    """What a connector offers besides where its system can be subscribed to."""

    @property
    def hooks(self) -> Hooks | None:
        """How; None: this one cannot."""
        ...
