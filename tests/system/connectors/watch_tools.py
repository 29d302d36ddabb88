"""Short ways for the tests of watching."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import pytest

from trueup.connectors.mysql import MysqlConnector
from trueup.connectors.postgres import PostgresConnector
from trueup.connectors.watching import Hints, Watch, Watching
from trueup.model import ObjectSpec

SOON_S = 60.0

C = TypeVar("C", MysqlConnector, PostgresConnector)


class Opened(Generic[C]):
    """Opens connectors of one kind by address and settings, and closes them all after each test of a module that has `closed`."""

    def __init__(self, kind: type[C], name: str) -> None:
        self._kind: type[C] = kind
        self._name = name
        self._all: list[C] = []

    def __call__(self, url: str, **settings: Any) -> C:
        connector: C = self._kind.open(self._name, {"url": url, **settings})
        self._all.append(connector)
        return connector

    def closed(self) -> Any:
        """The fixture that closes them."""

        @pytest.fixture(autouse=True)
        def after() -> Iterator[None]:
            yield
            while self._all:
                self._all.pop().close()

        return after


def spec(name: str, *key: str) -> ObjectSpec:
    return ObjectSpec(name=name, key=key or ("id",))


@contextmanager
def watching(connector: Watching, *objects: ObjectSpec, name: str = "test", since: str | None = None) -> Iterator[Watch]:
    watch = connector.watch(objects, name=name, since=since)
    try:
        yield watch
    finally:
        watch.close()


def told(watch: Watch, number: int = 0, *, within_s: float = SOON_S) -> Hints:
    """The next hints that speak of an object."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        hints = watch.wait(0.5)
        if hints is not None and number in hints.keys:
            return hints
    raise AssertionError(f"nothing was told of object {number}")


def nothing_told(watch: Watch, seconds: float = 1.0) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        hints = watch.wait(left_s)
        assert hints is None or not hints.keys, hints


def keys_read(connector: Watching, obj: ObjectSpec, columns: Sequence[str] = ()) -> set[str]:
    return {key for page in connector.read(obj, columns) for key in page.rows.get_column("__key").to_list()}
