"""Rows that one process asks another one to write, and the intent without which they must not be.

Revision ID: 0016
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column."""
    if op.get_bind().dialect.name == "postgresql":
        op.add_column("job", sa.Column("intent", sa.BigInteger()))
