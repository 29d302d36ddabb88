"""The tables of people leave the names `person`, `invitation` and `session` to entities, also where 0022 had made them under these.

Revision ID: 0024
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

TABLES = ("person", "invitation", "session")
INDEXES = (("session_person", "person"), ("session_expires", "expires_at"))


def upgrade() -> None:
    """Rename them where they are tables; a view of that name is an entity's."""
    tables = set(sa.inspect(op.get_bind()).get_table_names())
    if not tables.issuperset(TABLES):
        return
    for name, _column in INDEXES:
        op.drop_index(name, table_name="session")
    for name in TABLES:
        op.rename_table(name, f"login_{name}")
    for name, column in INDEXES:
        op.create_index(f"login_{name}", "login_session", [column])
