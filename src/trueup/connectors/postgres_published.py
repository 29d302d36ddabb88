"""What logical replication needs in the server: rights, a publication of the tables, a slot; made, checked and removed here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import psycopg

from trueup.connectors.postgres_keys import key_of
from trueup.connectors.postgres_logical import lost, places
from trueup.connectors.postgres_pgoutput import lsn_of
from trueup.connectors.postgres_tables import literal, quoted
from trueup.errors import AccessRefusedError, ObjectUnreadableError, SystemUnreachableError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.postgres_pgoutput import Tuple
    from trueup.connectors.postgres_tables import PgFacts
    from trueup.connectors.sql_read import Table
    from trueup.errors import SystemError_

_OLDEST = 13_00_00
_WITH_FAILOVER = 17_00_00
_LOCK_LIMIT = "SET LOCAL lock_timeout = '10s'"
_SLOT_LIMIT = "SET LOCAL statement_timeout = '60s'"  # a slot waits for every transaction that was open before it

_SERVER = """
    SELECT current_setting('wal_level'), pg_is_in_recovery(),
        (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
            OR EXISTS (SELECT 1 FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(current_user, g.oid, 'MEMBER')),
        current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots),
        (SELECT s.database FROM pg_replication_slots s WHERE s.slot_name = %s), current_user, current_database(),
        (SELECT string_agg(s.slot_name, ', ' ORDER BY s.slot_name) FROM pg_replication_slots s WHERE NOT s.active)
"""

# Per table: its number, kind and persistence; whether every part of it that holds rows has an identity; the columns that it gives.
_TABLES = """
    SELECT w.place, c.oid::bigint, c.relkind, c.relpersistence, c.relhassubclass AND c.relkind = 'r', pg_get_userbyid(c.relowner),
        coalesce((SELECT bool_and(i.columns IS NOT NULL OR leaf.relreplident = 'f')
            FROM pg_class leaf LEFT JOIN LATERAL (
                SELECT array_agg(a.attname::text) AS columns FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid
                    AND a.attnum = ANY(x.indkey::int2[])
                WHERE x.indrelid = leaf.oid AND x.indisvalid AND x.indimmediate
                    AND CASE leaf.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END
                HAVING count(*) > 0) i ON true
            WHERE leaf.oid = c.oid AND c.relkind <> 'p'
                OR c.relkind = 'p' AND leaf.oid IN (SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE t.isleaf AND t.relid <> c.oid)
        ), true),
        c.relreplident = 'f',
        (SELECT array_agg(a.attname::text)
            FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey::int2[])
            WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
                AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END)
    FROM unnest(%s::text[]) WITH ORDINALITY AS w(source, place) JOIN pg_class c ON c.oid = to_regclass(w.source)
"""
_PUBLISHED = "SELECT r.prrelid::bigint FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %s"
_SLOT = "SELECT wal_status, confirmed_flush_lsn::text, plugin FROM pg_replication_slots WHERE slot_name = %s"
_OURS = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s AND database = current_database()"
_DROP_S = 5.0
_OLDEST_TRANSACTION = """
    SELECT pid, usename, date_trunc('second', xact_start)::text FROM pg_stat_activity
    WHERE (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
    ORDER BY xact_start LIMIT 1
"""


@dataclass(kw_only=True)
class Published:
    """The tables behind a slot: which objects each stands for, and how keys of it read."""

    system: str
    resolved: Mapping[int, Table]  # object's number -> the table
    oids: Mapping[int, int]  # object's number -> the table's number in the server
    lsn: str = "0/0"
    fresh: frozenset[int] = frozenset()
    _objects: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Turn the tables around."""
        for index, oid in self.oids.items():
            self._objects[oid] = (*self._objects.get(oid, ()), index)

    def objects_of(self, oid: int) -> tuple[int, ...]:
        """The objects that are this table."""
        return self._objects.get(oid, ())

    def key_columns(self, index: int) -> tuple[str, ...]:
        """The mapped key of an object."""
        return self.resolved[index].key

    def key(self, index: int, values: Tuple) -> str | None:
        """The key text of a row of an object; None where it cannot be told."""
        table = self.resolved[index]
        return key_of(table, cast("PgFacts", table.extra["postgres"]), values)

    def tables(self) -> tuple[list[str], list[int]]:
        """Quoted names and numbers of the tables."""
        return [self.resolved[index].source for index in self.oids], list(self.oids.values())

    def position(self, lsn: str) -> str:
        """A position: these tables, up to there."""
        return f"{lsn} {places(list(self._objects))}"


def obstacle(session: psycopg.Connection[Any], system: str, made: str) -> SystemError_ | None:
    """Why this server cannot be watched so by this user, and what to do; None where it can."""
    if session.info.server_version < _OLDEST:
        return ObjectUnreadableError(
            "the server is older than PostgreSQL 13", hint="upgrade it, or set `watch: notify` for this system", system=system
        )
    ((level, standby, may, free, slot_of, user, database, idle),) = session.execute(_SERVER, [made]).fetchall()
    if standby:
        return ObjectUnreadableError("the server is a standby", hint="name the primary server in `url`", system=system)
    if level != "logical":
        return ObjectUnreadableError(
            f"the server's wal_level is {level}, not logical",
            hint="have an administrator run ALTER SYSTEM SET wal_level = logical and restart the server; or set `watch: notify`",
            system=system,
        )
    if not may:
        return AccessRefusedError(
            f"the user {user} has no right to replicate",
            hint=f"have an administrator run ALTER ROLE {quoted(user)} REPLICATION; or set `watch: notify`",
            system=system,
        )
    if slot_of not in {None, database}:
        return WriteRefusedError(
            f"the replication slot {made} is of the database {slot_of}", hint="another installation uses this name", system=system
        )
    if slot_of is None and free <= 0:
        unread = f"; nobody reads {idle}" if idle else ""
        return SystemUnreachableError(
            f"no replication slot is free{unread}",
            hint="raise max_replication_slots and restart the server, or drop a slot that nobody needs: SELECT pg_drop_replication_slot(…)",
            system=system,
        )
    return None


def described(
    session: psycopg.Connection[Any], system: str, resolved: Mapping[int, Table], unwatched: dict[int, str], *, by_triggers: bool = False
) -> tuple[Published, dict[int, str]]:
    """The tables that can be published (or have triggers), and the owner of each; why not, for the others, goes into `unwatched`."""
    numbers = list(resolved)
    rows = session.execute(_TABLES, [[resolved[index].source for index in numbers]]).fetchall()
    oids, owners = {}, {}
    for place, oid, kind, persistence, has_children, owner, all_identified, full, identity in rows:
        index = numbers[place - 1]
        table = resolved[index]
        reason = _unpublishable(kind, persistence, has_children=has_children)
        if by_triggers:
            reason = None if kind in {"r", "p"} else "is not a table, and has no triggers; it is read on a schedule"
        elif reason is None and not (all_identified and (full or identity)):
            reason = _identity_needed("has no replica identity, so it cannot be published", table)
        elif reason is None and not full and not set(table.key) <= set(identity or ()):
            given = ", ".join(identity)
            reason = _identity_needed(f"has {given} as its replica identity, which does not tell the key {', '.join(table.key)}", table)
        if reason is None:
            oids[index], owners[oid] = oid, owner
        else:
            unwatched[index] = f"{table.info.name} {reason}"
    return Published(system=system, resolved={index: resolved[index] for index in oids}, oids=oids), owners


def _unpublishable(kind: str, persistence: str, *, has_children: bool) -> str | None:
    if kind not in {"r", "p"}:
        return "is not a table, so its changes are not in the server's log; map the table behind it, or let it be read on a schedule"
    if persistence != "p":
        return "is unlogged or temporary, so its changes are not in the server's log: ALTER TABLE … SET LOGGED, or read it on a schedule"
    if has_children:
        return "has inheriting tables, of which nothing would be told; it is read on a schedule"
    return None


def _identity_needed(what: str, table: Table) -> str:
    names = ", ".join(quoted(name) for name in table.key)
    return (
        f"{what}: add a primary key on ({names}); or a unique index on these columns, which must be NOT NULL, and"
        f" ALTER TABLE {table.source} REPLICA IDENTITY USING INDEX …; or set `watch: notify`"
    )


def limited(session: psycopg.Connection[Any], statement: str, *, limit: str = _LOCK_LIMIT) -> tuple[Any, ...] | None:
    """Run one statement that gives up a lock which it cannot have soon: whoever waits for one makes all later writers wait behind it."""
    with session.transaction():
        session.execute(limit.encode())
        cursor = session.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def set_up(session: psycopg.Connection[Any], made: str, published: Published, owners: Mapping[int, str], since: str | None) -> None:
    """Make publication and slot, or make what is there fit; sets `lsn` and `fresh`. Raises PositionLostError, AccessRefusedError."""
    system = published.system
    slot = session.execute(_SLOT, [made]).fetchone()
    kept_lsn, _, kept_oids = (since or "").partition(" ")
    if slot is None and since is not None:
        raise lost(system, made, "the slot is gone")
    if slot is not None and (slot[0] == "lost" or slot[1] is None):
        session.execute("SELECT pg_drop_replication_slot(%s)", [made])
        raise lost(system, made, "the server removed the log that it needs, as max_slot_wal_keep_size or a time-out says")
    if slot is not None and since is not None and lsn_of(kept_lsn) < lsn_of(slot[1]):
        raise lost(system, made, "more was confirmed than is known here, as after an older state was restored")
    _publish(session, made, published, owners)
    if slot is None:
        published.lsn = _new_slot(session, system, made)
    else:
        published.lsn = slot[1]
    known = {int(oid) for oid in kept_oids.split(",") if oid} if slot is not None else set()
    published.fresh = frozenset(index for index, oid in published.oids.items() if oid not in known)


def _publish(session: psycopg.Connection[Any], made: str, published: Published, owners: Mapping[int, str]) -> None:
    sources = {oid: published.resolved[index].source for index, oid in published.oids.items()}
    listed = ", ".join(sources.values())
    there = session.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", [made]).fetchone()
    now = {row[0] for row in session.execute(_PUBLISHED, [made])}
    if there and now == set(sources):
        return
    if there:
        statement = f"ALTER PUBLICATION {quoted(made)} SET TABLE {listed}"
    else:
        statement = (
            f"CREATE PUBLICATION {quoted(made)} FOR TABLE {listed}"
            " WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        )
    try:
        limited(session, statement)
    except psycopg.errors.InsufficientPrivilege as error:
        if there and now >= set(sources):
            return  # more is published than is needed, by somebody who may
        who = ", ".join(sorted(set(owners.values())))
        raise AccessRefusedError(
            f"the publication cannot be made: {error.diag.message_primary}",
            hint=f"its maker must own the tables ({who}) and have CREATE on the database; have them, or a superuser, run: {statement}",
            system=published.system,
        ) from error


def _new_slot(session: psycopg.Connection[Any], system: str, made: str) -> str:
    more = ", failover => true" if session.info.server_version >= _WITH_FAILOVER else ""
    try:
        made_at = limited(
            session, f"SELECT lsn::text FROM pg_create_logical_replication_slot({literal(made)}, 'pgoutput'{more})", limit=_SLOT_LIMIT
        )
    except psycopg.errors.QueryCanceled as error:
        oldest = session.execute(_OLDEST_TRANSACTION).fetchone()
        who = f": process {oldest[0]} of {oldest[1]} since {oldest[2]}" if oldest else ""
        raise SystemUnreachableError(
            f"the replication slot waits for transactions that were open before it{who}",
            hint="end that transaction (SELECT pg_terminate_backend(…)); it is tried again",
            system=system,
        ) from error
    return str(made_at[0]) if made_at else "0/0"


def remove(session: psycopg.Connection[Any], system: str, made: str) -> None:
    """Remove slot and publication, where they are there. Raises SystemUnreachableError where somebody streams from the slot."""
    until_s = time.monotonic() + _DROP_S
    while slot := session.execute(_OURS, [made]).fetchone():
        try:
            if slot[0] is not None:
                session.execute("SELECT pg_terminate_backend(%s)", [slot[0]])
            session.execute("SELECT pg_drop_replication_slot(%s)", [made])
        except psycopg.errors.ObjectInUse as error:
            if time.monotonic() > until_s:
                raise SystemUnreachableError(
                    f"the replication slot {made} is in use", hint="stop the process that watches, and try again", system=system
                ) from error
            time.sleep(0.1)
    limited(session, f"DROP PUBLICATION IF EXISTS {quoted(made)}")
