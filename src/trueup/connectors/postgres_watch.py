"""How PostgreSQL is watched: which way is possible and wanted, and what is made and removed for it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo

from trueup.connectors import postgres_notify, postgres_published
from trueup.connectors.postgres_logical import LogicalWatch
from trueup.connectors.postgres_marks import MarkingConnector
from trueup.connectors.postgres_notify import NotifyWatch
from trueup.connectors.postgres_published import described, obstacle
from trueup.connectors.watching import OwnWrites, Way, made_name
from trueup.errors import ObjectMissingError, SystemUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.connectors.sql_read import Table
    from trueup.connectors.watching import Watch
    from trueup.errors import SystemError_
    from trueup.model import ObjectSpec

SETTING = {
    "type": "string",
    "title": "Watch",
    "description": (
        "how changes are noticed as they happen: logical (replication), notify (triggers that are made in the database), poll (on a"
        " schedule only), off; left out: logical where the server and the user's rights allow it, else poll"
    ),
    "enum": ["logical", "notify", "poll", "off"],
}


class WatchingConnector(MarkingConnector):
    """The part of the connector that watches; see watching.Watching."""

    watch_setting: str | None = None
    own_of: Mapping[int, OwnWrites] = {}
    _info: dict[str, Any]

    @abstractmethod
    def _trouble(self, error: psycopg.Error) -> SystemError_:
        """A driver's error in the words of the contract."""

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        return self._way(objects, "trueup")[0]

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        made = made_name(name)
        way, published, owners = self._way(objects, made)
        if not way.pushes:
            raise UsageError(f"this system is not watched: {way.why}", hint="set `watch` for it", system=self.name)
        session = self._session()
        with self._errors():
            if way.how == "notify":
                postgres_published.remove(session, self.name, made)
                postgres_notify.set_up(session, made, published)
                return NotifyWatch(made, self._info, way, published, self._trouble)
            postgres_notify.remove(session, made)
            postgres_published.set_up(session, made, published, owners, since)
        return LogicalWatch(made, self._info, way, published, self._trouble, self.own_of)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        session = self._session()
        with self._errors():
            postgres_published.remove(session, self.name, made_name(name))
            postgres_notify.remove(session, made_name(name))

    def _way(self, objects: Sequence[ObjectSpec], made: str) -> tuple[Way, postgres_published.Published, Mapping[int, str]]:
        """The way, the tables that it can watch, and their owners. Raises what keeps the way that the settings ask for."""
        unwatched: dict[int, str] = {}
        resolved = self._resolved(objects, unwatched)
        session = self._session()
        with self._errors(), self._read_only(session):
            against = None if self.watch_setting == "notify" else obstacle(session, self.name, made)
            published, owners = described(session, self.name, resolved, unwatched, by_triggers=self.watch_setting == "notify")
        match self.watch_setting:
            case "off" | "poll" as how:
                return Way(how, "the settings say so"), published, owners
            case "notify":
                why = "the settings say so; nothing is told of the time while trueup is stopped"
                return Way("notify", why, unwatched=unwatched), published, owners
            case None if against is not None or (against := self._unstreamable()) is not None:
                return Way("poll", f"{against.message}: {against.hint}"), published, owners
            case None if not published.oids:
                return Way("poll", "no table can be watched", unwatched=unwatched), published, owners
        if against is not None:
            raise against
        why = "the settings say so" if self.watch_setting else "the server and the user's rights allow it"
        return Way("logical", why, durable=True, unwatched=unwatched), published, owners

    def _resolved(self, objects: Sequence[ObjectSpec], unwatched: dict[int, str]) -> dict[int, Table]:
        found = {}
        for index, obj in enumerate(objects):
            if obj.sql is not None:
                unwatched[index] = "a query is not watched: only tables are; it is read on a schedule"
                continue
            try:
                table = self._table(obj, fresh=True)
            except ObjectMissingError as error:
                unwatched[index] = f"{error.message}: {error.hint}" if error.hint else error.message
                continue
            if table.key:
                found[index] = table
            else:
                unwatched[index] = f"{table.info.name} has no key: name its key column in the mapping"
        return found

    def _unstreamable(self) -> SystemError_ | None:
        """Why no connection for replication can be had, as through a pool of connections; None where it can."""
        try:
            with psycopg.connect(conninfo.make_conninfo("", **self._info, replication="database"), autocommit=True) as stream:
                stream.execute("IDENTIFY_SYSTEM")
        except psycopg.Error as error:
            words = self._trouble(error).message
            return SystemUnreachableError(
                f"no connection for replication can be had: {words}",
                hint="let `url` name the server itself, not a pool of connections; or set `watch: notify`",
                system=self.name,
            )
        return None
