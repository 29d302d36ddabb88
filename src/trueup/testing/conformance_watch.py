"""Rules about watching: that changes are told, to whom, when, and how often."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from trueup.connectors.watching import HINT_KEYS
from trueup.errors import PositionLostError
from trueup.testing.conformance_tools import Rules, connected, equal, people, person, raises, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.watching import Hints, Watch, Watching
    from trueup.model import ObjectSpec
    from trueup.testing.conformance_world import World

watch_rule = Rules()
QUIET_S = 0.4
MANY = 50_000


@dataclass
class Told:
    """What a watch has told so far, by object."""

    keys: dict[int, set[str] | None] = field(default_factory=dict)
    position: str | None = None

    def add(self, hints: Hints) -> None:
        """Add what was told."""
        for number, keys in hints.keys.items():
            known = self.keys.setdefault(number, set())
            self.keys[number] = None if keys is None or known is None else known | set(keys)
        self.position = hints.position or self.position

    def has(self, number: int, *keys: str) -> bool:
        """Whether these keys, or any change, were told of an object."""
        found = self.keys.get(number, set())
        return found is None or (bool(found) and found.issuperset(keys))


def _three(world: World, count: int = 1) -> list[ObjectSpec]:
    return [world.object(people(), [person(f"k{number}") for number in range(3)]) for _ in range(count)]


_names = iter(range(1_000_000_000))


def _name() -> str:
    return f"trial-{time.time_ns()}-{next(_names)}"


@contextmanager
def _watching(world: World, objects: Sequence[ObjectSpec], name: str, since: str | None = None) -> Iterator[Watch]:
    """A watch, closed afterwards; what it made stays."""
    with connected(world) as connector:
        watch = cast("Watching", connector).watch(objects, name=name, since=since)
        try:
            yield watch
        finally:
            watch.close()


@contextmanager
def _once(world: World, objects: Sequence[ObjectSpec]) -> Iterator[Watch]:
    """A watch of which nothing is left afterwards."""
    name = _name()
    try:
        with _watching(world, objects, name) as watch:
            yield watch
    finally:
        _unwatch(world, name)


def _unwatch(world: World, name: str) -> None:
    with connected(world) as connector:
        cast("Watching", connector).unwatch(name=name)


def _listen(world: World, watch: Watch, number: int, *keys: str, told: Told | None = None, positioned: bool = False) -> Told:
    """Wait until these keys of an object were told (with a position where one is asked for), or for too long."""
    told = told or Told()
    until_s = time.monotonic() + world.patience_s
    while not (told.has(number, *keys) and (told.position or not positioned)) and time.monotonic() < until_s:
        hints = watch.wait(min(0.5, world.patience_s))
        if hints is not None:
            told.add(hints)
    require(told.has(number, *keys), f"a committed change was not told: {', '.join(keys)} of object {number}; told was {told.keys}")
    return told


def _quiet(watch: Watch, seconds: float = QUIET_S) -> Told:
    """What is told within a moment."""
    told = Told()
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        hints = watch.wait(left_s)
        if hints is not None:
            told.add(hints)
    return told


@watch_rule("watch")
def a_change_is_told(world: World) -> None:
    """Whatever is committed while somebody watches is told: a new row, a changed one, a deleted one."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        _quiet(watch)
        world.edit(obj, {"id": "k1"}, {"name": "edited"})
        _listen(world, watch, 0)
        _quiet(watch)
        world.insert(obj, [person("new")])
        _listen(world, watch, 0)
        _quiet(watch)
        world.remove(obj, {"id": "k2"})
        _listen(world, watch, 0)


@watch_rule("watch", "watch_keys")
def changes_are_told_by_key(world: World) -> None:
    """Exactly the keys of rows that were made, changed or deleted are told, each under the number of its object."""
    first, second = _three(world, 2)
    with _once(world, [first, second]) as watch:
        world.edit(first, {"id": "k1"}, {"name": "edited"})
        told = _listen(world, watch, 0, "k1")
        world.insert(first, [person("new")])
        _listen(world, watch, 0, "k1", "new", told=told)
        world.remove(second, {"id": "k2"})
        _listen(world, watch, 1, "k2", told=told)
        equal(told.keys, {0: {"k1", "new"}, 1: {"k2"}}, "keys told")


@watch_rule("watch", "watch_keys")
def a_changed_key_tells_both(world: World) -> None:
    """Of a row whose key is changed, the old key and the new one are told."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        world.edit(obj, {"id": "k1"}, {"id": "renamed"})
        _listen(world, watch, 0, "k1", "renamed")


@watch_rule("watch", "watch_keys", "transactions")
def nothing_is_told_before_commit(world: World) -> None:
    """A row is told when it is committed, and not before."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        with world.transaction():
            world.edit(obj, {"id": "k1"}, {"name": "edited"})
            equal(_quiet(watch).keys, {}, "told before the commit")
        _listen(world, watch, 0, "k1")


@watch_rule("watch", "watch_durable", "watch_keys")
def what_was_confirmed_is_not_told_again(world: World) -> None:
    """After a confirmation, another watch under the same name tells what came since, and nothing else."""
    (obj,) = _three(world)
    name = _name()
    try:
        with _watching(world, [obj], name) as watch:
            world.edit(obj, {"id": "k1"}, {"name": "edited"})
            told = _listen(world, watch, 0, "k1", positioned=True)
            require(told.position is not None, "a durable watch told no position to confirm")
            watch.confirm(str(told.position))
        world.edit(obj, {"id": "k2"}, {"name": "edited"})
        with _watching(world, [obj], name, told.position) as watch:
            equal(_listen(world, watch, 0, "k2").keys, {0: {"k2"}}, "told after a confirmation")
            equal(watch.fresh, frozenset(), "fresh objects of a watch that goes on")
    finally:
        _unwatch(world, name)


@watch_rule("watch", "watch_durable", "watch_keys")
def what_was_not_confirmed_is_told_again(world: World) -> None:
    """What was told and not confirmed is told again by the next watch under the same name, with what came meanwhile."""
    (obj,) = _three(world)
    name = _name()
    try:
        with _watching(world, [obj], name) as watch:
            begun = watch.position
            require(begun is not None, "a durable watch does not say where it began")
            world.edit(obj, {"id": "k0"}, {"name": "edited"})
            told = _listen(world, watch, 0, "k0", positioned=True)
        world.edit(obj, {"id": "k1"}, {"name": "edited"})
        with _watching(world, [obj], name, begun) as watch:
            told = _listen(world, watch, 0, "k0", "k1", positioned=True)
            equal(told.keys, {0: {"k0", "k1"}}, "told again")
        with _watching(world, [obj], name, begun) as watch:
            _listen(world, watch, 0, "k0", "k1")
    finally:
        _unwatch(world, name)


@watch_rule("watch")
def what_is_not_told_is_fresh(world: World) -> None:
    """A first watch says of every object that what was there before is not told; a later one, of new objects alone."""
    first, second = _three(world, 2)
    name = _name()
    try:
        with _watching(world, [first], name) as watch:
            equal(watch.fresh, frozenset({0}), "fresh objects of a first watch")
            kept, durable = watch.position, watch.way.durable
        with _watching(world, [first, second], name, kept) as watch:
            equal(watch.fresh, frozenset({1} if durable else {0, 1}), "fresh objects where one was added")
            world.edit(second, {"id": "k1"}, {"name": "edited"})
            _listen(world, watch, 1)
    finally:
        _unwatch(world, name)


@watch_rule("watch", "watch_keys")
def a_large_transaction_is_told_in_parts(world: World) -> None:
    """Of 50,000 rows made at once every key is told, in parts of a bounded size, and all of them before the position to confirm."""
    obj = world.object(people())
    wanted = {f"k{number:06}" for number in range(MANY)}
    with _once(world, [obj]) as watch:
        world.bulk(obj, [person(key) for key in sorted(wanted)])
        found: set[str] = set()
        until_s = time.monotonic() + 4 * world.patience_s
        while not found.issuperset(wanted) and time.monotonic() < until_s:
            hints = watch.wait(1.0)
            keys = (hints.keys.get(0) if hints else None) or ()
            require(len(keys) <= HINT_KEYS, f"{len(keys)} keys were told at once")
            found.update(keys)
        equal(len(found & wanted), MANY, "keys told of one large transaction")


@watch_rule("watch")
def a_wait_ends_in_time(world: World) -> None:
    """A wait in which nothing happens ends when its time is over."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        _quiet(watch)
        began_s = time.monotonic()
        watch.wait(0.2)
        require(time.monotonic() - began_s < 2.0, "a wait of 0.2 s took more than 2 s")


@watch_rule("watch")
def wake_ends_a_wait(world: World) -> None:
    """Another thread ends a wait, and one that has not begun yet."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        _quiet(watch)
        for delay_s in (0.2, 0.0):
            timer = threading.Timer(delay_s, watch.wake)
            timer.start()
            if not delay_s:
                timer.join()
            began_s = time.monotonic()
            watch.wait(4.0)
            timer.join()
            require(time.monotonic() - began_s < 2.5, "wake did not end a wait")


@watch_rule("watch")
def a_watch_closes_twice(world: World) -> None:
    """A watch can be closed twice, and woken after that."""
    (obj,) = _three(world)
    with _once(world, [obj]) as watch:
        watch.close()
        watch.close()
        watch.wake()


@watch_rule("watch")
def unwatch_leaves_nothing(world: World) -> None:
    """What was made in the system is removed, so that a position of before means nothing; and once more does no harm."""
    (obj,) = _three(world)
    name = _name()
    before = world.made()
    with _watching(world, [obj], name) as watch:
        kept = watch.position
    _unwatch(world, name)
    equal(world.made(), before, "what is left in the system after unwatch")
    _unwatch(world, name)
    if kept is not None and world.traits.watch_remembered:
        with raises(PositionLostError, "watching from a position that was removed"), _watching(world, [obj], name, kept):
            pass
        _unwatch(world, name)
