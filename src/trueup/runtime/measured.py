"""A connector that counts: how often each of its calls was made, how long it took, and how often it failed."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from trueup.reports.picture import Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trueup.connectors.base import Connector, Page

COUNTED = frozenset({"describe", "find", "write", "prepare", "mark"})
PAGED = frozenset({"read", "read_part", "moved", "browse"})


@dataclass
class Calls:
    """What one system was asked, by all who use it."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, Spread] = field(default_factory=lambda: defaultdict(Spread))
    turn: Lock = field(default_factory=Lock)

    @contextmanager
    def counting(self, call: str) -> Iterator[None]:
        """Count one call around a block; what it raises goes on."""
        began, outcome = time.perf_counter(), "error"
        try:
            yield
            outcome = "ok"
        finally:
            seconds = time.perf_counter() - began
            with self.turn:
                self.outcomes[call, outcome] += 1
                self.seconds[call].add(seconds)

    def take_away(self) -> tuple[Counter[tuple[str, str]], dict[str, Spread]]:
        """What was counted since the last time, for somebody else to add to what they count."""
        with self.turn:
            outcomes, seconds = self.outcomes, dict(self.seconds)
            self.outcomes, self.seconds = Counter(), defaultdict(Spread)
        return outcomes, seconds

    def add(self, outcomes: Counter[tuple[str, str]], seconds: Mapping[str, Spread]) -> None:
        """Add what somebody else has counted."""
        with self.turn:
            self.outcomes.update(outcomes)
            for call, spread in seconds.items():
                self.seconds[call].add_all(spread)

    def taken(self) -> tuple[dict[tuple[str, str], int], dict[str, Spread]]:
        """As they stand."""
        with self.turn:
            return dict(self.outcomes), {call: spread.copy() for call, spread in self.seconds.items()}


class _Measured:
    """Stands for a connector. Whatever it is asked goes to the real one."""

    def __init__(self, connector: Connector, calls: Calls) -> None:
        self._connector = connector
        self._calls = calls
        self.caps = connector.caps

    def __getattr__(self, name: str) -> Any:
        given = getattr(self._connector, name)
        if name in COUNTED:
            made: Any = self._counted(name, given)
        elif name in PAGED:
            made = self._paged(name, given)
        else:
            made = given
        if callable(made):
            self.__dict__[name] = made  # not asked for again
        return made

    def _counted(self, name: str, given: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with self._calls.counting(name):
                return given(*args, **named)

        return call

    def _paged(self, name: str, given: Callable[..., Any]) -> Callable[..., Any]:
        """Of what comes in pages, each page is a call: what is done with it meanwhile is not the system's time."""

        def pages(found: Iterator[Page]) -> Iterator[Page]:
            try:
                while True:
                    with self._calls.counting(name):
                        page = next(found, None)
                    if page is None:
                        return
                    yield page
            finally:
                if isinstance(found, Generator):
                    found.close()

        def call(*args: Any, **named: Any) -> Any:
            with self._calls.counting(name):
                found = given(*args, **named)
            return None if found is None else pages(iter(found))

        return call


def measured(connector: Connector, calls: Calls) -> Connector:
    """The connector, counted."""
    return cast("Connector", _Measured(connector, calls))
