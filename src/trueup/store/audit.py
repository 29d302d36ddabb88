"""The audit trail: who did what and when, in lines that are only ever added, each chained to the one before (`core/chain.py`).

What a transaction tells is written at its end, within it: neither is there without the other. The first transaction that a command
changes the state by also holds the line of the command itself, and what was changed in the configuration since the last one. No line
holds a value of a record, or of a setting that may be a secret.

Kinds: `command` (a command that changes something or shows records), `configuration`, `run`, `decision` (of a person), `sending` (what is
about to leave for a system), `sent` (what became of it), `package`, `access` (who logged in, and who may).

Where a server does something for a person who logged in, or for a program that shows a key of theirs, `who` also names them (`acting`).
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import orjson
import sqlalchemy as sa

from trueup.core.chain import Head, canonical, chained, hash_of
from trueup.errors import StateError
from trueup.store import meta
from trueup.store.prepared import Prepared, given
from trueup.store.schema import audit as table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from trueup.store.db import Db

Kind = Literal["command", "configuration", "run", "decision", "sending", "sent", "package", "access"]
KINDS: tuple[Kind, ...] = ("command", "configuration", "run", "decision", "sending", "sent", "package", "access")

CONFIGURATION = "audited configuration"
"""Under this name `meta` keeps the digests of the configuration that the last `configuration` line told of."""

_ONE_AT_A_TIME = 0x61756474
_AT_ONCE = 1_000


@dataclass(slots=True)
class Command:
    """What this process was asked to do; `arguments` hold nothing secret or personal. `configuration`: digest per path, or nothing."""

    name: str
    arguments: Mapping[str, Any]
    at: datetime
    file: str = ""
    configuration: Mapping[str, str] = field(default_factory=dict)
    why: str = ""  # what the person gave as the reason
    told: set[str] = field(default_factory=set)  # the states that hold its line


@dataclass(frozen=True, slots=True)
class Actor:
    """For whom this is done: the name of a person, `through` the dashboard or the API, and the number of the key that was shown, if any."""

    name: str
    through: Literal["dashboard", "api"]
    key: str | None = None


class _Process:
    """The command at work in this process, if any, and for whom it is done, if it is for somebody."""

    command: Command | None = None
    actor: Actor | None = None
    why = ""


_asked: ContextVar[Command | None] = ContextVar("asked", default=None)
_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


def begin(command: Command | None) -> None:
    """From here on, this is what the process does; None: nothing that has a name."""
    _Process.command = command


@contextmanager
def asked(command: Command) -> Iterator[None]:
    """While the block runs, this is what this thread does: what a program asks for, of which no command line tells."""
    before = _asked.set(command)
    try:
        yield
    finally:
        _asked.reset(before)


def is_asked() -> bool:
    """Whether what this thread does is within something that a program asked for."""
    return _asked.get() is not None


@contextmanager
def acting(actor: Actor, command: Command | None = None) -> Iterator[None]:
    """What this thread changes within the block is done for somebody, who asked for `command`."""
    before, asked_before = _acting.set(actor), _asked.set(command)
    try:
        yield
    finally:
        _asked.reset(asked_before)
        _acting.reset(before)


def done_for(actor: Actor, why: str) -> None:
    """From here on, all that this process does is done for somebody."""
    _Process.actor, _Process.why = actor, why


def _actor() -> Actor | None:
    return _acting.get() or _Process.actor


def _at_work() -> Command | None:
    return _asked.get() if _acting.get() is not None else (_asked.get() or _Process.command)


def shows(record: int | None = None) -> None:
    """Note which record the command shows, by its number."""
    command = _at_work()
    if command is not None and record is not None:
        command.arguments = {**command.arguments, "record": record}


@lru_cache(maxsize=1)
def _who(pid: int) -> dict[str, Any]:
    """The user of the operating system, the host and the process."""
    user = str(getattr(os, "geteuid", lambda: "")())
    try:
        import pwd

        user = pwd.getpwuid(int(user)).pw_name
    except (ImportError, KeyError, ValueError):
        user = user or os.environ.get("USERNAME", "unknown")
    return {"user": _text(user), "host": _text(socket.gethostname()), "pid": pid}


def me() -> str:
    """Who does this, as the state notes it beside a decision: user@host of the process, or the person for whom a server does it."""
    if (actor := _actor()) is not None:
        return f"{actor.name} ({actor.through})"
    known = _who(os.getpid())
    return f"{known['user']}@{known['host']}"


def tell(tx: Db, kind: Kind, what: Mapping[str, Any], *, at: datetime) -> None:
    """Let the transaction end with this line; `what` is of texts, whole numbers, lists and objects, and holds no value of a record."""
    tx.told.append((kind, what, at))


def write(tx: Db, target: str) -> None:
    """Write what a transaction told, before it is committed; nothing where it told nothing and the command is known already."""
    waiting = tx.told
    command = _at_work()
    if command is not None and target not in command.told:
        waiting = [*_of_command(tx, command), *waiting]
    if not waiting:
        return
    if tx.backend == "postgresql":  # SQLite's BEGIN IMMEDIATE has done it
        tx.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME, sa.func.hashtext(sa.func.current_schema()))))
    end = head(tx)
    who = _who(os.getpid())
    if (actor := _actor()) is not None:
        who = {**who, "person": _text(actor.name), "through": actor.through} | ({"key": actor.key} if actor.key else {})
    for kind, what, at in waiting:
        text, end = chained({"kind": kind, "at": _moment(at), "who": who, "what": what}, end)
        _ADD.change(tx, its_number=end.number, its_line=text, its_hash=end.hash)


def committed(target: str) -> None:
    """What `write` wrote into this state is there to stay."""
    command = _at_work()
    if command is not None:
        command.told.add(target)


def _of_command(tx: Db, command: Command) -> Iterator[tuple[Kind, Mapping[str, Any], datetime]]:
    words = command.why or _Process.why
    why = {"why": _text(words)} if words else {}
    yield "command", {"command": command.name, "arguments": command.arguments} | why, command.at
    if not command.configuration:
        return
    known = meta.get(tx, CONFIGURATION)
    before: dict[str, str] = {} if known is None else orjson.loads(known)
    now = dict(command.configuration)
    if before == now:
        return
    what: dict[str, Any] = {"file": _text(command.file), "hash": hash_of(canonical(now)), "paths": len(now)}
    if known is not None:
        what["changed"] = sorted(path for path in now.keys() & before.keys() if now[path] != before[path])
        what["added"] = sorted(now.keys() - before.keys())
        what["removed"] = sorted(before.keys() - now.keys())
    meta.set_(tx, CONFIGURATION, orjson.dumps(now, option=orjson.OPT_SORT_KEYS).decode())
    yield "configuration", what, command.at


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in the state, or in an exported file."""

    number: int
    text: str
    hash: str

    @property
    def told(self) -> dict[str, Any]:
        """What it says. Raises StateError for a line that is no JSON object: it was changed."""
        try:
            found = orjson.loads(self.text)
        except orjson.JSONDecodeError as error:
            raise StateError(f"line {self.number} of the audit trail cannot be read", hint="`trueup audit verify` says more") from error
        if not isinstance(found, dict):
            raise StateError(f"line {self.number} of the audit trail cannot be read", hint="`trueup audit verify` says more")
        return found


_ADD = Prepared(lambda _backend: table.insert().values({name: given(f"its_{name}") for name in ("number", "line", "hash")}))
_HEAD = Prepared(lambda _backend: sa.select(table.c.number, table.c.hash).order_by(table.c.number.desc()).limit(sa.literal_column("1")))


def head(db: Db) -> Head:
    """The end of the trail: number 0 where nothing was ever told."""
    row = _HEAD.first(db)
    return Head() if row is None else Head(int(row[0]), str(row[1]))


def lines(db: Db, *, newest_first: bool = False, few: int | None = None) -> Iterator[Line]:
    """All lines (or the first `few`), oldest or newest first, some at a time."""
    order = table.c.number.desc() if newest_first else table.c.number
    last: int | None = None
    while True:
        statement = sa.select(table.c.number, table.c.line, table.c.hash).order_by(order).limit(few or _AT_ONCE)
        if last is not None:
            statement = statement.where(table.c.number < last if newest_first else table.c.number > last)
        rows = db.execute(statement).all()
        yield from (Line(int(row.number), str(row.line), str(row.hash)) for row in rows)
        if few is not None or len(rows) < _AT_ONCE:
            return
        last = int(rows[-1].number)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _text(text: str) -> str:
    """Text that is surely Unicode: names of files and hosts may hold anything."""
    return text.encode("utf-8", "backslashreplace").decode()
