"""The tables of the state. The migrations must add up to exactly this; a test compares the two on both back ends.

Inside the tables an entity and a system are small numbers (`entity_name`, `system_name`), and a time is microseconds since
1970-01-01T00:00Z in a `Moment` column. JSON is kept as text. Golden ids are unique across all entities, so that `golden.id` can be the
row's own number in SQLite: rows are then appended to full pages, which a composite key would leave a quarter empty.

Indexes of a part of a table's rows are in `indexes.py`, the tables of the people who use the dashboard in `schema_people.py`.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trueup.store.moments import from_micros, to_micros

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect

REVISION = "0024"
"""The newest migration; a state at this revision opens without loading Alembic."""

VERSION_TABLE = "schema_version"


class Moment(sa.types.TypeDecorator[datetime]):
    """A point in time: microseconds since the epoch in the table, an aware UTC datetime in Python."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002  the base class asks for it
        """Microseconds, exact; None stays None. Raises ValueError for a naive time."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  the base class asks for it
        """The aware time; None stays None."""
        return None if value is None else from_micros(int(value))


metadata = sa.MetaData()

# SQLite numbers rows by itself only in a column declared exactly INTEGER.
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _id_column() -> sa.Column[Any]:
    return sa.Column("id", _ID, sa.Identity(), primary_key=True)


def _entity() -> sa.Column[Any]:
    return sa.Column("entity", sa.Integer, nullable=False)


def _system() -> sa.Column[Any]:
    return sa.Column("system", sa.Integer, nullable=False)


def _names(table: str) -> sa.Table:
    return sa.Table(
        table,
        metadata,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
    )


entity_name = _names("entity_name")
system_name = _names("system_name")

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

lock_holder = sa.Table(
    "lock_holder",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
)

golden = sa.Table(
    "golden",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=False),
    _entity(),
    sa.Column("data", sa.Text),
    sa.Column("origin_system", sa.Integer),
    sa.Column("origin_at", Moment),
    sa.Column("origins", sa.Text),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("deleted_at", Moment),
    sa.Column("alias_of", sa.BigInteger),
)

shadow = sa.Table(
    "shadow",
    metadata,
    _entity(),
    _system(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("golden_id", sa.BigInteger),
    sa.Column("khash", sa.BigInteger, nullable=False),
    sa.Column("fingerprint", sa.BigInteger),
    sa.Column("seen", sa.Text),
    sa.Column("sent", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("written_at", Moment),
    sa.Column("modified", Moment),
    sa.Column("native_version", sa.Text),
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
    sa.PrimaryKeyConstraint("entity", "system", "key"),
    sqlite_with_rowid=False,
)

match_key = sa.Table(
    "match_key",
    metadata,
    _entity(),
    sa.Column("rule", sa.SmallInteger, nullable=False),
    sa.Column("hash", sa.BigInteger, nullable=False),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("entity", "rule", "hash", "golden_id"),
    sqlite_with_rowid=False,
)
# The same, by record. A table rather than an index: each is then filled in its own order, which is far cheaper (`match_key.by_hash`).
match_golden = sa.Table(
    "match_golden",
    metadata,
    _entity(),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("rule", sa.SmallInteger, nullable=False),
    sa.Column("hash", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("entity", "golden_id", "rule", "hash"),
    sqlite_with_rowid=False,
)

history = sa.Table(
    "history",
    metadata,
    _id_column(),
    sa.Column("version", sa.BigInteger, nullable=False),
    _entity(),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("run", sa.BigInteger),
    sa.Column("field", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("system", sa.Integer),
    sa.Column("at", Moment),
    sa.Column("recorded_at", Moment, nullable=False),
    sa.Column("rule", sa.Text),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("detail", sa.Text),
    sqlite_autoincrement=True,
)
sa.Index("history_golden", history.c.golden_id, history.c.entity)
sa.Index("history_run", history.c.run)

sending = sa.Table(
    "sending",
    metadata,
    _id_column(),
    _entity(),
    _system(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger),
    sa.Column("at", Moment, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("sending_lane", sending.c.entity, sending.c.system)

created = sa.Table(
    "created",
    metadata,
    _id_column(),
    sa.Column("run", sa.BigInteger, nullable=False),
    _entity(),
    _system(),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("created_run", created.c.run)

conflict = sa.Table(
    "conflict",
    metadata,
    _id_column(),
    _entity(),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("base", sa.Text),
    sa.Column("golden", sa.Text),
    sa.Column("candidates", sa.Text),
    sa.Column("run", sa.BigInteger),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("closed_at", Moment),
    sa.Column("resolution", sa.Text),
    sqlite_autoincrement=True,
)

parked = sa.Table(
    "parked",
    metadata,
    _id_column(),
    _entity(),
    _system(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("candidates", sa.Text),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger),
    sa.Column("since", Moment, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("decided_at", Moment),
    sa.UniqueConstraint("entity", "system", "key"),
    sqlite_autoincrement=True,
)

# `subject` says whose failure it is: "k" and the key, "g" and the golden id, or nothing for the whole mapping. `field` is "" for none,
# so that a plain unique constraint can tell two failures apart.
failure = sa.Table(
    "failure",
    metadata,
    _id_column(),
    _entity(),
    _system(),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("golden_id", sa.BigInteger),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    sa.Column("next_try_at", Moment),
    sa.Column("told", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("entity", "system", "subject", "stage", "field"),
    sqlite_autoincrement=True,
)

hold = sa.Table(
    "hold",
    metadata,
    _id_column(),
    _entity(),
    _system(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("counts", sa.Text),
    sa.Column("limit_", sa.Text),
    sa.Column("since", Moment, nullable=False),
    sa.Column("decision", sa.Text),
    sa.Column("ceiling", sa.BigInteger),
    sa.Column("decided_at", Moment),
    sa.Column("decided_by", sa.Text),
    sqlite_autoincrement=True,
)

unsettled_key = sa.Table(
    "unsettled_key",
    metadata,
    _entity(),
    _system(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.PrimaryKeyConstraint("entity", "system", "key"),
    sqlite_with_rowid=False,
)

outsider = sa.Table(
    "outsider",
    metadata,
    _entity(),
    _system(),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.BigInteger),
    sa.PrimaryKeyConstraint("entity", "system", "golden_id"),
    sqlite_with_rowid=False,
)

former_key = sa.Table(
    "former_key",
    metadata,
    _entity(),
    _system(),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("due", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("run", sa.BigInteger),
    sa.PrimaryKeyConstraint("entity", "system", "key"),
    sqlite_with_rowid=False,
)
sa.Index("former_key_golden", former_key.c.entity, former_key.c.system, former_key.c.golden_id)

cursor = sa.Table(
    "cursor",
    metadata,
    _entity(),
    _system(),
    sa.Column("cursor", sa.Text),
    sa.Column("full_at", Moment),
    sa.Column("full_rows", sa.BigInteger),
    sa.Column("considered_version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("mapping_version", sa.BigInteger),
    sa.Column("mark", sa.Text),
    sa.PrimaryKeyConstraint("entity", "system"),
)

mapping_version = sa.Table(
    "mapping_version",
    metadata,
    _id_column(),
    _entity(),
    _system(),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("mapping_version_lane", mapping_version.c.entity, mapping_version.c.system)

run = sa.Table(
    "run",
    metadata,
    _id_column(),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("seconds", sa.Float),
    sa.Column("summary", sa.Text),
    sa.Column("pid", sa.BigInteger),
    sa.Column("host", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("who", sa.Text),
    sqlite_autoincrement=True,
)

activity = sa.Table(
    "activity",
    metadata,
    _entity(),
    _system(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("entity", "system", "kind", "at"),
)

paused = sa.Table(
    "paused",
    metadata,
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("kind", "name"),
)

# A secret is sealed under a data key and bound to its name and version; without `sealed` it was removed, and its versions go on from there.
secret = sa.Table(
    "secret",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("data_key", sa.Text),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("at", Moment, nullable=False),
)

# A data key is sealed under a master key, which is kept elsewhere and named here by its id.
data_key = sa.Table(
    "data_key",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("master", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("number", _ID, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

# What fires now, or has ended and was not told yet. `subject` says what it is about: an entity, a system, `SYSTEM in ENTITY`, or nothing.
alert = sa.Table(
    "alert",
    metadata,
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("remedy", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("told_at", Moment),
    sa.Column("ended_at", Moment),
    sa.PrimaryKeyConstraint("rule", "subject"),
    sqlite_with_rowid=False,
)

# Who is told of changes. Everything up to (`version`, `golden_id`) was told, or is in `notice_open`; `token` is in the ids of its notices.
# `failing_since` and `failures` are about the last tries in a row; nothing is sent before `next_try_at`, nor while it is `stopped`.
notice_subscriber = sa.Table(
    "notice_subscriber",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failing_since", Moment),
    sa.Column("next_try_at", Moment),
    sa.Column("reason", sa.Text),
    sa.Column("sent_at", Moment),
    sa.Column("stopped", sa.Text),
    sa.Column("stopped_at", Moment),
)

# Notices that were tried in vain: at most one per subscriber and record, which tells of everything after `since_version`. With `dead_at`
# it is not tried any more; `born`: the subscriber has not heard of the record yet.
notice_open = sa.Table(
    "notice_open",
    metadata,
    _id_column(),
    sa.Column("subscriber", sa.Text, nullable=False),
    _entity(),
    sa.Column("golden_id", sa.BigInteger, nullable=False),
    sa.Column("born", sa.Boolean, nullable=False),
    sa.Column("since_version", sa.BigInteger, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    sa.Column("next_try_at", Moment),
    sa.Column("dead_at", Moment),
    sa.Column("reason", sa.Text, nullable=False),
    sa.UniqueConstraint("subscriber", "golden_id"),
    sqlite_autoincrement=True,
)

# The ids of records that one commit made, as long as a subscriber has not heard of it.
notice_birth = sa.Table(
    "notice_birth",
    metadata,
    sa.Column("version", _ID, primary_key=True, autoincrement=False),
    _entity(),
    sa.Column("first_id", sa.BigInteger, nullable=False),
    sa.Column("last_id", sa.BigInteger, nullable=False),
)

# Locks made in systems (`Locking`): `spec` is the object with what is locked, as JSON, `digest` what it was like when it was made. Without
# `digest` it was begun and nothing is known of its end.
write_lock = sa.Table(
    "write_lock",
    metadata,
    _system(),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("at", Moment, nullable=False),
    sa.Column("who", sa.Text),
    sa.PrimaryKeyConstraint("system", "object"),
)

# What is known of the token of a system without opening it; the token itself is the secret `secret`, and `version` is that secret's.
# `asked_at`: somebody was about to renew it, and nothing is known of the end. `trouble`: it ended, and a person has to connect again.
credential = sa.Table(
    "credential",
    metadata,
    sa.Column("system", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("connected_at", Moment, nullable=False),
    sa.Column("obtained_at", Moment, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("renew_by", Moment),
    sa.Column("scopes", sa.Text),
    sa.Column("asked_at", Moment),
    sa.Column("trouble", sa.Text),
    sa.Column("trouble_at", Moment),
)

# Reports that were handed over. `counts` (JSON) is what trends are drawn from; `message`, `page` and `lines` (CSV) are what is sent, and go
# once everybody has it. `due_at` is the moment of the schedule that it was made for; null: somebody asked for it.
report = sa.Table(
    "report",
    metadata,
    _id_column(),
    sa.Column("at", Moment, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("due_at", Moment, unique=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("message", sa.Text),
    sa.Column("page", sa.Text),
    sa.Column("lines", sa.Text),
    sqlite_autoincrement=True,
)

# Who gets a report: `waiting`, `sending` (somebody is about it), `sent`, `unknown` (whoever sent it ended before its end), `given up`.
report_copy = sa.Table(
    "report_copy",
    metadata,
    sa.Column("report", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("recipient", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tried_at", Moment),
    sa.Column("next_try_at", Moment),
    sa.Column("reason", sa.Text),
)

# Since when a record (`g` and its number) or a row that is no record's (`k` and its key) is known not to be as agreed in a system; of a
# system in which that are too many to note, `*` alone.
difference = sa.Table(
    "difference",
    metadata,
    _entity(),
    _system(),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.PrimaryKeyConstraint("entity", "system", "subject"),
    sqlite_with_rowid=False,
)

# Manual processes that somebody carried out. `minutes` null: not told; `steps` (JSON): minutes by number of the step, where told.
done_by_hand = sa.Table(
    "done_by_hand",
    metadata,
    _id_column(),
    sa.Column("process", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("minutes", sa.Float),
    sa.Column("steps", sa.Text),
    sa.Column("note", sa.Text),
    sa.Column("who", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

# What each stage of a migration to a single source of truth (`system`) found and did: `facts` is JSON of names, counts and checksums, and
# holds no value of a record. A stage that is `running` and whose process is gone was broken off.
migration_stage = sa.Table(
    "migration_stage",
    metadata,
    _entity(),
    sa.Column("stage", sa.Text, nullable=False),
    _system(),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("who", sa.Text),
    sa.Column("facts", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("entity", "stage"),
)

# Whoever asks for all tables (`metadata`) is to find those of other pages as well.
from trueup.store import schema_people  # noqa: E402, F401
