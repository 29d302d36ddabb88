"""Secrets, sealed, and the data keys that seal them.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "secret",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("data_key", sa.Text()),
        sa.Column("sealed", sa.LargeBinary()),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "data_key",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("master", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
