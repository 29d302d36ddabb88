"""The clock of the schedules: says when a sweep of an entity is due, and remembers in the state when it was met."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trueup.runtime.schedule import due_at, name_of, terms_of
from trueup.store import meta

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.model import Entity, When
    from trueup.store import Store

JUMP_S = 5.0
"""A wall clock that moved by so much more or less than time passed was set; what is due is then reckoned anew."""


@dataclass
class _Term:
    entity: str
    when: When
    met: datetime | None
    due: datetime | None
    asked: bool = False  # a sweep was asked for, and is not over


class ScheduleClock:
    """All schedules of a configuration. `tick` is called about once a second; a thousand of them cost no more threads than one."""

    def __init__(
        self, store: Store, entities: Mapping[str, Entity], clock: Callable[[], datetime], ask: Callable[[str, str], None]
    ) -> None:
        """`ask(entity, name)` asks for a sweep; `met` is called when it is over."""
        self._store = store
        self._clock = clock
        self._ask = ask
        self._terms: dict[tuple[str, str], _Term] = {}
        now = clock()
        with store.read() as db:
            for name, entity in entities.items():
                for term in terms_of(entity):
                    met = _moment(meta.get(db, _key(name, name_of(term))))
                    self._terms[name, name_of(term)] = _Term(name, term, met, due_at(term, met, now))
        self._looked = (now, time.monotonic())

    def tick(self) -> None:
        """Ask for every sweep whose time has come."""
        now, passed = self._clock(), time.monotonic()
        before, at = self._looked
        if abs((now - before).total_seconds() - (passed - at)) > JUMP_S:
            for term in self._terms.values():
                term.due = due_at(term.when, term.met, now)
        self._looked = (now, passed)
        for (_entity, name), term in self._terms.items():
            if not term.asked and term.due is not None and term.due <= now:
                term.asked = True
                self._ask(term.entity, name)

    def met(self, entity: str, name: str, began: datetime) -> None:
        """The sweep that was asked for is over: it began at `began`, and meets every moment until then."""
        term = self._terms.get((entity, name))
        if term is None:
            return
        with self._store.write() as tx:
            meta.set_(tx, _key(entity, name), began.isoformat())
        term.met, term.due, term.asked = began, due_at(term.when, began, self._clock()), False

    def met_at(self, entity: str) -> datetime | None:
        """When the last sweep of an entity that met its schedule began; None: none ever did."""
        return max((term.met for term in self._mine(entity) if term.met is not None), default=None)

    def overdue_since(self, entity: str, now: datetime) -> datetime | None:
        """Since when a sweep of an entity has been due; None where none is."""
        return min((term.due for term in self._mine(entity) if term.due is not None and term.due <= now), default=None)

    def _mine(self, entity: str) -> list[_Term]:
        return [term for term in self._terms.values() if term.entity == entity]

    def next_of(self, entity: str) -> datetime | None:
        """When the next sweep of an entity is due; None where none ever is."""
        return min((term.due for term in self._terms.values() if term.entity == entity and term.due is not None), default=None)


def _key(entity: str, name: str) -> str:
    return f"met {entity}: {name}"


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
