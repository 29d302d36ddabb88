"""The tables of the people who use the dashboard and the API; see `schema`.

Their names leave those to entities that companies have: a view of each entity stands beside them.
"""

from __future__ import annotations

import sqlalchemy as sa

from trueup.store.schema import _ID, Moment, _id_column, metadata

# Nobody who did something is ever forgotten: who left is disabled. Without `password` a person has not chosen one yet.
person = sa.Table(
    "login_person",
    metadata,
    _id_column(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("password", sa.Text),
    sa.Column("password_at", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("seen_at", Moment),
    sa.Column("disabled_at", Moment),
    sqlite_autoincrement=True,
)

# A link with which somebody chooses a password, once. Of tokens only their SHA-256 is kept. `person` null: the first admin, who has no
# name yet.
invitation = sa.Table(
    "login_invitation",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("person", sa.BigInteger),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)

session = sa.Table(
    "login_session",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("person", sa.BigInteger, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("seen_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)
sa.Index("login_session_person", session.c.person)
sa.Index("login_session_expires", session.c.expires_at)

# A key acts for its person, within its scopes. After a rotation `old_hash` is good until `old_until`, so that nothing stands still.
api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("person", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("old_hash", sa.Text),
    sa.Column("old_until", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("rotated_at", Moment),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("used_at", Moment),
    sa.Column("used_from", sa.Text),
    sa.Column("revoked_at", Moment),
)
sa.Index("api_key_person", api_key.c.person)

# Logins that failed, for a day. `subject` is a hash of the name that was typed, which may have been a password.
login_failure = sa.Table(
    "login_failure",
    metadata,
    sa.Column("id", _ID, sa.Identity(), primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
)
sa.Index("login_failure_at", login_failure.c.at)

# What was answered to a request with an Idempotency-Key, for a day: the same request again is answered the same. Without `status` the first
# one is still at work, or was cut off.
answered = sa.Table(
    "answered",
    metadata,
    sa.Column("who", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("body", sa.Text),
)
sa.Index("answered_at", answered.c.at)
